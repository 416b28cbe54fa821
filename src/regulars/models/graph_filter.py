"""Linear filters on the graph of shoppers and items: no gradient, no factor of a shopper.

With N = Du^-1/2 R Di^-1/2 the users x items matrix scaled by the degrees of both sides, P = N'N is a walk from item
to item; its large eigenvalues belong to smooth, its small ones to noisy patterns. A filter is a function of P that
keeps the former. V are the leading right singular vectors of N, r is a history, scores are

- `chebyshev` (Kim et al. 2025, ChebyCF): (h(P) x + w V V'x) Di^b with x = r Di^-b, h the interpolation of a plateau
  with a flat middle by Chebyshev polynomials of I - 2P;
- `bspm` (Choi et al. 2023, BSPM-EM): y = r P + w r Di^-1/2 V V' Di^1/2, then sharpened to y exp(-2.5 P), the series
  of exp cut after the fourth power;
- `gf-cf` (Shen et al. 2021): r P + w r Di^-1/2 V V' Di^1/2.

The defaults are ChebyCF's published settings for Gowalla; the papers of the others have factors 448 and low_pass 0.2
(bspm), 256 and 0.3 (gf-cf). Fit: the vectors of N. Score: O(14 x cells of N) a shopper, cheapest in batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Cells, Floats, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import SettingError
from regulars.models.base import Can, Model, check_range
from regulars.models.history import history_weights, leading
from regulars.models.svd import SPARE, block_bytes, multiply, right_vectors

KINDS = ("chebyshev", "bspm", "gf-cf")
BATCH = 96  # shoppers filtered together: rows of that many floats keep vector units busy
DEGREE = 8  # of the plateau's interpolation, the paper's for every data set
SHARPEN = 2.5  # time of BSPM's sharpening
SHARPEN_DEGREE = 4
NOTHING = 1e-9  # a coefficient that is rounding: every other one, as the plateau is odd around 1/2
BLUR = ((0.0, 1.0, 0.0, 1.0),)
Step = tuple[float, float, float, float]  # next = a now + b P now + c before; total += d next


class GraphFilter(Model):
    """A low-pass filter of the history on the item graph."""

    name = "graph-filter"
    can = frozenset({Can.BECAUSE})

    def __init__(
        self, *, kind: str = "chebyshev", factors: int = 512, low_pass: float = 0.2, item_power: float = 0.4,
        flatness: float = 1.5, power: float = 0.5, context_weight: float = 1.0, threads: int = 1,
    ) -> None:  # fmt: skip
        if kind not in KINDS:
            raise SettingError("graph-filter: kind", got=repr(kind), wanted=" or ".join(KINDS))
        check_range("graph-filter: factors", factors, 1, 4096, whole=True)
        check_range("graph-filter: low_pass", low_pass, 0.0)
        check_range("graph-filter: item_power", item_power, 0.0, 1.0)
        check_range("graph-filter: flatness", flatness, 0.01, 100.0)
        check_range("graph-filter: power", power, 0.0, 4.0)
        check_range("graph-filter: context_weight", context_weight, 0.0)
        check_range("graph-filter: threads", threads, 0, whole=True)
        self.kind, self.factors, self.low_pass, self.item_power = kind, factors, low_pass, item_power
        self.flatness, self.power, self.context_weight, self.threads = flatness, power, context_weight, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The blocks of the iteration on both sides, or those of a batch, and the matrix both ways."""
        return (12e6 + block_bytes(shape, max(self.factors + SPARE, BATCH)) + 40 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        given = data.user_items
        cells = given.data ** np.float32(self.power)
        weights = sp.csr_array((cells, given.indices, given.indptr), shape=given.shape)
        of_users, of_items = (np.asarray(weights.sum(axis=axis), dtype=np.float32) for axis in (1, 0))
        inner = self.item_power if self.kind == "chebyshev" else 0.5
        self.before_, self.after_ = _power(of_items, -inner), _power(of_items, inner)
        by_user, by_item = _power(of_users, -0.5), _power(of_items, -0.5)
        weights.data = cells * np.repeat(by_user, np.diff(given.indptr)) * by_item[given.indices]
        self.walk_: Matrix = weights
        self.back_: Matrix = weights.T.tocsr()
        self.vectors_ = right_vectors(weights, self.factors, rng, self.threads)

    def score(self, histories: Histories, now: Instant) -> Scores:
        """The filtered history `(n, n_items)`; 0 for no sign."""
        self._check_fitted()
        self._check_width(histories)
        return self._filter_rows(history_weights(histories, self.power, self.context_weight))

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """The history item that adds most to each item's score, -1 where none adds: each is filtered alone."""
        self._check_fitted()
        self._check_width(history)
        _, items, weights = history_weights(history, self.power, self.context_weight)
        alone = self._filter_rows((np.arange(len(items) + 1, dtype=np.int64), items, weights))
        return leading(alone[:, item_idx], items)

    def _filter_rows(self, cells: Cells) -> Scores:
        """Dense rows of scores out of sparse rows of weights, a batch at a time."""
        rows = sp.csr_array((cells[2], cells[1], cells[0]), shape=(len(cells[0]) - 1, len(self.before_)))
        scores = np.empty(rows.shape, dtype=np.float32)
        for start in range(0, len(scores), BATCH):
            scores[start : start + BATCH] = self._filter(rows[start : start + BATCH]).T
        return scores

    def _filter(self, rows: Matrix) -> Floats:
        """The filter of each row, as a column `(n_items, n)`."""
        scaled, outer = sp.csr_array(rows * self.before_), self.after_[:, None]
        smooth: Floats = self.vectors_ @ np.asarray(np.float32(self.low_pass) * (scaled @ self.vectors_)).T
        if self.kind == "chebyshev":
            smooth += self._polynomial(_columns(scaled), *chebyshev_steps(DEGREE, self.flatness))
            smooth *= outer
            return smooth
        blurred = self._polynomial(_columns(rows), 0.0, BLUR) + smooth * outer
        return blurred if self.kind == "gf-cf" else self._polynomial(blurred, 1.0, exponential_steps(SHARPEN))

    def _polynomial(self, now: Floats, constant: float, steps: Sequence[Step]) -> Floats:
        """`constant now` and the weighted terms of a recurrence in P; `now` is used up."""
        total = np.float32(constant) * now
        before = np.zeros_like(now)
        for keep, push, earlier, weight in steps:
            new = multiply(self.back_, multiply(self.walk_, now), before, scale=push, keep=earlier)
            if keep:
                new += np.float32(keep) * now
            if weight:
                total += np.float32(weight) * new
            before, now = now, new
        return total


def _columns(rows: Matrix) -> Floats:
    """A dense C-ordered array of the rows as columns, which the steps of a polynomial use up."""
    dense = np.zeros(rows.shape[::-1], dtype=np.float32)
    dense[rows.indices, np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))] = rows.data
    return dense


def plateau(degree: int, flatness: float) -> NDArray[np.float64]:
    """Chebyshev coefficients of h(t) = 1/2 - sign(t) |t|^flatness / 2 on [-1, 1], t = 1 - 2 eigenvalue of P.

    As in the paper's code: values at the extrema of T_degree, interpolated as if at the zeros of T_(degree + 1).
    """
    t = np.cos(np.pi * np.arange(degree, -1, -1) / degree)
    values = 0.5 - 0.5 * np.sign(t) * np.abs(t) ** flatness
    angles = np.pi * (np.arange(degree, -1, -1) + 0.5) / (degree + 1)
    coefficients = 2.0 / (degree + 1) * np.cos(np.outer(np.arange(degree + 1), angles)) @ values
    coefficients[0] /= 2.0
    return np.where(np.abs(coefficients) > NOTHING, coefficients, 0.0)


@cache
def chebyshev_steps(degree: int, flatness: float) -> tuple[float, tuple[Step, ...]]:
    """The plateau's constant, and the three-term recurrence of T_k(I - 2P) up to its last term that is not 0."""
    constant, first, *others = np.trim_zeros(plateau(degree, flatness), "b").tolist()
    return constant, ((1.0, -2.0, 0.0, first), *((2.0, -4.0, -1.0, each) for each in others))


def exponential_steps(time: float) -> list[Step]:
    """The powers of -time P over their factorials."""
    return [(0.0, -time / power, 0.0, 1.0) for power in range(1, SHARPEN_DEGREE + 1)]


def _power(degrees: Floats, power: float) -> Floats:
    """Degrees to a power; 0 where there is nothing."""
    return np.where(degrees > 0, np.maximum(degrees, np.float32(1e-30)) ** np.float32(power), np.float32(0.0))
