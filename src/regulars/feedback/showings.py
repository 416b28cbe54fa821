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
from regulars.feedback.joins import UNKNOWN, LatestBefore, index_in, pair_codes, pick

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Touches:
    """When shoppers looked at, clicked, carted or bought what they had been shown, however they came there."""

    user_key: NDArray[np.int64]
    item_idx: Counts
    at: NDArray[np.int64]


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
    touches: Touches

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
    touch = found.kind != IMPRESSION
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
        touches=Touches(found.user_key[touch], found.item_idx[touch], found.at[touch]),
    )


def earlier_untouched(shown: Showings, window: Duration, gap: Duration) -> Counts:
    """In how many visits within `window` before the shopper had seen the item and not touched it since, `(n,)`.

    As the live state counts at that instant (`profiles.shown.count_shown`): showings each closer than `gap` to the
    next are of one visit.
    """
    users = np.unique(shown.user_key)
    pairs = pair_codes(index_in(shown.user_key, users), shown.item_idx, len(shown.items))
    touches = shown.touches
    touched = LatestBefore(
        pair_codes(index_in(touches.user_key, users), touches.item_idx, len(shown.items)), touches.at
    )
    last_touch = touched.rows(pairs, shown.at - 1)
    horizon = np.where(last_touch >= 0, pick(touches.at, last_touch), shown.at - window)
    horizon = np.maximum(horizon, shown.at - window)

    seen = np.flatnonzero(shown.seen)
    past = LatestBefore(pairs[seen], shown.at[seen])
    seen = seen[past.order]
    begins = (np.diff(pairs[seen], prepend=UNKNOWN) != 0) | (np.diff(shown.at[seen], prepend=0) >= gap)
    visit = np.cumsum(begins)
    newest, older = past.slots(pairs, shown.at - 1), past.slots(pairs, horizon)
    oldest = np.where(older >= 0, older + 1, np.searchsorted(pairs[seen], pairs))
    some = newest >= oldest
    counts = np.zeros(len(shown), dtype=np.int64)
    counts[some] = visit[newest[some]] - visit[oldest[some]] + 1
    return counts
