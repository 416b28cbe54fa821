"""The offline table: numbers by hand, the order of what is known to be better, and what it refuses."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse as sp

from evaluate.conftest import make_dataset
from regulars.core.arrays import Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import InputError
from regulars.evaluate import offline, plot, split
from regulars.models.base import Model

KEYS = {"model", "subset", "by", "users", "ndcg@20", "ndcg@20_low", "ndcg@20_high", "recall@20", "hr@20", "map@20",
        "mrr@20", "coverage@20", "novelty@20", "diversity@20", "popularity@20"}  # fmt: skip
VERSUS = {"vs_popular", "vs_popular_low", "vs_popular_high"}
N_USERS, N_ITEMS = 60, 40


@pytest.fixture
def targets() -> split.Targets:
    """Shoppers bought item u mod 40 and u + 1; they want u + 1 again, and u + 2 for the first time."""
    users = np.arange(N_USERS)
    rows = [(int(user), f"i{(user + step) % N_ITEMS:02d}", step + 1) for user in users for step in (0, 1)]
    before = make_dataset(sorted(rows, key=lambda row: row[1]), as_of=10)
    order = before.users.keys.index(range(N_USERS))
    wanted = np.zeros((N_USERS, N_ITEMS), dtype=np.float32)
    for user in users:
        wanted[order[user], [(user + 1) % N_ITEMS, (user + 2) % N_ITEMS]] = 1
    return split.targets_of(sp.csr_array(wanted), before)


def oracle(targets: split.Targets) -> offline.Ranker:
    """Knows what is wanted, and leaves out what it must."""
    relevant = targets.subsets["all"].relevant

    def rank(users: Indices, exclude: Matrix | None) -> Indices:
        scores = relevant[users].toarray()
        if exclude is not None:
            scores[exclude.toarray() > 0] = -1
        return np.argsort(-scores, axis=1, kind="stable")[:, :20].astype(np.int32)

    return rank


def constant(users: Indices, exclude: Matrix | None) -> Indices:
    """The same list for everybody, whatever is excluded."""
    return np.tile(np.arange(20, dtype=np.int32), (len(users), 1))


def test_rows_hold_the_keys_of_the_contract(targets: split.Targets) -> None:
    rows = offline.table({"popular": constant, "slate": oracle(targets)}, targets, rng=np.random.default_rng(0))
    # 60 shoppers with two orders each: nobody is new, nobody is heavy
    assert [(row["subset"], row["model"]) for row in rows] == [
        (subset, model) for subset in ("all", "new", "shoppers-light") for model in ("popular", "slate")
    ]
    for row in rows:
        assert set(row) == KEYS | (VERSUS if row["model"] == "slate" else set())
        assert row["by"] == "ours"
        assert row["ndcg@20_low"] <= row["ndcg@20"] <= row["ndcg@20_high"]


def test_an_oracle_is_perfect_and_a_constant_is_what_arithmetic_says(targets: split.Targets) -> None:
    rankers = {"popular": constant, "slate": oracle(targets)}
    rows = offline.table(rankers, targets, ("all", "new"), rng=np.random.default_rng(0))
    by_name = {(row["subset"], row["model"]): row for row in rows}
    perfect = by_name["all", "slate"]
    for key in ("ndcg@20", "ndcg@20_low", "recall@20", "hr@20", "map@20", "mrr@20"):
        assert perfect[key] == pytest.approx(1.0)
    assert by_name["new", "slate"]["ndcg@20"] == pytest.approx(1.0)
    floor = by_name["all", "popular"]
    wanted = targets.subsets["all"].relevant.toarray()
    assert floor["users"] == N_USERS
    assert floor["recall@20"] == pytest.approx(wanted[:, :20].sum() / (2 * N_USERS))
    gains = wanted[:, :20] @ (1 / np.log2(np.arange(2, 22)))
    assert floor["ndcg@20"] == pytest.approx((gains / (1 + 1 / np.log2(3))).mean())
    assert floor["coverage@20"] == 20 / N_ITEMS
    assert perfect["vs_popular"] == pytest.approx(perfect["ndcg@20"] - floor["ndcg@20"])
    assert perfect["vs_popular_low"] > 0


def test_diversity_is_none_where_no_category_is_known(targets: split.Targets) -> None:
    (row,) = offline.table({"slate": constant}, targets, ("all",), rng=np.random.default_rng(0))
    assert row["diversity@20"] is None
    assert row["popularity@20"] == pytest.approx(float(targets.popularity[:20].mean()))
    assert not VERSUS & set(row)


def test_each_shopper_is_ranked_once_for_all_subsets_that_exclude_the_same(targets: split.Targets) -> None:
    calls: list[tuple[int, bool]] = []

    def counted(users: Indices, exclude: Matrix | None) -> Indices:
        calls.append((len(users), exclude is not None))
        return constant(users, exclude)

    offline.table({"popular": counted}, targets, rng=np.random.default_rng(0))
    assert calls == [(N_USERS, False), (N_USERS, True)]


def test_wrong_use_is_refused(targets: split.Targets) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="old"):
        offline.table({"popular": constant}, targets, ("old",), rng=rng)
    with pytest.raises(InputError, match="ranker"):
        offline.table({"popular": constant}, targets, k=10, rng=rng)


def test_scores_by_shopper_are_what_the_table_averages(targets: split.Targets) -> None:
    scores = offline.score_by_shopper(constant, targets, ("all", "organic"))
    (row,) = offline.table({"popular": constant}, targets, ("all",), rng=np.random.default_rng(0))
    assert list(scores) == ["all"]  # these targets know no organic
    assert scores["all"].mean() == pytest.approx(row["ndcg@20"])


def test_where_nobody_is_asked_there_are_no_rows_and_no_scores(targets: split.Targets) -> None:
    nobody = split.Target(sp.csr_array((N_USERS, N_ITEMS), dtype=np.float32))
    empty = split.Targets({"all": nobody}, targets.popularity, targets.levels)
    assert offline.table({"popular": constant}, empty, rng=np.random.default_rng(0)) == []
    assert offline.score_by_shopper(constant, empty)["all"].shape == (0,)


class ByNumber(Model):
    """Scores an item by its number, and what the shopper has by ten less."""

    name: ClassVar[str] = "by-number"

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        self.steps_ = np.arange(len(data.items), dtype=np.float32)

    def score(self, histories: Histories, now: Instant) -> Scores:
        owned = histories.user_items.toarray() > 0
        return np.asarray(self.steps_ - 10 * owned, dtype=np.float32)


def test_model_ranker_ranks_in_batches_and_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_dataset([(1, "a", 1), (2, "b", 1), (3, "d", 1), (3, "c", 2)], as_of=5)  # a b d c = 0 1 2 3
    model = ByNumber().fit(data)
    rank = offline.model_ranker(model, data, now=5, k=4)
    monkeypatch.setattr(model, "batches", lambda given: ByNumber.batches(model, given, cells=4))
    users = np.array([2, 0], dtype=np.int32)
    assert rank(users, None).tolist() == [[1, 0, 3, 2], [3, 2, 1, 0]]
    exclude = sp.csr_array(np.array([[0, 1, 0, 0], [0, 0, 1, 1]], dtype=np.float32))
    assert rank(users, exclude).tolist() == [[0, 3, 2, -1], [1, 0, -1, -1]]


def test_writers(targets: split.Targets) -> None:
    rows = offline.table(
        {"popular": constant, "ease": oracle(targets)}, targets, ("all",), rng=np.random.default_rng(0)
    )
    assert json.loads(offline.to_json(rows)) == rows
    head, rule, popular, ease = offline.to_markdown(rows).strip().split("\n")
    assert head.startswith("| model | subset | by | users | ndcg@20 |")
    assert rule.count("---") == len(KEYS | VERSUS)
    assert popular.endswith("| - | - | - |")
    assert "| 1.0000 |" in ease
    with pytest.raises(ValueError, match="JSON"):
        offline.to_json([{"ndcg@20": float("nan")}])
    assert "a\\|b" in offline.to_markdown([{"model": "a|b"}])


class Loads(HTMLParser):
    """Collects whatever a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.found += [value for name, value in attrs if name in {"src", "href"}]


def test_the_plot_shows_every_row_and_loads_nothing(targets: split.Targets) -> None:
    rows = offline.table({"popular": constant, "ease": oracle(targets)}, targets, rng=np.random.default_rng(0))
    drawn = plot.figure(rows)
    assert [trace["name"] for trace in drawn["data"]] == ["all", "new", "shoppers-light"]
    for trace in drawn["data"]:
        assert trace["y"] == ["popular", "ease"]
    first = drawn["data"][0]
    assert first["x"][0] - first["error_x"]["arrayminus"][0] == pytest.approx(rows[0]["ndcg@20_low"])
    assert first["x"][0] + first["error_x"]["array"][0] == pytest.approx(rows[0]["ndcg@20_high"])
    json.dumps(drawn, allow_nan=False)
    loads = Loads()
    page = plot.to_html(rows)
    loads.feed(page)
    assert loads.found == []
    assert "shoppers-light" in page
    with pytest.raises(InputError, match="hr@5"):
        plot.figure(rows, "hr@5")
    with pytest.raises(InputError, match="0 rows"):
        plot.figure([])
