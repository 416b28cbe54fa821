"""What slates showed as columns: one row an item in a slate, with whether it was seen and clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Mask
from regulars.core.clock import Duration, Instant
from regulars.core.data import CLICK, IdMap
from regulars.feedback.attribution import IMPRESSION, Attribution
from regulars.feedback.joins import LatestBefore, index_in, pair_codes

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Showings:
    """Items of slates, `(n,)` a column, in order of the slates."""

    items: IdMap[str]
    slate_idx: Counts  # the same number = one slate
    item_idx: Counts
    user_key: NDArray[np.int64]
    at: NDArray[np.int64]
    position: Counts
    propensity: NDArray[np.float64]
    clicked: Mask
    watched: Mask  # impressions decide whether it was seen
    seen: Mask  # impressed or clicked; every item of a slate served before the shop sent impressions

    def __len__(self) -> int:
        return len(self.slate_idx)


def by_impressions(slot: Sequence[str], at: NDArray[np.int64], impressed: Mask) -> Mask:
    """Whether impressions decide what was seen of each slate, `(n,)`: from the first one in its slot on.

    Before it (or where a shop sends none) served counts as seen. `impressed (n,)`: some item of the slate was.
    """
    begins: dict[str, Instant] = {}
    for place in np.flatnonzero(impressed).tolist():
        begins[slot[place]] = min(int(at[place]), begins.get(slot[place], int(at[place])))
    return at >= np.array([begins.get(name, np.inf) for name in slot])


def seen_by(watched: Mask) -> str:
    """What "seen" stands on for these slates: served, impressions or (a slot began to send them) mixed."""
    if not watched.any():
        return "served"
    return "impressions" if watched.all() else "mixed"


def showings(found: Attribution, kept: Mask | None = None) -> Showings:
    """Lay out the items of some slates, `kept (n_slates,)`; None = of those that can no longer change."""
    slates = found.slates
    kept = found.closed if kept is None else kept
    rows = np.flatnonzero(kept[slates.slate_idx])
    slate_idx, item_idx = slates.slate_idx[rows], slates.item_idx[rows].astype(np.int64)
    row_codes = pair_codes(slate_idx, item_idx, len(slates.items))
    event_codes = pair_codes(found.owner, found.item_idx, len(slates.items))
    owned = found.owner >= 0
    clicked = np.isin(row_codes, event_codes[owned & (found.kind == CLICK)])
    impressed = np.isin(row_codes, event_codes[owned & (found.kind == IMPRESSION)])
    any_impressed = np.zeros(len(slates), dtype=np.bool_)
    any_impressed[slate_idx[impressed]] = True
    watched = by_impressions(slates.slot, slates.at, any_impressed)[slate_idx]
    return Showings(
        items=slates.items,
        slate_idx=slate_idx,
        item_idx=item_idx,
        user_key=slates.user_key[slate_idx],
        at=slates.at[slate_idx],
        position=slates.position[rows].astype(np.int64),
        propensity=slates.propensity[rows],
        clicked=clicked,
        watched=watched,
        seen=clicked | impressed | ~watched,
    )


def earlier_unclicked(shown: Showings, window: Duration) -> Counts:
    """How often the shopper had seen the item within `window` before, since last clicking it, `(n,)`."""
    n = len(shown)
    users = np.unique(shown.user_key)
    pairs = pair_codes(index_in(shown.user_key, users), shown.item_idx, len(shown.items))
    past = LatestBefore(pairs, shown.at)
    place = np.arange(n)
    pair, clicked, seen = pairs[past.order], shown.clicked[past.order], shown.seen[past.order]
    first = np.concatenate(([True], pair[1:] != pair[:-1]))[:n]
    after_click = np.concatenate(([False], clicked[:-1]))[:n]
    begin = np.maximum.accumulate(np.where(first | after_click, place, 0))
    begin = np.maximum(begin, past.slots(pair, shown.at[past.order] - window - 1) + 1)
    seen_before = np.concatenate(([0], np.cumsum(seen)))
    counts = np.empty(n, dtype=np.int64)
    counts[past.order] = seen_before[place] - seen_before[begin]
    return counts
