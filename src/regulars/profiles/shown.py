"""What slates showed to whom: counted for as long as fatigue lasts, until the shopper touches the item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Indices
from regulars.core.clock import Instant
from regulars.core.data import CART, CLICK, PURCHASE, VIEW
from regulars.core.jit import kernel
from regulars.core.settings import Settings
from regulars.profiles.fold import Events, States

SHOWN = np.dtype(
    [
        ("at", np.int64),
        ("slate", np.int64),  # hash of the recommendation's id
        ("item", np.int32),
        ("shopper", np.int32),  # -1 = forgotten
        ("earlier", np.int32),  # row of the same shopper written before, -1 = none
        ("seen", np.int8),
    ],
    align=True,
)
Scratch = tuple[NDArray[np.int64], Indices, NDArray[np.int64]]
SERVED, SEEN, UNSEEN = 0, 1, -1  # without any impression of a slate, served counts as seen


@kernel
def link_shown(rows: NDArray[np.void], newest: Indices, n_rows: Indices) -> None:
    """Link rows of every shopper; `newest (n_shoppers,)` and `n_rows (n_shoppers,)` are set afresh."""
    newest[:] = -1
    n_rows[:] = 0
    for row in range(len(rows)):
        shopper = rows[row]["shopper"]
        if shopper >= 0:
            rows[row]["earlier"] = newest[shopper]
            newest[shopper] = row
            n_rows[shopper] += 1


@kernel
def _touch(events: Events, here: int, horizon: Instant, touched: NDArray[np.int64], note: bool) -> None:
    """Note (or clear) when a shopper last looked at, put into the cart or bought each item, after `horizon`."""
    while here >= 0 and events[here]["at"] > horizon:
        kind, item = events[here]["kind"], events[here]["item"]
        if kind in (VIEW, CLICK, CART, PURCHASE):
            touched[item] = max(touched[item], events[here]["at"]) if note else 0
        here = events[here]["earlier"]


@kernel
def count_shown(
    shown: NDArray[np.void], newest: Indices, events: Events, states: States,
    shoppers: NDArray[np.int64], span: tuple[Instant, int],
    out: tuple[NDArray[np.int64], Indices, Indices], scratch: Scratch,
) -> NDArray[np.int64]:  # fmt: skip
    """Items shown after the horizon and after the shopper's last touch of them, with how often.

    `span` is (horizon, gap): showings each closer than `gap` to the next are of one visit and count once.
    Fills `out = (ends, item_idx, times)`, row i from `ends[i]`; returns where each row ends. `scratch` is room for
    every item's last touch, times and the showing before; the first two are 0 on entry and exit.
    """
    ends, out_items, out_times = out
    touched, times, walked_at = scratch
    horizon, gap = span
    stops = ends[:-1].copy()
    for i in range(len(shoppers)):
        here = newest[shoppers[i]] if shoppers[i] >= 0 else -1
        if here < 0:
            continue
        _touch(events, states[shoppers[i]]["newest"], horizon, touched, True)
        stop = stops[i]
        while here >= 0:
            item, at = shown[here]["item"], shown[here]["at"]
            if shown[here]["seen"] != UNSEEN and at > max(horizon, touched[item]):
                if times[item] == 0:
                    out_items[stop] = item
                    stop += 1
                if times[item] == 0 or abs(walked_at[item] - at) >= gap:
                    times[item] += 1
                walked_at[item] = at
            here = shown[here]["earlier"]
        for place in range(stops[i], stop):
            out_times[place] = times[out_items[place]]
            times[out_items[place]] = 0
        stops[i] = stop
        _touch(events, states[shoppers[i]]["newest"], horizon, touched, False)
    return stops


def _scratch(n_items: int) -> Scratch:
    return np.zeros(n_items, dtype=np.int64), np.zeros(n_items, dtype=np.int32), np.zeros(n_items, dtype=np.int64)


class ShownLog:
    """Rows of what was shown, linked by shopper; rows older than the window go when space is needed."""

    def __init__(self, rows: NDArray[np.void], settings: Settings, n_shoppers: int) -> None:
        self._window, self._gap = int(settings.rank.fatigue_window), int(settings.clean.session_gap)
        self._n = len(rows)
        self._rows = rows
        self._newest = np.full(n_shoppers, -1, dtype=np.int32)
        self._n_rows = np.zeros(n_shoppers, dtype=np.int32)
        self._scratch = _scratch(0)
        self._link()

    def add(self, shopper: int, at: Instant, slate: int, items: list[int]) -> None:
        """Note one slate."""
        self._reserve(len(items), shopper)
        for item in items:
            self._rows[self._n] = (at, slate, item, shopper, self._newest[shopper], SERVED)
            self._newest[shopper] = self._n
            self._n += 1
        self._n_rows[shopper] += len(items)

    def impression(self, shopper: int, slate: int, item: int) -> None:
        """Note that an item of a slate was really seen: where a shop reports it, only that counts."""
        here = self._newest[shopper] if shopper < len(self._newest) else -1
        while here >= 0:
            row = self._rows[here]
            if row["slate"] == slate:
                if row["item"] == item:
                    row["seen"] = SEEN
                elif row["seen"] == SERVED:
                    row["seen"] = UNSEEN
            here = row["earlier"]

    def move(self, other: int, shopper: int) -> None:
        """Give all rows of one shopper to another."""
        self._reserve(0, max(other, shopper))
        owners = self.rows["shopper"]
        owners[owners == other] = shopper
        self._link()

    def forget(self, shopper: int, until: Instant) -> bool:
        """Erase one shopper's rows up to an instant; whether any later one is left."""
        rows = self.rows
        rows[(rows["shopper"] == shopper) & (rows["at"] <= until)] = np.array((0, 0, -1, -1, -1, 0), dtype=SHOWN)
        self._link()
        return shopper < len(self._n_rows) and bool(self._n_rows[shopper] > 0)

    def count(
        self, events: Events, states: States, shoppers: NDArray[np.int64], now: Instant, n_items: int
    ) -> tuple[NDArray[np.int64], Indices, Indices]:
        """CSR-like `(indptr, live item_idx, times)`; shopper -1 has an empty row."""
        known = np.where(shoppers < len(self._newest), shoppers, -1)
        room = np.where(known >= 0, self._n_rows[known] if len(self._n_rows) else 0, 0)
        ends = np.concatenate(([0], np.cumsum(room))).astype(np.int64)
        item_idx, times = np.empty(ends[-1], dtype=np.int32), np.empty(ends[-1], dtype=np.int32)
        if not ends[-1]:
            return ends, item_idx, times
        stops = count_shown(
            self._rows,
            self._newest,
            events,
            states,
            known,
            (now - self._window, self._gap),
            (ends, item_idx, times),
            self._scratch_of(n_items),
        )
        lengths = stops - ends[:-1]
        indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        keep = np.repeat(ends[:-1] - indptr[:-1], lengths) + np.arange(indptr[-1])
        return indptr, item_idx[keep], times[keep]

    @property
    def rows(self) -> NDArray[np.void]:
        """All rows, for a snapshot."""
        return self._rows[: self._n]

    def _scratch_of(self, n_items: int) -> Scratch:
        """Room for every item: kept, since clearing it would cost more than most counts."""
        if len(self._scratch[0]) < n_items:
            self._scratch = _scratch(2 * n_items)
        return self._scratch

    def _reserve(self, n: int, shopper: int) -> None:
        if shopper >= len(self._newest):
            more = max(shopper + 1, 2 * len(self._newest)) - len(self._newest)
            self._newest = np.concatenate((self._newest, np.full(more, -1, dtype=np.int32)))
            self._n_rows = np.concatenate((self._n_rows, np.zeros(more, dtype=np.int32)))
        if self._n + n > len(self._rows):
            self._make_room(n)

    def _make_room(self, n: int) -> None:
        rows = self._rows[: self._n]
        horizon = int(rows["at"].max(initial=0)) - 2 * self._window  # twice: late decisions, and clocks set back
        kept = rows[(rows["at"] > horizon) & (rows["shopper"] >= 0)]
        self._n = len(kept)
        self._rows = np.zeros(2 * (self._n + n) + 1024, dtype=SHOWN)
        self._rows[: self._n] = kept
        self._link()

    def _link(self) -> None:
        link_shown(self.rows, self._newest, self._n_rows)
