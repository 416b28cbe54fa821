"""What models of order read of a log: sequences of items to learn from, and what each shopper took last.

Events that are no sign of liking (refunds, dislikes, searches and so on) stand in neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regulars.core.arrays import Cells, Floats, Indices, Instants, Mask, Starts
from regulars.core.clock import FOREVER, MINUTE
from regulars.core.data import EVENT_TYPES, Dataset, Histories
from regulars.core.jit import kernel

NO_LIKING = ("remove_from_cart", "refund", "search", "dislike", "impression")
LIKING: Mask = np.array([name not in NO_LIKING for name in EVENT_TYPES])


@dataclass(frozen=True)
class Sequences:
    """Items in the order they were taken: those of sequence `s` are `item_idx[indptr[s]:indptr[s + 1]]`."""

    indptr: Starts
    item_idx: Indices
    ended_at: Instants  # (n,) when the last event was

    def __len__(self) -> int:
        return len(self.ended_at)


def training_sequences(data: Dataset, *, by_session: bool) -> Sequences:
    """Every shopper's whole sequence, or one a session, in order of their ends; without sessions, they are the same.

    A shopper's events that name no session are one of their own.
    """
    rows = data.interactions
    keep = (rows.weight > 0) & LIKING[rows.kind]
    users, items, at = rows.user_idx[keep], rows.item_idx[keep], rows.at[keep]
    sessions = rows.session_idx[keep] if by_session else np.zeros(len(users), dtype=np.int32)
    if by_session:
        order = np.lexsort((sessions, users))  # sessions on two devices may overlap
        users, items, at, sessions = users[order], items[order], at[order], sessions[order]
    fresh = np.ones(len(users), dtype=np.bool_)
    fresh[1:] = (users[1:] != users[:-1]) | (sessions[1:] != sessions[:-1])
    starts = np.flatnonzero(fresh)
    lengths = np.diff(np.append(starts, len(users)))
    ended_at = at[starts + lengths - 1]
    by_end = np.argsort(ended_at, kind="stable")
    lengths, starts = lengths[by_end], starts[by_end]
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    places = np.arange(len(users)) + np.repeat(starts - indptr[:-1], lengths)
    return Sequences(indptr, items[places], ended_at[by_end])


def taken_last(histories: Histories, last: int, gap_minutes: float = 0.0) -> Indices:
    """The `last` distinct items of each shopper `(n, last)`, newest first, -1 pads.

    The item looked at now is the newest. A pause longer than `gap_minutes` ends what is looked back on: the rest is
    the current session (0 = the whole history).
    """
    recent = np.full((len(histories), last), -1, dtype=np.int32)
    context = np.full(len(histories), -1, np.int32) if histories.context_item is None else histories.context_item
    gap = int(gap_minutes * MINUTE) if gap_minutes else FOREVER
    liked = LIKING[histories.kind]
    _taken_last(histories.indptr, histories.item_idx, liked, histories.at, context, gap, recent)
    return recent


def power_law(steps: int, power: float) -> Floats:
    """Weights d^-power of the distances 1 to `steps`; 0 = near and far count the same."""
    return np.asarray(np.arange(1, steps + 1, dtype=np.float64) ** -power, dtype=np.float32)


def recent_cells(recent: Indices, weights: Floats) -> Cells:
    """What `taken_last` found as the cells of a CSR; the item at place `r` weighs `weights[r]`."""
    filled = recent >= 0
    indptr = np.concatenate(([0], np.cumsum(filled.sum(axis=1)))).astype(np.int64)
    return indptr, recent[filled], np.broadcast_to(weights, recent.shape)[filled]


@kernel
def _taken_last(
    indptr: Starts, items: Indices, liked: Mask, at: Instants, context: Indices, gap: int, recent: Indices
) -> None:
    for row in range(len(recent)):
        mine, found = recent[row], 0
        if context[row] >= 0:
            mine[0], found = context[row], 1
        newer = -1  # the event looked at before
        for event in range(indptr[row + 1] - 1, indptr[row] - 1, -1):
            if not liked[event]:
                continue
            if found == len(mine) or (newer >= 0 and at[newer] - at[event] > gap):
                break
            newer = event
            if not (mine[:found] == items[event]).any():
                mine[found] = items[event]
                found += 1
