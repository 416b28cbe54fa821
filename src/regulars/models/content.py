"""Content: items like those the shopper had to do with, by what stands in the catalogue.

Likeness is that of `features.item_features`: a weighted mean of cosines of texts, categories, brands and prices. The
nearest items of each item are found at the fit; a score is the history's weighted sum of likenesses, item looked at
included.
Fit O(sum over features of df^2) row by row, exact; from some 10,000 items on, where features that many titles share
would make it quadratic, a fixed share of that work and nearly the same neighbours (`neighbours.nearest_rows`).
Score O(history x neighbours): works for items nobody bought yet.
"""

from __future__ import annotations

import numpy as np

from regulars.core.arrays import Cells, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.models.base import Can, Model, check_range
from regulars.models.features import item_features
from regulars.models.history import history_weights, row_sums
from regulars.models.links import add_links, leading_links
from regulars.models.neighbours import nearest_rows

CHUNK_MB = 100
ITEM_BYTES = 4000  # of a hundred features, in the copies that a fit makes of them


class Content(Model):
    """Mean likeness to the shopper's items, in [0, 1]; 0 where nothing is known of either."""

    name = "content"
    can = frozenset({Can.LINKS, Can.BECAUSE})

    def __init__(
        self, *, neighbours: int = 100, text: float = 1.0, category: float = 0.5, brand: float = 0.25,
        price: float = 0.15, power: float = 0.5, context_weight: float = 1.0, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("content: neighbours", neighbours, 1, whole=True)
        check_range("content: text", text, 0.0)
        check_range("content: category", category, 0.0)
        check_range("content: brand", brand, 0.0)
        check_range("content: price", price, 0.0)
        check_range("content: power", power, 0.0, 4.0)
        check_range("content: context_weight", context_weight, 0.0)
        check_range("content: threads", threads, 0, whole=True)
        self.neighbours, self.text, self.category, self.brand = neighbours, text, category, brand
        self.price, self.power, self.context_weight, self.threads = price, power, context_weight, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The heaps and the links both ways, a chunk of texts as features, and the features kept of each."""
        return CHUNK_MB + shape[1] * (24 * min(self.neighbours, shape[1]) + ITEM_BYTES) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        features = item_features(
            data.items, text=self.text, category=self.category, brand=self.brand, price=self.price
        )
        near = nearest_rows(features, self.neighbours, self.threads)
        self.links_: Matrix = near.T.tocsr()  # row: an item of the history, columns: the items it speaks for
        self.links_.sort_indices()

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Mean likeness to the history's items, by their weights to the power `power` `(n, n_items)`."""
        return add_links(*self.linked(histories, now))

    def linked(self, histories: Histories, now: Instant) -> tuple[Cells, Matrix]:
        """The history's weights as shares of their sum, and each item's likenesses."""
        self._check_fitted()
        self._check_width(histories)
        indptr, items, weights = history_weights(histories, self.power, self.context_weight)
        totals = np.repeat(row_sums((indptr, items, weights)), np.diff(indptr))
        shares = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)
        return (indptr, items, shares), self.links_

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """The history item that adds most to each item's score, -1 where none is like it."""
        return leading_links(*self.linked(history, now), item_idx)
