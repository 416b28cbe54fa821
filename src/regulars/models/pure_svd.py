"""PureSVD: a history projected on the leading directions of all histories (Cremonesi, Koren & Turrin 2010).

With V the leading right singular vectors of the users x items matrix X (the eigenvectors of its Gram X'X), the
scores of a history r are r V V'. Nothing of a shopper is learned, so any history can be scored.
Fit O(cells factors + n_items factors^2) a round of the iteration (`svd`), score O((history + n_items) factors).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Floats, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.models.base import Can, Model, check_range
from regulars.models.history import history_weights
from regulars.models.svd import SPARE, block_bytes, right_vectors


class PureSVD(Model):
    """Inner products of a history's mean directions and the items'."""

    name = "pure-svd"
    can = frozenset({Can.FACTORS})

    def __init__(
        self, *, factors: int = 50, power: float = 0.5, context_weight: float = 1.0, threads: int = 1
    ) -> None:
        check_range("pure-svd: factors", factors, 1, 4096, whole=True)
        check_range("pure-svd: power", power, 0.0, 4.0)
        check_range("pure-svd: context_weight", context_weight, 0.0)
        check_range("pure-svd: threads", threads, 0, whole=True)
        self.factors, self.power, self.context_weight, self.threads = factors, power, context_weight, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The blocks of the iteration on both sides, and the matrix both ways."""
        return (12e6 + block_bytes(shape, self.factors + SPARE) + 32 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        given = data.user_items
        cells = given.data ** np.float32(self.power)
        weights = sp.csr_array((cells, given.indices, given.indptr), shape=given.shape)
        self.directions_ = right_vectors(weights, self.factors, rng, self.threads)

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """The history on the directions kept `(n, factors)`; fewer where the matrix has a lower rank."""
        self._check_fitted()
        self._check_width(histories)
        indptr, items, weights = history_weights(histories, self.power, self.context_weight)
        rows = sp.csr_array((weights, items, indptr), shape=histories.user_items.shape)
        return np.asarray(rows @ self.directions_, dtype=np.float32)

    @property
    def item_vectors(self) -> Floats:
        """The items' rows of V `(n_items, factors)`."""
        self._check_fitted()
        directions: Floats = self.directions_
        return directions

    def score(self, histories: Histories, now: Instant) -> Scores:
        """The history's weights as the kept directions tell them `(n, n_items)`; 0 for no sign."""
        return np.asarray(self.user_vectors(histories, now) @ self.item_vectors.T, dtype=np.float32)
