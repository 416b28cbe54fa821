"""The interval of a share; used for every rate the shop is told."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.errors import InputError


def normal_quantile(confidence: float) -> float:
    """Half-width of the central `confidence` of a standard normal: 1.96 for 0.95."""
    if not 0 < confidence < 1:
        raise InputError("confidence", got=repr(confidence), wanted="a number in (0, 1)")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(successes: Any, trials: Any, confidence: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high of the Wilson score interval, elementwise; without trials it is [0, 1].

    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)  (Wilson 1927, JASA 22). Trials are taken as
    independent; many slates of one shopper make the true interval a little wider.
    """
    hits, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if (hits < 0).any() or (hits > n).any():
        raise InputError("wilson", got="successes outside [0, trials]", wanted="0 <= successes <= trials")
    z = normal_quantile(confidence)
    some = np.maximum(n, 1)
    share = hits / some
    scale = 1 + z**2 / some
    middle = (share + z**2 / (2 * some)) / scale
    reach = z * np.sqrt(share * (1 - share) / some + z**2 / (4 * some**2)) / scale
    low = np.where(n > 0, np.where(hits == 0, 0.0, middle - reach), 0.0)
    high = np.where(n > 0, np.where(hits == n, 1.0, middle + reach), 1.0)
    return low, high
