"""G = X'X over the binary users x items matrix: how many shoppers have both items, exactly.

It is the sufficient statistic of item models, and a sum over shoppers: counts of disjoint shoppers add, and a
shopper can be taken out again without a trace. Counts are int64, so every way to the same shoppers gives the
same numbers. Building costs O(sum n_u^2) additions; memory beyond the result is bounded by `BLOCK_CELLS`.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Matrix, as_csr
from regulars.core.errors import InputError
from regulars.core.jit import kernel

BLOCK_CELLS = 8_000_000  # cells of the result that are built at once
Links = tuple[NDArray[np.int64], Indices]  # indptr and indices of a CSR
_LONG_INDEX = np.iinfo(np.int32).max


class Gram:
    """Co-occurrence counts `(n_items, n_items)`, symmetric, int64; the diagonal counts each item's shoppers."""

    def __init__(self, n_items: int) -> None:
        self.counts = sp.csr_array((n_items, n_items), dtype=np.int64)
        self.n_users = 0

    @classmethod
    def from_matrix(cls, user_items: Any) -> Self:
        """Count a users x items matrix; a cell above 0 means the shopper has the item."""
        csr = as_csr(user_items)
        csr.data = (csr.data > 0).astype(np.float32)
        csr.eliminate_zeros()
        gram = cls(csr.shape[1])
        gram.n_users = csr.shape[0]
        gram.counts = _count(csr)
        return gram

    @property
    def n_items(self) -> int:
        """How many items there are."""
        return int(self.counts.shape[0])

    def add_user(self, item_idx: Indices) -> None:
        """Count one more shopper, who has these distinct items."""
        self.counts = sp.csr_array(self.counts + self._pairs(item_idx))
        self.n_users += 1

    def remove_user(self, item_idx: Indices) -> None:
        """Take out one shopper, given exactly the items they were counted with."""
        left = sp.csr_array(self.counts - self._pairs(item_idx))
        if self.n_users < 1 or (left.nnz and left.data.min() < 0):
            raise InputError("Gram.remove_user", got="items that no counted shopper has together",
                             wanted="the items of a shopper who was counted")  # fmt: skip
        left.eliminate_zeros()
        self.counts = left
        self.n_users -= 1

    def merge(self, other: Gram) -> None:
        """Add the counts of other shoppers over the same items."""
        if other.n_items != self.n_items:
            raise InputError("Gram.merge", got=f"{other.n_items} items", wanted=f"{self.n_items}")
        self.counts = sp.csr_array(self.counts + other.counts)
        self.n_users += other.n_users

    def dense(self, dtype: type[np.floating[Any]] = np.float32, items: Indices | None = None) -> NDArray[Any]:
        """The counts (among some items) as a dense Fortran-ordered array; float32 is exact to 16.7 million."""
        counts = self.counts if items is None or len(items) == self.n_items else self.counts[items][:, items]
        return np.asarray(counts.astype(dtype).toarray(order="F"))

    def _pairs(self, item_idx: Indices) -> Matrix:
        items = np.sort(np.asarray(item_idx, dtype=np.int64))
        if len(items) and (items[0] < 0 or items[-1] >= self.n_items or (np.diff(items) == 0).any()):
            raise InputError("item_idx", got="an item twice or outside the matrix",
                             wanted=f"distinct items in [0, {self.n_items})")  # fmt: skip
        n = len(items)
        cells = (np.ones(n * n, dtype=np.int64), (np.repeat(items, n), np.tile(items, n)))
        pairs: Matrix = sp.coo_array(cells, shape=self.counts.shape).tocsr()
        return pairs


def _count(csr: Matrix) -> Matrix:
    """X'X of a binary CSR, block of items by block of items."""
    n_items = csr.shape[1]
    by_item = csr.T.tocsr()
    lengths = np.diff(csr.indptr).astype(np.int64)
    owned = np.concatenate(([0], np.cumsum(lengths[by_item.indices])))
    most = np.minimum(np.diff(owned[by_item.indptr]), n_items)  # cells a row can have at most
    row_lengths = np.zeros(n_items, dtype=np.int64)
    all_items, all_counts = [], []
    for start, stop in _blocks(most):
        room = int(most[start:stop].sum())
        items, counts = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int64)
        used = _count_rows(start, stop, _links(by_item), _links(csr), row_lengths, items, counts)
        all_items.append(items[:used].copy())
        all_counts.append(counts[:used].copy())
    indptr = np.concatenate(([0], np.cumsum(row_lengths)))
    index_type = np.int32 if indptr[-1] <= _LONG_INDEX else np.int64
    empty = np.zeros(0, dtype=np.int64)
    cells = (
        np.concatenate([empty, *all_counts]),
        np.concatenate([empty, *all_items]).astype(index_type),
        indptr.astype(index_type),
    )
    gram: Matrix = sp.csr_array(cells, shape=(n_items, n_items))
    gram.sort_indices()
    return gram


def _links(matrix: Matrix) -> Links:
    return matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False)


def _blocks(most: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut rows so that each block holds at most BLOCK_CELLS cells, or one row."""
    blocks, start, room = [], 0, 0
    for row, cells in enumerate(most.tolist()):
        if room + cells > BLOCK_CELLS and row > start:
            blocks.append((start, row))
            start, room = row, 0
        room += cells
    if start < len(most):
        blocks.append((start, len(most)))
    return blocks


@kernel
def _count_rows(
    start: int, stop: int, by_item: Links, by_user: Links,
    row_lengths: NDArray[np.int64], out_items: Indices, out_counts: NDArray[np.int64],
) -> int:  # fmt: skip
    """Write rows `start:stop` of X'X, unsorted within a row; return how many cells were written."""
    item_indptr, item_users = by_item
    user_indptr, user_items = by_user
    total = np.zeros(len(item_indptr) - 1, dtype=np.int64)
    end = 0
    for item in range(start, stop):
        first = end
        for at in range(item_indptr[item], item_indptr[item + 1]):
            user = item_users[at]
            for cell in range(user_indptr[user], user_indptr[user + 1]):
                other = user_items[cell]
                if total[other] == 0:
                    out_items[end] = other
                    end += 1
                total[other] += 1
        for cell in range(first, end):
            out_counts[cell] = total[out_items[cell]]
            total[out_items[cell]] = 0
        row_lengths[item] = end - first
    return end
