"""What item models read of a history: one sparse row of weights a shopper."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Cells, Floats, Indices, Instants, Mask, Starts, cells_of
from regulars.core.data import Histories
from regulars.core.jit import kernel
from regulars.models.sequences import LIKING


def history_weights(histories: Histories, power: float, context_weight: float, decay: float = 0.0) -> Cells:
    """Weights to a power (0 = each item counts the same, 1 = as given), and the item looked at now.

    With a `decay`, an item after which r - 1 others were taken weighs r^-decay of that. The item looked at weighs
    `context_weight` times all the history together (or times 1 without a history).
    """
    indptr, items, given = cells_of(histories.user_items)
    weights = (indptr, items, given ** np.float32(power))
    if decay > 0:
        weights = (indptr, items, weights[2] * places(histories) ** np.float32(-decay))
    if histories.context_item is None or context_weight == 0:
        return weights
    rows = np.flatnonzero(histories.context_item >= 0)
    if not len(rows):
        return weights
    totals, shape = row_sums(weights)[rows], histories.user_items.shape
    worth = np.float32(context_weight) * np.where(totals > 0, totals, np.float32(1))
    looked_at = sp.coo_array((worth, (rows, histories.context_item[rows])), shape=shape)
    return cells_of(sp.csr_array((weights[2], items, indptr), shape=shape) + looked_at.tocsr())


def places(histories: Histories) -> Floats:
    """For each cell of `user_items`, 1 + how many other items its shopper took later `(nnz,)`.

    Events that are no sign of liking (refunds, dislikes and so on) take nothing.
    """
    indptr, items, _ = cells_of(histories.user_items)
    found = np.zeros(len(items), dtype=np.float32)
    by_item = np.lexsort((items, np.repeat(np.arange(len(histories)), np.diff(indptr))))
    events = histories.indptr, histories.item_idx, LIKING[histories.kind], histories.at
    _places(indptr, items[by_item], by_item, events, found)
    return found


@kernel
def _places(
    indptr: Starts, items: Indices, cells: Starts, events: tuple[Starts, Indices, Mask, Instants], found: Floats
) -> None:
    """Items taken at one instant share a place; those without an event stand behind all others.

    `items` of a row are in ascending order, and stand in `cells`.
    """
    starts, taken, liked, at = events
    for row in range(len(indptr) - 1):
        low, high = indptr[row], indptr[row + 1]
        n_later, place, now = 0, 1, np.int64(0)
        for event in range(starts[row + 1] - 1, starts[row] - 1, -1):
            at_item = low + np.searchsorted(items[low:high], taken[event])
            if not liked[event] or at_item == high or items[at_item] != taken[event]:
                continue
            cell = cells[at_item]
            if found[cell] > 0:
                continue
            if at[event] != now:
                place, now = n_later + 1, at[event]
            found[cell] = place
            n_later += 1
        for cell in range(low, high):
            if found[cell] == 0:
                found[cell] = n_later + 1


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
