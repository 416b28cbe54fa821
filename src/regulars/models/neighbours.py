"""The nearest rows of a sparse matrix by inner product, with a bound on work; what `content` is made of.

Exact while that is cheap (`nearest.nearest`), then a row's telling features are walked and a shortlist is scored in
full: prefix filtering (Bayardo, Ma & Srikant 2007) with a bound on work in place of one on likeness.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Cells, Floats, Indices, Matrix, cells_of
from regulars.core.jit import in_chunks, kernel
from regulars.models.base import all_cores
from regulars.models.nearest import empty_heaps, links_of, nearest, offer

WALK = 3_000_000_000  # cells of features that all rows together may walk: some 15 s of one core
SHORTLIST = 5  # rows scored in full, in multiples of the neighbours wanted
BANDS = 512  # steps of likeness that a shortlist tells apart


def nearest_rows(rows: Matrix, k: int, threads: int = 1, walk: int = WALK) -> Matrix:
    """The `k` most like other rows of each row, CSR `(n_rows, n_rows)`; rows of length 1, no cell below 0.

    Exact while sum over features of df^2 is at most `walk`. Beyond, each row walks its most telling features until
    its share of `walk` is used up, and the best `SHORTLIST * k` rows met so far are scored over all features:
    O(walk + n_rows x SHORTLIST x k x cells of a row). What is scored is exact, a neighbour may be missed.
    """
    spread = np.bincount(rows.indices, minlength=rows.shape[1]).astype(np.float64)
    if (spread**2).sum() <= walk:
        return nearest(sp.csr_array(rows.T), k, 0.0, threads)
    most = max(k, walk // rows.shape[0])
    ordered = _telling_first(_without_zeros(rows), spread)
    by_row, by_feature = cells_of(ordered), cells_of(strongest(ordered.T.tocsr(), most))
    heaps = empty_heaps(rows.shape[0], k)

    def work(start: int, stop: int) -> None:
        _likely_rows(start, stop, by_row, by_feature, most, SHORTLIST * k, *heaps)

    in_chunks(work, rows.shape[0], threads=threads or all_cores(), chunk=1024)
    return links_of(heaps)


def strongest(rows: Matrix, most: int) -> Matrix:
    """Keep the `most` strongest cells of each row; ties go to the lower column. Columns sorted, no cell below 0."""
    lengths = np.diff(rows.indptr)
    excess = lengths > most
    owner = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)
    among = np.flatnonzero(np.repeat(excess, lengths))
    bits = rows.data[among].astype(np.float32, copy=False).view(np.uint32)  # of floats >= 0 sort as they do
    falling = ~bits
    ranked = among[np.argsort(owner[among] << np.uint64(32) | falling, kind="stable")]
    place = np.arange(len(ranked)) - np.repeat(np.cumsum(lengths[excess]) - lengths[excess], lengths[excess])
    kept = np.ones(len(owner), dtype=np.bool_)
    kept[ranked[place >= most]] = False
    indptr = np.concatenate(([0], np.cumsum(np.minimum(lengths, most))))
    return sp.csr_array((rows.data[kept], rows.indices[kept], indptr), shape=rows.shape)


def _telling_first(rows: Matrix, spread: NDArray[np.float64]) -> Matrix:
    """Columns renamed so that those come first that add most to a likeness for a cell walked: mean weight^2 / df."""
    used = np.flatnonzero(spread)
    mean = np.bincount(rows.indices, weights=rows.data, minlength=len(spread))[used] / spread[used]
    place = np.empty(len(spread), dtype=np.int32)
    place[used[np.argsort(-(mean**2) / spread[used], kind="stable")]] = np.arange(len(used), dtype=np.int32)
    ordered: Matrix = sp.csr_array(
        (rows.data.copy(), place[rows.indices], rows.indptr), shape=(rows.shape[0], len(used))
    )
    ordered.sort_indices()
    return ordered


def _without_zeros(matrix: Matrix) -> Matrix:
    """Drop stored zeros: the kernels take a sum of 0 for an item not met yet, and would meet it twice."""
    if matrix.data.all():
        return matrix
    kept: Matrix = matrix.copy()
    kept.eliminate_zeros()
    return kept


@kernel
def _likely_rows(
    start: int, stop: int, by_row: Cells, by_feature: Cells, most: int, shortlist: int, ids: Indices, scores: Floats
) -> None:
    """Walk, shortlist, score in full, and keep the best on a heap, row by row."""
    n_rows, n_features = len(by_row[0]) - 1, len(by_feature[0]) - 1
    total = np.zeros(n_rows, dtype=np.float32)
    seen = np.empty(n_rows + 1, dtype=np.int32)
    bands = np.empty(BANDS + 1, dtype=np.int32)
    weights = np.zeros(n_features, dtype=np.float32)
    for row in range(start, stop):
        n_seen, walked = _walk(row, by_row, by_feature, most, total, seen)
        n_seen = _shorten(total, seen, n_seen, shortlist, bands)
        _add_rest(row, by_row, walked, total, seen[:n_seen], weights)
        best, best_ids = scores[row], ids[row]
        for other in seen[:n_seen]:
            score = total[other]
            total[other] = 0
            if other != row:
                offer(score, other, best, best_ids)


@kernel
def _walk(row: int, by_row: Cells, by_feature: Cells, most: int, total: Floats, seen: Indices) -> tuple[int, int]:
    """Add up the first features, as many as `most` cells hold; the number of rows met, the first feature left out."""
    row_indptr, row_features, row_data = by_row
    indptr, rows, data = by_feature
    n_seen, n_walked = 0, 0
    for at in range(row_indptr[row], row_indptr[row + 1]):
        feature, weight = row_features[at], row_data[at]
        n_walked += indptr[feature + 1] - indptr[feature]
        if n_walked > most:
            return n_seen, feature
        for cell in range(indptr[feature], indptr[feature + 1]):
            other = rows[cell]
            seen[n_seen] = other
            n_seen += total[other] == 0  # without a branch, which would be guessed wrong every other time
            total[other] += weight * data[cell]
    return n_seen, len(indptr) - 1


@kernel
def _shorten(total: Floats, seen: Indices, n_seen: int, most: int, bands: Indices) -> int:
    """Move the best `most` of the rows met to the front and forget the others; ties go to those met first."""
    if n_seen <= most:
        return n_seen
    top = np.float32(0)
    for other in seen[:n_seen]:
        top = max(top, total[other])
    scale = np.float32(BANDS) / top
    bands[:] = 0
    for other in seen[:n_seen]:
        bands[int(total[other] * scale)] += 1
    lowest, room = BANDS, most
    while bands[lowest] <= room:
        room -= bands[lowest]
        lowest -= 1
    n_kept = 0
    for other in seen[:n_seen]:
        band = int(total[other] * scale)
        if band > lowest or (band == lowest and room > 0):
            room -= band == lowest
            seen[n_kept] = other
            n_kept += 1
        else:
            total[other] = 0
    return n_kept


@kernel
def _add_rest(row: int, by_row: Cells, first: int, total: Floats, others: Indices, weights: Floats) -> None:
    """Add what the features from `first` on have in common with the row; `weights` is scratch, 0 before and after."""
    indptr, features, data = by_row
    for at in range(indptr[row], indptr[row + 1]):
        weights[features[at]] = data[at]
    for other in others:
        at = indptr[other + 1] - 1
        while at >= indptr[other] and features[at] >= first:
            total[other] += weights[features[at]] * data[at]
            at -= 1
    for at in range(indptr[row], indptr[row + 1]):
        weights[features[at]] = 0
