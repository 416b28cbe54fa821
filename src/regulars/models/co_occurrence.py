"""Decayed co-occurrence: what stands near the last items of a history in the sequences of others.

A count-based model without learning, known to beat published sequence models on sparse shops. With c_ij the pairs
of i and, d places later, j, each worth d^-decay (`backward` times that where j came first), and n_j how often j was
taken, an item's score is sum over the last items i, of which the r-th newest weighs r^-history_decay, of
c_ij n_i^-source_power n_j^-power. `window` bounds both distances; of an item's links the `k` strongest are kept.
Fit O(events x window), score O(window x links of an item).
"""

from __future__ import annotations

import numpy as np

from regulars.core.arrays import Cells, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.models.base import Can, Model, check_range
from regulars.models.links import add_links, leading_links
from regulars.models.pair_links import pair_links
from regulars.models.sequences import power_law, recent_cells, taken_last, training_sequences


class CoOccurrence(Model):
    """Sum over the last items of how often, and how near, others took an item with them."""

    name = "co-occurrence"
    can = frozenset({Can.LINKS, Can.BECAUSE})

    def __init__(
        self, *, window: int = 10, decay: float = 0.5, backward: float = 0.25, history_decay: float = 1.0,
        power: float = 0.1, source_power: float = 0.3, k: int = 500, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("co-occurrence: window", window, 1, 1000, whole=True)
        check_range("co-occurrence: decay", decay, 0.0, 10.0)
        check_range("co-occurrence: backward", backward, 0.0, 1.0)
        check_range("co-occurrence: history_decay", history_decay, 0.0, 10.0)
        check_range("co-occurrence: power", power, 0.0, 2.0)
        check_range("co-occurrence: source_power", source_power, 0.0, 2.0)
        check_range("co-occurrence: k", k, 1, whole=True)
        check_range("co-occurrence: threads", threads, 0, whole=True)
        self.window, self.decay, self.backward, self.history_decay = window, decay, backward, history_decay
        self.power, self.source_power, self.k, self.threads = power, source_power, k, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The links kept, before and after they are packed, and the places of each item."""
        return (16 * shape[1] * min(self.k, shape[1]) + 64 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        sequences = training_sequences(data, by_session=False)
        taken = np.maximum(np.bincount(sequences.item_idx, minlength=len(data.items)), 1).astype(np.float32)
        worth = taken ** np.float32(-self.power)
        links = pair_links(sequences, worth, power_law(self.window, self.decay), self.backward, self.k, self.threads)
        links.data *= np.repeat(taken ** np.float32(-self.source_power), np.diff(links.indptr))
        self.links_ = links

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Decayed sum of the links from the last items `(n, n_items)`; 0 = none of them leads there."""
        return add_links(*self.linked(histories, now))

    def linked(self, histories: Histories, now: Instant) -> tuple[Cells, Matrix]:
        """The last items with their weights, and the links from each item."""
        self._check_fitted()
        self._check_width(histories)
        recent = taken_last(histories, self.window)
        return recent_cells(recent, power_law(self.window, self.history_decay)), self.links_

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """The history item that adds most to each item's score, -1 where none leads there."""
        return leading_links(*self.linked(history, now), item_idx)
