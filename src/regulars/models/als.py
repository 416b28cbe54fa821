"""Implicit ALS: factors for confidence-weighted preferences (Hu, Koren & Volinsky 2008).

Minimise sum_ui c_ui (p_ui - x_u'y_i)^2 + sum_u l_u |x_u|^2 + sum_i l_i |y_i|^2, p = 1 where r > 0, else 0, and
c = 1 + alpha r. The penalty of a row is l = reg (sum of its c)^reg_power: 0 is the paper's constant, 1 scales
with what is known of the row. Rendle et al. 2021 ("Revisiting the performance of iALS", equation 2) write
sum_S (1 - x'y)^2 + a0 sum_ui (x'y)^2 + lam sum_u (n_u + a0 |I|)^nu |x_u|^2 + the same of the items. Of ones, with
alpha = 1 / a0, reg = lam (1 + a0) a0^(nu - 1) and reg_power = nu, ours is that times (1 + a0)^2 / a0 plus a
constant, for factors longer by (1 + a0)^1/2: every ranking is the same.

Each half-epoch solves one side with the other fixed. `cg`: both sides are turned into the eigenbasis of the
fixed side's Gram Y'Y = Q S Q' (inner products stay), where the system of a row is diag(S + l) + sum (c-1) z z'.
Scaling by (S + l)^-1/2 whitens it to I plus a low-rank term, as the Cholesky factor of Y'Y + l I would, but for
every row's own l at once. From the last epoch's solution one or two conjugate-gradient steps are enough: a row
gets as many as bring it near its minimum, less near in the first epochs, whose minima are still to move. Each step
reads the row once, where the fixed side is large in vectors rounded to bfloat16, half the bytes:
O(nnz d) instead of the exact solver's O(nnz d^2 + n d^3). `cholesky` is that reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from regulars.core.arrays import Floats, Indices, Matrix, Scores, as_csr, expect
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import InputError, SettingError
from regulars.core.jit import in_chunks
from regulars.core.lanes import aligned, rounded
from regulars.models.als_kernels import FAR, cg_rows
from regulars.models.base import Can, Model, all_cores, check_range
from regulars.models.history import leading
from regulars.models.normal import solve_rows

SOLVERS = ("cg", "cholesky")
LOSS_CELLS = 1 << 16  # cells whose residuals are held at once
PIECE = 4096  # rows of factors that are multiplied at once
FIRST = 3e-4  # what a row's solution may miss, see `cg_rows`, in the first epoch; half as much in each after it
ENOUGH = 3e-6  # the least, and in the last epoch


Side = tuple[NDArray[np.int64], Indices, Floats, Floats]  # indptr, indices, alpha r, penalty of each row
Watch = Callable[[int, float], None]


class ALS(Model):
    """Inner products of shopper and item factors; a shopper is solved exactly from any history."""

    name = "als"
    can = frozenset({Can.FACTORS, Can.BECAUSE})

    def __init__(
        self, *, factors: int = 64, alpha: float = 10.0, reg: float = 0.01, reg_power: float = 1.0,
        epochs: int = 10, solver: str = "cg", threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("als: factors", factors, 1, 4096, whole=True)
        check_range("als: alpha", alpha, 1e-6)
        check_range("als: reg", reg, 1e-9)
        check_range("als: reg_power", reg_power, 0.0, 1.0)
        check_range("als: epochs", epochs, 1, whole=True)
        check_range("als: threads", threads, 0, whole=True)
        if solver not in SOLVERS:
            raise SettingError("als: solver", got=repr(solver), wanted=" or ".join(SOLVERS))
        self.factors, self.alpha, self.reg, self.reg_power = factors, alpha, reg, reg_power
        self.epochs, self.solver, self.threads = epochs, solver, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Both sides' factors with a rounded copy of one, and the matrix both ways."""
        return (8 * sum(shape) * self.factors + 24 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        self.fit_watched(data.user_items, rng, None)

    def fit_watched(self, user_items: Matrix, rng: np.random.Generator, watch: Watch | None) -> None:
        """Run the epochs; `watch(epoch, loss)` is called after each with the exact loss, which costs a pass.

        A warm start goes on until an epoch moves the factors no further than the last one of the last fit did.
        """
        still = float(getattr(self.warm.model, "moved_", 0.0)) if self.warm else 0.0
        spectrum: NDArray[Any] = np.zeros(self.factors)
        moved = 0.0
        for epoch, (x, y) in enumerate(self.passes(user_items, rng)):
            if watch is not None:
                watch(epoch, self.loss(user_items, x, y))
            before, spectrum = spectrum, np.linalg.eigvalsh(gram_of(y))  # the same however the factors are turned
            moved = float(np.linalg.norm(spectrum - before)) / max(float(np.linalg.norm(spectrum)), 1e-30)
            if epoch and moved <= still:
                break
        self.item_factors_ = y
        self.gram_ = gram_of(y)
        self.spread_ = spread_of(x)
        self.moved_ = max(moved, still)

    def passes(self, user_items: Matrix, rng: np.random.Generator) -> Iterator[tuple[Floats, Floats]]:
        """Both sides' factors after each epoch, as they are: the next one changes them in place."""
        users, items = self._side(user_items), self._side(user_items.T.tocsr())
        n_users, n_items = user_items.shape
        x, y = aligned((n_users, self.factors)), aligned((n_items, self.factors))
        y[:] = rng.normal(0.0, 0.1 / np.sqrt(self.factors), y.shape)
        if self.warm is not None:
            self.warm.rows("item_factors_", y)
        for epoch in range(self.epochs):
            near = self.warm is not None or epoch == self.epochs - 1
            tolerance = ENOUGH if near else max(ENOUGH, FIRST * 0.5**epoch)
            with threadpool_limits(limits=self.threads or all_cores(), user_api="blas"):
                x, y = self._half(users, x, y, tolerance)
                y, x = self._half(items, y, x, tolerance)
            yield x, y

    def loss(self, user_items: Matrix, x: Floats, y: Floats) -> float:
        """The loss of these factors over all cells, in float64."""
        return als_loss(self._side(user_items), self._side(user_items.T.tocsr())[3], x, y)

    def _side(self, matrix: Matrix) -> Side:
        """A CSR's rows as the kernels want them, with each row's penalty."""
        extra = (self.alpha * matrix.data).astype(np.float32)
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        sums = np.bincount(rows, weights=extra, minlength=matrix.shape[0])
        reg = self.reg * (sums + matrix.shape[1]) ** self.reg_power
        return (
            matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), extra, reg.astype(np.float32),
        )  # fmt: skip

    def _half(self, side: Side, x: Floats, y: Floats, tolerance: float) -> tuple[Floats, Floats]:
        """Solve x with y fixed."""
        if self.solver == "cholesky":
            return self._exact_half(side, x, y)
        return self._cg_half(side, x, y, tolerance)

    def _cg_half(self, side: Side, x: Floats, y: Floats, tolerance: float) -> tuple[Floats, Floats]:
        """Improve x with y fixed, in their places; both end in the eigenbasis of y's Gram."""
        indptr, indices, extra, reg = side
        spectrum, basis = scipy.linalg.eigh(gram_of(y, np.float32))
        for factors in (x, y):
            _turn(factors, basis.astype(np.float32))
        eigenvalues = np.maximum(spectrum, 0.0).astype(np.float32)
        gathered = rounded(y) if y.size > FAR else y

        def work(start: int, stop: int) -> None:
            cg_rows(start, stop, indptr, (indices, extra), gathered, (eigenvalues, reg), tolerance, x)

        in_chunks(work, len(x), threads=self.threads or all_cores(), chunk=1024)
        return x, y

    def _exact_half(self, side: Side, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Solve x exactly with y fixed."""
        return solve_side(side, y, gram_of(y), self.threads), y

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """The exact factors of these shoppers given the items `(n, factors)`; zeros without a history."""
        self._check_fitted()
        self._check_width(histories)
        return solve_side(self._side(histories.user_items), self.item_factors_, self.gram_, 1)

    def item_fold_in(self, item_users: Matrix, user_vectors: Floats) -> Floats:
        """The exact factors of new items `(n, factors)`, one half step, given what shoppers buy and are.

        `item_users (n, n_users)` are weights as those of the fit, `user_vectors (n_users, factors)` those of all the
        shoppers (from `user_vectors`), the ones who bought none of these items too: that is their 0.
        """
        self._check_fitted()
        expect(user_vectors, "user_vectors", ndim=2, length=item_users.shape[1])
        if user_vectors.shape[1] != self.factors:
            raise InputError("user_vectors", got=f"{user_vectors.shape[1]} factors", wanted=f"{self.factors}")
        side = self._side(as_csr(item_users, "item_users"))
        fixed = np.ascontiguousarray(user_vectors, dtype=np.float32)
        return solve_side(side, fixed, gram_of(fixed), self.threads)

    @property
    def item_vectors(self) -> Floats:
        """Item factors `(n_items, factors)`."""
        self._check_fitted()
        factors: Floats = self.item_factors_
        return factors

    @property
    def spread(self) -> NDArray[np.float64] | None:
        """Covariance of the factors of the shoppers learned from; None of a model saved before there was one."""
        self._check_fitted()
        known: NDArray[np.float64] | None = getattr(self, "spread_", None)
        return known

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Predicted preference `(n, n_items)`, near 1 for what belongs to the shopper, 0 for no sign."""
        return self.user_vectors(histories, now) @ self.item_factors_.T

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """The history item with the largest share of each score (the paper's section 5), -1 where none.

        The score of j is sum_i c_i y_j' W y_i over the history, with W the inverse of the shopper's system.
        """
        self._check_fitted()
        self._check_width(history)
        _, items, extra, reg = self._side(history.user_items)
        known, asked = (self.item_factors_[idx].astype(np.float64) for idx in (items, item_idx))
        system = self.gram_ + (known * extra[:, None]).T @ known
        system.ravel()[:: self.factors + 1] += reg[0]
        _, through, _ = scipy.linalg.lapack.dposv(system, asked.T)
        return leading((known @ through) * (1.0 + extra)[:, None], items)


def gram_of(factors: Floats, dtype: type = np.float64) -> NDArray[np.float64]:
    """F'F in float64 `(d, d)`, a piece at a time; the sums of a piece (4096 rows) run in `dtype`."""
    total = np.zeros((factors.shape[1], factors.shape[1]))
    for start in range(0, len(factors), PIECE):
        part: NDArray[Any] = factors[start : start + PIECE].astype(dtype, copy=False)
        total += part.T @ part
    return total


def spread_of(factors: Floats) -> NDArray[np.float64]:
    """The covariance of the rows `(d, d)`; zeros without rows."""
    mean = factors.mean(axis=0, dtype=np.float64) if len(factors) else np.zeros(factors.shape[1])
    return gram_of(factors) / max(len(factors), 1) - np.outer(mean, mean)


def _turn(factors: Floats, basis: Floats) -> None:
    """Multiply by an orthogonal basis in place, a piece at a time."""
    for start in range(0, len(factors), PIECE):
        factors[start : start + PIECE] = factors[start : start + PIECE] @ basis


def solve_side(side: Side, fixed: Floats, gram: NDArray[np.float64], threads: int) -> Floats:
    """Exact solution of every row, by Cholesky."""
    indptr, indices, extra, reg = side
    out = np.zeros((len(indptr) - 1, fixed.shape[1]), dtype=np.float32)
    target = extra + np.float32(1.0)

    def work(start: int, stop: int) -> None:
        solve_rows(start, stop, indptr, (indices, extra, target), fixed, (gram, reg), out)

    in_chunks(work, len(out), threads=threads or all_cores(), chunk=512)
    return out


def als_loss(users: Side, item_reg: Floats, x: Floats, y: Floats) -> float:
    """The loss over all cells, in float64: cells without r through sum_ui (x_u'y_i)^2 = tr(X'X Y'Y)."""
    indptr, indices, extra, user_reg = users
    total = float((gram_of(x) * gram_of(y)).sum())
    rows = np.repeat(np.arange(len(x)), np.diff(indptr))
    for start in range(0, len(indices), LOSS_CELLS):
        part = slice(start, start + LOSS_CELLS)
        said = np.einsum("ij,ij->i", x[rows[part]].astype(np.float64), y[indices[part]].astype(np.float64))
        total += float(((1.0 + extra[part].astype(np.float64)) * (1.0 - said) ** 2 - said**2).sum())
    total += float(user_reg.astype(np.float64) @ (x.astype(np.float64) ** 2).sum(axis=1))
    return total + float(item_reg.astype(np.float64) @ (y.astype(np.float64) ** 2).sum(axis=1))
