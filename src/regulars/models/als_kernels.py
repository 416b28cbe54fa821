"""The conjugate gradients of implicit ALS, a row at a time (see `als`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices
from regulars.core.jit import fast_kernel, inlined_kernel, prefetch
from regulars.core.lanes import LINE, Four, Gathered, add_four, dots_of_four

LEAST_STEPS = 1  # of every row
MOST_STEPS = 24
NOTHING_LEFT = np.float32(1e-20)  # in units of the loss: nothing that float32 could still resolve
FLOOR = 1e-6  # of the largest eigenvalue: below it a direction is not scaled up further
AHEAD = 8  # cells asked for before they are read
FAR = 1 << 22  # float32 numbers of a side from which on its vectors are rounded and asked for ahead
NEAR = 1 << 18  # those of a row that stay in the second cache from one pass to the next


@inlined_kernel
def _ask(indices: Indices, start: int, stop: int, flat: Gathered, d: np.int64) -> None:
    """Ask for the vectors of these cells."""
    for cell in range(start, stop):
        row = np.int64(indices[cell]) * d
        for place in range(row, row + d, LINE // flat.itemsize):
            prefetch(flat, place)


@inlined_kernel
def _pull_four(flat: Gathered, rows: Four, more: Four, base: Four, at: Floats, out: Floats) -> None:
    """`_pull` of the four vectors that begin at `rows`."""
    said = dots_of_four(flat, rows, at)
    add_four(
        flat, rows,
        (
            base[0] + more[0] * (base[0] - said[0]), base[1] + more[1] * (base[1] - said[1]),
            base[2] + more[2] * (base[2] - said[2]), base[3] + more[3] * (base[3] - said[3]),
        ), out,
    )  # fmt: skip


@fast_kernel
def _pull(
    cells: tuple[Indices, Floats], span: tuple[int, int], fixed: Gathered, base: np.float32, at: Floats, out: Floats
) -> None:
    """Add sum (base c - (c-1) z'at) z over one row's cells: the residual's data part, or -sum (c-1) z z' at."""
    indices, extra = cells
    d, flat, zero = np.int64(len(at)), fixed.reshape(fixed.size), np.float32(0.0)
    far = fixed.size > FAR and (base > zero or (span[1] - span[0]) * d > NEAR)  # base: only in the first pass
    left = (span[1] - span[0]) % 4
    for cell in range(span[0], span[1] - left, 4):
        if far:
            _ask(indices, cell + AHEAD, min(cell + AHEAD + 4, len(indices)), flat, d)
        rows = indices[cell] * d, indices[cell + 1] * d, indices[cell + 2] * d, indices[cell + 3] * d
        more = extra[cell], extra[cell + 1], extra[cell + 2], extra[cell + 3]
        _pull_four(flat, rows, more, (base, base, base, base), at, out)
    if left > 0:  # the last ones, with the first of them again, which then adds nothing
        cell = span[1] - left
        second, third = cell + min(1, left - 1), cell + min(2, left - 1)
        rows = indices[cell] * d, indices[second] * d, indices[third] * d, indices[cell] * d
        real2, real3 = np.float32(left > 1), np.float32(left > 2)
        more = extra[cell], extra[second] * real2, extra[third] * real3, zero
        _pull_four(flat, rows, more, (base, base * real2, base * real3, zero), at, out)


@fast_kernel
def _precondition(scale: Floats, left: Floats, step: Floats, ratio: np.float32) -> None:
    """The next direction: the scaled residual plus `ratio` of the last one."""
    for f in range(len(left)):
        step[f] = scale[f] * left[f] + ratio * step[f]


@fast_kernel
def _size(left: Floats, right: Floats, scale: Floats) -> np.float32:
    total = np.float32(0.0)
    for f in range(len(left)):
        total += left[f] * right[f] * scale[f]
    return total


@fast_kernel
def _total(extra: Floats, span: tuple[int, int]) -> np.float32:
    total = np.float32(0.0)
    for cell in range(span[0], span[1]):
        total += extra[cell]
    return total


@fast_kernel
def cg_rows(
    start: int, stop: int, indptr: NDArray[np.int64], cells: tuple[Indices, Floats], fixed: Gathered,
    system: tuple[Floats, Floats], tolerance: float, x: Floats,
) -> None:  # fmt: skip
    """Conjugate gradients on diag(S + l) + sum (c-1) z z', preconditioned by its diagonal part, from x.

    `system` are (the spectrum S, the penalties l). A row is done when its loss can fall by no more than `tolerance`
    times its summed c - 1. The z are rows of `fixed`, of float32 or bfloat16.
    """
    spectrum, reg = system
    d = fixed.shape[1]
    left, step, image = np.empty(d, np.float32), np.zeros(d, np.float32), np.empty(d, np.float32)
    diagonal, scale, ones = np.empty(d, np.float32), np.empty(d, np.float32), np.ones(d, np.float32)
    zero, one = np.float32(0.0), np.float32(1.0)
    floor = np.float32(FLOOR) * spectrum[d - 1]
    for row in range(start, stop):
        mine, span = x[row], (indptr[row], indptr[row + 1])
        if span[0] == span[1]:
            for f in range(d):
                mine[f] = zero
            continue
        for f in range(d):
            diagonal[f] = spectrum[f] + reg[row]
            scale[f] = one / max(diagonal[f], floor)
            left[f] = -diagonal[f] * mine[f]
        _pull(cells, span, fixed, one, mine, left)
        _precondition(scale, left, step, zero)
        size = _size(left, left, scale)
        enough = np.float32(tolerance) * _total(cells[1], span)
        for done in range(MOST_STEPS):
            # size = r'M r >= r'A^-1 r, which is all that this row's loss can still fall
            if size <= NOTHING_LEFT or (done >= LEAST_STEPS and size <= enough):
                break
            for f in range(d):
                image[f] = -diagonal[f] * step[f]
            _pull(cells, span, fixed, zero, step, image)  # image = -A step
            length = -size / _size(step, image, ones)
            for f in range(d):
                mine[f] += length * step[f]
                left[f] += length * image[f]
            before = size
            size = _size(left, left, scale)
            _precondition(scale, left, step, size / before)
