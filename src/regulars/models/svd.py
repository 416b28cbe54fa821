"""The leading right singular vectors of a sparse matrix, and the product that finding them is made of.

Small matrices: the exact eigenvectors of X'X. Large ones: block subspace iteration with a few vectors more than
wanted (Halko, Martinsson & Tropp 2011, algorithm 4.4), re-orthonormalised through the block's Gram in float64, then
Rayleigh and Ritz. Time O(ROUNDS (nnz k + n_items k^2)), memory a few blocks `(n_users + n_items, k)` of float32.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from regulars.core.arrays import Cells, Floats, Matrix, cells_of
from regulars.core.jit import fast_kernel, in_chunks
from regulars.models.base import all_cores

SMALL = 800  # columns up to which all eigenvectors are taken: a second
SPARE = 32  # vectors beyond those wanted, so that the last ones wanted converge too
ROUNDS = 8
NOISE = 1e-12  # of the largest eigenvalue of a block's Gram: below it a direction is rounding
NARROW = 8  # columns below which a kernel's inner loop costs more than it does
ROWS = 1 << 15


def right_vectors(matrix: Matrix, k: int, rng: np.random.Generator, threads: int = 1) -> Floats:
    """The `k` leading right singular vectors `(n_items, k)`, orthonormal, largest first; fewer where the rank is."""
    n_items = matrix.shape[1]
    with threadpool_limits(limits=threads or all_cores(), user_api="blas"):
        if n_items <= max(SMALL, k + SPARE):
            return _exact(matrix, k)
        back = matrix.T.tocsr()
        block = rng.standard_normal((n_items, k + SPARE), dtype=np.float32)
        for _ in range(ROUNDS):
            block = _orthonormal(multiply(back, multiply(matrix, block, threads=threads), threads=threads))
        spectrum, turn = scipy.linalg.eigh(_gram(multiply(matrix, block, threads=threads)))
        return block @ _leading(spectrum, turn, k)


def block_bytes(shape: tuple[int, int], width: int) -> int:
    """What the iteration holds beside the matrix: a block of the shoppers, three of the items, a piece of one."""
    return width * (4 * (shape[0] + 3 * shape[1]) + 8 * min(max(shape), ROWS))


def multiply(
    matrix: Matrix, block: Floats, out: Floats | None = None, *, scale: float = 1.0, keep: float = 0.0,
    threads: int = 1,
) -> Floats:  # fmt: skip
    """`keep * out + scale * matrix @ block` in `out`, a new array without one; `block (n, b)` is C-ordered."""
    if out is None:
        out = np.zeros((matrix.shape[0], block.shape[1]), dtype=np.float32)
    if block.shape[1] < NARROW:
        out *= np.float32(keep)
        out += np.float32(scale) * (matrix @ block)
        return out
    cells, factors = cells_of(matrix), (np.float32(keep), np.float32(scale))

    def work(start: int, stop: int) -> None:
        _multiply_rows(start, stop, cells, factors, block, out)

    in_chunks(work, len(out), threads=threads or all_cores())
    return out


def _exact(matrix: Matrix, k: int) -> Floats:
    doubles = matrix.astype(np.float64)
    spectrum, turn = scipy.linalg.eigh((doubles.T @ doubles).toarray())
    return _leading(spectrum, turn, k)


def _leading(spectrum: NDArray[np.float64], basis: NDArray[np.float64], k: int) -> Floats:
    """The last `k` columns of a basis with a rising spectrum, last first; those of no weight are left out."""
    least = NOISE * spectrum.max(initial=0.0)
    return np.ascontiguousarray(basis[:, spectrum > least][:, ::-1][:, :k], dtype=np.float32)


def _orthonormal(block: Floats) -> Floats:
    """A basis of the same span `(n, rank)`."""
    spectrum, turn = scipy.linalg.eigh(_gram(block))
    kept = spectrum > NOISE * spectrum.max(initial=0.0)
    basis: Floats = block @ (turn[:, kept] / np.sqrt(spectrum[kept])).astype(np.float32)
    return basis


def _gram(block: Floats) -> NDArray[np.float64]:
    """B'B in float64, without a float64 copy of all of B."""
    total = np.zeros((block.shape[1], block.shape[1]))
    for start in range(0, len(block), ROWS):
        part = block[start : start + ROWS].astype(np.float64)
        total += part.T @ part
    return total


@fast_kernel
def _multiply_rows(
    start: int, stop: int, cells: Cells, factors: tuple[np.float32, np.float32], block: Floats, out: Floats
) -> None:
    indptr, indices, data = cells
    keep, scale = factors
    for row in range(start, stop):
        mine = out[row]
        for column in range(len(mine)):
            mine[column] *= keep
        first, last = indptr[row], indptr[row + 1]
        whole = last - (last - first) % 4
        for cell in range(first, whole, 4):  # four at once: a row of sums is read and written a quarter as often
            a, b = block[indices[cell]], block[indices[cell + 1]]
            c, d = block[indices[cell + 2]], block[indices[cell + 3]]
            of_a, of_b = scale * data[cell], scale * data[cell + 1]
            of_c, of_d = scale * data[cell + 2], scale * data[cell + 3]
            for column in range(len(mine)):
                mine[column] += of_a * a[column] + of_b * b[column] + of_c * c[column] + of_d * d[column]
        for cell in range(whole, last):
            weight, other = scale * data[cell], block[indices[cell]]
            for column in range(len(mine)):
                mine[column] += weight * other[column]
