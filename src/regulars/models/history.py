"""What item models read of a history: one sparse row of weights a shopper."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Cells, Floats, Indices, cells_of
from regulars.core.data import Histories


def history_weights(histories: Histories, power: float, context_weight: float) -> Cells:
    """Weights to a power (0 = each item counts the same, 1 = as given), and the item looked at now.

    The item looked at weighs `context_weight` times all the history together (or times 1 without a history).
    """
    indptr, items, given = cells_of(histories.user_items)
    weights = (indptr, items, given ** np.float32(power))
    if histories.context_item is None or context_weight == 0:
        return weights
    rows = np.flatnonzero(histories.context_item >= 0)
    if not len(rows):
        return weights
    totals, shape = row_sums(weights)[rows], histories.user_items.shape
    worth = np.float32(context_weight) * np.where(totals > 0, totals, np.float32(1))
    looked_at = sp.coo_array((worth, (rows, histories.context_item[rows])), shape=shape)
    return cells_of(sp.csr_array((weights[2], items, indptr), shape=shape) + looked_at.tocsr())


def row_sums(cells: Cells) -> Floats:
    """The sum of each row `(n,)`."""
    indptr, _, numbers = cells
    filled = np.flatnonzero(indptr[1:] > indptr[:-1])
    sums = np.zeros(len(indptr) - 1, dtype=np.float32)
    sums[filled] = np.add.reduceat(numbers, indptr[filled]) if len(filled) else 0.0
    return sums


def leading(shares: np.ndarray, items: Indices) -> Indices:
    """The history item with the largest positive share in each column of `shares (n_history, n)`, else -1."""
    if not len(items):
        return np.full(shares.shape[1], -1, dtype=np.int32)
    best = shares.argmax(axis=0)
    return np.where(shares[best, np.arange(shares.shape[1])] > 0, items[best], -1).astype(np.int32)
