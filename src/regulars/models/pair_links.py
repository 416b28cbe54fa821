"""Links between items that stand near each other in a sequence; shared by models that count pairs.

c_ij = sum over the places of i and j in one sequence, j after i at distance d, of w_d, and of `backward` w_d where j
is before i. Item by item over its places, never more than one row dense: O(events x window), and the `k` strongest
links of an item are all that is kept.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Floats, Indices, Matrix, Starts
from regulars.core.jit import in_chunks, kernel
from regulars.core.topk import sink
from regulars.models.base import all_cores
from regulars.models.sequences import Sequences


def pair_links(
    sequences: Sequences, worth: Floats, by_distance: Floats, backward: float, k: int, threads: int = 1
) -> Matrix:
    """CSR `(n_items, n_items)`: from i to j, c_ij times `worth (n_items,)` of j; no link from an item to itself.

    Of each item's links the `k` strongest stay, ties go to the lower id; columns are sorted.
    """
    n = len(worth)
    by_item = np.argsort(sequences.item_idx, kind="stable")
    starts = np.concatenate(([0], np.cumsum(np.bincount(sequences.item_idx, minlength=n)))).astype(np.int64)
    width = max(1, min(k, n - 1))
    ids, scores = np.full((n, width), n, dtype=np.int32), np.zeros((n, width), dtype=np.float32)
    sequence = np.repeat(np.arange(len(sequences), dtype=np.int32), np.diff(sequences.indptr))

    both_ways = by_distance, np.float32(backward) * by_distance

    def work(start: int, stop: int) -> None:
        _near(start, stop, (starts, by_item), (sequence, sequences.item_idx), both_ways, worth, (ids, scores))

    in_chunks(work, n, threads=threads or all_cores(), chunk=512)
    kept = scores > 0
    indptr = np.concatenate(([0], np.cumsum(kept.sum(axis=1))))
    links: Matrix = sp.csr_array((scores[kept], ids[kept], indptr.astype(np.int32)), shape=(n, n))
    links.sort_indices()
    return links


@kernel
def _near(
    start: int, stop: int, places: tuple[Starts, Starts], events: tuple[Indices, Indices],
    by_distance: tuple[Floats, Floats], worth: Floats, found: tuple[Indices, Floats],
) -> None:  # fmt: skip
    """`places` are (where those of each item begin, the rows of `events`), `events` (sequence, item)."""
    starts, rows = places
    sequence, items = events
    forward, backward = by_distance
    total = np.zeros(len(worth), dtype=np.float32)
    seen = np.empty(len(worth), dtype=np.int32)
    for item in range(start, stop):
        total[item] = np.float32(1)  # it is met already, and no link of its own
        n_seen = 0
        for row in rows[starts[item] : starts[item + 1]]:
            low, high = max(row - len(forward), 0), min(row + len(forward) + 1, len(items))
            if backward[0] == 0:
                low = row
            for other_row in range(low, high):
                if sequence[other_row] != sequence[row] or other_row == row:
                    continue
                other, step = items[other_row], other_row - row
                if total[other] == 0:
                    seen[n_seen] = other
                    n_seen += 1
                total[other] += forward[step - 1] if step > 0 else backward[-step - 1]
        _keep_best(item, total, seen[:n_seen], worth, found)
        total[item] = np.float32(0)


@kernel
def _keep_best(item: int, total: Floats, seen: Indices, worth: Floats, found: tuple[Indices, Floats]) -> None:
    """Put the strongest links on the item's heap and forget the sums; ties go to the lower id."""
    ids, scores = found[0][item], found[1][item]
    for other in seen:
        score = total[other] * worth[other]
        total[other] = 0
        if score > scores[0] or (score == scores[0] and other < ids[0]):
            scores[0], ids[0] = score, other
            sink(scores, ids, len(ids))
