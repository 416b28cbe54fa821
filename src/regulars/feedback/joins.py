"""One join: for each event, the latest earlier row of the same shopper and item."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
UNKNOWN = -1


class LatestBefore:
    """Rows with a code and an instant, indexed to find the latest row of a code at or before an instant.

    Of rows at the same instant the last one counts. Building sorts once (O(n log n)); a lookup is one binary
    search. `pairs (n,)` are codes >= 0, `at (n,)` instants.
    """

    def __init__(self, pairs: Codes, at: Codes) -> None:
        self.order: NDArray[np.int64] = np.lexsort((at, pairs)).astype(np.int64)
        # ranks instead of instants: pair x time in microseconds would not fit 64 bits
        self._instants = np.unique(at)
        self._pairs = pairs[self.order]
        self._keys = self._pairs * self._span + np.searchsorted(self._instants, at[self.order]) + 1

    @property
    def _span(self) -> int:
        return len(self._instants) + 1

    def slots(self, pairs: Codes, at: Codes) -> Codes:
        """Place in the sorted order of the latest row for each query, `UNKNOWN` where there is none."""
        if not len(self._keys):
            return np.full(len(pairs), UNKNOWN, dtype=np.int64)
        keys = pairs * self._span + np.searchsorted(self._instants, at, side="right")
        found = np.searchsorted(self._keys, keys, side="right") - 1
        same = (pairs >= 0) & (found >= 0) & (self._pairs[np.maximum(found, 0)] == pairs)
        return np.where(same, found, UNKNOWN).astype(np.int64)

    def rows(self, pairs: Codes, at: Codes) -> Codes:
        """Number of the latest row for each query, `UNKNOWN` where there is none."""
        return pick(self.order, self.slots(pairs, at))

    def running_max(self, ranks: Codes) -> Codes:
        """For each place of the sorted order, the greatest of `ranks (n,) >= 0` so far within its code."""
        base = int(ranks.max(initial=0)) + 1
        return np.maximum.accumulate(self._pairs * base + ranks[self.order]) % base


def pick(values: NDArray[Any], rows: Codes) -> Codes:
    """`values[rows]`, and `UNKNOWN` where the row is `UNKNOWN`."""
    if not len(values):
        return np.full(len(rows), UNKNOWN, dtype=np.int64)
    return np.where(rows >= 0, values[np.maximum(rows, 0)], UNKNOWN).astype(np.int64)


def pair_codes(left: Any, right: Any, n_right: int) -> Codes:
    """One code for each (left, right); `UNKNOWN` where either is unknown."""
    first, second = np.asarray(left, dtype=np.int64), np.asarray(right, dtype=np.int64)
    return np.where((first >= 0) & (second >= 0), first * max(n_right, 1) + second, UNKNOWN)


def index_in(values: NDArray[np.int64], known: NDArray[np.int64]) -> Codes:
    """Place of each value in the sorted distinct array `known`, `UNKNOWN` where absent."""
    if not len(known):
        return np.full(len(values), UNKNOWN, dtype=np.int64)
    found = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[found] == values, found, UNKNOWN).astype(np.int64)


def within(slate: Codes, decided_at: Codes, at: Codes, window: NDArray[np.int64]) -> Codes:
    """The slates that were made at most `window` before `at`, `UNKNOWN` in place of the others."""
    return np.where((slate >= 0) & (at - pick(decided_at, slate) <= window), slate, UNKNOWN)
