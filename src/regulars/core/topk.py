"""The one place that selects: masks are -inf, ties go by score then id, short rows are padded with -1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Scores
from regulars.core.errors import InputError
from regulars.core.jit import fast_kernel, kernel

NOTHING = np.float32(-np.inf)


@kernel
def _worse(score_a: float, idx_a: int, score_b: float, idx_b: int) -> bool:
    """Whether a ranks below b: a lower score, or the same score and a higher id."""
    return score_a < score_b or (score_a == score_b and idx_a > idx_b)


@kernel
def sink(scores: Floats, ids: Indices, size: int) -> None:
    """Restore the heap (worst on top) after its root was replaced."""
    root = 0
    while True:
        child = 2 * root + 1
        if child >= size:
            return
        if child + 1 < size and _worse(scores[child + 1], ids[child + 1], scores[child], ids[child]):
            child += 1
        if not _worse(scores[child], ids[child], scores[root], ids[root]):
            return
        scores[root], scores[child] = scores[child], scores[root]
        ids[root], ids[child] = ids[child], ids[root]
        root = child


@kernel
def unheap(scores: Floats, ids: Indices) -> None:
    """Sort a heap in place, best first."""
    for size in range(len(ids) - 1, 0, -1):
        scores[0], scores[size] = scores[size], scores[0]
        ids[0], ids[size] = ids[size], ids[0]
        sink(scores, ids, size)


@kernel
def _top_k_rows(scores: Scores, top_scores: Scores, top_ids: Indices) -> None:
    for row in range(scores.shape[0]):
        best, ids = top_scores[row], top_ids[row]
        for idx in range(scores.shape[1]):
            score = scores[row, idx]
            if score > best[0] and score > -np.inf:  # an equal score with a later id never displaces
                best[0], ids[0] = score, idx
                sink(best, ids, len(ids))
        unheap(best, ids)


@fast_kernel
def _dot(left: Floats, right: Floats) -> Any:
    total: Any = np.float32(0.0)
    for factor in range(len(left)):
        total += left[factor] * right[factor]
    return total


@kernel
def _scan_rows(
    user_vectors: Floats, item_vectors: Floats, banned: NDArray[np.bool_], best: Scores, ids: Indices
) -> None:
    for row in range(user_vectors.shape[0]):
        vector = user_vectors[row]
        top, idx_of = best[row], ids[row]
        for idx in range(item_vectors.shape[0]):
            if banned[idx]:
                continue
            score = _dot(vector, item_vectors[idx])
            if score > top[0]:
                top[0], idx_of[0] = score, idx
                sink(top, idx_of, len(idx_of))
        unheap(top, idx_of)


def _empty(n_rows: int, k: int) -> tuple[Indices, Scores]:
    if k < 1:
        raise InputError("k", got=str(k), wanted="an integer in [1, inf)")
    # padding ids start high, so that a heap full of padding ranks below anything real
    ids = np.full((n_rows, k), np.iinfo(np.int32).max, dtype=np.int32)
    return ids, np.full((n_rows, k), NOTHING, dtype=np.float32)


def _pad(ids: Indices, scores: Scores) -> tuple[Indices, Scores]:
    ids[scores == NOTHING] = -1
    return ids, scores


def top_k(scores: Scores, k: int) -> tuple[Indices, Scores]:
    """Return ids and scores `(n_users, k)` of the best items of each row, best first.

    Items with -inf never appear; rows with fewer than `k` items end in id -1 and score -inf.
    """
    best_ids, best = _empty(len(scores), k)
    _top_k_rows(np.ascontiguousarray(scores, dtype=np.float32), best, best_ids)
    return _pad(best_ids, best)


def scan_top_k(
    user_vectors: Floats, item_vectors: Floats, k: int, banned: NDArray[np.bool_] | None = None
) -> tuple[Indices, Scores]:
    """The best items by inner product, without ever holding all the scores.

    `user_vectors (n_users, d)`, `item_vectors (n_items, d)`, `banned (n_items,)` true = never returned.
    """
    best_ids, best = _empty(len(user_vectors), k)
    shut = np.zeros(len(item_vectors), dtype=np.bool_) if banned is None else banned
    _scan_rows(
        np.ascontiguousarray(user_vectors, dtype=np.float32),
        np.ascontiguousarray(item_vectors, dtype=np.float32),
        shut,
        best,
        best_ids,
    )
    return _pad(best_ids, best)


def order(scores: NDArray[np.floating], ids: NDArray[np.integer]) -> NDArray[np.intp]:
    """Positions that sort one row, best first, by score then id."""
    return np.lexsort((ids, -np.asarray(scores, dtype=np.float64)))
