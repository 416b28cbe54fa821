"""Sequences as rectangles: what a sequence model learns from, and what it sees of a shopper.

A window holds up to `length` items, left-justified, and for each place the item that came next. Positions count
from a window's end (its last item has position `length` - 1), so attention needs no mask beyond the causal one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Instants, Starts
from regulars.core.clock import SECOND
from regulars.core.data import Dataset, Histories
from regulars.models.sequences import LIKING

GAPS = 32  # kinds of pause between two events: bucket b holds 2^(b-1) to 2^b seconds, 0 the first event of all


@dataclass(frozen=True)
class Windows:
    """`n` windows; `items` and `gaps` are 0 and `targets` -1 beyond a window's size."""

    items: Indices  # (n, length)
    gaps: Indices  # (n, length) bucket of the pause before each item
    targets: Indices  # (n, length)
    sizes: Indices  # (n,)

    def __len__(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True)
class Events:
    """What shoppers liked, in the order of time: those of `s` are `item_idx[indptr[s]:indptr[s + 1]]`."""

    indptr: Starts
    item_idx: Indices
    gap: Indices

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many events each has."""
        return np.diff(self.indptr)


def liked(data: Dataset) -> Events:
    """The events of all shoppers to learn from."""
    rows = data.interactions
    keep = (rows.weight > 0) & LIKING[rows.kind]
    counts = np.bincount(rows.user_idx[keep], minlength=len(data.users))
    indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return Events(indptr, rows.item_idx[keep], _gaps(rows.at[keep], indptr))


def seen(histories: Histories, now: int) -> Events:
    """The events of these histories; the item looked at now is the last."""
    keep = LIKING[histories.kind]
    kept = np.concatenate(([0], np.cumsum(keep)))[histories.indptr].astype(np.int64)
    items, at = histories.item_idx[keep], histories.at[keep]
    if histories.context_item is None or not (histories.context_item >= 0).any():
        return Events(kept, items, _gaps(at, kept))
    looking = np.flatnonzero(histories.context_item >= 0)
    ends = kept[looking + 1]
    items = np.insert(items, ends, histories.context_item[looking])
    at = np.insert(at, ends, now)
    kept[1:] += np.cumsum(histories.context_item >= 0)
    return Events(kept, items.astype(np.int32), _gaps(at, kept))


def _gaps(at: Instants, indptr: Starts) -> Indices:
    """The bucket of the pause before each event."""
    seconds = np.maximum(np.diff(at, prepend=at[:1]), 0) / SECOND
    buckets: Indices = np.minimum(1 + np.log2(1 + seconds), GAPS - 1).astype(np.int32)
    buckets[indptr[:-1][np.diff(indptr) > 0]] = 0
    return buckets


def last_places(events: Events, length: int) -> tuple[Indices, Indices, Indices]:
    """The last `length` items of each shopper, left-justified, their gaps, and how many there are."""
    sizes = np.minimum(events.sizes, length)
    width = int(sizes.max(initial=1))
    items, gaps = _rectangle(events, events.indptr[1:] - sizes, sizes, width, 0)
    return items, gaps, sizes.astype(np.int32)


def training_windows(events: Events, length: int) -> Windows:
    """Windows in which each event but a shopper's first is a target once, cut from the newest back."""
    pairs = np.maximum(events.sizes - 1, 0)
    counts = -(-pairs // length)
    owner = np.repeat(np.arange(len(pairs)), counts)
    back = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    stops = pairs[owner] - back * length
    sizes = np.minimum(stops, length)
    starts = events.indptr[:-1][owner] + stops - sizes
    items, gaps = _rectangle(events, starts, sizes, length, 0)
    targets, _ = _rectangle(events, starts + 1, sizes, length, -1)
    return Windows(items, gaps, targets, sizes.astype(np.int32))


def _rectangle(
    events: Events, starts: Starts, sizes: NDArray[np.int64], width: int, padding: int
) -> tuple[Indices, Indices]:
    """Events `starts[r]:starts[r] + sizes[r]` as row `r`, left-justified."""
    row = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    event = starts[row] + place
    items = np.full((len(sizes), width), padding, dtype=np.int32)
    gaps = np.zeros((len(sizes), width), dtype=np.int32)
    items[row, place], gaps[row, place] = events.item_idx[event], events.gap[event]
    return items, gaps


def hold_out(events: Events, chosen: NDArray[np.bool_]) -> tuple[Events, Events, Indices]:
    """What is left to train on when the last event of each chosen shopper is held out; their rest, and that event."""
    last = np.zeros(len(events.item_idx), dtype=np.bool_)
    last[events.indptr[1:][chosen] - 1] = True
    kept = np.concatenate(([0], np.cumsum(~last)))
    rest = Events(kept[events.indptr].astype(np.int64), events.item_idx[~last], events.gap[~last])
    rows = np.flatnonzero(chosen)
    owned = np.repeat(chosen, rest.sizes)
    indptr = np.concatenate(([0], np.cumsum(rest.sizes[rows]))).astype(np.int64)
    return rest, Events(indptr, rest.item_idx[owned], rest.gap[owned]), events.item_idx[last]
