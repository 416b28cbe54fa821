"""Popularity: what everybody takes, as the chance that the next interaction is with an item.

Plain by default (column sums of the weighted matrix), the floor of every table. `half_life_days` halves events
once more on top of the Dataset's own half-life. `category_share` s mixes in the categories a shopper's history
and the item looked at lean on: (1 - s) p(i) + s sum_c p(c | shopper) p(i | c), a two-level Jelinek-Mercer mixture.
Fit O(events), score O(n x n_items).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Floats, Scores
from regulars.core.clock import DAY, Instant
from regulars.core.data import Dataset, Histories
from regulars.models.base import Model, check_range


class Popular(Model):
    """Share of the shop's interactions that an item has, by category on request."""

    name = "popular"

    def __init__(
        self, *, half_life_days: float = 0.0, category_share: float = 0.0, context_weight: float = 1.0
    ) -> None:
        check_range("popular: half_life_days", half_life_days, 0.0)
        check_range("popular: category_share", category_share, 0.0, 1.0)
        check_range("popular: context_weight", context_weight, 0.0)
        self.half_life_days, self.category_share = half_life_days, category_share
        self.context_weight = context_weight

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """A weight of every row, and counts of the items."""
        return (100 * shape[1] + 16 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        events, n_items = data.interactions, len(data.items)
        weight = events.weight.astype(np.float64)
        if self.half_life_days:
            weight *= np.exp2((events.at - data.as_of) / (self.half_life_days * DAY))
        totals = np.bincount(events.item_idx, weights=weight, minlength=n_items)
        self.popularity_ = (totals / max(totals.sum(), 1e-300)).astype(np.float32)
        known = [idx for idx, path in enumerate(data.items.category) if path]
        leaves = [data.items.category[idx] for idx in known]
        codes = {leaf: code for code, leaf in enumerate(dict.fromkeys(leaves))}
        category = np.fromiter((codes[leaf] for leaf in leaves), dtype=np.int32, count=len(leaves))
        shape = (n_items, max(1, len(codes)))
        self.members_ = sp.csr_array((np.ones(len(known), dtype=np.float32), (known, category)), shape=shape)
        inside = np.bincount(category, weights=totals[known], minlength=shape[1])
        shares = (totals[known] / np.maximum(inside[category], 1e-300)).astype(np.float32)
        self.within_ = sp.csr_array((shares, (category, known)), shape=shape[::-1])

    @property
    def impersonal(self) -> bool:
        """True unless categories are mixed in."""
        return not self.category_share

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Chance that the next interaction is with each item `(n, n_items)`; the same for all without categories."""
        self._check_fitted()
        self._check_width(histories)
        scores = np.tile(self.popularity_, (len(histories), 1))
        if not self.category_share:
            return scores
        leaning = self._leaning(histories)
        rows = np.flatnonzero(leaning.sum(axis=1) > 0)  # nothing to lean on: plain popularity
        scores[rows] *= np.float32(1.0 - self.category_share)
        scores[rows] += np.float32(self.category_share) * (sp.csr_array(leaning[rows]) @ self.within_).toarray()
        return scores

    def _leaning(self, histories: Histories) -> Floats:
        """P(category | shopper) `(n, n_categories)`; rows sum to 1, or to 0 where nothing is known."""
        leaning = (histories.user_items.maximum(0) @ self.members_).toarray()
        if histories.context_item is not None:
            rows = np.flatnonzero(histories.context_item >= 0)
            looked_at = self.members_[histories.context_item[rows]].toarray()
            own = np.maximum(leaning[rows].sum(axis=1, keepdims=True), 1.0)
            leaning[rows] += np.float32(self.context_weight) * own * looked_at
        totals = leaning.sum(axis=1, keepdims=True)
        shares: Floats = np.divide(leaning, totals, out=np.zeros_like(leaning), where=totals > 0)
        return shares
