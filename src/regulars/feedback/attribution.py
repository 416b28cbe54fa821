"""What belongs to which slate: clicks, carts and purchases joined to the decisions that caused them.

A click belongs to the recommendation it names, else to the latest decision within the click window that showed
the item to that shopper. A cart or purchase belongs to the recommendation it names, else to the latest decision
within the purchase window whose item the shopper had clicked; a purchase of an item that was shown but not
clicked is a view-through, counted apart. Every event counts once. Both windows start at the decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from regulars.core.arrays import Mask
from regulars.core.clock import Instant
from regulars.core.data import CART, CLICK, KIND, PURCHASE, VIEW
from regulars.core.errors import InputError
from regulars.core.settings import FeedbackSettings
from regulars.events.slates import Slates, look_up
from regulars.feedback.joins import UNKNOWN, Codes, LatestBefore, index_in, pair_codes, pick, within

COLUMNS = (
    "event_id", "user_key", "item_id", "event_type", "timestamp", "quantity", "price", "recommendation_id",
)  # fmt: skip
IMPRESSION = KIND["impression"]
_JOINED = {"view": VIEW, "click": CLICK, "add_to_cart": CART, "purchase": PURCHASE, "impression": IMPRESSION}


@dataclass(frozen=True)
class Attribution:
    """Slates and what their shoppers did with what these showed, `(n_events,)` a column, with where it belongs."""

    slates: Slates  # given to the keys that shoppers are read as
    closed: Mask  # (n_slates,) both windows lie before the instant: nothing more can follow
    event_id: pa.ChunkedArray
    kind: NDArray[np.int8]  # a view belongs to no slate
    at: Codes
    user_key: Codes
    item_idx: Codes  # of `slates.items`
    value: Codes  # minor units
    owner: Codes  # slate that an event belongs to, UNKNOWN where none
    through: Codes  # slate that showed, unclicked, what was bought; UNKNOWN for all other events
    orphan_ids: tuple[str, ...]  # event ids that name a recommendation nobody made

    @property
    def orphans(self) -> int:
        """Number of events that name a recommendation nobody made; they are shown, never repaired."""
        return len(self.orphan_ids)

    @property
    def event_decision(self) -> dict[str, str]:
        """Each click, cart or purchase that belongs to a slate: event_id -> recommendation_id."""
        rows = np.flatnonzero((self.owner >= 0) & (self.kind != IMPRESSION))
        names = self.event_id.take(pa.array(rows)).to_pylist()
        return {name: self.slates.ids[slate] for name, slate in zip(names, self.owner[rows].tolist(), strict=True)}


def attribute(
    slates: Slates,
    interactions: Any,
    feedback: FeedbackSettings,
    now: Instant,
    canonical: Mapping[int, int] | None = None,
) -> Attribution:
    """Join slates with the interactions up to `now`.

    `interactions` is an Arrow table with (at least) `COLUMNS`; `canonical` maps user keys that were joined by a
    login to the key they are read as. Pass all slates that the interactions may name: an event that names another
    one is an orphan. Of slates at one instant the one given last counts as the latest.
    """
    _check(interactions)
    joined = dict(canonical or {})
    shown = _layout(slates.read_as(joined))
    events, orphan_ids = _events(interactions.select(list(COLUMNS)), shown, joined, now)
    owner = _owners(shown, events, feedback)
    longest = max(feedback.click_window, feedback.purchase_window)
    return Attribution(
        slates=shown.slates, closed=shown.slates.at + longest < now,
        event_id=events.event_id, kind=events.kind, at=events.at, user_key=shown.users[events.pairs // shown.n_items],
        item_idx=events.item_idx, value=events.value,
        owner=owner, through=_view_through(shown, events, owner, feedback), orphan_ids=orphan_ids,
    )  # fmt: skip


@dataclass(frozen=True)
class _Showings:
    """Slates, with shopper and item of each of their rows as one code."""

    slates: Slates
    users: NDArray[np.int64]  # distinct shoppers, sorted
    pairs: Codes  # (n_rows,) shopper x item

    @property
    def n_items(self) -> int:
        return max(len(self.slates.items), 1)

    @property
    def n_pairs(self) -> int:
        return len(self.users) * self.n_items


@dataclass(frozen=True)
class _Events:
    """Events of shoppers with what slates showed them, one row an event."""

    event_id: pa.ChunkedArray
    kind: NDArray[np.int8]
    at: Codes
    pairs: Codes  # shopper x item
    item_idx: Codes
    named: Codes  # slate the event names, UNKNOWN where none
    value: Codes  # minor units


def _check(interactions: Any) -> None:
    missing = [name for name in COLUMNS if name not in interactions.column_names]
    if missing:
        raise InputError("interactions", got=f"no column {', '.join(missing)}", wanted=", ".join(COLUMNS))


def _layout(slates: Slates) -> _Showings:
    users, user_idx = np.unique(slates.user_key, return_inverse=True)
    return _Showings(slates, users, pair_codes(user_idx[slates.slate_idx], slates.item_idx, len(slates.items)))


def _events(
    table: Any, shown: _Showings, canonical: Mapping[int, int], now: Instant
) -> tuple[_Events, tuple[str, ...]]:
    """Cut the log down to shoppers and what slates showed them; and the events that name an unknown one."""
    table = table.filter(pc.less_equal(table["timestamp"].cast(pa.int64()), now))
    named = _codes(table["recommendation_id"], shown.slates.ids)
    names_one = np.asarray(pc.greater(pc.binary_length(_text(table["recommendation_id"])).fill_null(0), 0))
    orphan = names_one & (named < 0)
    orphan_ids = tuple(table["event_id"].filter(pa.array(orphan)).to_pylist())

    kind = _codes(table["event_type"], list(_JOINED))
    keys = table["user_key"].to_numpy()
    users = index_in(look_up(keys, canonical, keys), shown.users)
    items = _codes(table["item_id"], shown.slates.items.ids)
    pairs = pair_codes(users, items, shown.n_items)
    keep = (kind >= 0) & (pairs >= 0) & ~orphan
    table = table.filter(pa.array(keep))
    price = table["price"].cast(pa.int64()).fill_null(0).to_numpy()
    quantity = table["quantity"].cast(pa.float64()).fill_null(0).to_numpy()
    events = _Events(
        event_id=_text(table["event_id"]),
        kind=np.array(list(_JOINED.values()), dtype=np.int8)[kind[keep]],
        at=table["timestamp"].cast(pa.int64()).to_numpy(),
        pairs=pairs[keep],
        item_idx=items[keep],
        named=named[keep],
        value=np.rint(price * quantity).astype(np.int64),
    )
    return events, orphan_ids


def _text(column: Any) -> Any:
    return column.cast(pa.string())


def _codes(column: Any, known: Sequence[str]) -> Codes:
    """Place of each text in `known`, UNKNOWN where absent."""
    found = pc.index_in(_text(column), value_set=pa.array(known, pa.string()))
    return np.asarray(found.fill_null(UNKNOWN).to_numpy(), dtype=np.int64)


def _owners(shown: _Showings, events: _Events, feedback: FeedbackSettings) -> Codes:
    """Slate each event belongs to `(n_events,)`, UNKNOWN where none."""
    buys = np.isin(events.kind, (CART, PURCHASE))
    window = np.where(buys, feedback.purchase_window, feedback.click_window)
    owner = np.where(events.kind == VIEW, UNKNOWN, _named_owner(shown, events, window))
    showings = LatestBefore(shown.pairs, shown.slates.at[shown.slates.slate_idx])
    free = np.flatnonzero(~buys & (events.kind != VIEW) & (owner < 0))
    latest = pick(shown.slates.slate_idx, showings.rows(events.pairs[free], events.at[free]))
    owner[free] = within(latest, shown.slates.at, events.at[free], window[free])

    clicks = np.flatnonzero((events.kind == CLICK) & (owner >= 0))
    free = np.flatnonzero(buys & (owner < 0))
    latest = _latest_clicked(shown, events, owner, clicks, free)
    owner[free] = within(latest, shown.slates.at, events.at[free], window[free])
    return owner


def _named_owner(shown: _Showings, events: _Events, window: NDArray[np.int64]) -> Codes:
    """The named slate where it did show the item to that shopper, and its window was open.

    No event can name a slate before it is made, so a time before it is a wrong clock and is let through.
    """
    showings = np.sort(pair_codes(shown.slates.slate_idx, shown.pairs, shown.n_pairs))
    real = index_in(pair_codes(events.named, events.pairs, shown.n_pairs), showings) >= 0
    in_time = within(events.named, shown.slates.at, events.at, window)
    return np.where(real, in_time, UNKNOWN)


def _latest_clicked(shown: _Showings, events: _Events, owner: Codes, clicks: Codes, buys: Codes) -> Codes:
    """For each row of `buys`: the latest slate whose item the shopper had clicked by then."""
    by_time = np.argsort(shown.slates.at, kind="stable")
    rank = np.empty_like(by_time)
    rank[by_time] = np.arange(len(by_time))
    index = LatestBefore(events.pairs[clicks], events.at[clicks])
    # an old slate may be clicked after a newer one: the latest slate is not always the latest click's
    best = index.running_max(rank[owner[clicks]].astype(np.int64))
    return pick(by_time, pick(best, index.slots(events.pairs[buys], events.at[buys])))


def _view_through(shown: _Showings, events: _Events, owner: Codes, feedback: FeedbackSettings) -> Codes:
    """Slate that showed, unclicked, what was bought within its window; UNKNOWN for all other events."""
    through = np.full(len(owner), UNKNOWN, dtype=np.int64)
    free = np.flatnonzero((events.kind == PURCHASE) & (owner < 0))
    showings = LatestBefore(shown.pairs, shown.slates.at[shown.slates.slate_idx])
    latest = pick(shown.slates.slate_idx, showings.rows(events.pairs[free], events.at[free]))
    window = np.full(len(free), feedback.purchase_window, dtype=np.int64)
    latest = within(latest, shown.slates.at, events.at[free], window)
    clicks = (events.kind == CLICK) & (owner >= 0)
    clicked = np.unique(pair_codes(owner[clicks], events.pairs[clicks], shown.n_pairs))
    was_clicked = index_in(pair_codes(latest, events.pairs[free], shown.n_pairs), clicked) >= 0
    through[free] = np.where(was_clicked, UNKNOWN, latest)
    return through
