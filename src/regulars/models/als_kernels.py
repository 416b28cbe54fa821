"""The conjugate gradients of implicit ALS, a row at a time (see `als`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices
from regulars.core.jit import fast_kernel, prefetch

LEAST_STEPS = 2  # of every row
MOST_STEPS = 24
ENOUGH = np.float32(1e-5)  # a row is done when its loss can fall by no more than this share of its summed c - 1
NOTHING_LEFT = np.float32(1e-20)  # in units of the loss: nothing that float32 could still resolve
FLOOR = 1e-6  # of the largest eigenvalue: below it a direction is not scaled up further
TOGETHER = 4  # cells read in one go, so that their sums wait less for each other
AHEAD = 8  # cells asked for before they are read
LINE = 16  # float32 numbers of one cache line


@fast_kernel
def _ask(fixed: Floats, flat: Floats, row: int) -> None:
    """Ask for a row of `fixed`, which `flat` is as one long row."""
    d = fixed.shape[1]
    for place in range(row * d, (row + 1) * d, LINE):
        prefetch(flat, place)


@fast_kernel
def _pull(
    cells: tuple[Indices, Floats], span: tuple[int, int], fixed: Floats, base: np.float32, at: Floats, out: Floats
) -> None:
    """Add sum (base c - (c-1) z'at) z over one row's cells: the residual's data part, or -sum (c-1) z z' at."""
    indices, extra = cells
    d, flat, zero = len(at), fixed.reshape(fixed.size), np.float32(0.0)
    whole = span[0] + (span[1] - span[0]) // TOGETHER * TOGETHER
    for cell in range(span[0], whole, TOGETHER):
        for later in range(cell + AHEAD, min(cell + AHEAD + TOGETHER, len(indices))):
            _ask(fixed, flat, indices[later])
        z0, z1, z2, z3 = (
            fixed[indices[cell]], fixed[indices[cell + 1]], fixed[indices[cell + 2]], fixed[indices[cell + 3]],
        )  # fmt: skip
        said0, said1, said2, said3 = zero, zero, zero, zero
        for f in range(d):
            said0 += z0[f] * at[f]
            said1 += z1[f] * at[f]
            said2 += z2[f] * at[f]
            said3 += z3[f] * at[f]
        miss0 = base + extra[cell] * (base - said0)
        miss1 = base + extra[cell + 1] * (base - said1)
        miss2 = base + extra[cell + 2] * (base - said2)
        miss3 = base + extra[cell + 3] * (base - said3)
        for f in range(d):
            out[f] += miss0 * z0[f] + miss1 * z1[f] + miss2 * z2[f] + miss3 * z3[f]
    for cell in range(whole, span[1]):
        z, said = fixed[indices[cell]], zero
        for f in range(d):
            said += z[f] * at[f]
        miss = base + extra[cell] * (base - said)
        for f in range(d):
            out[f] += miss * z[f]


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
    start: int, stop: int, indptr: NDArray[np.int64], cells: tuple[Indices, Floats], fixed: Floats,
    spectrum: Floats, reg: Floats, x: Floats,
) -> None:  # fmt: skip
    """Conjugate gradients on diag(S + l) + sum (c-1) z z', preconditioned by its diagonal part, from x."""
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
        enough = ENOUGH * _total(cells[1], span)
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
