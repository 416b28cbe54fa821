"""Item neighbours by cosine (Sarwar et al. 2001), damped for rare pairs.

s_ij = x_i'x_j / (|x_i| |x_j| + shrink) over columns x of the users x items matrix; each item keeps its `k`
largest, and an item's score is the sum over its neighbours in the history. Long histories say less of each of
their items: a shopper with n items counts n^-user_power (0 = plain cosine).
Fit O(sum n_u^2) additions, row by row, never more than one row dense. Score O(history x links of an item).
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
from regulars.models.nearest import nearest


class ItemKNN(Model):
    """Sum of the cosine similarities between an item and the history."""

    name = "item-knn"
    can = frozenset({Can.LINKS, Can.BECAUSE})

    def __init__(
        self, *, k: int = 100, shrink: float = 10.0, power: float = 0.5, user_power: float = 0.5,
        context_weight: float = 1.0, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("item-knn: k", k, 1, whole=True)
        check_range("item-knn: shrink", shrink, 0.0)
        check_range("item-knn: power", power, 0.0, 4.0)
        check_range("item-knn: user_power", user_power, 0.0, 4.0)
        check_range("item-knn: context_weight", context_weight, 0.0)
        check_range("item-knn: threads", threads, 0, whole=True)
        self.k, self.shrink, self.power, self.user_power = k, shrink, power, user_power
        self.context_weight, self.threads = context_weight, threads

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        given = data.user_items
        lengths = np.diff(given.indptr)
        damped = np.maximum(lengths, 1).astype(np.float32) ** np.float32(-self.user_power / 2)
        cells = given.data ** np.float32(self.power) * np.repeat(damped, lengths)
        weights = sp.csr_array((cells, given.indices, given.indptr), shape=given.shape)
        near = nearest(weights, self.k, self.shrink, self.threads)
        self.links_: Matrix = near.T.tocsr()  # row: an item of the history, columns: the items it speaks for
        self.links_.sort_indices()

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
