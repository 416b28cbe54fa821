"""What item models read of a history: one sparse row of weights a shopper."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Indices, Matrix
from regulars.core.data import Histories


def history_weights(histories: Histories, power: float, context_weight: float) -> Matrix:
    """Weights to a power (0 = each item counts the same, 1 = as given), and the item looked at now.

    The item looked at weighs `context_weight` times all the history together (or times 1 without a history).
    """
    given = histories.user_items
    weights: Matrix = sp.csr_array((given.data ** np.float32(power), given.indices, given.indptr), shape=given.shape)
    if histories.context_item is None or context_weight == 0:
        return weights
    rows = np.flatnonzero(histories.context_item >= 0)
    if not len(rows):
        return weights
    totals = np.asarray(weights.sum(axis=1), dtype=np.float32)[rows]
    worth = np.float32(context_weight) * np.where(totals > 0, totals, np.float32(1))
    looked_at = sp.coo_array((worth, (rows, histories.context_item[rows])), shape=weights.shape)
    return sp.csr_array(weights + looked_at.tocsr(), dtype=np.float32)


def leading(shares: np.ndarray, items: Indices) -> Indices:
    """The history item with the largest positive share in each column of `shares (n_history, n)`, else -1."""
    if not len(items):
        return np.full(shares.shape[1], -1, dtype=np.int32)
    best = shares.argmax(axis=0)
    return np.where(shares[best, np.arange(shares.shape[1])] > 0, items[best], -1).astype(np.int32)
