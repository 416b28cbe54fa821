"""Item neighbours by cosine (Sarwar et al. 2001), damped for rare pairs.

s_ij = x_i'x_j / (|x_i|^2a |x_j|^2(1-a) + shrink) over columns x of the users x items matrix; each item i keeps its
`k` largest, and its score is the sum over its neighbours j in the history. An `asymmetry` a of 0.5 is the cosine,
others the asymmetric cosine (Aiolli 2013): the smaller, the more full items score. Cells may be weighted by tf-idf
or BM25 (an item as the text, its shoppers as the words). Long histories say less of each of their items: a shopper
with n items counts n^-user_power (0 = plain cosine).
Fit O(sum n_u^2 / 2) additions, never more than one row dense. Score O(history x links of an item).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Cells, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.models.base import Can, Model, check_range
from regulars.models.history import history_weights
from regulars.models.links import add_links, leading_links
from regulars.models.nearest import lengths, nearest
from regulars.models.weighting import check_weighting, idf, mean_length, weighted


class ItemKNN(Model):
    """Sum of the cosine similarities between an item and the history."""

    name = "item-knn"
    can = frozenset({Can.LINKS, Can.BECAUSE})

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self, *, k: int = 100, shrink: float = 10.0, power: float = 0.5, user_power: float = 0.5,
        asymmetry: float = 0.5, weighting: str = "none", k1: float = 1.2, b: float = 0.75,
        context_weight: float = 1.0, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("item-knn: k", k, 1, whole=True)
        check_range("item-knn: shrink", shrink, 0.0)
        check_range("item-knn: power", power, 0.0, 4.0)
        check_range("item-knn: user_power", user_power, 0.0, 4.0)
        check_range("item-knn: asymmetry", asymmetry, 0.0, 1.0)
        check_weighting("item-knn", weighting, k1, b)
        check_range("item-knn: context_weight", context_weight, 0.0)
        check_range("item-knn: threads", threads, 0, whole=True)
        self.k, self.shrink, self.power, self.user_power = k, shrink, power, user_power
        self.asymmetry, self.weighting, self.k1, self.b = asymmetry, weighting, k1, b
        self.context_weight, self.threads = context_weight, threads

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        given = self._weighted(data.user_items)
        n_items = np.diff(given.indptr)
        damped = np.maximum(n_items, 1).astype(np.float32) ** np.float32(-self.user_power / 2)
        cells = given.data ** np.float32(self.power) * np.repeat(damped, n_items)
        weights = sp.csr_array((cells, given.indices, given.indptr), shape=given.shape)
        norms = lengths(weights)
        scales = norms ** np.float32(2 * self.asymmetry), norms ** np.float32(2 - 2 * self.asymmetry)
        near = nearest(weights, self.k, self.shrink, self.threads, scales)
        self.links_: Matrix = near.T.tocsr()  # row: an item of the history, columns: the items it speaks for
        self.links_.sort_indices()

    def _weighted(self, user_items: Matrix) -> Matrix:
        """Users x items, by what each cell tells of its item."""
        if self.weighting == "none":
            return user_items
        rows: Matrix = user_items.T.tocsr()
        told = weighted(rows, self.weighting, idf(rows), self.k1, self.b, mean_length(rows))
        by_user: Matrix = told.T.tocsr()
        return by_user

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The matrix weighted and both ways, and the links of items that anybody has, with their heaps."""
        n_used = min(shape[1], nnz)
        return (56 * nnz + 24 * min(self.k, n_used) * n_used + 40 * sum(shape)) / 1e6

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Sum over the history of weight times similarity `(n, n_items)`; 0 = no neighbour in the history."""
        return add_links(*self.linked(histories, now))

    def linked(self, histories: Histories, now: Instant) -> tuple[Cells, Matrix]:
        """The history's weights, and each item's similarities to those that it is a neighbour of."""
        self._check_fitted()
        self._check_width(histories)
        return history_weights(histories, self.power, self.context_weight), self.links_

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """The history item that adds most to each item's score, -1 where none is a neighbour."""
        return leading_links(*self.linked(history, now), item_idx)
