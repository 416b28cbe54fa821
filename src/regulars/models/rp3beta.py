"""RP3beta: random walks of three steps, popular ends damped (Paudel et al. 2017; P3alpha of Cooper et al. 2014).

From an item of the history to a shopper who has it and on to an item of theirs:
P_ij = sum_u (w_ui / d_i)^alpha (w_uj / d_u)^alpha / d_j^beta, d the row and column sums of the weights w, each step's
probability to the power alpha. An item of the history weighs its own w^alpha. `k` = 0 keeps all links, which needs
memory for every pair of items that share a shopper; else each item keeps its `k` strongest.
Fit O(sum n_u^2) additions over shoppers with n_u items, score O(history x links of an item).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Cells, Floats, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.models.base import Can, Model, check_range
from regulars.models.history import history_weights
from regulars.models.links import add_links, leading_links
from regulars.models.nearest import nearest


class RP3Beta(Model):
    """Random walks over shoppers from the items of the history."""

    name = "rp3beta"
    can = frozenset({Can.LINKS, Can.BECAUSE})

    def __init__(
        self, *, alpha: float = 0.6, beta: float = 0.3, k: int = 200, context_weight: float = 1.0, threads: int = 1
    ) -> None:
        check_range("rp3beta: alpha", alpha, 0.0, 4.0)
        check_range("rp3beta: beta", beta, 0.0, 4.0)
        check_range("rp3beta: k", k, 0, whole=True)
        check_range("rp3beta: context_weight", context_weight, 0.0)
        check_range("rp3beta: threads", threads, 0, whole=True)
        self.alpha, self.beta, self.k = alpha, beta, k
        self.context_weight, self.threads = context_weight, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The matrix both ways, and the links: with `k` 0 as many as there are pairs of items, at most."""
        n_used = min(shape[1], nnz)
        return (56 * nnz + 24 * min(self.k or n_used, n_used) * n_used + 40 * sum(shape)) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        given = data.user_items
        lengths = np.diff(given.indptr)
        by_user = np.asarray(given.sum(axis=1), dtype=np.float32)
        by_item = np.maximum(np.asarray(given.sum(axis=0), dtype=np.float32), np.float32(1e-12))
        passed = np.maximum(by_user, np.float32(1e-12)) ** np.float32(-self.alpha / 2)
        cells = given.data ** np.float32(self.alpha) * np.repeat(passed, lengths)
        walks = sp.csr_array((cells, given.indices, given.indptr), shape=given.shape)
        scales = by_item ** np.float32(self.alpha), by_item ** np.float32(self.beta)
        self.links_: Matrix = nearest(walks, self.k, 0.0, self.threads, scales) if self.k else _all(walks, scales)

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Summed chances of the walks that end at each item `(n, n_items)`; 0 = none does."""
        return add_links(*self.linked(histories, now))

    def linked(self, histories: Histories, now: Instant) -> tuple[Cells, Matrix]:
        """The history's weights, and each item's chances of leading on to others."""
        self._check_fitted()
        self._check_width(histories)
        return history_weights(histories, self.alpha, self.context_weight), self.links_

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """The history item from which most walks come to each item, -1 where none does."""
        return leading_links(*self.linked(history, now), item_idx)


def _all(walks: Matrix, scales: tuple[Floats, Floats]) -> Matrix:
    """Every link there is, but from an item to itself."""
    left, right = scales
    links: Matrix = (sp.csr_array(walks.T) @ walks).tocsr()
    links.data /= np.repeat(left, np.diff(links.indptr))
    links.data /= right[links.indices]
    links.setdiag(0.0)
    links.eliminate_zeros()
    links.sort_indices()
    return links
