"""Popularity by what shoppers tell: its equation, its limits, and a planted truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regulars.core.data import Dataset, Histories
from regulars.models.popular import Popular
from regulars.models.segment_popular import SegmentPopular

Told = Sequence[dict[str, Any]]


def telling(matrix: NDArray[Any], told: Told) -> Dataset:
    data = Dataset.from_matrix(matrix)
    return replace(data, users=replace(data.users, attributes=list(told)))


def newcomers(n_items: int, told: Told) -> Histories:
    return replace(Histories.from_matrix(np.zeros((len(told), n_items))), attributes=list(told))


def test_scores_by_the_equation() -> None:
    matrix = np.array([[2.0, 1, 0], [1, 0, 0], [0, 3, 0], [0, 1, 0]])
    told = [
        {"sex": "f", "town": "A"},
        {"sex": "f", "town": "B"},
        {"sex": "m", "town": "A"},
        {"sex": "m", "town": "B"},
    ]
    model = SegmentPopular(shrink=4.0, strength=0.5).fit(telling(matrix, told))
    p = np.array([3, 5]) / 8
    women, towns = (np.array([3, 1]) + 4 * p) / (4 + 4), (np.array([2, 4]) + 4 * p) / (6 + 4)
    odds = p * np.sqrt(women / p) * np.sqrt(towns / p)
    found = model.score(newcomers(3, [told[0], {"sex": "f", "town": "nowhere"}]), 0)
    np.testing.assert_allclose(found[0], [*(odds / odds.sum()), 0], rtol=1e-5)
    odds = p * np.sqrt(women / p)
    np.testing.assert_allclose(found[1], [*(odds / odds.sum()), 0], rtol=1e-5)


@given(st.integers(0, 2**32 - 1))
def test_who_tells_nothing_known_gets_popularity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.poisson(0.7, (12, 7))
    told = [{"kind": int(kind)} for kind in rng.integers(0, 3, 12)]
    model = SegmentPopular().fit(telling(matrix, told))
    popular = Popular().fit(matrix).score(Histories.from_matrix(np.zeros((1, 7))), 0)[0]
    found = model.score(newcomers(7, [{}, {"kind": 99}, {"other": 1}, {"kind": 1}]), 0)
    for row in found[:3]:
        np.testing.assert_array_equal(row, popular)
    if popular.any():
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert ((found > 0) == (popular > 0)).all()


@pytest.mark.parametrize(("shrink", "strength"), [(1e12, 1.0), (10.0, 0.0)])
def test_far_enough_shrunk_it_is_popularity(shrink: float, strength: float) -> None:
    told = [{"kind": row % 2} for row in range(20)]
    matrix = np.random.default_rng(0).poisson(1.0, (20, 6))
    model = SegmentPopular(shrink=shrink, strength=strength).fit(telling(matrix, told))
    popular = Popular().fit(matrix).score(Histories.from_matrix(np.zeros((1, 6))), 0)[0]
    np.testing.assert_allclose(model.score(newcomers(6, [{"kind": 1}]), 0)[0], popular, rtol=1e-5)


def test_it_finds_what_segments_like_and_no_more() -> None:
    """Closer to each segment's true chances than popularity is; of attributes drawn by lot, hardly away from it."""
    rng = np.random.default_rng(1)
    chances = rng.dirichlet(np.full(30, 0.5), 3)
    kinds = rng.integers(0, 3, 600)
    matrix = np.array([rng.multinomial(8, chances[kind]) for kind in kinds])

    def distance(told: NDArray[np.int64]) -> tuple[float, float]:
        model = SegmentPopular(shrink=100.0, strength=1.0).fit(telling(matrix, [{"kind": int(k)} for k in told]))
        found = model.score(newcomers(30, [{"kind": kind} for kind in range(3)]), 0)
        return float(abs(found - chances).sum(axis=1).mean()), float(
            abs(found - model.popularity_).sum(axis=1).mean()
        )

    popular = matrix.sum(axis=0) / matrix.sum()
    floor = float(abs(popular - chances).sum(axis=1).mean())
    assert distance(kinds)[0] < 0.25 * floor
    assert distance(rng.permutation(kinds))[1] < 0.15 * floor


def test_only_what_is_told_makes_it_personal() -> None:
    assert SegmentPopular().fit(np.ones((3, 2))).impersonal
    assert SegmentPopular().fit(telling(np.ones((2, 2)), [{"kind": 1}, {"kind": 2}])).impersonal  # nothing shared
    assert not SegmentPopular().fit(telling(np.ones((2, 2)), [{"kind": 1}, {"kind": 1}])).impersonal
