"""Next basket: shares of baskets by hand, neighbours a second way, and repeats apart from discoveries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regulars.core.data import PURCHASE, VIEW, Dataset
from regulars.models.next_basket import NextBasket

Baskets = Sequence[Sequence[Sequence[int]]]  # of shoppers, oldest first
N_ITEMS = 6
SHOPS = st.lists(
    st.lists(st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=4), max_size=5), min_size=1, max_size=6
)


def shop(baskets: Baskets) -> Dataset:
    rows = [
        (user, item, at) for user, mine in enumerate(baskets) for at, basket in enumerate(mine) for item in basket
    ]
    user, item, at = (np.array([row[part] for row in rows], dtype=np.int64) for part in range(3))
    return Dataset.from_events(user, item, (len(baskets), N_ITEMS), at=at)


def shares(baskets: Baskets, decay: float, group: int, group_decay: float) -> NDArray[np.float64]:
    """The definition, basket by basket."""
    out = np.zeros((len(baskets), N_ITEMS))
    for user, mine in enumerate(baskets):
        for age, basket in enumerate(reversed(mine)):
            for item in set(basket):
                out[user, item] += decay ** (age % group) * group_decay ** (age // group) / len(mine)
    return out


def plain(**settings: float) -> NextBasket:
    """The own part alone, as it is, unless told otherwise."""
    off = {"again_prior": 1e12, "neighbour_weight": 0.0, "popularity_weight": 0.0}
    return NextBasket(**{**off, **settings})  # type: ignore[arg-type]


@given(baskets=SHOPS, decay=st.floats(0.1, 1.0), group=st.integers(1, 3))
def test_the_own_part_is_the_decayed_share_of_baskets(baskets: Baskets, decay: float, group: int) -> None:
    data = shop(baskets)
    scores = plain(decay=decay, group=group, group_decay=0.5).fit(data).score(data.histories(), data.as_of)
    np.testing.assert_allclose(scores, shares(baskets, decay, group, 0.5), rtol=1e-5, atol=1e-7)


@given(baskets=SHOPS)
def test_neighbours_are_the_mean_of_the_likest(baskets: Baskets) -> None:
    data, own = shop(baskets), shares(baskets, 0.9, 7, 0.8)
    unit = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-30)
    likeness = unit @ unit.T
    k = 2
    scores = plain(neighbours=k, neighbour_weight=1.0).fit(data).score(data.histories(), data.as_of)
    for row, near in enumerate(likeness):
        bar = np.sort(near)[::-1][min(k, len(near)) - 1]
        if (np.abs(near - bar) < 1e-5).sum() > (np.sort(near)[::-1][:k] >= bar - 1e-5).sum():
            continue  # who of equals comes first hangs on rounding
        chosen = [other for other in np.argsort(-near, kind="stable")[:k] if near[other] > 0]
        wanted = own[row] + (own[chosen].mean(axis=0) if chosen else 0)
        np.testing.assert_allclose(scores[row], wanted, rtol=1e-4, atol=1e-6)


def test_an_item_that_buyers_come_back_for_counts_for_more() -> None:
    """Both bought once by the shopper asked about; of the others, item 0's buyers came back and item 1's did not."""
    data = shop([[[0, 1]], *[[[0], [0], [0]]] * 5, *[[[1], [2], [3]]] * 5])
    model = plain(again_prior=1.0).fit(data)
    scores = model.score(data.histories(), data.as_of)[0]
    assert scores[0] > 2 * scores[1] > 0
    buyers, again = np.array([6, 6]), np.array([5, 0])  # of items 0 and 1
    mean = 5 / (6 + 6 + 5 + 5)  # pairs of a shopper and an item that were met in a second basket
    np.testing.assert_allclose(model.again_[:2], (again + mean) / (buyers + 1) / mean, rtol=1e-5)


def test_popularity_is_that_of_the_last_baskets() -> None:
    data = shop([[[0], [1]], [[0], [1, 2]], [[0], [2]], [[1]], []])
    scores = plain(popularity_weight=1.0, decay=0.0, group_decay=0.0).fit(data).score(data.histories(), data.as_of)
    np.testing.assert_allclose(scores[4], [0, 3 / 4, 2 / 4, 0, 0, 0])


@given(baskets=SHOPS)
def test_repeats_and_discoveries_share_the_scores_between_them(baskets: Baskets) -> None:
    data = shop(baskets)
    both, repeat, explore = (
        NextBasket(part=part).fit(data).score(data.histories(), data.as_of) for part in ("both", "repeat", "explore")
    )
    bought = sp.csr_array(data.user_items).toarray() > 0
    np.testing.assert_array_equal(repeat, np.where(bought, both, -np.inf))
    np.testing.assert_array_equal(explore, np.where(bought, -np.inf, both))


def test_only_purchases_make_a_basket() -> None:
    rows = ([0, 0, 0, 1], [0, 1, 2, 3], (2, N_ITEMS))
    kinds = [PURCHASE, VIEW, PURCHASE, VIEW]
    data = Dataset.from_events(*rows, at=[0, 1, 2, 3], kind=kinds)
    scores = plain().fit(data).score(data.histories(), data.as_of)
    assert (scores[0] > 0).tolist() == [True, False, True, False, False, False]
    assert not scores[1].any()


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_shopper_not_seen_at_the_fit_is_near_to_those_who_bought_the_same(order: list[int]) -> None:
    known = shop([[[0], [0, 3]], [[0, 3]], [[1], [1, 4]], [[1, 4]]])
    model = NextBasket(popularity_weight=0.0).fit(known)
    asked = shop([[[item]] for item in order])
    first, _ = model.recommend(asked.histories(), k=1)
    assert first[:, 0].tolist() == [item + 3 for item in order]
