"""Many small regularised least-squares problems, one a row, solved exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices
from regulars.core.jit import fast_kernel

Square = NDArray[np.float64]
SINGULAR = 1e-12  # a pivot below this share of its diagonal is a direction that nothing determines


@fast_kernel
def solve_rows(
    start: int, stop: int, indptr: NDArray[np.int64], cells: tuple[Indices, Floats, Floats], fixed: Floats,
    prior: tuple[Square, Floats], out: Floats,
) -> None:  # fmt: skip
    """For each row, out = (gram + sum w z z' + reg I)^-1 (out + sum t z) over the row's cells, z = fixed[index].

    `cells` are (index, w, t), `prior` is (gram, reg of each row). What `out` holds before, zeros or reg times a
    prior mean, is where the row is drawn to. Cholesky in float64; a direction that neither data nor prior determines
    gets 0. O(d^2 cells + d^3 / 3) a row.
    """
    d = fixed.shape[1]
    indices, weight, target = cells
    gram, reg = prior
    system, right, z = np.empty((d, d)), np.empty(d), np.empty(d)
    for row in range(start, stop):
        for i in range(d):  # element by element: whole-row assignments take seconds to compile
            right[i] = out[row, i]
            for j in range(i + 1):
                system[i, j] = gram[i, j]
            system[i, i] += reg[row]
        for cell in range(indptr[row], indptr[row + 1]):
            _add_cell(fixed[indices[cell]], weight[cell], target[cell], z, system, right)
        _factorise(system)
        _substitute(system, right)
        for i in range(d):
            out[row, i] = right[i]


@fast_kernel
def _add_cell(
    vector: Floats, weight: float, target: float, z: Square, system: Square, right: NDArray[np.float64]
) -> None:
    """Add w z z' to the lower half of the system and t z to the right side; `z` is room for a float64 copy."""
    for i in range(len(vector)):
        z[i] = vector[i]
        right[i] += target * z[i]
        scaled = weight * z[i]
        for j in range(i + 1):
            system[i, j] += scaled * z[j]


@fast_kernel
def _factorise(a: Square) -> None:
    """Turn a into its factor L, a = L L', in its lower half; the diagonal keeps 1 / L_ii, 0 where undetermined."""
    for i in range(len(a)):
        largest = a[i, i]
        for j in range(i):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            a[i, j] = total * a[j, j]
        rest = largest
        for k in range(i):
            rest -= a[i, k] * a[i, k]
        a[i, i] = 1.0 / np.sqrt(rest) if rest > SINGULAR * largest else 0.0


@fast_kernel
def _substitute(a: Square, b: NDArray[np.float64]) -> None:
    """Solve L L' x = b in the place of b."""
    for i in range(len(b)):
        total = b[i]
        for k in range(i):
            total -= a[i, k] * b[k]
        b[i] = total * a[i, i]
    for i in range(len(b) - 1, -1, -1):
        b[i] *= a[i, i]
        for k in range(i):  # along a row of L, which is a column of L'
            b[k] -= a[i, k] * b[i]
