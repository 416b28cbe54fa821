"""Intervals over seeds: few, paired, so Student's t."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import stdtrit

from regulars.core.bootstrap import Interval
from regulars.core.errors import InputError
from regulars.feedback.intervals import wilson

__all__ = ["paired_t", "t_interval", "wilson"]


def t_interval(values: Any, confidence: float = 0.95) -> Interval:
    """Mean +- t(n - 1) s / sqrt(n) (Student 1908); one value says nothing about spread: (-inf, inf)."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or len(sample) == 0 or not np.isfinite(sample).all():
        raise InputError("t_interval", got=f"shape {sample.shape}, or NaN", wanted="at least one finite number")
    mean, n = float(sample.mean()), len(sample)
    if n == 1:
        return Interval(mean, -math.inf, math.inf)
    reach = float(stdtrit(n - 1, 0.5 + confidence / 2) * sample.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - reach, mean + reach)


def paired_t(left: Any, right: Any, confidence: float = 0.95) -> Interval:
    """Interval of the mean of `left - right`, matched by seed."""
    first, second = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if first.shape != second.shape:
        raise InputError("paired_t", got=f"{first.shape} and {second.shape}", wanted="the same seeds")
    return t_interval(first - second, confidence)
