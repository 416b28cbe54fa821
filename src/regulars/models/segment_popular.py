"""Popularity among shoppers who tell the same of themselves: naive Bayes over attributes.

log p(i | told) = log p(i) + strength sum_a log(p(i | a) / p(i)) + a constant, where a runs over what the shopper
tells and p(i | a) = (n_ia + shrink p(i)) / (n_a + shrink) is shrunk towards the shop's own p(i) (a Dirichlet prior of
`shrink` events). `strength` 1 takes attributes for independent; below 1 it damps what several of them say twice.
The n are summed weights, so a shopper who tells nothing known gets the scores of `popular`.
Fit O(cells x attributes of a shopper), score O(n x n_items).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Floats, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.models.base import Model, check_range
from regulars.models.features import Codes, attribute_codes, attribute_rows


class SegmentPopular(Model):
    """Chance that the next interaction is with an item, given what the shopper tells."""

    name = "segment-popular"

    popularity_: Floats  # (n_items,) p(i)
    attribute_codes_: Codes
    ratios_: Matrix  # (n_codes, n_items) log ratios, less what is the same for all items of a row

    def __init__(self, *, shrink: float = 1000.0, strength: float = 0.75) -> None:
        check_range("segment-popular: shrink", shrink, 1e-6)
        check_range("segment-popular: strength", strength, 0.0, 1.0)
        self.shrink, self.strength = shrink, strength

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        taken = np.asarray(data.user_items.sum(axis=0, dtype=np.float64))
        self.popularity_ = (taken / max(taken.sum(), 1e-300)).astype(np.float32)
        self.attribute_codes_ = attribute_codes(data.users.attributes)
        told = attribute_rows(data.users.attributes, len(data.users), self.attribute_codes_)
        told.data[:] = 1.0
        counts = sp.csr_array(told.T @ data.user_items)
        # (n_ia + s p) / ((n_a + s) p) is s / (n_a + s) times what is kept here: 1 where n_ia is 0
        counts.data = np.log1p(counts.data / (self.shrink * self.popularity_[counts.indices])).astype(np.float32)
        self.ratios_ = counts

    @property
    def impersonal(self) -> bool:
        """True where no two shoppers told the same."""
        return not len(self.attribute_codes_)

    def score(self, histories: Histories, now: Instant) -> Scores:
        """P(item | told) `(n, n_items)`; rows sum to 1, an item nobody took has 0."""
        self._check_fitted()
        self._check_width(histories)
        scores = np.tile(self.popularity_, (len(histories), 1))
        told = attribute_rows(histories.attributes, len(histories), self.attribute_codes_)
        told.data[:] = self.strength
        rows = np.flatnonzero(np.diff(told.indptr))
        if not len(rows):
            return scores
        logits = (told[rows] @ self.ratios_).toarray()
        odds = scores[rows] * np.exp(logits - logits.max(axis=1, keepdims=True))
        scores[rows] = odds / np.maximum(odds.sum(axis=1, keepdims=True), np.float32(1e-30))
        return scores
