"""Percentile bootstrap over shoppers (Efron 1979): resample shoppers, keep everything of a shopper together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.errors import InputError

RESAMPLES = 1000
_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean with the low and high of its interval."""

    mean: float
    low: float
    high: float


def resampled_means(values: Any, rng: np.random.Generator, n_resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Means of `values (n_shoppers, m)` in each resample, `(n_resamples, m)`.

    All columns meet the same resamples, so differences of columns are paired.
    """
    table = np.asarray(values, dtype=np.float64)
    n = len(table)
    if table.ndim != 2 or n == 0 or not np.isfinite(table).all():
        raise InputError("bootstrap", got=f"shape {table.shape}, or NaN", wanted="(n_shoppers, m) finite numbers")
    step = max(1, _DRAWS_AT_ONCE // n)
    means = []
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        drawn = rng.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        means.append(times @ table / n)
    return np.concatenate(means)


def intervals(
    values: Any, rng: np.random.Generator, *, confidence: float = 0.95, n_resamples: int = RESAMPLES
) -> list[Interval]:
    """Mean and percentile interval of each column of `values (n_shoppers, m)`."""
    means = resampled_means(values, rng, n_resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    centre = np.mean(values, axis=0)
    return [Interval(float(m), float(lo), float(hi)) for m, lo, hi in zip(centre, low, high, strict=True)]


def paired(
    left: Any, right: Any, rng: np.random.Generator, *, confidence: float = 0.95, n_resamples: int = RESAMPLES
) -> Interval:
    """Interval of the mean difference `left - right` of the same shoppers, `(n_shoppers,)` each."""
    first, second = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise InputError("paired", got=f"{first.shape} and {second.shape}", wanted="the same shoppers, one axis")
    return intervals((first - second)[:, None], rng, confidence=confidence, n_resamples=n_resamples)[0]
