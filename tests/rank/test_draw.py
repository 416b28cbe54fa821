"""The draw: propensities are exact, by enumeration and by counting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from regulars.core.settings import RankSettings
from regulars.rank.draw import Drawn, draw

NO_PINS = np.zeros((1, 0), dtype=np.int32)


def draw_many(
    scores: list[float], category: list[int], rank: RankSettings, limit: int, n: int, seed: int = 0
) -> Drawn:
    return draw(
        np.tile(np.array(scores, dtype=np.float32), (n, 1)), np.tile(np.array(category, dtype=np.int32), (n, 1)),
        np.zeros((n, 0), dtype=np.int32), np.full(n, limit, dtype=np.int32), rank,
        np.random.default_rng(seed).random((n, limit)),
    )  # fmt: skip


def expected(
    scores: list[float], category: list[int], rank: RankSettings, limit: int, slate: tuple[int, ...]
) -> float:
    """P(slate), written out a second way from the docstring's definition."""
    worth = np.array(scores, dtype=np.float32)
    unit = float(worth.max() - worth.mean())
    p = 1.0
    for position, column in enumerate(slate):
        left = [c for c in range(len(scores)) if c not in slate[:position]]
        value = {
            c: worth[c] - np.float32(rank.diversity * unit) * sum(
                category[c] >= 0 and category[above] == category[c] for above in slate[:position])
            for c in left
        }  # fmt: skip
        order = sorted(left, key=lambda c: (-value[c], c))
        if rank.explore == "off" or position < limit - rank.explore_positions:
            p *= float(column == order[0])
            continue
        pool = order[: rank.explore_pool]
        if rank.explore == "epsilon":
            p *= (1 - rank.epsilon) * (column == order[0]) + rank.epsilon / len(pool) * (column in pool)
        else:
            weights = {c: np.exp((value[c] - value[order[0]]) / (rank.temperature * unit)) for c in pool}
            p *= weights.get(column, 0.0) / sum(weights.values())
    return p


CASES = [
    RankSettings(explore="epsilon", epsilon=0.3, explore_positions=2, explore_pool=3, diversity=0.2),
    RankSettings(explore="epsilon", epsilon=1.0, explore_positions=3, explore_pool=5, diversity=0.0),
    RankSettings(explore="softmax", temperature=0.5, explore_positions=2, explore_pool=4, diversity=0.3),
    RankSettings(explore="softmax", temperature=0.2, explore_positions=3, explore_pool=5, diversity=0.0),
    RankSettings(explore="off", diversity=0.4),
]
SCORES, CATEGORY = [2.0, 1.5, 1.0, 0.5, 0.25], [0, 0, 1, 1, -1]


@pytest.mark.parametrize("rank", CASES, ids=lambda rank: f"{rank.explore}-{rank.explore_positions}")
def test_logged_propensities_equal_the_definition_and_slates_sum_to_one(rank: RankSettings) -> None:
    drawn = draw_many(SCORES, CATEGORY, rank, limit=3, n=20_000)
    seen = {
        tuple(places): float(p) for places, p in zip(drawn.place.tolist(), drawn.propensity.prod(axis=1), strict=True)
    }
    for slate, p in seen.items():
        assert p == pytest.approx(expected(SCORES, CATEGORY, rank, 3, slate), rel=1e-5)
    every = itertools.permutations(range(5), 3)
    assert sum(expected(SCORES, CATEGORY, rank, 3, slate) for slate in every) == pytest.approx(1.0)
    possible = {s for s in itertools.permutations(range(5), 3) if expected(SCORES, CATEGORY, rank, 3, s) > 2e-3}
    assert possible <= set(seen), "a slate that the definition allows was never drawn"


@pytest.mark.parametrize("rank", CASES[:4], ids=lambda rank: f"{rank.explore}-{rank.explore_positions}")
def test_frequencies_over_100_000_draws_fit_the_propensities(rank: RankSettings) -> None:
    n = 100_000
    drawn = draw_many(SCORES, CATEGORY, rank, limit=3, n=n, seed=7)
    slates, counts = np.unique(drawn.place, axis=0, return_counts=True)
    hoped = np.array([expected(SCORES, CATEGORY, rank, 3, tuple(slate)) for slate in slates.tolist()]) * n
    rare = hoped < 5
    observed = np.append(counts[~rare], counts[rare].sum())
    expectation = np.append(hoped[~rare], n - hoped[~rare].sum())
    chi2 = float(((observed - expectation) ** 2 / np.maximum(expectation, 1e-9))[expectation > 1e-6].sum())
    assert stats.chi2.sf(chi2, df=int((expectation > 1e-6).sum()) - 1) > 1e-6


def test_a_wrong_propensity_would_be_caught() -> None:
    """Negative control: frequencies drawn with epsilon 0.3 do not fit propensities of epsilon 0.35."""
    said = RankSettings(explore="epsilon", epsilon=0.35, explore_positions=1, explore_pool=4, diversity=0.0)
    done = RankSettings(explore="epsilon", epsilon=0.30, explore_positions=1, explore_pool=4, diversity=0.0)
    drawn = draw_many(SCORES, CATEGORY, done, limit=1, n=100_000, seed=3)
    counts = np.bincount(drawn.place[:, 0], minlength=4)[:4]
    hoped = np.array([expected(SCORES, CATEGORY, said, 1, (c,)) for c in range(4)]) * 100_000
    assert stats.chi2.sf(float(((counts - hoped) ** 2 / hoped).sum()), df=3) < 1e-6


def test_pins_come_first_with_propensity_one_and_are_not_shown_twice() -> None:
    scores = np.array([[3.0, 2.0, 1.0, 0.0]], dtype=np.float32)
    drawn = draw(
        scores, np.full((1, 4), -1, dtype=np.int32), np.array([[2]], dtype=np.int32), np.array([3], dtype=np.int32),
        RankSettings(explore="off"), np.zeros((1, 3)),
    )  # fmt: skip
    assert drawn.place.tolist() == [[2, 0, 1]]
    assert drawn.propensity.tolist() == [[1.0, 1.0, 1.0]]


def test_diversity_lifts_another_category() -> None:
    scores, category = [2.0, 1.9, 1.0], [0, 0, 1]
    same = draw_many(scores, category, RankSettings(explore="off", diversity=0.0), 2, 1)
    mixed = draw_many(scores, category, RankSettings(explore="off", diversity=3.0), 2, 1)
    assert same.place.tolist() == [[0, 1]]
    assert mixed.place.tolist() == [[0, 2]]


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.floats(-5, 5, width=32) | st.just(-np.inf), min_size=1, max_size=8),
    limit=st.integers(1, 10), explore=st.sampled_from(["off", "epsilon", "softmax"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_draw_is_a_slate(scores: list[float], limit: int, explore: str, seed: int) -> None:
    """Distinct available items, no holes, propensities in (0, 1], as long as there is something to show."""
    rank = RankSettings(explore=explore, epsilon=0.5, explore_positions=4, explore_pool=3)
    drawn = draw_many(scores, [-1] * len(scores), rank, limit, 1, seed)
    places = [place for place in drawn.place[0].tolist() if place >= 0]
    available = [place for place, score in enumerate(scores) if score > -np.inf]
    assert len(places) == len(set(places)) == min(limit, len(available))
    assert set(places) <= set(available)
    assert ((drawn.propensity[0, : len(places)] > 0) & (drawn.propensity[0, : len(places)] <= 1 + 1e-12)).all()
