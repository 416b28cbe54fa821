"""The one place that selects: masks are -inf, ties go by score then id, short rows are padded with -1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Cells, Floats, Indices, Mask, Matrix, Scores, Starts, spans_of
from regulars.core.errors import InputError
from regulars.core.jit import fast_kernel, kernel

NOTHING = np.float32(-np.inf)
BAND = 8192  # items whose sums are held at once: they stay in the fastest cache
STRIDE = 64  # scores of a row looked at together: most hold nothing that is good enough
PADDING = np.iinfo(np.int32).max  # ids of a heap's padding are high, so that it ranks below anything real
ROUNDING = np.float32(1.0001)  # bounds are widened by more than float32 sums can be off
MANY = 8  # rows from which on a search multiplies blocks
ROWS, BLOCK = 128, 2048  # rows and items multiplied at once: their scores stay in the second cache
HEAD = 1024  # the longest vectors: a search for a few rows reads them one by one, and seldom needs more
COARSE = 8192  # items after them of which it takes sums at once: they stay in the fastest caches
MOST = np.float32(1e37)  # of a doubt: beyond it, or where it is no number, nothing is told without the vectors
Codes = NDArray[np.int8]
EPSILON = np.float32(2.0**-22)  # two float32 sums of d products differ by less than d of this, times |u| |y|
TINY = np.float32(1e-30)


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


@fast_kernel
def _reaches(scores: Floats, start: int, stop: int, bar: float) -> bool:
    """Whether any of these scores is above the bar: no branch inside, so that vector units do it."""
    found = False
    for idx in range(start, stop):
        found |= scores[idx] > bar
    return found


@kernel
def _holds(indices: Indices, idx: int) -> bool:
    found = False
    for place in range(len(indices)):
        found |= indices[place] == idx
    return found


@kernel
def _take(
    scores: Floats, first: int, above: float, allowed: Mask, banned: Indices, best: Floats, ids: Indices
) -> None:
    """Put the best of `scores`, those of the items from `first` on, on the heap; called with rising items."""
    for start in range(0, len(scores), STRIDE):
        stop = min(start + STRIDE, len(scores))
        if not _reaches(scores, start, stop, best[0]):
            continue
        for place in range(start, stop):
            score, idx = scores[place], first + place
            # an equal score with a later id never displaces
            if score > best[0] and score > above and allowed[idx] and not _holds(banned, idx):
                best[0], ids[0] = score, idx
                sink(best, ids, len(ids))


@kernel
def _top_k_rows(scores: Scores, allowed: Mask, banned: Indices, top_scores: Scores, top_ids: Indices) -> None:
    for row in range(scores.shape[0]):
        _take(scores[row], 0, -np.inf, allowed, banned[row], top_scores[row], top_ids[row])
        unheap(top_scores[row], top_ids[row])


@kernel
def _top_sums(
    rows: tuple[Starts, Starts, Starts, Floats], links: tuple[Indices, Floats], above: float, allowed: Mask,
    banned: Indices, best: Scores, ids: Indices,
) -> None:  # fmt: skip
    """`rows` are (where rows begin, where the links of each cell begin and end, weights); links by rising item."""
    indptr, here, ends, weights = rows
    link_items, link_scores = links
    sums = np.zeros(min(BAND, len(allowed)), dtype=np.float32)
    for row in range(len(best)):
        for first in range(0, len(allowed), BAND):
            for cell in range(indptr[row], indptr[row + 1]):
                link, end, weight = here[cell], ends[cell], weights[cell]
                while link < end:
                    place = link_items[link] - first
                    if place >= BAND:
                        break
                    sums[np.uint32(place)] += weight * link_scores[link]  # unsigned: no look whether it is negative
                    link += 1
                here[cell] = link
            _take(sums[: len(allowed) - first], first, above, allowed, banned[row], best[row], ids[row])
            for place in range(len(sums)):
                sums[place] = 0
        unheap(best[row], ids[row])


@fast_kernel
def _dot(left: Floats, right: Floats) -> Any:
    total: Any = np.float32(0.0)
    for factor in range(len(left)):
        total += left[factor] * right[factor]
    return total


@kernel
def _scan_block(
    near: Floats, doubt: Any, first: int, vector: Floats, items: tuple[Floats, Floats, Indices],
    limits: tuple[Mask, Indices, float], heap: tuple[Floats, Indices],
) -> None:  # fmt: skip
    """Put the best of a block of items, from `first` on, on the heap.

    `near` are their scores to within `doubt`; what may enter is scored exactly, so every path gives the same.
    `items` are (vectors, their lengths, which items they are), `limits` (allowed, banned, the score to exceed).
    """
    item_vectors, _, item_idx = items
    allowed, banned, above = limits
    top, idx_of = heap
    if not doubt < MOST:
        near[:] = np.inf
        doubt = np.float32(0)
    for start in range(0, len(near), STRIDE):
        stop = min(start + STRIDE, len(near))
        if not _reaches(near, start, stop, top[0] - doubt):
            continue
        for place in range(start, stop):
            idx = item_idx[first + place]
            if near[place] > top[0] - doubt and allowed[idx] and not _holds(banned, idx):
                score = _dot(vector, item_vectors[first + place])
                if score > above and _worse(top[0], idx_of[0], score, idx):
                    top[0], idx_of[0] = score, idx
                    sink(top, idx_of, len(idx_of))


@kernel
def _scan_products(
    products: Scores, first: int, users: tuple[Floats, Floats], items: tuple[Floats, Floats, Indices],
    allowed: Mask, banned: Indices, above: float, heaps: tuple[Scores, Indices],
) -> bool:  # fmt: skip
    """Search the block of which `products` are the inner products, for each row; `users` are (vectors, lengths).

    Returns whether any row may still find something further on.
    """
    going = False
    for row in range(len(products)):
        vector, top, idx_of = users[0][row], heaps[0][row], heaps[1][row]
        bound = users[1][row] * items[1][first]
        if bound <= above or bound < top[0]:
            continue
        going = True
        doubt = bound * EPSILON * np.float32(len(vector)) + TINY
        _scan_block(products[row], doubt, first, vector, items, (allowed, banned[row], above), (top, idx_of))
    return going


@fast_kernel
def _coarse_products(vector: Floats, codes: Codes, near: Floats) -> None:
    """`vector (d,)` times `codes (d, n)`, item after item in the lanes of vector units; d is a multiple of 4."""
    for place in range(len(near)):
        near[place] = 0
    for f in range(0, len(vector), 4):
        first, second, third, fourth = vector[f], vector[f + 1], vector[f + 2], vector[f + 3]
        for place in range(len(near)):
            near[place] += (
                first * np.float32(codes[f, place]) + second * np.float32(codes[f + 1, place])
                + third * np.float32(codes[f + 2, place]) + fourth * np.float32(codes[f + 3, place])
            )  # fmt: skip


@kernel
def _scan_few(
    users: tuple[Floats, Floats], items: tuple[Floats, Floats, Indices], coarse: tuple[Codes, Floats, Floats],
    limits: tuple[Mask, Indices, float], heaps: tuple[Scores, Indices],
) -> None:  # fmt: skip
    """Search all items row by row: the longest one by one, of the others only what codes of a byte do not rule out.

    `coarse` are (codes, steps, the longest error of each block): what an item's step times its codes, padded with
    zeros to a multiple of four, leaves of its vector y is an error e, and |u'e| <= |u| |e|.
    """
    codes, steps, errors = coarse
    allowed, banned, above = limits
    padded, near_all = np.zeros(codes.shape[1], dtype=np.float32), np.empty(codes.shape[2], dtype=np.float32)
    for row in range(len(users[0])):
        vector, reach, top, idx_of = users[0][row], users[1][row], heaps[0][row], heaps[1][row]
        mine = (allowed, banned[row], above)
        padded[: len(vector)] = vector
        going = _scan_head(vector, reach, items, mine, (top, idx_of))
        for block in range(len(codes)):
            first = HEAD + block * codes.shape[2]
            bound = reach * items[1][first]
            if not going or bound <= above or bound < top[0]:
                break
            near = near_all[: len(items[1]) - first]
            _coarse_products(padded, codes[block], near)
            for place in range(len(near)):
                near[place] *= steps[first - HEAD + place]
            doubt = reach * errors[block] + np.float32(2) * bound * EPSILON * np.float32(len(padded)) + TINY
            _scan_block(near, doubt, first, vector, items, mine, (top, idx_of))


@kernel
def _scan_head(
    vector: Floats, reach: float, items: tuple[Floats, Floats, Indices], limits: tuple[Mask, Indices, float],
    heap: tuple[Floats, Indices],
) -> bool:  # fmt: skip
    """Put the best of the first HEAD items on the heap; returns whether a later one may still enter."""
    item_vectors, lengths, item_idx = items
    allowed, banned, above = limits
    top, idx_of = heap
    for place in range(min(HEAD, len(item_idx))):
        bound, idx = reach * lengths[place], item_idx[place]
        if bound <= above or bound < top[0]:
            return False
        if not allowed[idx]:
            continue
        score = _dot(vector, item_vectors[place])
        if score > above and _worse(top[0], idx_of[0], score, idx) and not _holds(banned, idx):
            top[0], idx_of[0] = score, idx
            sink(top, idx_of, len(idx_of))
    return True


@kernel
def _unheap_rows(best: Scores, ids: Indices) -> None:
    for row in range(len(best)):
        unheap(best[row], ids[row])


def _empty(n_rows: int, k: int) -> tuple[Indices, Scores]:
    if k < 1:
        raise InputError("k", got=str(k), wanted="an integer in [1, inf)")
    return np.full((n_rows, k), PADDING, dtype=np.int32), np.full((n_rows, k), NOTHING, dtype=np.float32)


def _pad(ids: Indices, scores: Scores) -> tuple[Indices, Scores]:
    ids[scores == NOTHING] = -1
    return ids, scores


def top_k(
    scores: Scores, k: int, allowed: Mask | None = None, banned: Indices | None = None
) -> tuple[Indices, Scores]:
    """Return ids and scores `(n_users, k)` of the best items of each row, best first.

    Items with -inf, those not `allowed (n_items,)`, and those that `banned (n_users, width)` names for a row never
    appear; rows with fewer than `k` items end in id -1 and score -inf.
    """
    best_ids, best = _empty(len(scores), k)
    given = np.ascontiguousarray(scores, dtype=np.float32)
    n, n_items = given.shape
    _top_k_rows(
        given, np.ones(n_items, dtype=np.bool_) if allowed is None else allowed,
        np.full((n, 0), -1, dtype=np.int32) if banned is None else np.ascontiguousarray(banned), best, best_ids,
    )  # fmt: skip
    return _pad(best_ids, best)


def top_cells(cells: Cells, k: int, allowed: Mask, banned: Indices, above: float) -> tuple[Indices, Scores]:
    """As `top_k`, over rows that hold few items, each once; only scores larger than `above` count.

    `allowed (n_items,)` holds for every row; `banned (n, width)` names items that a row never gets, -1 pads.
    """
    indptr, items, scores = cells
    best_ids, best = _empty(len(indptr) - 1, k)
    rows = np.repeat(np.arange(len(best)), np.diff(indptr))
    good = (scores > above) & allowed[items]
    if banned.shape[1]:
        good &= ~(items[:, None] == banned[rows]).any(axis=1)
    rows, items, scores = rows[good], items[good], scores[good]
    ranked = np.lexsort((items, -scores, rows))  # rows stay in their order
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    top = ranked[place < k]
    where = rows[top], place[place < k]
    best_ids[where], best[where] = items[top], scores[top]
    return _pad(best_ids, best)


def top_sums(
    weights: Cells, links: Matrix, k: int, allowed: Mask, banned: Indices, above: float
) -> tuple[Indices, Scores]:
    """As `top_cells`, of the rows of `weights @ links`, which are never held whole.

    `links (n, n_items)` have their columns sorted. Sums run in the order of a row of `weights`.
    """
    indptr, rows, numbers = weights
    best_ids, best = _empty(len(indptr) - 1, k)
    _top_sums(
        (indptr, *spans_of(links, rows), numbers), (links.indices, links.data), above, allowed,
        np.ascontiguousarray(banned), best, best_ids,
    )  # fmt: skip
    return _pad(best_ids, best)


class InnerProducts:
    """Items searched by inner product, longest vectors first, so that a search ends early and is exact all the same.

    |u| |y| bounds u'y (Cauchy-Schwarz): once it falls below the k-th best score so far, no later item can enter
    (length-based pruning of LEMP, Teflioudi et al. 2015). Holds a sorted copy of `item_vectors (n_items, d)`, and one
    in whole steps of a byte: for a few rows, reading the vectors is what takes the time.
    """

    def __init__(self, item_vectors: Floats) -> None:
        lengths = _lengths(item_vectors)
        longest_first = np.argsort(-lengths, kind="stable").astype(np.int32)
        vectors = np.ascontiguousarray(item_vectors[longest_first], dtype=np.float32)
        self._items = (vectors, lengths[longest_first], longest_first)
        self._coarse = _in_steps(vectors[HEAD:])

    def top_k(
        self, user_vectors: Floats, k: int, *, allowed: NDArray[np.bool_] | None = None,
        banned: Indices | None = None, above: float = -np.inf,
    ) -> tuple[Indices, Scores]:  # fmt: skip
        """The best items of each of `user_vectors (n, d)`, as `top_k`; only scores larger than `above` count.

        `allowed (n_items,)` holds for every row; `banned (n, width)` names items that a row never gets, -1 pads.
        """
        best_ids, best = _empty(len(user_vectors), k)
        users = np.ascontiguousarray(user_vectors, dtype=np.float32)
        may = np.ones(len(self._items[2]), dtype=np.bool_) if allowed is None else allowed
        shut = np.full((len(users), 0), -1, dtype=np.int32) if banned is None else np.ascontiguousarray(banned)
        reaches = ROUNDING * _lengths(users)
        if len(users) < MANY:
            _scan_few((users, reaches), self._items, self._coarse, (may, shut, above), (best, best_ids))
        else:
            for start in range(0, len(users), ROWS):
                part = slice(start, start + ROWS)
                asking, heaps = (users[part], reaches[part]), (best[part], best_ids[part])
                self._multiply(asking, may, shut[part], above, heaps)
        _unheap_rows(best, best_ids)
        return _pad(best_ids, best)

    def _multiply(
        self, users: tuple[Floats, Floats], allowed: Mask, banned: Indices, above: float,
        heaps: tuple[Scores, Indices],
    ) -> None:  # fmt: skip
        """Search for many rows at once: a block of items is read from memory once for all of them."""
        vectors, _, item_idx = self._items
        for first in range(0, len(item_idx), BLOCK):
            products = users[0] @ vectors[first : first + BLOCK].T
            if not _scan_products(products, first, users, self._items, allowed, banned, above, heaps):
                break


def _lengths(vectors: Floats) -> Floats:
    """Euclidean lengths; the squares of a float32 may be too large or too small for one."""
    lengths: Floats = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)).astype(np.float32)
    return lengths


def _in_steps(vectors: Floats) -> tuple[Codes, Floats, Floats]:
    """Codes of a byte `(blocks, d, items of one)`, the step of each vector, and of each block the longest error."""
    n, d = vectors.shape
    size = max(1, min(COARSE, n))
    blocks = -(-n // size)
    steps = np.maximum(np.abs(vectors).max(axis=1, initial=0.0) / np.float32(127), TINY)
    codes, errors = np.zeros((blocks, -(-d // 4) * 4, size), dtype=np.int8), np.zeros(blocks, dtype=np.float32)
    for block, first in enumerate(range(0, n, size)):
        part, step = vectors[first : first + size], steps[first : first + size, None]
        with np.errstate(invalid="ignore"):  # of what is no number: an error that is none either rules nothing out
            coded = np.rint(part / step)
            codes[block, :d, : len(part)] = coded.T
            errors[block] = ROUNDING * _lengths(part - coded * step).max(initial=0.0)
    return codes, steps, errors


def order(scores: NDArray[np.floating], ids: NDArray[np.integer]) -> NDArray[np.intp]:
    """Positions that sort one row, best first, by score then id."""
    return np.lexsort((ids, -np.asarray(scores, dtype=np.float64)))
