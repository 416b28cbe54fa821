"""The live state of the whole shop, in memory: profiles, histories, what was shown, the catalogue.

`fold(rows)` folds rows of the journal in its order; a row at or before `offset` was folded already and changes
nothing. One lock guards all of it; what readers get is their own copy, but for the catalogue's
columns, which are patched in place.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Matrix
from regulars.core.clock import Instant
from regulars.core.data import KIND, PURCHASE, REFUND, Dataset, Histories, IdMap, Shown
from regulars.core.settings import Settings
from regulars.events.schema import (
    Decision,
    Event,
    Identify,
    Interaction,
    ItemChange,
    Profile,
    Tombstone,
    UserChange,
)
from regulars.profiles import portrait, snapshot
from regulars.profiles.alignment import translated
from regulars.profiles.catalogue import Catalogue, CatalogueSnapshot
from regulars.profiles.clockwork import ShopClock
from regulars.profiles.fold import EVENT, NAMED, STATE, UNNAMED, Events
from regulars.profiles.log import EventLog
from regulars.profiles.people import Facts, People, PeopleSnapshot
from regulars.profiles.segments import CutPoints, cut_points
from regulars.profiles.shown import SEEN, SHOWN, ShownLog


class Live:
    """Who everybody is, now."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.offset = 0  # of the last journal row folded
        self.catalogue = Catalogue()
        self.cuts = CutPoints()
        self.price_cuts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._people = People()
        self._log = EventLog.empty(settings.clean.session_gap)
        self._shown = ShownLog(np.zeros(0, dtype=SHOWN), settings, 0)
        self._clock = ShopClock(settings.shop.timezone)
        self._lock = threading.RLock()

    @classmethod
    def from_dataset(
        cls, dataset: Dataset, settings: Settings, *, offset: int = 0, records: Iterable[Event] = ()
    ) -> Live:
        """The batch fold: the state as of the Dataset's instant, which covers the journal up to `offset`.

        `records` are the journal's item, identify and tombstone events up to that offset. A Dataset has applied
        them, but does not hold what later events need: joined keys, instants of tombstones, images and properties.
        """
        live, window = cls(settings), settings.rank.fatigue_window
        live.offset = offset
        live.catalogue = Catalogue.from_items(dataset.items)
        live.price_cuts = live.catalogue.price_cuts()
        live._people = People.from_users(dataset.users, dataset.as_of)
        live._log = EventLog.from_dataset(dataset, settings.clean, live._clock)
        live.cuts = cut_points(live._log.states, dataset.as_of)
        live._shown = ShownLog(_recent(dataset.shown, dataset.as_of - window), settings, len(dataset.users))
        for event in records:
            live._record(event)
        return live

    @classmethod
    def load(cls, folder: Path, settings: Settings) -> Live:
        """Read what `save` wrote; raises `StorageError` where it is missing, damaged or of another format."""
        manifest = snapshot.read_manifest(folder)
        live = cls(settings)
        live.offset, live.cuts = manifest.offset, manifest.cuts
        live.price_cuts = np.array(manifest.price_cuts, dtype=np.int64)
        live.catalogue = Catalogue.restore(snapshot.read_part(folder, "catalogue", CatalogueSnapshot))
        live._people = People.restore(snapshot.read_part(folder, "people", PeopleSnapshot))
        events, states = (
            snapshot.read_rows(folder, manifest, name, dtype)
            for name, dtype in (("events", EVENT), ("states", STATE))
        )
        live._log = EventLog(events, states, settings.clean.session_gap)
        shown = snapshot.read_rows(folder, manifest, "shown", SHOWN)
        live._shown = ShownLog(shown, settings, len(states))
        return live

    def save(self, folder: Path) -> None:
        """Write a snapshot as plain arrays and JSON; the old one stays until the new one is whole."""
        with self._lock:
            arrays = {"events": self._log.events, "states": self._log.states, "shown": self._shown.rows}
            manifest = snapshot.Manifest(
                snapshot.FORMAT, self.offset, {name: len(rows) for name, rows in arrays.items()}, self.cuts,
                self.price_cuts.tolist(),
            )  # fmt: skip
            snapshot.write(
                folder, manifest, arrays, {"catalogue": self.catalogue.dump(), "people": self._people.dump()}
            )

    def apply(self, offset: int, event: Event) -> None:
        """Fold one row of the journal; one at or before `self.offset` is a no-op."""
        self.fold([(offset, event)])

    def fold(self, rows: Iterable[tuple[int, Event]]) -> None:
        """Fold rows of the journal, in its order, as `apply` does one by one; interactions in a row go at once."""
        with self._lock:
            acts: list[Interaction] = []
            for offset, event in rows:
                if offset <= self.offset:
                    continue
                self.offset = offset
                if isinstance(event, Interaction):
                    acts.append(event)
                    continue
                self._interactions(acts)
                acts.clear()
                match event:
                    case Decision():
                        self._decision(event)
                    case UserChange():
                        self._user(event)
                    case _:
                        self._record(event)
            self._interactions(acts)

    def align(self, items: IdMap[str]) -> None:
        """Get ready for a model that is to serve soon; readers do not wait for it."""
        to_model = translated(self.catalogue.items, items)
        with self._lock:
            self.catalogue.align(items, to_model)

    def histories(
        self, user_keys: Sequence[int], items: IdMap[str], now: Instant, context: Sequence[str] = ()
    ) -> Histories:
        """What a model with these items sees of these shoppers; one nobody knows has an empty row.

        `context` are the items looked at now, one a shopper, "" = none.
        """
        with self._lock:
            shoppers = self._people.index(user_keys)
            indptr, rows = self._log.rows(shoppers)
            events = self._log.events[rows]
            to_model = self.catalogue.to_model(items)
            told = [self._people.facts(shopper) for shopper in shoppers.tolist()]
            roots = [self._people.root(key) for key in user_keys]
            friends = self._events_of_friends(shoppers, told) if any(facts.links for facts in told) else None
        indptr, events, item_idx = _known(indptr, events, to_model)
        theirs = self._summed(*_known(*friends, to_model), now, len(items)) if friends else None
        return Histories(
            user_items=self._summed(indptr, events, item_idx, now, len(items)),
            indptr=indptr,
            item_idx=item_idx,
            kind=np.ascontiguousarray(events["kind"]),
            at=np.ascontiguousarray(events["at"]),
            context_item=items.index(context, on_unknown="skip") if len(context) else None,
            attributes=[facts.attributes for facts in told],
            friend_items=theirs if theirs is not None and theirs.nnz else None,
            user_keys=np.array(roots, dtype=np.int64),
        )

    def _events_of_friends(
        self, shoppers: NDArray[np.int64], told: Sequence[Facts]
    ) -> tuple[NDArray[np.int64], Events] | None:
        """CSR-like `(indptr, events)` of those whom each shopper is linked with, each of them once; None of none."""
        friends = [np.setdiff1d(self._people.index(facts.links), (-1, shopper))
                   for facts, shopper in zip(told, shoppers.tolist(), strict=True)]  # fmt: skip
        starts, rows = self._log.rows(np.concatenate(friends))
        ends = np.cumsum([0, *map(len, friends)])
        return (starts[ends], self._log.events[rows]) if len(rows) else None

    def _summed(
        self, indptr: NDArray[np.int64], events: Events, item_idx: Indices, now: Instant, n_items: int
    ) -> Matrix:
        return _matrix(self._log.weights(events, now, self.settings.clean), item_idx, indptr, n_items)

    def shown(
        self, user_keys: Sequence[int], items: IdMap[str], now: Instant
    ) -> tuple[NDArray[np.int64], Indices, Indices]:
        """CSR-like `(indptr, item_idx, times)`: how often slates showed these shoppers an item.

        Counted within the fatigue window, since the last view, click, cart or purchase of that item.
        """
        with self._lock:
            shoppers = self._people.index(user_keys)
            indptr, item, times = self._shown.count(
                self._log.events, self._log.states, shoppers, now, len(self.catalogue)
            )
            item_idx = self.catalogue.to_model(items)[item]
        known = item_idx >= 0
        return _narrow(indptr, known), item_idx[known], times[known]

    def profile(self, user_key: int, now: Instant) -> Profile:
        """Who a shopper is; of one nobody knows, an empty profile."""
        with self._lock:
            shopper = self._people.get(user_key)
            if shopper < 0:
                return portrait.nobody(user_key, now)
            events = self._log.events[self._log.rows_of_one(shopper)]
            profiles = replace(self.settings.clean, half_life=self.settings.profiles.half_life)
            return portrait.profile(
                portrait.Shopper(
                    self._people.root(user_key), self._log.states[shopper], events,
                    self._log.weights(events, now, profiles), self._people.facts(shopper).attributes,
                ),
                portrait.Shop(self.catalogue, self.cuts, self.price_cuts), now,
            )  # fmt: skip

    def keys_of(self, user_key: int) -> list[int]:
        """Every key that is read as this shopper."""
        with self._lock:
            return self._people.keys_of(user_key)

    def links_of(self, user_key: int) -> tuple[int, ...]:
        """The shoppers whom this one is linked with."""
        with self._lock:
            return self._people.facts(self._people.get(user_key)).links

    def __contains__(self, user_key: int) -> bool:
        """Whether anything is known of this shopper."""
        with self._lock:
            return self._people.get(user_key) >= 0

    @property
    def n_shoppers(self) -> int:
        """Number of shoppers."""
        return len(self._people)

    def _interactions(self, events: Sequence[Interaction]) -> None:
        shoppers: list[int] = []
        fields: list[tuple[Any, ...]] = []
        for event in events:
            if self._people.erased(event.user_key, event.timestamp):
                continue
            if event.event_type == "impression":
                self._impression(event)
            elif event.item_id:  # a search is no sign of liking one item
                shoppers.append(self._shopper(event.user_key))
                fields.append(self._fields(event))
        if fields:
            self._log.extend(shoppers, fields)

    def _impression(self, event: Interaction) -> None:
        shopper = self._people.get(event.user_key)
        if shopper >= 0 and event.recommendation_id:
            self._shown.impression(shopper, _hash(event.recommendation_id), self.catalogue.items.get(event.item_id))

    def _fields(self, event: Interaction) -> tuple[Any, ...]:
        """What the log keeps of an event, in the order of EVENT."""
        kind, pieces = KIND[event.event_type], abs(event.quantity)
        value = math.floor(event.price * pieces + 0.5) if event.price is not None else 0
        return (
            event.timestamp, value, _hash(event.order_id) if kind in (PURCHASE, REFUND) else UNNAMED,
            _hash(event.session_id), -1, self.catalogue.add(event.item_id), pieces, pieces, 1.0,
            self._clock.hour_of_week(event.timestamp), kind,
        )  # fmt: skip

    def _decision(self, event: Decision) -> None:
        if event.items and not self._people.erased(event.user_key, event.timestamp):
            items = [self.catalogue.add(entry.item_id) for entry in event.items]
            self._shown.add(self._shopper(event.user_key), event.timestamp, _hash(event.event_id), items)

    def _user(self, event: UserChange) -> None:
        if not self._people.erased(event.user_key, event.timestamp):
            self._people.change(self._shopper(event.user_key), event)

    def _record(self, event: Event) -> None:
        """Fold what concerns more than one event: an item, two keys, a shopper to be forgotten."""
        if isinstance(event, ItemChange):
            self.catalogue.apply(event)
        elif isinstance(event, Tombstone):
            self._people.bury(event)
            self._forget(event.user_key)
        elif isinstance(event, Identify):
            merged = self._people.join(event)
            if merged is not None:
                self._log.merge(*merged)
                self._shown.move(*merged)
            self._forget(event.user_key)

    def _forget(self, user_key: int) -> None:
        """Erase what a tombstone of this shopper covers."""
        until, shopper = self._people.gone_until(user_key), self._people.get(user_key)
        if until is None or shopper < 0:
            return
        told = self._people.forget(shopper, until)
        shown = self._shown.forget(shopper, until)
        did = self._log.forget(shopper, until)
        if not (told or shown or did):
            self._people.remove(user_key)

    def _shopper(self, user_key: int) -> int:
        shopper = self._people.get(user_key)
        return shopper if shopper >= 0 else self._people.add(user_key, self._log.add_shopper())


def _recent(shown: Shown, horizon: Instant) -> NDArray[np.void]:
    """Rows of what was shown after an instant; a Dataset keeps what was seen only."""
    recent = shown.at > horizon
    rows = np.zeros(int(recent.sum()), dtype=SHOWN)
    rows["at"], rows["item"], rows["shopper"] = shown.at[recent], shown.item_idx[recent], shown.user_idx[recent]
    rows["slate"], rows["seen"] = UNNAMED, SEEN
    return rows


def _hash(name: str) -> int:
    """A number for a session, order or slate, at or above NAMED; UNNAMED for "" (64 bits: never two alike)."""
    if not name:
        return UNNAMED
    return NAMED + int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") % 2**62


def _narrow(indptr: NDArray[np.int64], keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where rows begin once only the `keep` entries are left."""
    return np.concatenate(([0], np.cumsum(keep)))[indptr].astype(np.int64)


def _known(indptr: NDArray[np.int64], events: Events, to_model: Indices) -> tuple[NDArray[np.int64], Events, Indices]:
    """Without events of items that a model does not know; with the items in its indices."""
    item_idx = to_model[events["item"]]
    known = item_idx >= 0
    if known.all():
        return indptr, events, item_idx
    return _narrow(indptr, known), events[known], item_idx[known]


def _matrix(weight: NDArray[np.float32], item_idx: Indices, indptr: NDArray[np.int64], n_items: int) -> Matrix:
    """Canonical CSR of summed weights; cells without a positive weight are not stored."""
    positive = weight > 0
    starts = _narrow(indptr, positive).astype(np.int32)
    matrix: Any = sp.csr_array(
        (weight[positive], item_idx[positive], starts), shape=(len(indptr) - 1, n_items), dtype=np.float32
    )
    matrix.sum_duplicates()
    return matrix
