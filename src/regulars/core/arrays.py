"""Names for the array types that cross borders, and one check for public doors."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.errors import InputError

Scores = NDArray[np.float32]  # (n_users, n_items), higher is better, -inf = not available
Indices = NDArray[np.int32]  # dense row numbers, -1 = padding
Instants = NDArray[np.int64]  # microseconds UTC
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Matrix: TypeAlias = sp.csr_array  # users x items, always in this orientation
Starts = NDArray[np.int64]  # where something begins in another array
Cells = tuple[Starts, Indices, Floats]  # the arrays of a CSR: where rows begin, columns, numbers


def expect(array: NDArray[Any], name: str, *, ndim: int, length: int | None = None) -> NDArray[Any]:
    """Return `array` when it has `ndim` axes and `length` rows; otherwise say what it has."""
    if array.ndim != ndim:
        raise InputError(name, got=f"{array.ndim} axes, shape {array.shape}", wanted=f"{ndim} axes")
    if length is not None and len(array) != length:
        raise InputError(name, got=f"{len(array)} rows", wanted=f"{length} rows")
    return array


def cells_of(matrix: Matrix) -> Cells:
    """The arrays of a CSR in the one set of types that kernels are compiled for."""
    return (
        matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float32, copy=False),
    )  # fmt: skip


def spans_of(matrix: Matrix, rows: Indices) -> tuple[Starts, Starts]:
    """Where these rows of a CSR begin and end."""
    return matrix.indptr[rows].astype(np.int64), matrix.indptr[1:][rows].astype(np.int64)


def as_csr(matrix: Any, name: str = "user_items") -> Matrix:
    """Return a canonical float32 CSR copy of a dense or sparse users x items matrix; refuse NaN and infinity."""
    try:
        csr = sp.csr_array(matrix, dtype=np.float32, copy=True)
    except (TypeError, ValueError) as error:
        raise InputError(name, got=type(matrix).__name__, wanted="a users x items matrix of numbers") from error
    if csr.ndim != 2:
        raise InputError(name, got=f"{csr.ndim} axes", wanted="2 axes, users x items")
    if not np.isfinite(csr.data).all():
        raise InputError(name, got="NaN or infinity", wanted="finite numbers", remedy="Leave unknown cells out.")
    csr.sum_duplicates()
    csr.sort_indices()
    return csr
