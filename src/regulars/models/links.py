"""What models that link items do with a history: add its links up, and name the item that a score leans on."""

from __future__ import annotations

import numpy as np

from regulars.core.arrays import Cells, Floats, Indices, Matrix, Scores, Starts, spans_of
from regulars.core.jit import kernel


def add_links(weights: Cells, links: Matrix) -> Scores:
    """Dense `weights @ links`: each row of `weights (n, n_items)` adds up the links of its items, in its order."""
    indptr, items, values = weights
    scores = np.zeros((len(indptr) - 1, links.shape[1]), dtype=np.float32)
    _add_links(indptr, spans_of(links, items), values, (links.indices, links.data), scores)
    return scores


def leading_links(weights: Cells, links: Matrix, item_idx: Indices) -> Indices:
    """Of one row of `weights`: the item with the largest share in the score of each of `item_idx`, -1 where none.

    Rows of `links` have their columns sorted.
    """
    _, items, values = weights
    leads = np.full(len(item_idx), -1, dtype=np.int32)
    _leading_links(items, spans_of(links, items), values, (links.indices, links.data), item_idx, leads)
    return leads


@kernel
def _add_links(
    indptr: Starts, spans: tuple[Starts, Starts], weights: Floats, links: tuple[Indices, Floats], scores: Scores
) -> None:
    starts, stops = spans
    link_items, link_scores = links
    for row in range(len(scores)):
        out = scores[row]
        for at in range(indptr[row], indptr[row + 1]):
            weight = weights[at]
            for link in range(starts[at], stops[at]):
                out[link_items[link]] += weight * link_scores[link]


@kernel
def _leading_links(
    items: Indices, spans: tuple[Starts, Starts], weights: Floats, links: tuple[Indices, Floats], wanted: Indices,
    leads: Indices,
) -> None:  # fmt: skip
    starts, stops = spans
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
