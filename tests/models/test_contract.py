"""One suite for every registered model: what `Model` promises, whoever implements it. No ignore list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from models.conftest import AS_OF, build, checkerboard, every_model
from regulars.core.clock import DAY
from regulars.core.data import PURCHASE, VIEW, Dataset, Histories, Items
from regulars.core.errors import InputError, NotFitted, Unsupported
from regulars.models.base import Can, Model
from regulars.models.registry import model_class

Shop = Callable[..., Dataset]


def scores_of(model: Model, data: Dataset, now: int = AS_OF) -> NDArray[np.float32]:
    return model.score(data.histories(), now)


def looking(shop: Dataset) -> Histories:
    """Everybody's history; most look at an item now, each at another."""
    items = np.arange(len(shop.users), dtype=np.int32) % (shop.shape[1] + 1) - 1
    return replace(shop.histories(), context_item=items)


# ---- the known answer of each model --------------------------------------------------------------------------


def knows_the_checkerboard(name: str, dataset_of: Shop) -> None:
    taken, hidden = checkerboard()
    first, _ = build(name).fit(taken).recommend(taken, k=1)
    np.testing.assert_array_equal(first[:, 0], hidden)


def knows_the_blocks(name: str, dataset_of: Shop) -> None:
    """A direction a block: with more of them than blocks, a matrix is told as it is, and nothing is hidden."""
    taken, hidden = checkerboard()
    first, _ = build(name, factors=3).fit(taken).recommend(taken, k=1)
    np.testing.assert_array_equal(first[:, 0], hidden)


def knows_ratings(name: str, dataset_of: Shop) -> None:
    """Own block 5, others 1; of two unrated items the one of the own block comes first."""
    taken, hidden = checkerboard(items=8)
    ratings = np.where(taken > 0, 5.0, 1.0)
    user = np.arange(len(ratings))
    foreign = (hidden + 8 + 3) % 24
    ratings[user, hidden] = ratings[user, foreign] = 0.0
    first, _ = build(name).fit(ratings).recommend(ratings, k=2)
    np.testing.assert_array_equal(first[:, 0], hidden)


def knows_counts(name: str, dataset_of: Shop) -> None:
    matrix = np.array([[1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]])
    items, scores = build(name).fit(matrix).recommend(np.zeros(4), k=4)
    assert items.tolist() == [[0, 2, 3, 1]]  # 3, 2, 1 and 0 of 6 interactions
    np.testing.assert_allclose(scores[0], np.array([3, 2, 1, 0]) / 6, rtol=1e-6)


def knows_a_wave(name: str, dataset_of: Shop) -> None:
    """Item 0 sells as ever (90 in 90 days), item 1 began to sell, item 2 sold once, item 3 stopped."""
    ages = {0: range(90), 1: [1, 1, 2, 2, 3, 3, 80], 2: [1], 3: range(10, 90)}
    events = [(0, item, PURCHASE, AS_OF - day * DAY - 1) for item, days in ages.items() for day in days]
    items, _ = build(name).fit(dataset_of(events, (1, 4))).recommend(np.zeros(4), k=4)
    assert items.tolist() == [[1, 2, 0, 3]]


def knows_what_is_due(name: str, dataset_of: Shop) -> None:
    """Everyone buys item 0 about every 40 days and item 1 about every 10, in a phase of their own."""
    rng = np.random.default_rng(0)
    events = []
    for user in range(60):
        for item, gap in ((0, 40), (1, 10)):
            pauses = gap * rng.uniform(0.8, 1.2, size=200 // gap)
            ages = rng.uniform(0, gap) + np.cumsum(pauses) - pauses[0]
            events += [(user, item, PURCHASE, AS_OF - int(age * DAY)) for age in ages]
    model = build(name, horizon_days=5.0).fit(dataset_of(events, (60, 3)))
    asked = [(0, item, PURCHASE, AS_OF - day * DAY) for item, gap in ((0, 40), (1, 10)) for day in (0, gap, 2 * gap)]
    history = dataset_of(asked, (1, 3)).histories()
    fresh, later, month = (model.score(history, AS_OF + days * DAY)[0] for days in (1, 11, 38))
    assert later[1] > 2 * later[0]  # equally often, equally long ago: the short gap is due
    assert month[0] > 2 * fresh[0]  # and so is the long one when its days are over
    assert fresh[2] == -np.inf  # never bought: it cannot say


def knows_likeness(name: str, dataset_of: Shop) -> None:
    titles = ["Green tea, loose", "green tea bags", "steel hammer", "claw hammer", "绿茶 杯", "精选绿茶叶"]
    data = replace(dataset_of([], (1, 6)), items=replace(Items.bare("abcdef"), title=titles))
    items, _ = build(name).fit(data).recommend(np.eye(6), k=1)
    assert items[:, 0].tolist() == [1, 0, 3, 2, 5, 4]


def knows_evenness(name: str, dataset_of: Shop) -> None:
    """Each of 8 items is first equally often over 4000 different histories (chi-square, P < 1e-6 at 41)."""
    histories = replace(Histories.from_matrix(np.ones((4000, 8))), at=np.arange(32_000, dtype=np.int64))
    first, _ = build(name).fit(np.ones((1, 8))).recommend(histories, k=1, exclude_seen=False)
    counts = np.bincount(first[:, 0], minlength=8)
    assert ((counts - 500) ** 2 / 500).sum() < 41.0


def knows_what_follows(name: str, dataset_of: Shop) -> None:
    """Everybody walks one circle of items, each from another start: after an item comes the next of the circle."""
    events = [(user, (user + step) % 6, VIEW, AS_OF - (9 - step) * DAY) for user in range(6) for step in range(3)]
    model = build(name).fit(dataset_of(events, (6, 6)))
    walked = dataset_of([(0, 4, VIEW, AS_OF - DAY), (0, 1, VIEW, AS_OF - 1)], (1, 6)).histories()
    items, scores = model.recommend(walked, k=2)
    assert items.tolist() == [[2, 3]]
    np.testing.assert_allclose(scores[0], [2, 1 / 2])  # twice at distance 1, once at distance 2


def knows_the_circle(name: str, dataset_of: Shop) -> None:
    """Everybody walks one circle of items, each from another start: after an item comes the next of the circle."""
    events = [(user, (user + step) % 6, VIEW, AS_OF - (9 - step) * DAY) for user in range(6) for step in range(4)]
    model = build(name, epochs=40, patience=40, dropout=0.0).fit(dataset_of(events, (6, 6)))
    first, _ = model.recommend(Histories.from_sequences([[4], [2, 3], [5, 0, 1]], 6), k=1)
    assert first.tolist() == [[5], [4], [2]]


def knows_circles(name: str, dataset_of: Shop) -> None:
    """Two circles of friends, each with items of its own: a newcomer gets what the circle of their links took."""
    events = [(user, item + 4 * (user // 4), PURCHASE, AS_OF - 1) for user in range(8) for item in range(4)]
    linked = [tuple(other for other in range(8) if other // 4 == user // 4) for user in range(8)]
    data = dataset_of(events, (10, 8))
    data = replace(data, users=replace(data.users, links=[*linked, (1,), (5, 6)]))
    model = build(name).fit(data)
    items, _ = model.recommend(data.histories(np.array([8, 9], dtype=np.int32)), k=4)
    assert [set(row) for row in items.tolist()] == [{0, 1, 2, 3}, {4, 5, 6, 7}]


KNOWN: dict[str, Callable[[str, Shop], None]] = {
    "popular": knows_counts,
    "segment-popular": knows_counts,
    "friends": knows_circles,
    "trending": knows_a_wave,
    "repeat": knows_what_is_due,
    "content": knows_likeness,
    "random": knows_evenness,
    "mf": knows_ratings,
    "pure-svd": knows_the_blocks,
    "sequential-rules": knows_what_follows,
    "sasrec": knows_the_circle,
    "gru4rec": knows_the_circle,
}


@every_model
def test_known_answer(name: str, dataset_of: Shop) -> None:
    KNOWN.get(name, knows_the_checkerboard)(name, dataset_of)


# ---- scores --------------------------------------------------------------------------------------------------


@every_model
def test_scores_are_a_fresh_float32_array_of_the_right_shape(name: str, shop: Dataset) -> None:
    model = build(name).fit(shop)
    scores = scores_of(model, shop)
    assert scores.shape == shop.shape
    assert scores.dtype == np.float32
    assert not np.isnan(scores).any()
    assert not (scores == np.inf).any()
    before = scores.copy()
    scores[:] = 7.0
    np.testing.assert_array_equal(scores_of(model, shop), before)


@every_model
def test_one_shopper_alone_gets_what_they_get_among_others(name: str, shop: Dataset) -> None:
    model = build(name).fit(shop)
    histories = shop.histories()
    together = model.score(histories, AS_OF)
    alone = np.concatenate([model.score(histories.rows(row, row + 1), AS_OF) for row in range(len(histories))])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


@every_model
def test_an_impersonal_model_says_one_thing_to_all_at_any_time(name: str, shop: Dataset) -> None:
    model = build(name).fit(shop)
    scores = np.concatenate([model.score(shop.histories(), now) for now in (AS_OF, AS_OF + 90 * DAY)])
    assert model.impersonal is bool((scores == scores[0]).all())


@every_model
def test_same_seed_same_numbers(name: str, shop: Dataset) -> None:
    first, second = (build(name).fit(shop, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(scores_of(first, shop), scores_of(second, shop))


@every_model
def test_a_refit_starts_afresh(name: str, make_shop: Shop) -> None:
    one, other = make_shop(1), make_shop(2, n_users=12, n_items=9)
    again = build(name).fit(one).fit(other)
    fresh = build(name).fit(other)
    np.testing.assert_array_equal(scores_of(again, other), scores_of(fresh, other))


@every_model
def test_neither_data_nor_history_is_changed(name: str, make_shop: Shop) -> None:
    shop, copy = make_shop(3), make_shop(3)
    model = build(name).fit(shop)
    histories = replace(shop.histories(), context_item=np.arange(len(shop.users), dtype=np.int32) % 5 - 1)
    wanted = replace(copy.histories(), context_item=np.arange(len(shop.users), dtype=np.int32) % 5 - 1)
    model.score(histories, AS_OF)
    model.recommend(histories, k=3)
    for field in ("indptr", "item_idx", "kind", "at", "context_item"):
        np.testing.assert_array_equal(getattr(histories, field), getattr(wanted, field))
    assert (histories.user_items != wanted.user_items).nnz == 0
    for field in shop.interactions.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(shop.interactions, field), getattr(copy.interactions, field))


@every_model
@pytest.mark.parametrize(
    "matrix",
    [np.zeros((3, 4)), np.zeros((0, 4)), np.ones((1, 1)), np.ones((1, 5)), np.ones((5, 1)),
     np.array([[0, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 1]])],
    ids=["nothing-happened", "nobody", "one-of-each", "one-user", "one-item", "empty-rows"],
)  # fmt: skip
def test_thin_data_is_no_error(name: str, matrix: NDArray[np.float64]) -> None:
    model = build(name).fit(matrix)
    items, scores = model.recommend(np.zeros(matrix.shape[1]), k=3)
    assert items.shape == scores.shape == (1, 3)
    assert not np.isnan(model.score(Histories.from_matrix(matrix), 0)).any()


@every_model
def test_a_shopper_never_seen_and_a_batch_of_nobody(name: str, shop: Dataset) -> None:
    model = build(name).fit(shop)
    nobody = shop.histories(np.zeros(0, dtype=np.int32))
    assert model.score(nobody, AS_OF).shape == (0, shop.shape[1])
    newcomer = model.score(Histories.from_matrix(np.zeros((1, shop.shape[1]))), AS_OF)
    assert not np.isnan(newcomer).any()


@every_model
def test_library_use_excludes_what_was_seen(name: str, shop: Dataset) -> None:
    model = build(name).fit(shop.user_items)
    history = shop.user_items[[0]].toarray()[0]
    items, scores = model.recommend(history, k=5)
    assert not set(items[0]) & set(np.flatnonzero(history))
    assert (np.diff(scores[0][items[0] >= 0]) <= 0).all()
    assert (scores[0][items[0] < 0] == -np.inf).all()


# ---- abilities -----------------------------------------------------------------------------------------------


@every_model
def test_factors(name: str, shop: Dataset) -> None:
    model = build(name).fit(shop)
    histories = shop.histories()
    if Can.FACTORS not in model.can:
        with pytest.raises(Unsupported, match="FACTORS"):
            model.user_vectors(histories, AS_OF)
        with pytest.raises(Unsupported, match="FACTORS"):
            _ = model.item_vectors
        return
    d = model.item_vectors.shape[1]
    if model.spread is not None:
        assert model.spread.shape == (d, d)
        assert np.linalg.eigvalsh(model.spread).min() > -1e-6
    product = model.user_vectors(histories, AS_OF) @ model.item_vectors.T
    np.testing.assert_allclose(product, model.score(histories, AS_OF), rtol=1e-3, atol=1e-4)


@every_model
def test_because(name: str, shop: Dataset) -> None:
    model = build(name).fit(shop)
    history = shop.histories(np.array([0], dtype=np.int32))
    wanted = np.arange(shop.shape[1], dtype=np.int32)
    if Can.BECAUSE not in model.can:
        with pytest.raises(Unsupported, match="BECAUSE"):
            model.because(history, AS_OF, wanted)
        return
    named = model.because(history, AS_OF, wanted)
    assert named.shape == wanted.shape
    assert set(named) <= set(history.user_items.indices) | {-1}
    assert (named >= 0).any()
    nobody = Histories.from_matrix(np.zeros((1, shop.shape[1])))
    assert (model.because(nobody, AS_OF, wanted) == -1).all()


@every_model
def test_few_scores_are_the_dense_ones(name: str, shop: Dataset) -> None:
    model = build(name).fit(shop)
    histories = looking(shop)
    if Can.SPARSE not in model.can:
        with pytest.raises(Unsupported, match="SPARSE"):
            model.sparse_scores(histories, AS_OF)
        return
    indptr, item_idx, numbers = model.sparse_scores(histories, AS_OF)
    scores = model.score(histories, AS_OF)
    for row, others in enumerate(scores.copy()):
        mine = item_idx[indptr[row] : indptr[row + 1]]
        assert len(set(mine)) == len(mine)
        np.testing.assert_array_equal(others[mine], numbers[indptr[row] : indptr[row + 1]])
        others[mine] = -np.inf
        assert (others <= 0).all()  # and of the others it says nothing
    assert len(item_idx) < scores.size


@every_model
def test_links(name: str, shop: Dataset) -> None:
    model = build(name).fit(shop)
    histories = looking(shop)
    if Can.LINKS not in model.can:
        with pytest.raises(Unsupported, match="LINKS"):
            model.linked(histories, AS_OF)
        return
    (indptr, item_idx, weights), links = model.linked(histories, AS_OF)
    assert links.has_sorted_indices
    product = sp.csr_array((weights, item_idx, indptr), shape=shop.shape) @ links
    np.testing.assert_allclose(product.toarray(), model.score(histories, AS_OF), rtol=1e-5)


@every_model
def test_ratings(name: str) -> None:
    """A model that declares RATINGS predicts on the scale of the ratings it learned; no other is close."""
    taken, _ = checkerboard()
    ratings = np.where(taken > 0, 5.0, 1.0)
    error = float(
        np.sqrt(np.mean((build(name).fit(ratings).score(Histories.from_matrix(ratings), 0) - ratings) ** 2))
    )
    assert (error < 1.0) == (Can.RATINGS in model_class(name).can)


# ---- wrong use -----------------------------------------------------------------------------------------------


@every_model
def test_not_fitted(name: str, shop: Dataset, tmp_path: Path) -> None:
    model = build(name)
    history = shop.histories(np.array([0], dtype=np.int32))
    calls: list[Callable[[], object]] = [
        lambda: model.score(history, AS_OF), lambda: model.recommend(history), lambda: model.save(tmp_path / "m"),
    ]  # fmt: skip
    if Can.FACTORS in model.can:
        calls += [lambda: model.user_vectors(history, AS_OF), lambda: model.item_vectors]
    if Can.BECAUSE in model.can:
        calls += [lambda: model.because(history, AS_OF, np.zeros(1, dtype=np.int32))]
    if Can.SPARSE in model.can:
        calls += [lambda: model.sparse_scores(history, AS_OF)]
    if Can.LINKS in model.can:
        calls += [lambda: model.linked(history, AS_OF)]
    for call in calls:
        with pytest.raises(NotFitted, match=name):
            call()
    assert not (tmp_path / "m").exists()


@every_model
def test_a_history_of_another_width_is_refused(name: str, shop: Dataset) -> None:
    model = build(name).fit(shop)
    narrow = Histories.from_matrix(np.ones((1, 3)))
    for call in (lambda: model.score(narrow, AS_OF), lambda: model.recommend(narrow)):
        with pytest.raises(InputError, match="got 3 items, wanted 20, as at the fit"):
            call()


@every_model
@pytest.mark.parametrize("data", ["text", np.zeros(0), np.array([[np.nan, 1.0]]), np.array([[np.inf]])])
def test_data_that_is_no_matrix_is_refused(name: str, data: Any) -> None:
    with pytest.raises(InputError, match="wanted"):
        build(name).fit(data)


def test_a_view_counts_as_history(dataset_of: Shop) -> None:
    """The next request reflects the last click, without a refit, in every model that looks at history."""
    before = dataset_of([(0, 0, PURCHASE, AS_OF - DAY)], (1, 4))
    after = dataset_of([(0, 0, PURCHASE, AS_OF - DAY), (0, 2, VIEW, AS_OF - 1)], (1, 4))
    model = build("random").fit(before)
    assert (scores_of(model, before) != scores_of(model, after)).any()
