"""Student's intervals against published numbers, scipy and their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from regulars.core.errors import InputError
from regulars.evaluate.stats import paired_t, t_interval, wilson


def test_students_own_example() -> None:
    """Student 1908, Biometrika 6, p. 20: extra hours of sleep, ten patients; mean 1.58, t(9) = 2.262."""
    gained = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    found = t_interval(gained)
    assert found.mean == pytest.approx(1.58)
    reach = 2.2622 * 1.2299 / math.sqrt(10)
    assert (found.low, found.high) == pytest.approx((1.58 - reach, 1.58 + reach), abs=1e-3)


def test_it_equals_scipy() -> None:
    left, right = np.random.default_rng(0).normal(size=(2, 5))
    expected = scipy.stats.ttest_rel(left, right).confidence_interval(0.9)
    found = paired_t(left, right, confidence=0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_five_seeds_cover_as_often_as_they_say() -> None:
    """4000 samples of five: 95 %, within five standard errors."""
    samples = np.random.default_rng(1).normal(size=(4000, 5))
    covered = np.mean([t.low <= 0 <= t.high for t in map(t_interval, samples)])
    assert covered == pytest.approx(0.95, abs=5 * math.sqrt(0.95 * 0.05 / 4000))


def test_one_seed_says_nothing_about_spread() -> None:
    found = t_interval([2.0])
    assert (found.mean, found.low, found.high) == (2.0, -math.inf, math.inf)


def test_wilson_is_offered_here_too() -> None:
    assert float(wilson(0, 20)[1]) == pytest.approx(0.1611, abs=1e-4)


def test_unusable_values_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        t_interval([])
    with pytest.raises(InputError, match="finite"):
        t_interval([1.0, math.nan])
    with pytest.raises(InputError, match="the same seeds"):
        paired_t([1.0], [1.0, 2.0])
