"""What models that link items do with a history: add its links up, and name the item that a score leans on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Cells, Floats, Indices, Matrix, Scores
from regulars.core.jit import kernel

Pointers = NDArray[np.int64]
Own = tuple[Pointers, Pointers, Floats]  # of each cell: where its item's links begin and end, its weight


def add_links(weights: Cells, links: Matrix) -> Scores:
    """Dense `weights @ links`: each row of `weights (n, n_items)` adds up the links of its items, in its order."""
    indptr, items, values = weights
    scores = np.zeros((len(indptr) - 1, links.shape[1]), dtype=np.float32)
    _add_links(indptr, (*_spans(items, links), values), (links.indices, links.data), scores)
    return scores


def add_few_links(weights: Cells, links: Matrix) -> Cells:
    """The same where items have few links: the sums of the items met only, in the order in which they are met."""
    indptr, items, values = weights
    starts, stops = _spans(items, links)
    met = np.concatenate(([0], np.cumsum(stops - starts)))[indptr]
    room = np.minimum(np.diff(met), links.shape[1])
    ends, size = np.zeros(len(indptr), dtype=np.int64), int(room.sum())
    added = (np.empty(size, dtype=np.int32), np.empty(size, dtype=np.float32))
    slots = np.empty(_power_above(2 * int(room.max(initial=0))), dtype=np.int32)
    _add_few_links(indptr, room, (starts, stops, values), (links.indices, links.data), slots, ends, added)
    return ends, added[0][: ends[-1]], added[1][: ends[-1]]


def leading_links(weights: Cells, links: Matrix, item_idx: Indices) -> Indices:
    """Of one row of `weights`: the item with the largest share in the score of each of `item_idx`, -1 where none.

    Rows of `links` have their columns sorted.
    """
    _, items, values = weights
    starts, stops = _spans(items, links)
    leads = np.full(len(item_idx), -1, dtype=np.int32)
    _leading_links(items, (starts, stops, values), (links.indices, links.data), item_idx, leads)
    return leads


def _spans(items: Indices, links: Matrix) -> tuple[Pointers, Pointers]:
    """Where the links of each item begin and end."""
    return links.indptr[items].astype(np.int64), links.indptr[1:][items].astype(np.int64)


def _power_above(n: int) -> int:
    return 1 << n.bit_length()


@kernel
def _add_links(indptr: Pointers, own: Own, links: tuple[Indices, Floats], scores: Scores) -> None:
    starts, stops, weights = own
    link_items, link_scores = links
    for row in range(len(scores)):
        out = scores[row]
        for at in range(indptr[row], indptr[row + 1]):
            weight = weights[at]
            for link in range(starts[at], stops[at]):
                out[link_items[link]] += weight * link_scores[link]


@kernel
def _add_few_links(
    indptr: Pointers, room: Pointers, own: Own, links: tuple[Indices, Floats],
    slots: Indices, ends: Pointers, added: tuple[Indices, Floats],
) -> None:  # fmt: skip
    """Row by row; `slots` is a hash table (linear probing) from an item to its place in `added`."""
    starts, stops, weights = own
    link_items, link_scores = links
    items, sums = added
    n = 0
    for row in range(len(room)):
        size = 1
        while size <= 2 * room[row]:
            size *= 2
        for slot in range(size):
            slots[slot] = -1
        for at in range(indptr[row], indptr[row + 1]):
            for link in range(starts[at], stops[at]):
                item = link_items[link]
                slot = (int(item) * 0x9E3779B1 >> 15) & (size - 1)  # Fibonacci hashing (Knuth 6.4)
                while slots[slot] >= 0 and items[slots[slot]] != item:
                    slot = (slot + 1) & (size - 1)
                if slots[slot] < 0:
                    slots[slot], items[n], sums[n] = n, item, 0.0
                    n += 1
                sums[slots[slot]] += weights[at] * link_scores[link]
        ends[row + 1] = n


@kernel
def _leading_links(
    items: Indices, own: Own, links: tuple[Indices, Floats], wanted: Indices,
    leads: Indices,
) -> None:  # fmt: skip
    starts, stops, weights = own
    link_items, link_scores = links
    for place in range(len(wanted)):
        most = np.float32(0.0)
        for at in range(len(items)):
            low, high = starts[at], stops[at]
            while low < high:
                middle = (low + high) // 2
                if link_items[middle] < wanted[place]:
                    low = middle + 1
                else:
                    high = middle
            if low < stops[at] and link_items[low] == wanted[place]:
                share = weights[at] * link_scores[low]
                if share > most:
                    most, leads[place] = share, items[at]
