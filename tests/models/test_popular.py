"""Popularity against arithmetic, against published rows, and by category."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from models.conftest import AS_OF
from regulars.core.clock import DAY
from regulars.core.data import CART, PURCHASE, Dataset, Histories
from regulars.models.popular import Popular


@given(hnp.arrays(np.float32, (5, 7), elements=st.integers(0, 4)))
def test_plain_popularity_is_column_sums(matrix: NDArray[np.float32]) -> None:
    scores = Popular().fit(matrix).score(Histories.from_matrix(matrix[:2]), 0)
    wanted = matrix.sum(axis=0) / max(1.0, matrix.sum())
    np.testing.assert_allclose(scores, np.tile(wanted, (2, 1)), rtol=1e-6)


def test_an_event_weighs_half_after_each_half_life(dataset_of: Callable[..., Dataset]) -> None:
    events = [(0, 0, PURCHASE, AS_OF), (0, 1, PURCHASE, AS_OF - 30 * DAY), (0, 2, CART, AS_OF - 60 * DAY)]
    data = dataset_of(events, (1, 3))
    scores = Popular(half_life_days=30).fit(data).score(data.histories(), AS_OF)[0]
    np.testing.assert_allclose(scores, np.array([1, 1 / 2, 0.25 / 4]) / (1 + 1 / 2 + 0.25 / 4), rtol=1e-6)


@pytest.fixture
def by_category(dataset_of: Callable[..., Dataset]) -> Dataset:
    """Tea: items 0 (3 sold) and 1 (1 sold); cups: 2 (6) and 3 (0); item 4 (2) has no category."""
    sold = [3, 1, 6, 0, 2]
    events = [(user, item, PURCHASE, AS_OF) for item, n in enumerate(sold) for user in range(n)]
    data = dataset_of(events, (8, 5))
    return replace(data, items=replace(data.items, category=[("tea",), ("tea",), ("cups",), ("cups",), ()]))


def test_by_category_is_the_mixture_of_its_equation(by_category: Dataset) -> None:
    """This shopper took tea twice as often as cups, so p(tea) = 2/3."""
    model = Popular(category_share=0.3).fit(by_category)
    scores = model.score(Histories.from_matrix(np.array([[1, 1, 1, 0, 0]])), AS_OF)[0]
    overall = np.array([3, 1, 6, 0, 2]) / 12
    leaning = 2 / 3 * np.array([3 / 4, 1 / 4, 0, 0, 0]) + 1 / 3 * np.array([0, 0, 1, 0, 0])
    np.testing.assert_allclose(scores, 0.7 * overall + 0.3 * leaning, rtol=1e-6)
    assert scores.sum() == pytest.approx(1, abs=1e-6)


def test_who_leans_on_nothing_gets_plain_popularity(by_category: Dataset) -> None:
    plain, mixed = (Popular(category_share=share).fit(by_category) for share in (0.0, 0.9))
    nothing = Histories.from_matrix(np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, 5]]))
    np.testing.assert_array_equal(mixed.score(nothing, AS_OF), plain.score(nothing, AS_OF))


def test_the_item_looked_at_lifts_its_category(by_category: Dataset) -> None:
    model = Popular(category_share=0.5).fit(by_category)
    history = Histories.from_matrix(np.array([[1, 0, 0, 0, 0]] * 2))
    looking = replace(history, context_item=np.array([3, -1], dtype=np.int32))
    with_cup, without = model.score(looking, AS_OF)
    assert with_cup[2] - without[2] == pytest.approx(0.5 * 0.5, abs=1e-6)  # cups now half of the leaning
    assert with_cup[0] < without[0]
    np.testing.assert_array_equal(without, model.score(history, AS_OF)[1])


def test_most_popular_on_ml1m_as_published(data_folder: Path) -> None:
    """NCF protocol, 99 published negatives: HR@10 0.4538, NDCG@10 0.2543 (Ferrari Dacrema et al. 0.4533/0.2542)."""
    pairs = pq.read_table(data_folder / "ml1m" / "interactions.parquet")
    test = pq.read_table(data_folder / "ml1m" / "ncf_test.parquet")
    train = ~pairs["is_ncf_test"].to_numpy()
    users, items = pairs["user_id"].to_numpy(), pairs["movie_id"].to_numpy()
    cells = (np.ones(int(train.sum()), dtype=np.float32), (users[train], items[train]))
    matrix = sp.coo_array(cells, shape=(users.max() + 1, items.max() + 1)).tocsr()
    scores = Popular().fit(matrix).score(Histories.from_matrix(matrix[[1]]), 0)[0]
    ranks = []
    for positive, negatives in zip(test["movie_id"].to_pylist(), test["negatives"].to_pylist(), strict=True):
        others = np.array(sorted(set(negatives) - {positive}))  # 156 lists hold the positive itself
        ranks.append(int((scores[others] > scores[positive]).sum()))  # ties in favour, as those who published
    rank = np.array(ranks)
    hit = rank < 10
    assert len(rank) == 6040
    assert hit.mean() == pytest.approx(0.4538, abs=5e-4)
    assert (hit / np.log2(rank + 2)).mean() == pytest.approx(0.2543, abs=5e-4)
