"""Repeat purchase: the regression against a second solver, recovery of known laws, the bar on a real log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

from models.conftest import AS_OF, from_events
from regulars.core.arrays import Scores
from regulars.core.clock import DAY
from regulars.core.data import PURCHASE, VIEW, Dataset
from regulars.core.topk import top_k
from regulars.models.repeat import RIDGE, Repeat, _logistic

Shop = Callable[..., Dataset]
Event = tuple[int, int, int, int]


def buy(user: int, item: int, days_ago: float) -> Event:
    return (user, item, PURCHASE, AS_OF - int(days_ago * DAY))


def renewals(rng: np.random.Generator, n_users: int, gaps: list[float], days: int = 200) -> list[Event]:
    """Everyone buys every item about every so many days, in a phase of their own."""
    events = []
    for user in range(n_users):
        for item, gap in enumerate(gaps):
            pauses = gap * rng.uniform(0.8, 1.2, size=int(days / gap))
            ages = rng.uniform(0, gap) + np.cumsum(pauses) - pauses[0]
            events += [buy(user, item, age) for age in ages]
    return events


def test_the_regression_by_a_second_solver() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 4)) * [1, 5, 0.1, 2] + [0, 3, 0, -1]
    bought = rng.random(500) < 1 / (1 + np.exp(-(features @ [1, -0.3, 2, 0.5] - 1)))
    oracle = LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=10_000).fit(features, bought)
    wanted = np.concatenate((oracle.intercept_, oracle.coef_[0]))
    np.testing.assert_allclose(_logistic(features, bought), wanted, rtol=1e-3, atol=1e-4)


def test_separable_data_stay_finite() -> None:
    features = np.linspace(-1, 1, 40)[:, None]
    coefficients = _logistic(features, features[:, 0] > 0)
    assert np.isfinite(coefficients).all()
    assert coefficients[1] > 1


def test_item_gaps_are_recovered() -> None:
    gaps = [7.0, 30.0, 60.0]
    data = from_events(renewals(np.random.default_rng(1), 80, gaps), (80, 3))
    model = Repeat(horizon_days=5.0).fit(data)
    np.testing.assert_allclose(model.gap_days_, gaps, rtol=0.08)


def test_chances_are_calibrated() -> None:
    """Purchases expected within the next days, summed over all pairs, are those that come (within 4 sigma)."""
    events = renewals(np.random.default_rng(2), 300, [10.0, 25.0, 50.0], days=300)
    cut = AS_OF - 8 * DAY
    past = from_events([event for event in events if event[3] < cut], (300, 3), as_of=cut)
    model = Repeat(horizon_days=8.0).fit(past)
    chance = model.score(past.histories(), cut).astype(np.float64)
    came = np.zeros((300, 3))
    for user, item, _, at in events:
        if at >= cut:
            came[user, item] = 1
    sigma = np.sqrt((chance * (1 - chance)).sum())
    assert abs(chance.sum() - came.sum()) < 4 * sigma
    assert chance[came == 1].mean() > 2 * chance[came == 0].mean()


def test_shuffled_labels_teach_nothing() -> None:
    """Negative control: when times are drawn anew for every purchase, being due no longer separates."""
    rng = np.random.default_rng(3)
    events = [(user, item, kind, AS_OF - int(rng.uniform(0, 200) * DAY)) for user, item, kind, _ in
              renewals(rng, 100, [20.0, 20.0])]  # fmt: skip
    data = from_events(events, (100, 2))
    regular = from_events(renewals(np.random.default_rng(3), 100, [20.0, 20.0]), (100, 2))
    asked = from_events([buy(0, 0, age) for age in (0, 20, 40)], (1, 2)).histories()

    def lift(data: Dataset) -> float:
        model = Repeat(horizon_days=5.0).fit(data)
        return float(model.score(asked, AS_OF + 18 * DAY)[0, 0] / model.score(asked, AS_OF + 2 * DAY)[0, 0])

    assert lift(regular) > 3
    assert lift(data) < 1.5


def test_what_was_never_bought_or_given_back_has_no_score(dataset_of: Shop) -> None:
    data = dataset_of([buy(0, 0, 3), buy(0, 1, 3), (0, 2, VIEW, AS_OF - DAY)], (1, 4))
    data.interactions.weight[data.interactions.item_idx == 1] = 0  # refunded
    scores = Repeat().fit(data).score(data.histories(), AS_OF)[0]
    assert np.isfinite(scores).tolist() == [True, False, False, False]


def test_lines_of_one_order_are_one_occasion(dataset_of: Shop) -> None:
    once = dataset_of([buy(0, 0, 9), buy(0, 1, 9)], (1, 2))
    twice = dataset_of([buy(0, 0, 9), buy(0, 0, 9), buy(0, 1, 9)], (1, 2))
    twice.interactions.weight[:] = 1.0
    twice.interactions.weight[twice.interactions.item_idx == 0] = 0.5
    model = Repeat().fit(once)
    np.testing.assert_allclose(model.score(twice.histories(), AS_OF), model.score(once.histories(), AS_OF), rtol=1e-6)


def test_a_plain_matrix_is_ranked_by_frequency() -> None:
    matrix = np.array([[1.0, 5.0, 3.0, 0.0]])
    items, _ = Repeat().fit(matrix).recommend(matrix, k=4, exclude_seen=False)
    assert items.tolist() == [[1, 2, 0, -1]]


def test_the_future_of_a_history_is_no_error(dataset_of: Shop) -> None:
    data = dataset_of([buy(0, 0, 5), buy(0, 0, 1)], (1, 1))
    model = Repeat().fit(data)
    assert 0 <= model.score(data.histories(), AS_OF - 100 * DAY)[0, 0] <= 1


# ---- UCI Online Retail 2009-10 -------------------------------------------------------------------------------


def online_retail(folder: Path, cut: int) -> tuple[Dataset, list[set[int]]]:
    """Train before the cut, and what each shopper of it bought after, as the protocol says."""
    table = pq.read_table(folder / "online_retail_0910" / "transactions.parquet")
    code = pc.utf8_upper(table["stock_code"])
    keep = pc.and_(pc.greater(table["quantity"], 0), pc.greater(table["unit_price"], 0))
    keep = pc.and_(keep, pc.and_(pc.is_valid(table["customer_id"]), pc.match_substring_regex(code, r"^\d{5}")))
    table, code = table.filter(keep), code.filter(keep)
    at = table["invoice_time"].to_numpy().astype("datetime64[us]").astype(np.int64)
    customer, names = table["customer_id"].to_numpy(), np.array(code.to_pylist())
    train = at < cut
    users, items = np.unique(customer[train]), np.unique(names[train])
    known = np.isin(customer, users) & np.isin(names, items)
    user, item = np.searchsorted(users, customer), np.searchsorted(items, names)
    events = [(u, i, PURCHASE, t) for u, i, t in zip(user[train], item[train], at[train], strict=True)]
    data = from_events(events, (len(users), len(items)), as_of=cut)
    weight = np.exp2((data.interactions.at - cut) / (180 * DAY)).astype(np.float32)
    relevant: list[set[int]] = [set() for _ in users]
    for u, i in zip(user[known & ~train], item[known & ~train], strict=True):
        relevant[u].add(int(i))
    return replace(data, interactions=replace(data.interactions, weight=weight)), relevant


def ndcg(scores: Scores, relevant: list[set[int]], k: int = 20) -> tuple[float, int]:
    discount = 1 / np.log2(np.arange(2, k + 2))
    top = top_k(scores, k)[0]
    values = [
        sum(discount[place] for place, item in enumerate(row) if item in wanted) / discount[: len(wanted)].sum()
        for row, wanted in zip(top.tolist(), relevant, strict=True)
        if wanted
    ]
    return float(np.mean(values)), len(values)


@pytest.mark.slow
def test_it_beats_own_frequency_on_online_retail(data_folder: Path) -> None:
    """Published protocol: own frequency, filled up with popularity, has NDCG@20 0.3495 over 1,828 shoppers."""
    data, relevant = online_retail(data_folder, 1_285_891_200 * 1_000_000)  # 2010-10-01
    rows = data.interactions
    occasions = np.unique(np.stack((rows.user_idx, rows.item_idx, rows.at)), axis=1)
    popularity = np.bincount(occasions[1], minlength=data.shape[1])
    frequency = np.zeros(data.shape)
    np.add.at(frequency, (occasions[0], occasions[1]), 1)
    own = (frequency + (frequency > 0).sum(axis=0) / 1e5).astype(np.float32)
    floor, n_shoppers = ndcg(own, relevant)
    assert n_shoppers == 1828
    assert floor == pytest.approx(0.3495, abs=0.001)
    scores = Repeat().fit(data).score(data.histories(), data.as_of)
    filled = np.where(np.isfinite(scores), scores, popularity / 1e6 - 1).astype(np.float32)
    assert ndcg(filled, relevant)[0] >= 0.365
