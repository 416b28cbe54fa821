"""Outcomes as columns: one row an item in a slate that can no longer change, and whether it was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Mask
from regulars.core.clock import Duration, Instant
from regulars.core.data import IdMap
from regulars.events.schema import Outcome
from regulars.feedback.joins import LatestBefore, index_in, pair_codes

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Showings:
    """Items of closed outcomes, `(n,)` a column; `outcome_idx` points into `outcomes`."""

    outcomes: Sequence[Outcome]
    items: IdMap[str]
    outcome_idx: Counts
    item_idx: Counts
    user_key: NDArray[np.int64]
    at: NDArray[np.int64]
    position: Counts
    propensity: NDArray[np.float64]
    clicked: Mask
    seen: Mask  # impressed or clicked; every item of a slate served before the shop sent impressions

    def __len__(self) -> int:
        return len(self.outcome_idx)


def closed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes that can no longer change and whose slate was not empty; only these enter rates and fits."""
    return [outcome for outcome in outcomes if outcome.closed and outcome.decision.items]


def by_impressions(outcomes: Sequence[Outcome]) -> Mask:
    """Whether impressions decide what was seen, `(n,)`: from the first one in the outcome's slot on.

    Before it (or where a shop sends none) served counts as seen.
    """
    begins: dict[str, Instant] = {}
    for outcome in outcomes:
        if outcome.impressed:
            slot, at = outcome.decision.slot, outcome.decision.timestamp
            begins[slot] = min(at, begins.get(slot, at))
    return np.array(
        [outcome.decision.timestamp >= begins.get(outcome.decision.slot, np.inf) for outcome in outcomes],
        dtype=np.bool_,
    )


def seen_slates(outcomes: Sequence[Outcome]) -> Mask:
    """Whether each slate was seen `(n,)`; a click proves it."""
    watched = by_impressions(outcomes)
    return np.array(
        [not strict or bool(each.impressed or each.clicked) for each, strict in zip(outcomes, watched, strict=True)],
        dtype=np.bool_,
    )


def seen_by(watched: Mask) -> str:
    """What "seen" stands on for these outcomes: served, impressions or (a slot began to send them) mixed."""
    if not watched.any():
        return "served"
    return "impressions" if watched.all() else "mixed"


def showings(outcomes: Sequence[Outcome]) -> Showings:
    """Lay out the items of all closed outcomes as columns."""
    kept = closed(outcomes)
    slates = [each.decision.items for each in kept]
    n_items = np.array([len(slate) for slate in slates], dtype=np.int64)
    names = [item.item_id for slate in slates for item in slate]
    items: IdMap[str] = IdMap()
    item_idx = np.array([items.add(name) for name in names], dtype=np.int64)
    rows = np.repeat(np.arange(len(kept)), n_items)
    begins = np.cumsum(n_items) - n_items
    clicked = _named(names, begins, n_items, [each.clicked for each in kept])
    impressed = _named(names, begins, n_items, [each.impressed for each in kept])
    keys = np.array([each.decision.user_key for each in kept], dtype=np.int64)
    at = np.array([each.decision.timestamp for each in kept], dtype=np.int64)
    return Showings(
        outcomes=kept,
        items=items,
        outcome_idx=rows,
        item_idx=item_idx,
        user_key=keys[rows],
        at=at[rows],
        position=np.array([item.position for slate in slates for item in slate], dtype=np.int64),
        propensity=np.array([item.propensity for slate in slates for item in slate], dtype=np.float64),
        clicked=clicked,
        seen=clicked | impressed | ~by_impressions(kept)[rows],
    )


def _named(names: Sequence[str], begins: Counts, n_items: Counts, chosen: Sequence[tuple[str, ...]]) -> Mask:
    """Which rows name one of the items `chosen` for their slate; most have none and are not walked."""
    found = np.zeros(len(names), dtype=np.bool_)
    for begin, n, wanted in zip(begins.tolist(), n_items.tolist(), chosen, strict=True):
        if wanted:
            found[begin : begin + n] = [name in wanted for name in names[begin : begin + n]]
    return found


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
