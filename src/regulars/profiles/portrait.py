"""A Profile as of an instant: what the fold counted, and what the shopper's events say of liking by then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats
from regulars.core.clock import DAY, Instant
from regulars.core.data import PURCHASE
from regulars.events.schema import Habit, Item, Profile
from regulars.profiles.catalogue import PATH, Catalogue
from regulars.profiles.fold import Events
from regulars.profiles.segments import CutPoints, segment

HABITS = 10
INTERESTS = 100


@dataclass(frozen=True)
class Shopper:
    """What the live state holds of one shopper."""

    user_key: int
    state: Any  # one STATE
    events: Events  # in time order
    weight: Floats  # of each event, at the half-life of interests
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Shop:
    """What is the same for all shoppers: the catalogue as it is now, and cut points of the last batch."""

    catalogue: Catalogue
    cuts: CutPoints
    price_cuts: NDArray[np.int64]  # minor units


def nobody(user_key: int, now: Instant) -> Profile:
    """The profile of somebody of whom nothing is known."""
    return Profile(
        user_key=user_key, as_of=now, n_events=0, n_sessions=0, n_orders=0, first_at=None, last_at=None,
        last_order_at=None, monetary=0, days_since_last_order=None, tenure_days=0.0, order_gap_days=None,
        hours=(0.0,) * 24, weekdays=(0.0,) * 7, interests={}, exploring=None, segment="visitor", habits=(),
        attributes={},
    )  # fmt: skip


def profile(shopper: Shopper, shop: Shop, now: Instant) -> Profile:
    """Who a shopper is. Item features are the catalogue's of this moment, not those of the time of each event."""
    state = shopper.state
    n_events, n_orders = int(state["n_events"]), int(state["n_orders"])
    last_order_at = int(state["last_order_at"]) if n_orders else None
    since = None if last_order_at is None else (now - last_order_at) / DAY
    gap = (
        (int(state["last_order_at"]) - int(state["first_order_at"])) / DAY / (n_orders - 1) if n_orders > 1 else None
    )
    return Profile(
        user_key=shopper.user_key,
        as_of=now,
        n_events=n_events,
        n_sessions=int(state["n_sessions"]),
        n_orders=n_orders,
        first_at=int(state["first_at"]) if n_events else None,
        last_at=int(state["last_at"]) if n_events else None,
        last_order_at=last_order_at,
        monetary=int(state["monetary"]),
        days_since_last_order=since,
        tenure_days=(now - int(state["first_at"])) / DAY if n_events else 0.0,
        order_gap_days=gap,
        hours=_shares(state["hours"], n_events),
        weekdays=_shares(state["weekdays"], n_events),
        interests=_interests(shopper, shop),
        exploring=int(state["n_items"]) / int(state["n_lines"]) if state["n_lines"] else None,
        segment=segment(since, n_orders, int(state["monetary"]), shop.cuts),
        habits=_habits(shopper.events, shop.catalogue),
        attributes=shopper.attributes,
    )


def _shares(counts: NDArray[np.int32], total: int) -> tuple[float, ...]:
    return tuple((counts / max(total, 1)).tolist())


def _interests(shopper: Shopper, shop: Shop) -> dict[str, float]:
    """Feature -> the part of the shopper's decayed weight that lies on items with it; strongest first."""
    items, where = np.unique(shopper.events["item"], return_inverse=True)
    weights = np.bincount(where, weights=shopper.weight, minlength=len(items))
    total = float(weights.sum())
    sums: dict[str, float] = defaultdict(float)
    for idx, weight in zip(items.tolist(), weights.tolist(), strict=True):
        if weight > 0:
            for name in features(shop.catalogue.last_known(idx), shop.price_cuts):
                sums[name] += weight / total
    ranked = sorted(sums.items(), key=lambda entry: (-entry[1], entry[0]))
    return dict(ranked[:INTERESTS])


def features(item: Item, price_cuts: NDArray[np.int64]) -> Iterator[str]:
    """Names of an item's features: every level of its category path, brand, tags, band of its price."""
    for level in range(len(item.category)):
        yield "category:" + PATH.join(item.category[: level + 1])
    if item.brand:
        yield f"brand:{item.brand}"
    for tag in sorted(set(item.tags)):
        yield f"tag:{tag}"
    if item.price is not None and len(price_cuts):
        yield f"price:{int(np.searchsorted(price_cuts, item.price))}"


def _habits(events: Events, catalogue: Catalogue) -> tuple[Habit, ...]:
    """Favourite items by orders, then by the last one; what was given back entirely does not count."""
    bought = events[(events["kind"] == PURCHASE) & (events["net"] > 0)]
    items, where = np.unique(bought["item"], return_inverse=True)
    habits = [_habit(catalogue.items[int(idx)], bought[where == place]) for place, idx in enumerate(items)]
    return tuple(sorted(habits, key=lambda habit: (-habit.orders, -habit.last_at, habit.item_id))[:HABITS])


def _habit(item_id: str, bought: Events) -> Habit:
    """One item's; `bought` are its purchases."""
    orders = len(np.unique(bought["order"]))
    first_at, last_at = int(bought["at"].min()), int(bought["at"].max())
    gap = (last_at - first_at) / (orders - 1) if orders > 1 else 0.0
    return Habit(
        item_id=item_id, orders=orders, gap_days=gap / DAY if gap else None, last_at=last_at,
        due_at=last_at + round(gap) if gap else None,
    )  # fmt: skip
