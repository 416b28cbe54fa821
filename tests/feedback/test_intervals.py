"""Wilson's interval: published numbers, the equation it solves, and its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.core.errors import InputError
from regulars.feedback.intervals import normal_quantile, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_published_intervals(successes: int, trials: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3 (score without continuity correction)."""
    found = wilson(successes, trials)
    assert [round(float(end), 4) for end in found] == [low, high]


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(1, max(1, n - 1)), st.just(n))))
def test_its_ends_solve_the_score_equation(case: tuple[int, int]) -> None:
    """At both ends |p - end| = z sqrt(end (1 - end) / n)."""
    hits, n = case
    for end in wilson(hits, n):
        if 0 < end < 1:
            assert abs(hits / n - end) == pytest.approx(1.959963984540054 * np.sqrt(end * (1 - end) / n), rel=1e-6)


def test_nothing_seen_says_nothing() -> None:
    low, high = wilson([0, 0, 5], [0, 5, 5])
    assert (low[0], high[0]) == (0, 1)
    assert low[1] == 0
    assert high[2] == 1


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    """p = 0.1, n = 200: exact coverage is 0.945; 20,000 draws, bound 5 standard errors (failure rate < 1e-6)."""
    hits = np.random.default_rng(3).binomial(200, 0.1, size=20_000)
    low, high = wilson(hits, 200)
    covered = float(((low <= 0.1) & (high >= 0.1)).mean())
    exact = _exact_coverage(200, 0.1)
    assert covered == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / 20_000))
    assert exact > 0.93


def _exact_coverage(n: int, p: float) -> float:
    from scipy.stats import binom

    counts = np.arange(n + 1)
    low, high = wilson(counts, n)
    return float(binom.pmf(counts, n, p)[(low <= p) & (high >= p)].sum())


def test_impossible_input_is_refused() -> None:
    with pytest.raises(InputError, match="successes"):
        wilson(3, 2)
    with pytest.raises(InputError, match="confidence"):
        normal_quantile(1.0)
