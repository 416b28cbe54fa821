"""The events of all shoppers in memory: growing arrays of rows and of folded states, one state a shopper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.clean.weights import event_weights
from regulars.core.arrays import Floats
from regulars.core.clock import Duration, Instant
from regulars.core.data import PURCHASE, REFUND, Dataset
from regulars.core.settings import CleanSettings
from regulars.profiles.clockwork import ShopClock
from regulars.profiles.fold import EVENT, STATE, Events, Rows, States, fold, insert, net_refunds, refold, rows_of


class EventLog:
    """Rows of EVENT, linked by shopper, and the STATE of each shopper. Callers hold the lock of `Live`."""

    def __init__(self, events: Events, states: States, gap: Duration) -> None:
        self._events, self._n = events, len(events)
        self._states, self._n_shoppers = states, len(states)
        self._gap = gap

    @classmethod
    def empty(cls, gap: Duration) -> EventLog:
        """A log of nothing."""
        return cls(np.zeros(0, dtype=EVENT), np.zeros(0, dtype=STATE), gap)

    @classmethod
    def from_dataset(cls, dataset: Dataset, clean: CleanSettings, clock: ShopClock) -> EventLog:
        """The batch fold; shoppers and items have the Dataset's indices. Its refunds are netted already."""
        rows = dataset.interactions
        events = np.zeros(len(rows), dtype=EVENT)
        events["at"], events["item"], events["kind"] = rows.at, rows.item_idx, rows.kind
        events["value"], events["order"], events["session"] = np.abs(rows.value), rows.order_idx, rows.session_idx
        events["gross"] = np.where(rows.kind == REFUND, 0, rows.quantity)
        events["net"] = events["gross"]
        events["hour"] = clock.hours_of_week(rows.at)
        declared = event_weights(rows.kind, rows.at, dataset.as_of, clean)
        worth = np.ones(len(rows), dtype=np.float32)
        events["worth"] = np.divide(rows.weight, declared, out=worth, where=declared > 0)
        states = np.zeros(len(dataset.users), dtype=STATE)
        states["newest"] = -1
        fold(
            events, states, dataset.indptr, int(rows.session_idx.max(initial=-1)) + 1,
            int(rows.order_idx.max(initial=-1)) + 1, len(dataset.items),
        )  # fmt: skip
        return cls(events, states, clean.session_gap)

    @property
    def events(self) -> Events:
        """All rows, also those that no shopper has any more."""
        return self._events[: self._n]

    @property
    def states(self) -> States:
        """One state a shopper."""
        return self._states[: self._n_shoppers]

    def add_shopper(self) -> int:
        """Make a state for one more shopper."""
        if self._n_shoppers == len(self._states):
            self._states = _grown(self._states, 1)
        self._states[self._n_shoppers]["newest"] = -1
        self._n_shoppers += 1
        return self._n_shoppers - 1

    def extend(self, shoppers: Sequence[int], fields: Sequence[tuple[Any, ...]]) -> None:
        """Fold events one after another: of each its shopper, and its fields in the order of EVENT."""
        first, n = self._n, len(fields)
        if first + n > len(self._events):
            self._events = _grown(self._events, n)
        self._events[first : first + n] = fields
        self._n += n
        owners, done = np.array(shoppers, dtype=np.int64), 0
        while (done := insert(self._events, self._states, owners, first, done, self._gap)) < n:
            self._mend(shoppers[done], first + done)
            done += 1

    def _mend(self, shopper: int, row: int) -> None:
        """Finish a row at which `insert` stopped."""
        late = self._states[shopper]["newest"] != row
        if late:
            self._fold_again(shopper, np.append(self.rows_of_one(shopper), np.int64(row)))
        event = self._events[row]
        if event["kind"] == REFUND or (late and event["kind"] == PURCHASE):
            net_refunds(self._events, self.rows_of_one(shopper), int(event["item"]))

    def rows_of_one(self, shopper: int) -> Rows:
        """Rows of one shopper, in time order; those of one instant in order of arrival."""
        return self.rows(np.array([shopper], dtype=np.int64))[1]

    def rows(self, shoppers: NDArray[np.int64]) -> tuple[NDArray[np.int64], Rows]:
        """CSR-like `(indptr, rows)` of these shoppers' events in time order; shopper -1 has none."""
        indptr = np.zeros(len(shoppers) + 1, dtype=np.int64)
        if self._n_shoppers:
            np.cumsum(np.where(shoppers >= 0, self._states["n_rows"][shoppers], 0), out=indptr[1:])
        return indptr, rows_of(self._events, self._states, shoppers, indptr)

    def weights(self, events: Events, now: Instant, clean: CleanSettings) -> Floats:
        """What each of these rows says about liking at `now`, pieces given back taken off."""
        weight = event_weights(events["kind"], events["at"], now, clean) * events["worth"]
        net, gross = events["net"], events["gross"]
        share = np.ones(len(events), dtype=np.float32)
        np.divide(net, gross, out=share, where=(net != gross) & (events["kind"] == PURCHASE))
        return np.asarray(weight * share, dtype=np.float32)

    def merge(self, other: int, shopper: int) -> None:
        """Give all events of one shopper to another, as if they had been one all along."""
        moved = self.rows_of_one(other)
        self._clear(other)
        self._fold_again(shopper, np.concatenate((self.rows_of_one(shopper), moved)))
        self._net_all(shopper)

    def forget(self, shopper: int, until: Instant) -> bool:
        """Erase one shopper's events up to an instant; whether any later one is left."""
        rows = self.rows_of_one(shopper)
        old = self._events["at"][rows] <= until
        self._events[rows[old]] = np.zeros(1, dtype=EVENT)
        self._fold_again(shopper, rows[~old])
        self._net_all(shopper)
        return not old.all()

    def _net_all(self, shopper: int) -> None:
        rows = self.rows_of_one(shopper)
        events = self._events[rows]
        for item in np.unique(events["item"][events["kind"] == REFUND]):
            net_refunds(self._events, rows, int(item))

    def _fold_again(self, shopper: int, rows: Rows) -> None:
        self._clear(shopper)
        ordered = rows[np.lexsort((rows, self._events["at"][rows]))]
        refold(self._events, self._states[shopper], ordered, self._gap)

    def _clear(self, shopper: int) -> None:
        self._states[shopper] = np.zeros(1, dtype=STATE)[0]
        self._states[shopper]["newest"] = -1


def _grown(rows: NDArray[np.void], n: int) -> NDArray[np.void]:
    """A copy with room for `n` more, and for half as many again."""
    larger = np.zeros(len(rows) + len(rows) // 2 + 256 + n, dtype=rows.dtype)
    larger[: len(rows)] = rows
    return larger
