"""EASE: a linear item-item autoencoder in closed form (Steck 2019, "Embarrassingly shallow autoencoders").

B = I - P diag(P)^-1 with P = (G + L)^-1 and G the binary Gram; B minimises |X - XB|^2 + |L^1/2 B|^2 with a zero
diagonal. L = l2 I + p / (1 - p) diag(G), where p > 0 is what training with a share p of each history dropped out
would come to (Steck 2020, "Autoencoders that don't overfit towards the identity": EDLAE of full rank).

Fit: one dense Cholesky inverse in place, n^3 operations and 4 n^2 bytes. The most common items, as many as
`memory_mb` holds, are dense among each other (`n_dense_`); the others are linked with their `k` nearest alone
(`ease_rest`), and those that nobody took are left out. Score: the sum of the history's rows of B,
O(history x n_items).
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from regulars.core.arrays import Floats, Indices, Matrix, Scores, cells_of
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import InputError
from regulars.models.base import Can, Model, all_cores, check_range
from regulars.models.ease_rest import rest_links
from regulars.models.gram import Gram
from regulars.models.history import history_weights, leading
from regulars.models.links import add_links

log = logging.getLogger(__name__)
Inverse = NDArray[np.float64]
BAND = 512  # rows mirrored at once


class EASE(Model):
    """Item weights from the inverse of the regularised Gram; scores are sums over the history."""

    name = "ease"
    can = frozenset({Can.BECAUSE})

    def __init__(
        self, *, l2: float = 500.0, dropout: float = 0.0, k: int = 100, power: float = 0.5,
        context_weight: float = 1.0, memory_mb: float = 2000.0, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range(f"{self.name}: l2", l2, 1e-6)
        check_range(f"{self.name}: dropout", dropout, 0.0, 0.999)
        check_range(f"{self.name}: k", k, 1, whole=True)
        check_range(f"{self.name}: power", power, 0.0, 4.0)
        check_range(f"{self.name}: context_weight", context_weight, 0.0)
        check_range(f"{self.name}: memory_mb", memory_mb, 1.0)
        check_range(f"{self.name}: threads", threads, 0, whole=True)
        self.l2, self.dropout, self.k, self.power = l2, dropout, k, power
        self.context_weight, self.memory_mb, self.threads = context_weight, memory_mb, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The dense weights, the sparse Gram they come from, links of the rest, and the input."""
        n_items = shape[1]
        n_used = n_items if self.holds(n_items) else self._used(n_items, nnz)
        n_dense = self._dense(n_used)
        pairs = min(n_items**2, nnz * nnz // max(1, shape[0]))
        return (4 * n_dense**2 + 12 * pairs + 48 * self.k * (n_used - n_dense) + 16 * (nnz + n_items)) / 1e6

    def holds(self, n_items: int) -> bool:
        """Whether so many items are dense among each other, all of them."""
        return self._dense(n_items) == n_items

    def _used(self, n_items: int, nnz: int) -> int:
        """How many items so many cells may speak of."""
        return min(n_items, nnz)

    def _dense(self, n_items: int) -> int:
        """How many items' dense weights fit the memory allowed."""
        return min(n_items, int(np.sqrt(self.memory_mb * 1e6 / 4)))

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        self._solve(Gram.from_matrix(data.user_items))

    def _solve(self, gram: Gram) -> None:
        """The weights that a Gram leads to."""
        taken = gram.counts.diagonal()
        n_used = gram.n_items if self.holds(gram.n_items) else int(np.count_nonzero(taken))
        self.n_dense_ = self._dense(n_used)  # of what nobody took there is nothing to know
        if self.n_dense_ < n_used:
            log.info("ease: memory_mb %g holds %d of %d items, the rest is linked to its %d nearest; %d BLAS threads",
                     self.memory_mb, self.n_dense_, n_used, self.k, self.threads or all_cores())  # fmt: skip
        common = np.argsort(-taken, kind="stable")[: self.n_dense_]
        self.dense_items_: Indices = np.sort(common).astype(np.int32)
        self.weights_, precision = dense_weights(
            gram, self.l2, self.dropout, items=self.dense_items_, threads=self.threads
        )
        if self.n_dense_ < gram.n_items:
            own = _penalised(taken, self.l2, self.dropout).astype(np.float32)
            self.links_: Matrix = rest_links(gram.counts, own, self.dense_items_, precision, self.k, self.threads)

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Sum of the history's rows of B `(n, n_items)`; about 1 for what surely belongs, 0 for no sign."""
        self._check_fitted()
        self._check_width(histories)
        indptr, items, weights = history_weights(histories, self.power, self.context_weight)
        return self._through(sp.csr_array((weights, items, indptr), shape=histories.user_items.shape))

    def _through(self, rows: Matrix) -> Scores:
        """`rows @ B` for any weights of items."""
        if self.n_dense_ == rows.shape[1]:
            return np.asarray(rows @ self.weights_, dtype=np.float32)
        scores = add_links(cells_of(rows), self.links_)
        scores[:, self.dense_items_] += rows[:, self.dense_items_] @ self.weights_
        return scores

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """The history item that adds most to each item's score, -1 where none adds."""
        self._check_fitted()
        self._check_width(history)
        _, items, weights = history_weights(history, self.power, self.context_weight)
        return leading(self._between(items, item_idx) * weights[:, None], items)

    def _between(self, items: Indices, others: Indices) -> Floats:
        """Weights from some items to others."""
        if self.n_dense_ == self.n_items_:
            return np.asarray(self.weights_[np.ix_(items, others)])
        place = np.full(self.n_items_, -1, dtype=np.int64)
        place[self.dense_items_] = np.arange(self.n_dense_)
        between = self.links_[items][:, others].toarray()
        rows, columns = np.flatnonzero(place[items] >= 0), np.flatnonzero(place[others] >= 0)
        between[np.ix_(rows, columns)] = self.weights_[np.ix_(place[items[rows]], place[others[columns]])]
        return np.asarray(between, dtype=np.float32)


class EASEState:
    """The regularised inverse in float64, kept exact as shoppers come and go.

    Adding a shopper x changes P to P - P x x'P / (1 + x'P x) (Sherman & Morrison 1950), O(n_items^2) instead of
    the refit's n_items^3; removing one reverses the signs.
    """

    def __init__(self, gram: Gram, l2: float) -> None:
        check_range("EASEState: l2", l2, 1e-6)
        self.gram, self.l2 = gram, l2
        dense = gram.dense(np.float64)
        _add_to_diagonal(dense, l2)
        self.inverse: Inverse = _invert(dense)

    def add_user(self, item_idx: Indices) -> None:
        """Learn one more shopper, who has these distinct items."""
        self.gram.add_user(item_idx)
        self._update(item_idx, 1.0)

    def remove_user(self, item_idx: Indices) -> None:
        """Forget one shopper, given exactly their items."""
        self.gram.remove_user(item_idx)
        self._update(item_idx, -1.0)

    def weights(self) -> NDArray[np.float64]:
        """B as of now `(n_items, n_items)`."""
        return _to_weights(self.inverse.copy())

    def _update(self, item_idx: Indices, sign: float) -> None:
        items = np.asarray(item_idx, dtype=np.int64)
        column = self.inverse[:, items].sum(axis=1)
        # the Gram has vouched for the shopper, so G + l2 I stays positive definite and this is above 0
        pivot = 1.0 + sign * column[items].sum()
        self.inverse -= np.multiply.outer(column * (sign / pivot), column)


def ease_weights(gram: Gram, l2: float, *, dropout: float = 0.0, threads: int = 1) -> Floats:
    """B in float32, C order, computed in the place of the dense Gram; `threads` 0 = all cores."""
    return dense_weights(gram, l2, dropout, threads=threads)[0]


def dense_weights(
    gram: Gram, l2: float, dropout: float, *, items: Indices | None = None, threads: int = 1
) -> tuple[Floats, Floats]:
    """B among some items (None: all) as if there were no others, and the diagonal of P."""
    dense = gram.dense(np.float32, items)
    np.fill_diagonal(dense, _penalised(np.diag(dense), l2, dropout))
    with threadpool_limits(limits=threads or all_cores(), user_api="blas"):
        inverse = _invert(dense)
    precision = np.diag(inverse).copy()
    return _to_weights(inverse), precision


def _penalised(diagonal: NDArray[Any], l2: float, dropout: float) -> NDArray[np.float64]:
    """The diagonal of G + L."""
    return diagonal.astype(np.float64) / (1.0 - dropout) + l2


def _add_to_diagonal(dense: NDArray[Any], l2: float) -> None:
    dense.flat[:: len(dense) + 1] += l2


def _invert(dense: NDArray[Any]) -> NDArray[Any]:
    """Inverse of a symmetric positive definite Fortran array, in its place, in its precision."""
    if not len(dense):
        return dense
    potrf, potri = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (dense,))
    factor, failed = potrf(dense, lower=False, overwrite_a=True, clean=False)
    if failed:
        raise InputError("ease: l2", got="a Gram that is not positive definite in this precision",
                         wanted="a larger l2")  # fmt: skip
    inverse, _ = potri(factor, lower=False, overwrite_c=True)
    for start in range(0, len(inverse), BAND):  # LAPACK filled the upper half only
        stop = min(start + BAND, len(inverse))
        inverse[stop:, start:stop] = inverse[start:stop, stop:].T
        corner = inverse[start:stop, start:stop]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T
    return np.asarray(inverse)


def _to_weights(inverse: NDArray[Any]) -> NDArray[Any]:
    """B = I - P diag(P)^-1 in the place of P, as a C-ordered array.

    P is symmetric, so its transposed view is P in the other memory order, whose columns are scaled.
    """
    inverse = inverse.T if inverse.flags.f_contiguous else inverse
    inverse *= -1.0 / np.diag(inverse).copy()
    np.fill_diagonal(inverse, 0.0)
    return inverse
