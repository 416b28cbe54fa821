"""The nearest columns of a sparse matrix by cosine, and sums over them; shared by item-knn and content.

Row by row over the matrix and its transpose, never more than one row of the result dense.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Matrix, Scores
from regulars.core.jit import in_chunks, kernel
from regulars.core.topk import sink
from regulars.models.base import all_cores

Pointers = NDArray[np.int64]


def add_links(weights: Matrix, links: Matrix) -> Scores:
    """Dense `weights @ links`: each row of `weights (n, n_items)` adds up the links of its items."""
    scores = np.zeros((weights.shape[0], links.shape[1]), dtype=np.float32)
    _add_links(*_parts(weights), *_parts(links), scores)
    return scores


def nearest(user_items: Matrix, k: int, shrink: float, threads: int = 1) -> Matrix:
    """The `k` most cosine-similar other items of each item, CSR `(n_items, n_items)`; positive ones only."""
    n_items = user_items.shape[1]
    by_user, by_item = _parts(user_items), _parts(user_items.T.tocsr())
    norms = np.sqrt(np.asarray((user_items * user_items).sum(axis=0), dtype=np.float32))
    width = max(1, min(k, n_items - 1))
    ids = np.full((n_items, width), n_items, dtype=np.int32)
    scores = np.zeros((n_items, width), dtype=np.float32)

    def work(start: int, stop: int) -> None:
        _nearest_rows(start, stop, by_item, by_user, norms, np.float32(shrink), ids, scores)

    in_chunks(work, n_items, threads=threads or all_cores(), chunk=256)
    kept = scores > 0
    indptr = np.concatenate(([0], np.cumsum(kept.sum(axis=1))))
    if indptr[-1] <= np.iinfo(np.int32).max:  # else scipy widens the ids too, and every score would copy them back
        indptr = indptr.astype(np.int32)
    found: Matrix = sp.csr_array((scores[kept], ids[kept], indptr), shape=(n_items, n_items))
    return found


def _parts(matrix: Matrix) -> tuple[Pointers, Indices, Floats]:
    """The arrays of a CSR in the one set of types that the kernels are compiled for."""
    return (
        matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float32, copy=False),
    )  # fmt: skip


@kernel
def _nearest_rows(
    start: int, stop: int, by_item: tuple[Pointers, Indices, Floats], by_user: tuple[Pointers, Indices, Floats],
    norms: Floats, shrink: np.float32, ids: Indices, scores: Floats,
) -> None:  # fmt: skip
    """Dot products of one item with all that share a shopper, and the best of them on a heap."""
    item_indptr, item_users, item_data = by_item
    user_indptr, user_items, user_data = by_user
    total = np.zeros(len(norms), dtype=np.float32)
    seen = np.empty(len(norms), dtype=np.int32)
    for item in range(start, stop):
        n_seen = 0
        for at in range(item_indptr[item], item_indptr[item + 1]):
            user, weight = item_users[at], item_data[at]
            for cell in range(user_indptr[user], user_indptr[user + 1]):
                other = user_items[cell]
                if total[other] == 0:
                    seen[n_seen] = other
                    n_seen += 1
                total[other] += weight * user_data[cell]
        best, best_ids = scores[item], ids[item]
        for at in range(n_seen):
            other = seen[at]
            score = total[other] / (norms[item] * norms[other] + shrink)
            total[other] = 0
            better = score > best[0] or (score == best[0] and other < best_ids[0])
            if other != item and better:
                best[0], best_ids[0] = score, other
                sink(best, best_ids, len(best_ids))


@kernel
def _add_links(
    indptr: Pointers, indices: Indices, weights: Floats,
    link_indptr: Pointers, link_items: Indices, link_scores: Floats, scores: Scores,
) -> None:  # fmt: skip
    for row in range(len(indptr) - 1):
        out = scores[row]
        for at in range(indptr[row], indptr[row + 1]):
            item, weight = indices[at], weights[at]
            for link in range(link_indptr[item], link_indptr[item + 1]):
                out[link_items[link]] += weight * link_scores[link]
