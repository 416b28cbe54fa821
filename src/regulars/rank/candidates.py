"""From models to one list of candidates a shopper, with what each model says of each of them.

A model's say about a candidate is two numbers in [0, 1]: where its score lies between the model's last and
best candidate, and a discount of its rank. A score of 0 or below says nothing, so ties among items that a
model knows nothing of never enter. Both numbers are free of the model's own scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Instants, Mask, Scores
from regulars.core.clock import DAY, Instant
from regulars.core.data import PURCHASE, Histories
from regulars.core.jit import kernel
from regulars.core.topk import NOTHING
from regulars.rank.retrieve import Retriever

NEVER_BOUGHT = -1.0
SHORTEST_GAP = 1e-3  # days: two purchases of one moment are no habit
NOT_DUE_SHARE = 0.5  # bought again before half the usual gap has passed: not due


@dataclass(frozen=True)
class Candidates:
    """Candidates of `n` requests; column c of row r is one candidate, -1 pads."""

    item_idx: Indices  # (n, width)
    says: NDArray[np.float32]  # (n, width, 2 * n_sources): score place and rank discount by source
    bought: NDArray[np.int32]  # (n, width) times bought before
    rested: NDArray[
        np.float32
    ]  # (n, width) since the last purchase, in usual gaps; NEVER_BOUGHT where there was none
    n: NDArray[np.int32]  # (n,) candidates of each row

    def __len__(self) -> int:
        return len(self.item_idx)

    @property
    def not_due(self) -> Mask:
        """`(n, width)` bought, and too short ago to be needed again."""
        mask: Mask = (self.rested >= 0) & (self.rested < NOT_DUE_SHARE)
        return mask


def gather(
    sources: Mapping[str, Retriever],
    histories: Histories,
    now: Instant,
    allowed: Mask,
    banned: Indices,
    item_gap: Floats,
    k: int,
    pins: Indices | None = None,
) -> Candidates:
    """Ask every source, merge what they bring, add the pins that may be shown, and look up what was bought before.

    `item_gap (n_items,)` is the usual days between two purchases of an item by one shopper, inf = never again;
    `pins (n, n_pins)` are candidates whatever the models say, -1 pads.
    """
    n, n_sources = len(histories), len(sources)
    ids = np.full((n_sources, n, k), -1, dtype=np.int32)
    scores = np.full((n_sources, n, k), NOTHING, dtype=np.float32)
    for source, retriever in enumerate(sources.values()):
        ids[source], scores[source] = retriever.best(histories, now, allowed, banned, k)
    n_pins = 0 if pins is None else pins.shape[1]
    width = max(1, min(n_sources * k + n_pins, len(item_gap)))
    merged = Candidates(
        item_idx=np.full((n, width), -1, dtype=np.int32),
        says=np.zeros((n, width, 2 * n_sources), dtype=np.float32),
        bought=np.zeros((n, width), dtype=np.int32),
        rested=np.full((n, width), NEVER_BOUGHT, dtype=np.float32),
        n=np.zeros(n, dtype=np.int32),
    )
    table = np.full(1 << (2 * width).bit_length(), -1, dtype=np.int32)
    _merge(ids, scores, table, merged.item_idx, merged.says, merged.n)
    if pins is not None and n_pins:
        _add_pins(merged, pins, allowed, banned)
    _look_back(
        histories.indptr, np.ascontiguousarray(histories.item_idx), np.ascontiguousarray(histories.kind),
        np.ascontiguousarray(histories.at), merged.item_idx, merged.n, item_gap, now, table, merged.bought,
        merged.rested,
    )  # fmt: skip
    return merged


@kernel
def slot_of(table: Indices, items: Indices, idx: int) -> int:
    """Where a hash table holds the place of an item among `items`; where it would go when it is not in yet."""
    last = len(table) - 1  # a power of two less one
    slot = (int(idx) * 0x9E3779B1 >> 15) & last  # Fibonacci hashing (Knuth 6.4), linear probing
    while table[slot] >= 0 and items[table[slot]] != idx:
        slot = (slot + 1) & last
    return slot


@kernel
def _merge(
    ids: Indices, scores: Scores, table: Indices, item_idx: Indices, says: NDArray[np.float32], n: Indices
) -> None:
    """Union of the sources' lists, in the order met; `table` is scratch, -1 on entry and exit."""
    n_sources, n_rows, k = ids.shape
    for row in range(n_rows):
        size = 0
        for source in range(n_sources):
            best, last = scores[source, row, 0], np.float32(0.0)
            for rank in range(k):
                if ids[source, row, rank] >= 0 and scores[source, row, rank] > 0:
                    last = scores[source, row, rank]
            span = best - last
            for rank in range(k):
                idx, score = ids[source, row, rank], scores[source, row, rank]
                if idx < 0 or not score > 0:
                    break
                slot = slot_of(table, item_idx[row], idx)
                if table[slot] < 0:
                    table[slot], item_idx[row, size] = size, idx
                    size += 1
                place = table[slot]
                says[row, place, 2 * source] = (score - last) / span if span > 0 else 0.0
                says[row, place, 2 * source + 1] = 1.0 / np.log2(2.0 + rank)
        table[:] = -1
        n[row] = size


def _add_pins(merged: Candidates, pins: Indices, allowed: Mask, banned: Indices) -> None:
    """Append what no model brought; a pin is no way round stock, filters or exclusions."""
    for row, wanted in enumerate(pins.tolist()):
        shut = {-1, *banned[row].tolist(), *merged.item_idx[row].tolist()}
        for idx in dict.fromkeys(wanted):
            if idx not in shut and allowed[idx]:
                merged.item_idx[row, merged.n[row]] = idx
                merged.n[row] += 1


@kernel
def _look_back(  # noqa: PLR0913 - a kernel takes plain arrays
    indptr: NDArray[np.int64], hist_idx: Indices, kind: NDArray[np.int8], at: Instants,
    item_idx: Indices, n: Indices, item_gap: Floats, now: Instant, table: Indices, bought: Indices,
    rested: NDArray[np.float32],
) -> None:  # fmt: skip
    """Count each candidate's earlier purchases (lines of one instant once), and how many gaps ago the last was."""
    first_at, last_at = np.empty(item_idx.shape[1], dtype=np.int64), np.empty(item_idx.shape[1], dtype=np.int64)
    for row in range(len(n)):
        for place in range(n[row]):
            table[slot_of(table, item_idx[row], item_idx[row, place])] = place
        for event in range(indptr[row], indptr[row + 1]):
            if kind[event] != PURCHASE:
                continue
            place = table[slot_of(table, item_idx[row], hist_idx[event])]
            if place < 0 or (bought[row, place] > 0 and last_at[place] == at[event]):
                continue
            if bought[row, place] == 0:
                first_at[place] = at[event]
            bought[row, place] += 1
            last_at[place] = at[event]
        for place in range(n[row]):
            idx, times = item_idx[row, place], bought[row, place]
            if times > 0:
                own = (last_at[place] - first_at[place]) / DAY / max(times - 1, 1)
                gap = own if times >= 2 else item_gap[idx]
                rested[row, place] = max((now - last_at[place]) / DAY, 0.0) / max(gap, SHORTEST_GAP)
        table[:] = -1
