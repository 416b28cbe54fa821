"""What EASE says of the items beyond the memory allowed: links from and to their nearest items.

An item j outside the dense part has its own ridge regression, by the same loss, on the `k` items most like it:
b_j = (G[S, S] + L)^-1 G[S, j], with L the penalty. That is a column of EASE's weights with k regressors, on the same
scale, and 1 / (G_jj + L_jj - G[j, S] b_j) is its diagonal of P = (G + L)^-1. P is symmetric and a weight is
-P_ij / P_jj, so what j gets from a dense item i also says what it gives back: b_ij P_jj / P_ii.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from regulars.core.arrays import Floats, Indices, Matrix
from regulars.models.regressions import Systems, candidates, regress


def rest_links(
    counts: Matrix, own: Floats, dense: Indices, precision: NDArray[np.floating], k: int, threads: int = 1
) -> Matrix:
    """CSR `(n_items, n_items)` of weights from a row's item to a column's, where either is taken and not `dense`.

    `counts` is the Gram, `own (n_items,)` the diagonal of G + L, `precision` that of P for the `dense` items.
    """
    n_items = len(own)
    rest = np.setdiff1d(np.flatnonzero(counts.diagonal()).astype(np.int32), dense)
    near = candidates(counts, k, rest)
    left = own[rest]  # of each item's own variance, what its regression does not explain

    def solve(rows: slice, systems: Systems) -> Floats:
        gram, right = systems
        column = np.arange(right.shape[1])
        gram[:, column, column] = np.where(near[rows] >= 0, own[near[rows]], np.float32(1))
        weights: Floats = np.linalg.solve(gram, right[..., None])[..., 0]
        left[rows] -= np.einsum("ij,ij->i", right, weights)
        return weights

    with threadpool_limits(limits=1, user_api="blas"):  # many small systems, a thread of ours each
        weights = regress(counts, near, rest, solve, threads)
    there = near >= 0
    source, target, given = near[there], np.repeat(rest, there.sum(axis=1)), weights[there]
    diagonal = np.zeros(n_items, dtype=np.float32)  # of P
    diagonal[dense], diagonal[rest] = precision, 1.0 / left
    back = np.isin(source, dense)
    returned = given[back] * diagonal[target[back]] / diagonal[source[back]]
    cells = np.concatenate((given, returned)).astype(np.float32)
    places = np.concatenate((source, target[back])), np.concatenate((target, source[back]))
    links: Matrix = sp.coo_array((cells, places), shape=(n_items, n_items)).tocsr()
    links.sort_indices()
    return links
