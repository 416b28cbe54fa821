"""The one definition of a profile: `step(state, event, ...)`.

Live calls it for events as they come (`insert`), batch runs the same compiled fold over events sorted by shopper
and time (`fold`). Sums, minima and maxima do not mind the order of arrival; sessions, orders and items are counted
where they are new, and a late event has its shopper folded afresh from their events (`refold`). So a stream in any
order leads to the state of the same events in time order.

`n_events`, sessions, hours and weekdays tell of acts of the shopper, which refunds are not. Orders count as
placed, refunded or not; money is net. The sign of liking (weights, interests, habits) is no part of the state:
it depends on "now" and on the catalogue, and is read from the events themselves.

The events of a shopper are a linked list, newest first: one array of rows for all shoppers, each naming the row
before it in time. A late event, two keys that turn out to be one shopper, and forgetting are a matter of links.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.clock import Duration
from regulars.core.data import PURCHASE, REFUND
from regulars.core.jit import kernel

EVENT = np.dtype(
    [
        ("at", np.int64),
        ("value", np.int64),  # minor units, gross; 0 where unknown
        ("order", np.int64),  # the same number = one order of that shopper; below 0: made up for what names none
        ("session", np.int64),  # below NAMED: number of a session; else hash of the name; UNNAMED = none given
        ("earlier", np.int32),  # row of the shopper's event before this one, -1 = none
        ("item", np.int32),  # index in the live catalogue, -1 = none
        ("gross", np.float32),  # pieces
        ("net", np.float32),  # pieces kept; of a refund: pieces not yet matched with a purchase
        ("worth", np.float32),  # weight at age 0 and with all pieces kept, in units of its kind's
        ("hour", np.int16),  # hour of the week on the shop's clock, 0 = Monday 00:00
        ("kind", np.int8),
    ],
    align=True,
)
STATE = np.dtype(
    [
        ("newest", np.int32),  # row of the shopper's latest event, -1 = none
        ("n_rows", np.int32),  # length of that list
        ("n_events", np.int64),  # acts
        ("n_sessions", np.int64),
        ("first_at", np.int64),  # of acts; without meaning while n_events is 0
        ("last_at", np.int64),
        ("n_orders", np.int64),
        ("first_order_at", np.int64),  # without meaning while n_orders is 0
        ("last_order_at", np.int64),
        ("n_lines", np.int64),  # purchases of an item
        ("n_items", np.int64),  # distinct items among them
        ("monetary", np.int64),  # minor units, net of refunds
        ("hours", np.int32, (24,)),
        ("weekdays", np.int32, (7,)),
    ],
    align=True,
)
Events = NDArray[np.void]  # of EVENT
States = NDArray[np.void]  # of STATE
Rows = NDArray[np.int64]  # row numbers of EVENT

UNNAMED = -1  # session of an event, order of a refund, that names none
NAMED = 2**32  # hashes of session and order names lie at or above; numbers that a Dataset gave lie below
NOTHING_LEFT = np.float32(1e-6)  # pieces


@kernel
def step(state: Any, event: Any, new_session: bool, new_order: bool, new_item: bool) -> None:
    """Fold one event into a shopper's state.

    `new_session`, `new_order`, `new_item`: no event folded before belongs to its session, no purchase to its
    order, to its item.
    """
    if event["kind"] == REFUND:
        state["monetary"] -= event["value"]
        return
    at, first = event["at"], state["n_events"] == 0
    state["first_at"] = at if first else min(state["first_at"], at)
    state["last_at"] = at if first else max(state["last_at"], at)
    state["n_events"] += 1
    state["n_sessions"] += int(new_session)
    state["hours"][event["hour"] % 24] += 1
    state["weekdays"][event["hour"] // 24] += 1
    if event["kind"] != PURCHASE:
        return
    first = state["n_lines"] == 0
    state["first_order_at"] = at if first else min(state["first_order_at"], at)
    state["last_order_at"] = at if first else max(state["last_order_at"], at)
    state["monetary"] += event["value"]
    state["n_orders"] += int(new_order)
    state["n_lines"] += 1
    state["n_items"] += int(new_item)


@kernel
def fold(
    events: Events, states: States, indptr: NDArray[np.int64], n_sessions: int, n_orders: int, n_items: int
) -> None:
    """Link and fold the events of a Dataset: shopper i has rows `indptr[i]:indptr[i + 1]`, in time order.

    Sessions and orders are dense numbers here. `states` are empty.
    """
    session_seen, item_seen = np.full(n_sessions + 1, -1, dtype=np.int32), np.full(n_items + 1, -1, dtype=np.int32)
    order_seen = np.full(n_orders + 1, -1, dtype=np.int32)
    for shopper in range(len(states)):
        state = states[shopper]
        for row in range(indptr[shopper], indptr[shopper + 1]):
            event = events[row]
            event["earlier"] = state["newest"]
            state["newest"] = row
            session, order, item = event["session"], event["order"], event["item"]
            new_session = session_seen[session] != shopper
            step(state, event, new_session, order_seen[order] != shopper, item_seen[item] != shopper)
            if event["kind"] != REFUND:
                session_seen[session] = shopper
            if event["kind"] == PURCHASE:
                order_seen[order] = shopper
                item_seen[item] = shopper
        state["n_rows"] = indptr[shopper + 1] - indptr[shopper]


@kernel
def _same_session(one: int, other: int) -> bool:
    """Whether two events without a pause between them are of one session.

    A Dataset keeps no session names, so what follows on its rows without a pause goes on with their session.
    """
    return one == other or (0 <= one < NAMED) != (0 <= other < NAMED)


@kernel
def _session_of(events: Events, here: int, event: Any, gap: Duration) -> tuple[bool, int]:
    """Whether an event opens a session, and the order of an earlier purchase in it that names none.

    `here` is the newest row before it. Rows of a session follow one another without a pause longer than `gap`.
    """
    new_session, since, buys = True, event["at"], event["kind"] == PURCHASE
    while here >= 0 and since - events[here]["at"] <= gap and (buys or new_session):
        row = events[here]
        if _same_session(row["session"], event["session"]):
            new_session = new_session and row["kind"] == REFUND
            since = row["at"]
            if buys and row["kind"] == PURCHASE and row["order"] < NAMED:
                return False, row["order"]
        here = row["earlier"]
    return new_session, UNNAMED


@kernel
def _append(events: Events, state: Any, row: int, gap: Duration) -> None:
    """Fold an event that is not earlier than any other of its shopper, and link it."""
    event, newest = events[row], state["newest"]
    new_session, unnamed = _session_of(events, newest, event, gap)
    new_order, new_item = True, True
    if event["kind"] == PURCHASE:
        if event["order"] < 0:  # a purchase that names no order belongs to its session's
            event["order"] = unnamed if unnamed != UNNAMED else -2 - row
        here = newest
        while here >= 0 and (new_order or new_item):
            if events[here]["kind"] == PURCHASE:
                new_order = new_order and events[here]["order"] != event["order"]
                new_item = new_item and events[here]["item"] != event["item"]
            here = events[here]["earlier"]
    event["earlier"] = newest
    state["newest"] = row
    state["n_rows"] += 1
    step(state, event, new_session, new_order, new_item)


@kernel
def insert(
    events: Events, states: States, shoppers: NDArray[np.int64], first: int, done: int, gap: Duration
) -> int:  # fmt: skip
    """Fold filled rows, `first + i` of `shoppers[i]`, from `i = done` on, until one needs more than that.

    Returns its `i`, or how many there are. A late event is left to have its shopper folded afresh; a refund is
    folded, but not yet matched with purchases.
    """
    for i in range(done, len(shoppers)):
        row, state = first + i, states[shoppers[i]]
        if state["newest"] >= 0 and events[state["newest"]]["at"] > events[row]["at"]:
            return i
        _append(events, state, row, gap)
        if events[row]["kind"] == REFUND:
            return i
    return len(shoppers)


@kernel
def refold(events: Events, state: Any, rows: Rows, gap: Duration) -> None:
    """Fold an empty state afresh from one shopper's rows, in time order."""
    for row in rows:
        _append(events, state, row, gap)


@kernel
def rows_of(events: Events, states: States, shoppers: NDArray[np.int64], indptr: NDArray[np.int64]) -> Rows:
    """Rows of these shoppers' events, in time order; -1 is a shopper without any, `indptr` from their `n_rows`."""
    rows = np.empty(indptr[-1], dtype=np.int64)
    for i in range(len(shoppers)):
        here = states[shoppers[i]]["newest"] if shoppers[i] >= 0 else -1
        place = indptr[i + 1]
        while here >= 0:
            place -= 1
            rows[place] = here
            here = events[here]["earlier"]
    return rows


@kernel
def net_refunds(events: Events, rows: Rows, item: int) -> None:
    """Match one shopper's refunds of an item with earlier purchases, as `clean.refunds` does.

    Pieces come from the order that the refund names, then from the latest purchase. `rows` are all the shopper's
    events in time order; sets `net` of the item's purchases and refunds afresh.
    """
    bought, n_bought = np.empty(len(rows), dtype=np.int64), 0
    for row in rows:
        event = events[row]
        if event["item"] != item:
            continue
        if event["kind"] == PURCHASE:
            event["net"] = event["gross"]
            bought[n_bought] = row
            n_bought += 1
        elif event["kind"] == REFUND:
            event["net"] = event["gross"]
            for named in (True, False):
                for place in range(n_bought - 1, -1, -1):
                    purchase = events[bought[place]]
                    if not named or purchase["order"] == event["order"]:
                        taken = min(event["net"], purchase["net"])
                        event["net"] -= taken
                        purchase["net"] -= taken
                        if purchase["net"] <= NOTHING_LEFT:
                            purchase["net"] = 0
