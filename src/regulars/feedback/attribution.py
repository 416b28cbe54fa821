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
from regulars.core.data import CART, CLICK, KIND, PURCHASE, Dataset
from regulars.core.errors import InputError
from regulars.core.settings import FeedbackSettings
from regulars.events.schema import Decision, Outcome
from regulars.feedback.joins import UNKNOWN, Codes, LatestBefore, index_in, pair_codes, pick

COLUMNS = (
    "event_id", "user_key", "item_id", "event_type", "timestamp", "quantity", "price", "recommendation_id",
)  # fmt: skip
IMPRESSION = KIND["impression"]
_JOINED = {"click": CLICK, "add_to_cart": CART, "purchase": PURCHASE, "impression": IMPRESSION}


@dataclass(frozen=True)
class Attribution:
    """Every decision with what followed, in the order given, and what belongs to no decision."""

    outcomes: list[Outcome]
    orphan_ids: tuple[str, ...]  # event ids that name a recommendation nobody made
    event_decision: dict[str, str]  # event_id of a click, cart or purchase -> recommendation_id

    @property
    def orphans(self) -> int:
        """Number of events that name a recommendation nobody made; they are shown, never repaired."""
        return len(self.orphan_ids)


@dataclass(frozen=True)
class _Showings:
    """One row an item in a decision."""

    decisions: Sequence[Decision]
    at: Codes  # (n_decisions,)
    users: NDArray[np.int64]  # distinct shoppers, sorted
    item_of: dict[str, int]
    decision_idx: Codes  # (n_rows,)
    pairs: Codes  # (n_rows,) shopper x item
    user_idx: Codes  # (n_decisions,)
    item_idx: Codes  # (n_rows,)


@dataclass(frozen=True)
class _Events:
    """The events that can belong to a slate, one row an event."""

    event_id: list[str]
    kind: NDArray[np.int8]
    at: Codes
    pairs: Codes  # shopper x item, UNKNOWN where no slate ever showed it to them
    item_idx: Codes
    named: Codes  # decision the event names, UNKNOWN where none
    value: Codes  # minor units


def outcomes(
    decisions: Sequence[Decision],
    interactions: Any,
    feedback: FeedbackSettings,
    now: Instant,
    canonical: Mapping[int, int] | None = None,
) -> Attribution:
    """Join decisions with the interactions up to `now`.

    `interactions` is an Arrow table with (at least) `COLUMNS`; `canonical` maps user keys that were joined by a
    login to the key they are read as. Pass all decisions that the interactions may name: an event that names
    another one is an orphan. An outcome is closed when both windows lie before `now`.
    """
    _check(interactions)
    keys = dict(canonical or {})
    shown = _showings(decisions, keys)
    events, orphan_ids = _events(interactions.select(list(COLUMNS)), shown, keys, now)
    owner = _owners(shown, events, feedback)
    through = _view_through(shown, events, owner, feedback)
    found = _collect(shown, events, owner, through)
    longest = max(feedback.click_window, feedback.purchase_window)
    return Attribution(
        outcomes=[
            Outcome(decision=decision, closed=decision.timestamp + longest < now, **found.get(idx, {}))
            for idx, decision in enumerate(decisions)
        ],
        orphan_ids=orphan_ids,
        event_decision={
            events.event_id[row]: decisions[owner[row]].event_id
            for row in np.flatnonzero((owner >= 0) & (events.kind != IMPRESSION)).tolist()
        },
    )


def organic(dataset: Dataset, feedback: FeedbackSettings) -> Mask:
    """Rows of `dataset.interactions` that no slate caused, `(n_rows,)`.

    A slate caused a row that names a recommendation, and one whose item the shopper was shown, and clicked there,
    within the window before it (purchase window for carts and purchases, click window for the rest). A purchase
    between showing and click counts as caused, so what is called organic really is.
    """
    rows, shown = dataset.interactions, dataset.shown
    pairs = pair_codes(rows.user_idx, rows.item_idx, len(dataset.items))
    clicked = _clicked_showings(dataset, pairs, feedback)
    shown_pairs = pair_codes(shown.user_idx, shown.item_idx, len(dataset.items))
    last = LatestBefore(shown_pairs[clicked], shown.at[clicked]).rows(pairs, rows.at)
    window = np.where(np.isin(rows.kind, (CART, PURCHASE)), feedback.purchase_window, feedback.click_window)
    caused = _within(last, shown.at[clicked], rows.at, window) >= 0
    return np.asarray(~(rows.from_slate | caused), dtype=np.bool_)


def _clicked_showings(dataset: Dataset, pairs: Codes, feedback: FeedbackSettings) -> Mask:
    """Showings known to be clicked, and the latest ones before clicks that name no recommendation."""
    rows, shown = dataset.interactions, dataset.shown
    clicks = (rows.kind == CLICK) & ~rows.from_slate
    index = LatestBefore(pair_codes(shown.user_idx, shown.item_idx, len(dataset.items)), shown.at)
    window = np.full(int(clicks.sum()), feedback.click_window, dtype=np.int64)
    found = _within(index.rows(pairs[clicks], rows.at[clicks]), shown.at, rows.at[clicks], window)
    clicked = shown.clicked.copy()
    clicked[found[found >= 0]] = True
    return clicked


def _check(interactions: Any) -> None:
    missing = [name for name in COLUMNS if name not in interactions.column_names]
    if missing:
        raise InputError("interactions", got=f"no column {', '.join(missing)}", wanted=", ".join(COLUMNS))


def _showings(decisions: Sequence[Decision], canonical: Mapping[int, int]) -> _Showings:
    item_of: dict[str, int] = {}
    items = [item_of.setdefault(item.item_id, len(item_of)) for each in decisions for item in each.items]
    sizes = np.fromiter((len(each.items) for each in decisions), dtype=np.int64, count=len(decisions))
    keys = np.array([canonical.get(each.user_key, each.user_key) for each in decisions], dtype=np.int64)
    users, user_idx = np.unique(keys, return_inverse=True)
    decision_idx = np.repeat(np.arange(len(decisions), dtype=np.int64), sizes)
    item_idx = np.array(items, dtype=np.int64)
    return _Showings(
        decisions=decisions,
        at=np.array([each.timestamp for each in decisions], dtype=np.int64),
        users=users,
        item_of=item_of,
        decision_idx=decision_idx,
        pairs=pair_codes(user_idx[decision_idx], item_idx, len(item_of)),
        user_idx=user_idx.astype(np.int64),
        item_idx=item_idx,
    )


def _events(
    table: Any, shown: _Showings, canonical: Mapping[int, int], now: Instant
) -> tuple[_Events, tuple[str, ...]]:
    """Cut the log down to what can belong to a slate; and the events that name an unknown one."""
    table = table.filter(pc.less_equal(table["timestamp"].cast(pa.int64()), now))
    named = _codes(table["recommendation_id"], [each.event_id for each in shown.decisions])
    names_one = np.asarray(pc.greater(pc.binary_length(_text(table["recommendation_id"])).fill_null(0), 0))
    orphan = names_one & (named < 0)
    orphan_ids = tuple(table["event_id"].filter(pa.array(orphan)).to_pylist())

    kind = _codes(table["event_type"], list(_JOINED))
    users = index_in(_canonical_keys(table["user_key"].to_numpy(), canonical), shown.users)
    items = _codes(table["item_id"], list(shown.item_of))
    pairs = pair_codes(users, items, len(shown.item_of))
    keep = (kind >= 0) & (pairs >= 0) & ~orphan
    table = table.filter(pa.array(keep))
    price = table["price"].cast(pa.int64()).fill_null(0).to_numpy()
    quantity = table["quantity"].cast(pa.float64()).fill_null(0).to_numpy()
    events = _Events(
        event_id=table["event_id"].to_pylist(),
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


def _codes(column: Any, known: list[str]) -> Codes:
    """Place of each text in `known`, UNKNOWN where absent."""
    found = pc.index_in(_text(column), value_set=pa.array(known, pa.string()))
    return np.asarray(found.fill_null(UNKNOWN).to_numpy(), dtype=np.int64)


def _canonical_keys(keys: NDArray[np.int64], canonical: Mapping[int, int]) -> NDArray[np.int64]:
    joined = np.array(sorted(canonical.items()), dtype=np.int64).reshape(-1, 2)
    place = index_in(keys, joined[:, 0])
    return np.where(place >= 0, pick(joined[:, 1], place), keys)


def _owners(shown: _Showings, events: _Events, feedback: FeedbackSettings) -> Codes:
    """Decision each event belongs to `(n_events,)`, UNKNOWN where none."""
    buys = np.isin(events.kind, (CART, PURCHASE))
    window = np.where(buys, feedback.purchase_window, feedback.click_window)
    owner = _named_owner(shown, events, window)
    showings = LatestBefore(shown.pairs, shown.at[shown.decision_idx])
    free = np.flatnonzero(~buys & (owner < 0))
    latest = pick(shown.decision_idx, showings.rows(events.pairs[free], events.at[free]))
    owner[free] = _within(latest, shown.at, events.at[free], window[free])

    clicks = np.flatnonzero((events.kind == CLICK) & (owner >= 0))
    free = np.flatnonzero(buys & (owner < 0))
    latest = _latest_clicked(shown, events, owner, clicks, free)
    owner[free] = _within(latest, shown.at, events.at[free], window[free])
    return owner


def _named_owner(shown: _Showings, events: _Events, window: NDArray[np.int64]) -> Codes:
    """The named decision where it did show the item to that shopper, and its window was open.

    No event can name a decision before it is made, so a time before it is a wrong clock and is let through.
    """
    showings = np.sort(pair_codes(shown.decision_idx, shown.pairs, _n_pairs(shown)))
    real = index_in(pair_codes(events.named, events.pairs, _n_pairs(shown)), showings) >= 0
    in_time = _within(events.named, shown.at, events.at, window)
    return np.where(real, in_time, UNKNOWN)


def _n_pairs(shown: _Showings) -> int:
    return len(shown.users) * max(len(shown.item_of), 1)


def _within(decision: Codes, decided_at: Codes, at: Codes, window: NDArray[np.int64]) -> Codes:
    return np.where((decision >= 0) & (at - pick(decided_at, decision) <= window), decision, UNKNOWN)


def _latest_clicked(shown: _Showings, events: _Events, owner: Codes, clicks: Codes, buys: Codes) -> Codes:
    """For each row of `buys`: the latest decision whose item the shopper had clicked by then."""
    by_time = np.argsort(shown.at, kind="stable")
    rank = np.empty_like(by_time)
    rank[by_time] = np.arange(len(by_time))
    index = LatestBefore(events.pairs[clicks], events.at[clicks])
    # an old slate may be clicked after a newer one: the latest decision is not always the latest click's
    best = index.running_max(rank[owner[clicks]].astype(np.int64))
    return pick(by_time, pick(best, index.slots(events.pairs[buys], events.at[buys])))


def _view_through(shown: _Showings, events: _Events, owner: Codes, feedback: FeedbackSettings) -> Codes:
    """Decision that showed, unclicked, what was bought within its window; UNKNOWN for all other events."""
    through = np.full(len(owner), UNKNOWN, dtype=np.int64)
    free = np.flatnonzero((events.kind == PURCHASE) & (owner < 0))
    showings = LatestBefore(shown.pairs, shown.at[shown.decision_idx])
    latest = pick(shown.decision_idx, showings.rows(events.pairs[free], events.at[free]))
    window = np.full(len(free), feedback.purchase_window, dtype=np.int64)
    latest = _within(latest, shown.at, events.at[free], window)
    clicks = (events.kind == CLICK) & (owner >= 0)
    clicked = np.unique(pair_codes(owner[clicks], events.pairs[clicks], _n_pairs(shown)))
    was_clicked = index_in(pair_codes(latest, events.pairs[free], _n_pairs(shown)), clicked) >= 0
    through[free] = np.where(was_clicked, UNKNOWN, latest)
    return through


def _collect(shown: _Showings, events: _Events, owner: Codes, through: Codes) -> dict[int, dict[str, Any]]:
    """Fields of the outcomes that something happened to, by decision, items in order of time."""
    names = list(shown.item_of)
    fields = {CLICK: "clicked", CART: "carted", PURCHASE: "purchased", IMPRESSION: "impressed"}
    found: dict[int, dict[str, Any]] = {}
    rows = np.argsort(events.at, kind="stable")
    columns = (owner, through, events.item_idx, events.kind, events.value)
    for decision, seen_through, item_idx, kind, value in zip(*(c[rows].tolist() for c in columns), strict=True):
        item = names[item_idx]
        if decision >= 0:
            entry = found.setdefault(decision, {})
            entry.setdefault(fields[kind], {})[item] = None
            if kind == PURCHASE:
                entry["revenue"] = entry.get("revenue", 0) + value
        elif seen_through >= 0:
            found.setdefault(seen_through, {}).setdefault("viewed_through", {})[item] = None
    return {decision: _frozen(entry) for decision, entry in found.items()}


def _frozen(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if name == "revenue" else tuple(value) for name, value in entry.items()}
