"""Explicit matrix factorisation: ratings as R ~ m + b_u + b_i + U V', by alternating least squares.

Minimises the squared error over rated cells plus reg n (|factors|^2 + bias^2) for each row with n ratings
(Zhou et al. 2008, "Large-scale parallel collaborative filtering for the Netflix prize"). Biases are factors
too: each half solves a row's factors and its bias together, with the other side's [V, 1] or [U, 1] fixed.
Fit O(nnz d^2 + n d^3) an epoch with d factors and n rows on both sides, score O(n_items d) and a solve of one row.
"""

from __future__ import annotations

import logging

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.jit import in_chunks
from regulars.models.base import Can, Model, all_cores, check_flag, check_range
from regulars.models.normal import solve_rows

log = logging.getLogger(__name__)


class MF(Model):
    """Predicted ratings; a shopper without ratings is given the items' own levels."""

    name = "mf"
    can = frozenset({Can.FACTORS, Can.RATINGS})

    def __init__(
        self, *, factors: int = 16, reg: float = 0.05, biases: bool = True, epochs: int = 20, threads: int = 1
    ) -> None:
        check_range("mf: factors", factors, 1, 4096, whole=True)
        check_range("mf: reg", reg, 0.0)
        check_flag("mf: biases", biases)
        check_range("mf: epochs", epochs, 1, whole=True)
        check_range("mf: threads", threads, 0, whole=True)
        self.factors, self.reg, self.biases, self.epochs = factors, reg, biases, epochs
        self.threads = threads

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        rows = data.interactions
        ratings = _ratings(rows.user_idx, rows.item_idx, rows.rating, data.shape)
        if ratings.nnz == 0:
            log.warning("mf: the data holds no rating, so every score is 0")
        self.mean_ = float(ratings.data.mean(dtype=np.float64)) if self.biases and ratings.nnz else 0.0
        by_item: Matrix = ratings.T.tocsr()
        scale = 1.0 / np.sqrt(self.factors)
        u = np.zeros((data.shape[0], self.factors + 1), dtype=np.float32)
        v = rng.normal(0.0, scale, (data.shape[1], self.factors + 1)).astype(np.float32)
        v[:, -1] = 0.0
        for _ in range(self.epochs):
            u = self._half(ratings, v, self.threads)
            v = self._half(by_item, u, self.threads)
        v[np.diff(by_item.indptr) == 0] = 0.0
        self.vectors_ = v

    def _half(self, ratings: Matrix, fixed: Floats, threads: int) -> Floats:
        """Solve each row's factors and bias; `fixed` is the other side's factors with the bias last."""
        indptr, indices = ratings.indptr.astype(np.int64), ratings.indices.astype(np.int32)
        target = ratings.data - np.float32(self.mean_) - fixed[indices, -1]
        seen = fixed.copy()
        seen[:, -1] = 1.0 if self.biases else 0.0
        reg = (self.reg * np.diff(indptr)).astype(np.float32)
        out = np.zeros((len(indptr) - 1, fixed.shape[1]), dtype=np.float32)
        none = np.zeros((fixed.shape[1], fixed.shape[1]))
        ones = np.ones(len(indices), dtype=np.float32)

        def work(start: int, stop: int) -> None:
            solve_rows(start, stop, indptr, (indices, ones, target), seen, (none, reg), out)

        in_chunks(work, len(out), threads=threads or all_cores(), chunk=512)
        return out

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """[factors, bias, 1] of these shoppers, solved from their ratings `(n, factors + 2)`."""
        self._check_fitted()
        self._check_width(histories)
        rows = np.repeat(np.arange(len(histories), dtype=np.int32), np.diff(histories.indptr))
        rating = histories.rating
        if rating is None:
            rating = np.full(len(rows), np.nan, dtype=np.float32)
        ratings = _ratings(rows, histories.item_idx, rating, histories.user_items.shape)
        solved = self._half(ratings, self.vectors_, 1)
        return np.hstack((solved, np.ones((len(solved), 1), dtype=np.float32)))

    @property
    def item_vectors(self) -> Floats:
        """[factors, 1, mean + bias] of the items `(n_items, factors + 2)`; 0 where there are no ratings at all."""
        self._check_fitted()
        level = np.float32(self.mean_) + self.vectors_[:, -1:]
        return np.hstack((self.vectors_[:, :-1], np.ones_like(level), level))

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Predicted ratings `(n, n_items)`, not clipped to the scale."""
        return self.user_vectors(histories, now) @ self.item_vectors.T


def _ratings(user_idx: Indices, item_idx: Indices, rating: NDArray[np.float32], shape: tuple[int, int]) -> Matrix:
    """CSR of the last rating of each cell; rows of the input are in time order."""
    rated = np.flatnonzero(~np.isnan(rating))
    cells = user_idx[rated].astype(np.int64) * shape[1] + item_idx[rated]
    _, last = np.unique(cells[::-1], return_index=True)
    kept = rated[len(rated) - 1 - last]
    indptr = np.concatenate(([0], np.cumsum(np.bincount(user_idx[kept], minlength=shape[0]))))
    matrix: Matrix = sp.csr_array((rating[kept].astype(np.float32), item_idx[kept], indptr), shape=shape)
    return matrix
