"""The bootstrap: coverage, A/A calibration, pairing, and its standard error in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from regulars.core import bootstrap
from regulars.core.bootstrap import intervals, paired, resampled_means
from regulars.core.errors import InputError


def test_resampled_means_have_the_standard_error_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=(400, 1))
    means = resampled_means(values, np.random.default_rng(1), n_resamples=8000)
    # the standard deviation of 8000 draws is off by 1 / sqrt(16000) = 0.8 %; five of them
    assert means.std() == pytest.approx(values.std() / np.sqrt(400), rel=0.04)
    assert means.mean() == pytest.approx(values.mean(), abs=5 * values.std() / np.sqrt(400 * 8000))


def test_a_a_rejects_five_percent() -> None:
    """1000 A/A tests: rejections within a binomial bound that fails once in a million.

    At 200 shoppers a percentile interval is a little short: its true rate lies between 5 and 5.5 %.
    """
    rng = np.random.default_rng(11)
    rejected = 0
    for _ in range(1000):
        difference = rng.exponential(size=200) - rng.exponential(size=200)
        found = paired(difference, np.zeros(200), rng, n_resamples=400)
        rejected += found.low > 0 or found.high < 0
    assert binom.ppf(5e-7, 1000, 0.05) <= rejected <= binom.isf(5e-7, 1000, 0.055)


def test_intervals_cover_the_mean_of_a_skewed_truth() -> None:
    """NDCG-like scores, mostly 0: 95 % intervals over 400 shoppers, 500 times."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(500):
        scores = np.where(rng.random(400) < 0.3, rng.beta(2, 4, size=400), 0.0)
        found = intervals(scores[:, None], rng, n_resamples=400)[0]
        covered += found.low <= 0.3 * 2 / 6 <= found.high
    assert covered >= binom.ppf(1e-6, 500, 0.94)


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(2)
    base = rng.random(500)
    found = paired(base + 0.05 + 0.1 * rng.normal(size=500), base, rng)
    assert found.low > 0
    assert found.low < found.mean < found.high


def test_pairing_removes_what_shoppers_share() -> None:
    rng = np.random.default_rng(3)
    shared = rng.normal(size=300)
    left, right = shared + 0.01 * rng.normal(size=300), shared + 0.01 * rng.normal(size=300)
    together = paired(left, right, rng)
    apart = paired(left, rng.permutation(right), rng)
    assert (apart.high - apart.low) > 20 * (together.high - together.low)


def test_columns_meet_the_same_resamples_in_parts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).normal(size=(50, 1))
    both = np.hstack([values, values + 1])
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 50 * 7)
    means = resampled_means(both, np.random.default_rng(0), n_resamples=20)
    assert means.shape == (20, 2)
    assert means[:, 1] - means[:, 0] == pytest.approx(np.ones(20))


def test_same_seed_same_interval_and_two_draws_differ() -> None:
    values = np.random.default_rng(0).normal(size=(60, 1))
    rng = np.random.default_rng(1)
    first, second = intervals(values, rng), intervals(values, rng)
    assert first != second
    assert intervals(values, np.random.default_rng(1)) == first


@pytest.mark.parametrize("values", [np.zeros((0, 1)), np.array([[np.nan]]), np.zeros(3)])
def test_unusable_scores_are_refused(values: np.ndarray) -> None:
    with pytest.raises(InputError, match="bootstrap"):
        resampled_means(values, np.random.default_rng(0))


def test_other_shoppers_are_refused() -> None:
    with pytest.raises(InputError, match="the same shoppers"):
        paired([1.0, 2.0], [1.0], np.random.default_rng(0))
