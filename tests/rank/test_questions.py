"""Questions to new shoppers: the design by brute force, what it passes over, and what it is good for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rank.conftest import Shop, goods
from regulars.core.data import Histories
from regulars.core.errors import InputError
from regulars.models.als import ALS
from regulars.rank import questions as module
from regulars.rank.questions import NOISE, ask, may_ask, questions


def brute(y: NDArray[np.float64], p: NDArray[np.float64], k: int, spread: NDArray[np.float64]) -> list[int]:
    """Each step's variance of all predictions after each possible answer, in full matrices of items."""
    left = y @ spread @ y.T  # covariance of all predictions
    noise = NOISE * (p @ np.diag(left)) / p.sum()
    chosen: list[int] = []
    for _ in range(k):
        after = [left - p[i] * np.outer(left[i], left[i]) / (noise + left[i, i]) for i in range(len(y))]
        value = [np.inf if i in chosen else float(p @ np.diag(each)) for i, each in enumerate(after)]
        chosen.append(int(np.argmin(value)))
        left = after[chosen[-1]]
    return chosen


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_the_design_by_brute_force(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, chance = rng.normal(size=(12, 3)).astype(np.float32), rng.uniform(0.05, 1, 12).astype(np.float32)
    y, p, spread = vectors.astype(np.float64), chance.astype(np.float64), np.cov(rng.normal(size=(3, 9)))
    assert questions(vectors, chance, k, spread=spread).tolist() == brute(y, p, k, spread)
    assert questions(vectors, chance, k).tolist() == brute(y, p, k, y.T @ y / 12)


def test_a_twin_waits_and_a_stranger_is_passed_over() -> None:
    """Item 1 says what item 0 said; item 3 says as much as item 2, to one in a hundred."""
    y = np.array([[1, 0], [1, 0], [0, 0.9], [0, 0.9]], dtype=np.float32)
    chance = np.array([0.9, 0.89, 0.8, 0.008], dtype=np.float32)
    assert questions(y, chance, 2).tolist() == [0, 2]
    assert questions(y, chance, 1, asked=np.array([0], dtype=np.int32)).tolist() == [2]
    assert questions(y, chance, 9, allowed=np.array([False, True, False, True])).tolist() == [1, 3]
    assert questions(y, chance, 0).tolist() == []


@pytest.mark.parametrize("vectors", [np.zeros((0, 2)), np.zeros((3, 2)), np.ones((1, 1))])
def test_thin_factors_are_no_error(vectors: NDArray[np.float64]) -> None:
    found = questions(vectors.astype(np.float32), np.zeros(len(vectors), dtype=np.float32), 2)
    assert len(set(found.tolist())) == len(found) == min(2, len(vectors))


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="chance: got 2 rows, wanted 3 rows"):
        questions(np.ones((3, 1), np.float32), np.ones(2, np.float32), 1)
    with pytest.raises(InputError, match="k: got -1"):
        questions(np.ones((3, 1), np.float32), np.ones(3, np.float32), -1)


def test_rare_items_are_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORTLIST", 2)
    y, p = np.array([[9.0], [1.0], [1.0]], dtype=np.float32), np.array([0.1, 0.5, 0.6], dtype=np.float32)
    assert questions(y, p, 3).tolist() == [2, 1]


def told_kinds(seed: int) -> tuple[float, float]:
    """How often ten answers tell a shopper's kind: those asked for, and those about what is taken most.

    Five kinds of shoppers, and items that everybody takes: the design asks about none of these.
    """
    rng = np.random.default_rng(seed)
    kind, group = rng.integers(0, 5, 400), np.repeat(np.arange(-1, 5), 10)  # items of all, then of each kind
    liking = np.where(group == -1, 0.6, np.where(kind[:, None] == group, 0.5, 0.01))
    taken = (rng.random((400, 60)) < liking).astype(np.float32)
    model = ALS(factors=8).fit(taken[:300])
    shares = taken[:300].mean(axis=0).astype(np.float32)
    chosen = questions(model.item_vectors, shares, 10, spread=model.spread)
    assert (group[chosen] >= 0).all()
    own = group == kind[300:, None]

    def right(items: NDArray[np.int32]) -> float:
        said = np.zeros((100, 60))
        said[:, items] = taken[300:, items]
        scores = model.score(Histories.from_matrix(said), 0)
        rest = (scores * (~own & (group >= 0))).sum(axis=1) / 40
        return float(((scores * own).sum(axis=1) / 10 > rest).mean())

    return right(chosen), right(np.argsort(-shares)[:10].astype(np.int32))


def test_answers_tell_more_than_those_about_what_everybody_takes() -> None:
    chosen, popular = np.mean([told_kinds(seed) for seed in range(4)], axis=0)
    assert chosen > popular + 0.1


def test_a_shop_asks_about_what_it_sells_and_not_twice() -> None:
    """Without factors, about what most have bought."""
    shop = Shop(goods("abcd"))
    shop.bundle.item_facts.buyers[:] = [1, 5, 3, 9]
    shop.change(goods("d", available=False)[0])
    shop.did("wishlist", "b", user_key=7)
    assert [ask(shop.bundle, 20, *may_ask(key, shop.state, shop.bundle), 3).tolist() for key in (7, 8)] == [
        [2, 0], [1, 2, 0]
    ]  # fmt: skip
