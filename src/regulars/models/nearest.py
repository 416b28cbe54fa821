"""The nearest columns of a sparse matrix, exactly, each pair of columns summed once.

Columns are put in order of how full they are. Then a cell adds to the pairs of its column with all later columns
what the tail of its row holds: one stretch of memory, which is fetched ahead of its use. A pair's sum is offered to
both sides, fullest columns first, so that bars are high early. O(sum of n_u^2 / 2) additions over rows of n_u cells,
never more than one row of the result dense. Threads keep heaps of their own, joined at the end: the best of all that
was offered does not depend on who kept it, so any number of threads gives the same links.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Cells, Floats, Indices, Matrix, Starts, as_csr, cells_of
from regulars.core.jit import in_chunks, kernel, prefetch
from regulars.core.topk import sink
from regulars.models.base import all_cores

CELL = np.dtype([("item", np.uint32), ("weight", np.float32)])  # side by side: one line of memory brings both
IN_LINE = 8  # such cells in a line of memory
LINES = 8  # lines of a row fetched ahead
AHEAD = 6  # rows from now
STRIDE = 64  # sums looked at together: most reach no bar
SLACK = np.float32(0.99999)  # bars are lowered by more than a product can be off from the quotient
TINY = np.float32(1e-30)
MOST_HEAPS = 1 << 30  # bytes of heaps, which bound the number of threads
Scales = tuple[Floats, Floats]
Tails = tuple[NDArray[np.void], Starts, Starts]  # rows, where each cell's tail begins, where each row ends
Below = tuple[Floats, Floats, np.float32]  # left, right, shrink
Heaps = tuple[Indices, Floats]


def nearest(user_items: Matrix, k: int, shrink: float, threads: int = 1, scales: Scales | None = None) -> Matrix:
    """The `k` most similar other items of each item, CSR `(n_items, n_items)`, columns sorted; positive ones only.

    Row i holds x_i'x_j / (left_i right_j + shrink) over columns x; `scales` = (left, right), by default the lengths
    |x|, which makes it the cosine. Ties go to the lower id. Items that nobody has cost their row of the CSR alone.
    """
    n_items = user_items.shape[1]
    used = np.flatnonzero(np.bincount(user_items.indices, minlength=n_items))
    if len(used) < n_items:
        theirs = None if scales is None else (scales[0][used], scales[1][used])
        return _among(nearest(as_csr(user_items[:, used]), k, shrink, threads, theirs), used, n_items)
    names = np.argsort(np.bincount(user_items.indices, minlength=n_items), kind="stable").astype(np.int32)
    by_item: Matrix = user_items.T.tocsr()[names]
    left, right = (lengths(user_items),) * 2 if scales is None else scales
    below = left[names], right[names], np.float32(shrink)
    tails = (*_tails(by_item), user_items.indptr[1:].astype(np.int64))
    heaps = [empty_heaps(n_items, k)]
    most = max(1, MOST_HEAPS // max(1, 2 * heaps[0][1].nbytes))
    heaps += [empty_heaps(n_items, k) for _ in range(min(threads or all_cores(), most) - 1)]

    def work(worker: int, _: int) -> None:
        _pairs((worker, len(heaps)), cells_of(by_item), tails, below, names, heaps[worker])

    in_chunks(work, len(heaps), threads=len(heaps), chunk=1)
    for more in heaps[1:]:
        _join(more, heaps[0])
    return links_of(heaps[0])


def _among(links: Matrix, items: NDArray[np.int64], n_items: int) -> Matrix:
    """Links of some items as links of all."""
    counts = np.zeros(n_items, dtype=np.int64)
    counts[items] = np.diff(links.indptr)
    indptr = np.concatenate(([0], np.cumsum(counts))).astype(links.indptr.dtype)
    return sp.csr_array((links.data, items.astype(np.int32)[links.indices], indptr), shape=(n_items, n_items))


def lengths(user_items: Matrix) -> Floats:
    """The Euclidean length of each column."""
    squares: Floats = np.asarray((user_items * user_items).sum(axis=0), dtype=np.float32)
    return np.sqrt(squares)


def empty_heaps(n: int, k: int) -> Heaps:
    """Ids and scores of the best `k` others of each of `n`, with nothing in them yet."""
    width = max(1, min(k, n - 1))
    return np.full((n, width), n, dtype=np.int32), np.zeros((n, width), dtype=np.float32)


def links_of(heaps: Heaps) -> Matrix:
    """The positive ones of the best, as a square CSR with its columns sorted."""
    ids, scores = heaps
    kept = scores > 0
    indptr = np.concatenate(([0], np.cumsum(kept.sum(axis=1))))
    if indptr[-1] <= np.iinfo(np.int32).max:  # else scipy widens the ids too, and every score would copy them back
        indptr = indptr.astype(np.int32)
    found: Matrix = sp.csr_array((scores[kept], ids[kept], indptr), shape=(len(ids), len(ids)))
    found.sort_indices()
    return found


def _tails(by_item: Matrix) -> tuple[NDArray[np.void], Starts]:
    """All rows, one after another with their cells in the order of `by_item`, and where each cell's tail begins."""
    rows, firsts = np.empty(by_item.nnz, dtype=CELL), np.empty(by_item.nnz, dtype=np.int64)
    counts = np.bincount(by_item.indices, minlength=by_item.shape[1])
    _turn(cells_of(by_item), np.cumsum(counts) - counts, rows, firsts)
    return rows, firsts


@kernel
def _turn(by_item: Cells, at: Starts, rows: NDArray[np.void], firsts: Starts) -> None:
    """Transpose; `at` is where each row begins, and is moved to its end."""
    indptr, users, weights = by_item
    for item in range(len(indptr) - 1):
        for cell in range(indptr[item], indptr[item + 1]):
            place = at[users[cell]]
            rows[place]["item"], rows[place]["weight"] = item, weights[cell]
            at[users[cell]] = firsts[cell] = place + 1


@kernel
def offer(score: float, idx: int, best: Floats, best_ids: Indices) -> None:
    """Put an item on the heap if it is better than the worst there; ties go to the lower index."""
    if score > best[0] or (score == best[0] and idx < best_ids[0]):
        best[0], best_ids[0] = score, idx
        sink(best, best_ids, len(best_ids))


@kernel
def _join(source: Heaps, target: Heaps) -> None:
    """Offer what one set of heaps holds to another."""
    more_ids, more = source
    ids, scores = target
    for row in range(len(ids)):
        for at in range(more.shape[1]):
            if more[row, at] > 0:
                offer(more[row, at], more_ids[row, at], scores[row], ids[row])


@kernel
def _pairs(share: tuple[int, int], by_item: Cells, tails: Tails, below: Below, names: Indices, heaps: Heaps) -> None:
    """Sum and offer the pairs of every n-th item, from the fullest, with all fuller ones.

    Where few sums were met they are visited by walking the tails once more, otherwise by running over all.
    """
    n = len(names)
    total, sums, met = np.zeros(n, np.float32), np.empty(n + 1, np.float32), np.empty(n + 1, np.int32)
    bars = np.full(n, TINY)
    for item in range(n - 1 - share[0], -1, -share[1]):
        n_steps = _add_tails(item, by_item, tails, total)
        if n_steps <= (n - item) // STRIDE:
            n_met = _met(item, by_item, tails, total, met, sums)
            _offer_met(item, met[:n_met], sums, below, bars, names, heaps)
            continue
        stop = _reaching(item, n, total, below, bars)
        while stop > item + 1:
            start, n_met = max(item + 1, stop - STRIDE), 0
            for other in range(stop - 1, start - 1, -1):
                met[n_met], sums[n_met] = other, total[other]
                n_met += total[other] > 0
            _offer_met(item, met[:n_met], sums, below, bars, names, heaps)
            stop = _reaching(item, start, total, below, bars)
        total[item + 1 :] = 0


@kernel
def _add_tails(item: int, by_item: Cells, tails: Tails, total: Floats) -> int:
    """Add what one item's cells have in common with later items; the number of additions."""
    indptr, users, weights = by_item
    rows, firsts, stops = tails
    n_steps, last = 0, indptr[item + 1] - 1
    for cell in range(indptr[item], indptr[item + 1]):
        soon = firsts[min(cell + AHEAD, last)]
        for line in range(LINES):
            prefetch(rows, soon + line * IN_LINE)
        weight = weights[cell]
        tail = rows[firsts[cell] : stops[users[cell]]]
        n_steps += len(tail)
        for at in range(len(tail)):
            total[tail[at]["item"]] += weight * tail[at]["weight"]
    return n_steps


@kernel
def _met(item: int, by_item: Cells, tails: Tails, total: Floats, met: Indices, sums: Floats) -> int:
    """List the items that have a sum, with it, and forget it; their number."""
    indptr, users, _ = by_item
    rows, firsts, stops = tails
    n_met = 0
    for cell in range(indptr[item], indptr[item + 1]):
        for at in range(firsts[cell], stops[users[cell]]):
            other = rows[at]["item"]
            met[n_met], sums[n_met] = other, total[other]
            n_met += total[other] > 0
            total[other] = 0
    return n_met


@kernel
def _reaching(item: int, stop: int, total: Floats, below: Below, bars: Floats) -> int:
    """The end of the next stretch, downwards, in which a sum reaches a bar of either side; item + 1 if there is none.

    No branch inside a stretch, so that vector units do it.
    """
    left, right, shrink = below
    my_left, my_right, my_bar = left[item], right[item], bars[item]
    while stop > item + 1:
        start = max(item + 1, stop - STRIDE)
        found = False
        for other in range(start, stop):
            found |= total[other] >= my_bar * (my_left * right[other] + shrink)
            found |= total[other] >= bars[other] * (left[other] * my_right + shrink)
        if found:
            break
        stop = start
    return stop


@kernel
def _offer_met(
    item: int, met: Indices, sums: Floats, below: Below, bars: Floats, names: Indices, heaps: Heaps
) -> None:
    """Offer one item and each of those met to the other, and raise the bars."""
    left, right, shrink = below
    ids, scores = heaps
    my_left, my_right, name = left[item], right[item], names[item]
    for at in range(len(met)):
        other = met[at]
        mine = sums[at] / max(my_left * right[other] + shrink, TINY)
        if mine >= bars[item]:
            offer(mine, names[other], scores[name], ids[name])
            bars[item] = max(scores[name, 0] * SLACK, TINY)
        theirs = sums[at] / max(left[other] * my_right + shrink, TINY)
        if theirs >= bars[other]:
            offer(theirs, name, scores[names[other]], ids[names[other]])
            bars[other] = max(scores[names[other], 0] * SLACK, TINY)
