"""Sequential rules: what others took after the item taken last (SR of Ludewig & Jannach 2018, section 3.1.2).

A rule i -> j weighs 1/d each time that j stands d places after i in a session (d <= `steps`), and scores are the
rules from the newest item of the current session. Only the `k` strongest rules of an item are kept.
Fit O(events x steps), score O(rules of an item).
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


class SequentialRules(Model):
    """How often, and how soon, others took an item after the shopper's last one."""

    name = "sequential-rules"
    can = frozenset({Can.LINKS, Can.BECAUSE})

    def __init__(self, *, steps: int = 10, k: int = 500, threads: int = 1) -> None:
        check_range("sequential-rules: steps", steps, 1, 1000, whole=True)
        check_range("sequential-rules: k", k, 1, whole=True)
        check_range("sequential-rules: threads", threads, 0, whole=True)
        self.steps, self.k, self.threads = steps, k, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The rules kept, before and after they are packed, and the places of each item."""
        return (16 * shape[1] * min(self.k, shape[1]) + 64 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        sequences = training_sequences(data, by_session=True)
        alike = np.ones(len(data.items), dtype=np.float32)
        self.links_: Matrix = pair_links(sequences, alike, power_law(self.steps, 1.0), 0.0, self.k, self.threads)

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Weights of the rules from the newest item `(n, n_items)`; 0 = none leads there."""
        return add_links(*self.linked(histories, now))

    def linked(self, histories: Histories, now: Instant) -> tuple[Cells, Matrix]:
        """The newest item, and the rules from each item."""
        self._check_fitted()
        self._check_width(histories)
        return recent_cells(taken_last(histories, 1), power_law(1, 1.0)), self.links_

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """The newest item for each item that it leads to, -1 for the others."""
        return leading_links(*self.linked(history, now), item_idx)
