"""One regression an item on the items most like it, out of the Gram: what `ease` and `slim` share.

The normal equations of a regression of column j on the columns S of X are G[S, S] b = G[S, j]: nothing else of X is
needed, so the items go in batches, each with small dense systems of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Cells, Floats, Indices, Matrix, cells_of
from regulars.core.jit import in_chunks, kernel
from regulars.models.base import all_cores
from regulars.models.neighbours import strongest

SYSTEM_CELLS = 8_000_000  # cells of the systems that one thread holds at once: 32 MB
ROWS = 2048  # rows of the Gram ranked at once
Systems = tuple[Floats, Floats]  # (n, m, m) and (n, m)
Solve = Callable[[slice, Systems], Floats]


def regress(counts: Matrix, regressors: Indices, targets: Indices, solve: Solve, threads: int = 1) -> Floats:
    """Weights `(n_targets, m)` of each target's `regressors (n_targets, m)`, padded with -1 at the end.

    `solve(rows, (systems, right sides))` gets the Gram among the regressors of `targets[rows]`, and that with the
    target; in place of padding they have the identity and 0. Work O(cells of G's rows of all regressors) to gather.
    """
    n, width = regressors.shape
    cells, weights = cells_of(counts), np.zeros((n, width), dtype=np.float32)

    def work(start: int, stop: int) -> None:
        rows = slice(start, stop)
        systems = np.zeros((stop - start, width, width), dtype=np.float32)
        right = np.zeros((stop - start, width), dtype=np.float32)
        _gather(cells, regressors[rows], targets[rows], systems, right)
        weights[rows] = solve(rows, (systems, right))

    in_chunks(work, n, threads=threads or all_cores(), chunk=max(1, SYSTEM_CELLS // max(1, width**2)))
    return weights


def candidates(counts: Matrix, k: int, targets: Indices) -> Indices:
    """The `k` other items of the largest cosine with each target `(n_targets, at most k)`, padded with -1 at the end.

    Out of the Gram: its cells over the square roots of their column's diagonal rank a row as cosines do.
    """
    diagonal = counts.diagonal()
    scale = (1.0 / np.sqrt(np.maximum(diagonal, 1))).astype(np.float32)
    out = np.full((len(targets), max(0, min(k, len(diagonal) - 1))), -1, dtype=np.int32)
    for start in range(0, len(targets), ROWS):
        rows = counts[targets[start : start + ROWS]]
        cosines = rows.data * scale[rows.indices]
        cosines[rows.indices == np.repeat(targets[start : start + ROWS], np.diff(rows.indptr))] = 0
        others = sp.csr_array((cosines, rows.indices, rows.indptr), shape=rows.shape)
        others.eliminate_zeros()
        near = strongest(others, k)
        there = np.arange(out.shape[1]) < np.diff(near.indptr)[:, None]
        out[start : start + ROWS][there] = near.indices
    width = int((out >= 0).sum(axis=1).max(initial=0))
    return out[:, :width]


@kernel
def _gather(cells: Cells, regressors: Indices, targets: Indices, systems: NDArray[np.float32], right: Floats) -> None:
    place = np.full(len(cells[0]) - 1, -1, dtype=np.int32)
    for row in range(len(targets)):
        mine = regressors[row]
        for column in range(len(mine)):
            if mine[column] >= 0:
                place[mine[column]] = column
        _pick(cells, targets[row], place, right[row])
        for column in range(len(mine)):
            if mine[column] >= 0:
                _pick(cells, mine[column], place, systems[row, column])
            else:
                systems[row, column, column] = 1
        for column in range(len(mine)):
            if mine[column] >= 0:
                place[mine[column]] = -1


@kernel
def _pick(cells: Cells, item: int, place: Indices, out: Floats) -> None:
    """The cells of an item's row that have a place."""
    indptr, items, counts = cells
    for cell in range(indptr[item], indptr[item + 1]):
        where = place[items[cell]]
        if where >= 0:
            out[where] = counts[cell]
