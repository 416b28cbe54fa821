"""Random: uniform scores, the floor below the floor, and a probe for everything that measures.

A score is a hash of (seed of the fit, the shopper's history, the item looked at, now, item) and nothing else, so
that one shopper scored alone or among others gets the same numbers. Cost O(n x n_items).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.rng import hashes, uniforms
from regulars.models.base import Model


class Random(Model):
    """Uniform numbers in [0, 1), drawn by counter, not by state."""

    name = "random"

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Nothing: a number."""
        return 0.001

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        self.key_ = int(rng.integers(2**63))

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Uniform numbers `(n, n_items)`."""
        self._check_fitted()
        self._check_width(histories)
        shoppers = _fingerprints(self.key_, histories).view(np.int64)
        items = np.arange(self.n_items_)
        draws = uniforms(self.key_, shoppers[:, None], np.int64(now), items[None, :])
        return np.minimum(draws.astype(np.float32), np.nextafter(np.float32(1), np.float32(0)))


def _fingerprints(key: int, histories: Histories) -> NDArray[np.uint64]:
    """64 bits for each shopper, from what they did, in order, and the item they look at."""
    lengths = np.diff(histories.indptr)
    place = np.arange(len(histories.item_idx)) - np.repeat(histories.indptr[:-1], lengths)
    words = hashes(key, place, histories.item_idx, histories.kind, histories.at)
    running = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum(words, dtype=np.uint64)))  # wraps, as meant
    total = running[histories.indptr[1:]] - running[histories.indptr[:-1]]
    context = histories.context_item if histories.context_item is not None else np.full(len(histories), -1)
    return hashes(key, lengths, total.view(np.int64), context)
