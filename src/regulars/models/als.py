"""Implicit ALS: factors for confidence-weighted preferences (Hu, Koren & Volinsky 2008).

Minimise sum_ui c_ui (p_ui - x_u'y_i)^2 + sum_u l_u |x_u|^2 + sum_i l_i |y_i|^2, p = 1 where r > 0, else 0, and
c = 1 + alpha r. The penalty of a row is l = reg (sum of its c)^reg_power: 0 is the paper's constant, 1 scales
with what is known of the row (Rendle et al. 2021, "Revisiting the performance of iALS").

Each half-epoch solves one side with the other fixed. `cg`: both sides are turned into the eigenbasis of the
fixed side's Gram Y'Y = Q S Q' (inner products stay), where the system of a row is diag(S + l) + sum (c-1) z z'.
Scaling by (S + l)^-1/2 whitens it to I plus a low-rank term, as the Cholesky factor of Y'Y + l I would, but for
every row's own l at once; from the last epoch's solution three conjugate-gradient steps are enough, and more
only for rows that the whitening does not tame (few cells of great confidence). Each step reads the row once:
O(nnz d) instead of the exact solver's O(nnz d^2 + n d^3). `cholesky` is that reference.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from regulars.core.arrays import Floats, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import SettingError
from regulars.core.jit import fast_kernel, in_chunks
from regulars.models.base import Can, Model, all_cores, check_range
from regulars.models.history import leading
from regulars.models.normal import solve_rows

LEAST_STEPS = 3  # conjugate-gradient steps of every row
MOST_STEPS = 24
ENOUGH = np.float32(1e-5)  # a row is done when its loss can fall by no more than this share of its summed c - 1
NOTHING_LEFT = np.float32(1e-20)  # in units of the loss: nothing that float32 could still resolve
SOLVERS = ("cg", "cholesky")
FLOOR = 1e-6  # of the largest eigenvalue: below it a direction is not scaled up further
LOSS_CELLS = 1 << 16  # cells whose residuals are held at once

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
        """Both sides' factors with the copies that turn them, and the matrix both ways."""
        return (16 * sum(shape) * self.factors + 40 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        self.fit_watched(data.user_items, rng, None)

    def fit_watched(self, user_items: Matrix, rng: np.random.Generator, watch: Watch | None) -> None:
        """Run the epochs; `watch(epoch, loss)` is called after each with the exact loss, which costs a pass."""
        users, items = self._side(user_items), self._side(user_items.T.tocsr())
        n_users, n_items = user_items.shape
        x = np.zeros((n_users, self.factors), dtype=np.float32)
        y = rng.normal(0.0, 0.1 / np.sqrt(self.factors), (n_items, self.factors)).astype(np.float32)
        half = self._cg_half if self.solver == "cg" else self._exact_half
        with threadpool_limits(limits=self.threads or all_cores(), user_api="blas"):
            for epoch in range(self.epochs):
                x, y = half(users, x, y)
                y, x = half(items, y, x)
                if watch is not None:
                    watch(epoch, als_loss(users, items[3], x, y))
            self.item_factors_ = y
            self.gram_ = gram_of(y)

    def _side(self, matrix: Matrix) -> Side:
        """A CSR's rows as the kernels want them, with each row's penalty."""
        extra = (self.alpha * matrix.data).astype(np.float32)
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        sums = np.bincount(rows, weights=extra, minlength=matrix.shape[0])
        reg = self.reg * (sums + matrix.shape[1]) ** self.reg_power
        return (
            matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), extra, reg.astype(np.float32),
        )  # fmt: skip

    def _cg_half(self, side: Side, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Improve x with y fixed; both come back in the eigenbasis of y's Gram."""
        indptr, indices, extra, reg = side
        spectrum, basis = scipy.linalg.eigh(gram_of(y))
        turn = basis.astype(np.float32)
        x, y = x @ turn, y @ turn
        eigenvalues = np.maximum(spectrum, 0.0).astype(np.float32)

        def work(start: int, stop: int) -> None:
            _cg_rows(start, stop, indptr, (indices, extra), y, eigenvalues, reg, x)

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

    @property
    def item_vectors(self) -> Floats:
        """Item factors `(n_items, factors)`."""
        self._check_fitted()
        factors: Floats = self.item_factors_
        return factors

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


def gram_of(factors: Floats) -> NDArray[np.float64]:
    """F'F in float64 `(d, d)`, without a float64 copy of all of F."""
    total = np.zeros((factors.shape[1], factors.shape[1]))
    for start in range(0, len(factors), LOSS_CELLS):
        part = factors[start : start + LOSS_CELLS].astype(np.float64)
        total += part.T @ part
    return total


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


@fast_kernel
def _pull(
    cells: tuple[Indices, Floats], span: tuple[int, int], fixed: Floats, base: np.float32, at: Floats, out: Floats
) -> None:
    """Add sum (base c - (c-1) z'at) z over one row's cells: the residual's data part, or -sum (c-1) z z' at."""
    indices, extra = cells
    for cell in range(span[0], span[1]):
        z, more = fixed[indices[cell]], extra[cell]
        said = np.float32(0.0)
        for f in range(len(at)):
            said += z[f] * at[f]
        miss = base + base * more - more * said
        for f in range(len(at)):
            out[f] += miss * z[f]


@fast_kernel
def _precondition(scale: Floats, left: Floats, step: Floats, ratio: np.float32) -> None:
    """The next direction: the scaled residual plus `ratio` of the last one."""
    for f in range(len(left)):
        step[f] = scale[f] * left[f] + ratio * step[f]


@fast_kernel
def _size(left: Floats, right: Floats, scale: Floats) -> np.float32:
    total = np.float32(0.0)
    for f in range(len(left)):
        total += left[f] * right[f] * scale[f]
    return total


@fast_kernel
def _total(extra: Floats, span: tuple[int, int]) -> np.float32:
    total = np.float32(0.0)
    for cell in range(span[0], span[1]):
        total += extra[cell]
    return total


@fast_kernel
def _cg_rows(
    start: int, stop: int, indptr: NDArray[np.int64], cells: tuple[Indices, Floats], fixed: Floats,
    spectrum: Floats, reg: Floats, x: Floats,
) -> None:  # fmt: skip
    """Conjugate gradients on diag(S + l) + sum (c-1) z z', preconditioned by its diagonal part, from x."""
    d = fixed.shape[1]
    left, step, image = np.empty(d, np.float32), np.zeros(d, np.float32), np.empty(d, np.float32)
    diagonal, scale, ones = np.empty(d, np.float32), np.empty(d, np.float32), np.ones(d, np.float32)
    zero, one = np.float32(0.0), np.float32(1.0)
    floor = np.float32(FLOOR) * spectrum[d - 1]
    for row in range(start, stop):
        mine, span = x[row], (indptr[row], indptr[row + 1])
        if span[0] == span[1]:
            for f in range(d):
                mine[f] = zero
            continue
        for f in range(d):
            diagonal[f] = spectrum[f] + reg[row]
            scale[f] = one / max(diagonal[f], floor)
            left[f] = -diagonal[f] * mine[f]
        _pull(cells, span, fixed, one, mine, left)
        _precondition(scale, left, step, zero)
        size = _size(left, left, scale)
        enough = ENOUGH * _total(cells[1], span)
        for done in range(MOST_STEPS):
            # size = r'M r >= r'A^-1 r, which is all that this row's loss can still fall
            if size <= NOTHING_LEFT or (done >= LEAST_STEPS and size <= enough):
                break
            for f in range(d):
                image[f] = -diagonal[f] * step[f]
            _pull(cells, span, fixed, zero, step, image)  # image = -A step
            length = -size / _size(step, image, ones)
            for f in range(d):
                mine[f] += length * step[f]
                left[f] += length * image[f]
            before = size
            size = _size(left, left, scale)
            _precondition(scale, left, step, size / before)
