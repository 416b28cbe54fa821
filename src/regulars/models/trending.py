"""Trending: what is taken more often lately than its own past would let expect.

With r events of an item in the last `window_days` and e expected (its share of everything before, times all
recent events, so that a busy week lifts nothing), the score is 2 (sqrt(r + 3/8) - sqrt(e + 3/8)): nearly
standard normal when nothing changed (variance-stabilising transform of a Poisson count, Anscombe 1948), so that
one sale of a rare item does not beat a real wave. Fit O(events), score O(n x n_items).
"""

from __future__ import annotations

import numpy as np

from regulars.core.arrays import Scores
from regulars.core.clock import DAY, Instant
from regulars.core.data import Dataset, Histories
from regulars.models.base import Model, check_range

PIECE = 1 << 18  # events that are counted at once: what is written in between stays in the cache


class Trending(Model):
    """Recent count against the long-run rate, in standard deviations; the same for every shopper."""

    name = "trending"

    def __init__(self, *, window_days: float = 7.0) -> None:
        check_range("trending: window_days", window_days, 0.01, 3650)
        self.window_days = window_days

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The items of the rows on either side of the window, and counts of the items."""
        return (48 * shape[1] + 16 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        events, n_items = data.interactions, len(data.items)
        recent, before = np.zeros(n_items, dtype=np.int64), np.zeros(n_items, dtype=np.int64)
        for start in range(0, len(events), PIECE):
            piece = slice(start, start + PIECE)
            liked = events.weight[piece] > 0
            lately = events.at[piece] >= data.as_of - self.window_days * DAY
            recent += np.bincount(events.item_idx[piece][liked & lately], minlength=n_items)
            before += np.bincount(events.item_idx[piece][liked & ~lately], minlength=n_items)
        expected = before * (recent.sum() / max(1, before.sum()))
        self.surprise_ = (2.0 * (np.sqrt(recent + 0.375) - np.sqrt(expected + 0.375))).astype(np.float32)

    @property
    def impersonal(self) -> bool:
        """True: a wave is the shop's."""
        return True

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Standard deviations above the long-run rate `(n, n_items)`."""
        self._check_fitted()
        self._check_width(histories)
        return np.tile(self.surprise_, (len(histories), 1))
