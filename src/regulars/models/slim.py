"""SLIM: sparse linear item weights (Ning & Karypis 2011), by coordinate descent on the Gram.

Each column j of W minimises 1/2 |x_j - X w|^2 + l2/2 |w|^2 + l1 |w|_1 over w >= 0, w_j = 0 and, as in the paper's
fsSLIM, over the `k` items most cosine-similar to j alone (`k` at least the number of items: over all). All that a
step needs are cells of X'X (covariance updates, Friedman, Hastie & Tibshirani 2010): O(k) a weight that moves.
Fit O(sum n_u^2) for the Gram over shoppers with n_u items, then O(k^2) a pass and item; score O(history x weights).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Cells, Floats, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.jit import kernel
from regulars.models.base import Can, Model, all_cores, check_range
from regulars.models.gram import Gram
from regulars.models.history import history_weights
from regulars.models.links import add_links, leading_links
from regulars.models.regressions import SYSTEM_CELLS, Systems, candidates, regress

SWEEPS = 200  # over all weights of an item, at most
STILL = np.float32(1e-5)  # an item is done when no weight moved further in a sweep


class SLIM(Model):
    """Sum of few, positive learned weights between an item and the history."""

    name = "slim"
    can = frozenset({Can.LINKS, Can.BECAUSE})

    def __init__(
        self, *, l1: float = 1.0, l2: float = 50.0, k: int = 200, power: float = 0.5, context_weight: float = 1.0,
        threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("slim: l1", l1, 0.0)
        check_range("slim: l2", l2, 1e-6)
        check_range("slim: k", k, 1, whole=True)
        check_range("slim: power", power, 0.0, 4.0)
        check_range("slim: context_weight", context_weight, 0.0)
        check_range("slim: threads", threads, 0, whole=True)
        self.l1, self.l2, self.k, self.power = l1, l2, k, power
        self.context_weight, self.threads = context_weight, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The sparse Gram, regressors and weights of every item, and a batch of systems for each thread."""
        n_items, threads = shape[1], self.threads or all_cores()
        pairs = min(n_items**2, nnz * nnz // max(1, shape[0]))
        width = min(self.k, n_items)
        return (20 * pairs + 40 * n_items * width + 4 * threads * max(SYSTEM_CELLS, width**2) + 40 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        n_items = len(data.items)
        targets = np.arange(n_items, dtype=np.int32)
        counts = Gram.from_matrix(data.user_items).counts
        near = candidates(counts, self.k, targets)
        weights = regress(counts, near, targets, self._solve, self.threads)
        kept = weights > 0
        cells = weights[kept], (near[kept], np.repeat(targets, kept.sum(axis=1)))
        self.links_: Matrix = sp.coo_array(cells, shape=(n_items, n_items)).tocsr()
        self.links_.sort_indices()

    def _solve(self, rows: slice, systems: Systems) -> Floats:
        weights = np.zeros_like(systems[1])
        _descend(systems[0], systems[1], (np.float32(self.l1), np.float32(self.l2)), weights)
        return weights

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Sum over the history of weight times learned weight `(n, n_items)`; 0 = no link from the history."""
        return add_links(*self.linked(histories, now))

    def linked(self, histories: Histories, now: Instant) -> tuple[Cells, Matrix]:
        """The history's weights, and from each item the learned weights of the items it speaks for."""
        self._check_fitted()
        self._check_width(histories)
        return history_weights(histories, self.power, self.context_weight), self.links_

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """The history item that adds most to each item's score, -1 where none is linked."""
        return leading_links(*self.linked(history, now), item_idx)


@kernel
def _descend(
    grams: NDArray[np.float32], right: Floats, penalty: tuple[np.float32, np.float32], weights: Floats
) -> None:
    """Coordinate descent for each row; `right` becomes what the weights leave of it, right - gram w."""
    l1, l2 = penalty
    for row in range(len(right)):
        gram, left, mine = grams[row], right[row], weights[row]
        for _ in range(SWEEPS):
            furthest = np.float32(0)
            for one in range(len(mine)):
                own = gram[one, one]
                step = max(np.float32(0), (left[one] + own * mine[one] - l1) / (own + l2)) - mine[one]
                if step != 0:
                    mine[one] += step
                    furthest = max(furthest, abs(step))
                    for other in range(len(mine)):
                        left[other] -= step * gram[one, other]
            if furthest < STILL:
                break
