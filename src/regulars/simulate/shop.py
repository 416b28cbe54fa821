"""The practice shop: a day of it is `Shop.step(policy, record)`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Mask
from regulars.core.clock import DAY, HOUR, MINUTE
from regulars.simulate.log import Log
from regulars.simulate.protocol import DayStats, Policy, PolicyRequest, Record, Slot
from regulars.simulate.state import State
from regulars.simulate.visit import Basket, Visits
from regulars.simulate.world import World

RATED_AFTER, REFUNDED_AFTER = 3, 6  # days after the purchase
LIMIT = 10


class Shop:
    """A world with its state on one day; steps forward, and can be forked to compare policies on the same days."""

    def __init__(self, world: World, *, limit: int = LIMIT) -> None:
        self.world, self.limit = world, limit
        self.state = State(world)
        self._later: dict[int, list[dict[str, NDArray[Any]]]] = {}  # ratings and refunds, by the day they come

    @property
    def day(self) -> int:
        """The day that the next step plays."""
        return self.state.day

    def fork(self) -> Shop:
        """An independent copy that goes on from the same morning."""
        twin = Shop.__new__(Shop)
        twin.world, twin.limit, twin.state = self.world, self.limit, self.state.copy()
        twin._later = {day: list(rows) for day, rows in self._later.items()}
        return twin

    def history(self, days: int, policy: Policy | None = None) -> Iterator[pa.Table]:
        """Play some days and give each day's log; without a policy nobody sees a slate."""
        for _ in range(days):
            tables: list[pa.Table] = []
            self.step(policy, tables.append)
            yield pa.concat_tables(tables)

    def step(self, policy: Policy | None, record: Record) -> DayStats:
        """Play one day: home slates and what follows, then slates on item pages, then the till.

        `record` gets the events of each round before the next round's slates are asked for.
        """
        state = self.state
        state.buy_elsewhere()
        log = Log(self.world, state.day)
        self._tell_later(log)
        visits = Visits(state, log, state.visitors())
        everybody = np.arange(len(visits.shopper), dtype=np.int32)
        visits.search()
        self._ask(policy, visits, "home", everybody, 0)
        visits.browse()
        record(log.take())
        self._ask(policy, visits, "product", np.flatnonzero(visits.opened >= 0).astype(np.int32), 12 * MINUTE)
        basket = visits.basket()
        self._check_out(visits, basket)
        record(log.take())
        lost = state.leave(visits.shopper, visits.pleased, visits.annoyed())
        self._remember(visits)
        stats = _stats(self.world, visits, basket, lost, state.day)
        state.day += 1
        return stats

    def _ask(self, policy: Policy | None, visits: Visits, slot: Slot, row: Indices, delay: int) -> None:
        if policy is None or not len(row):
            return
        request = PolicyRequest(
            day=self.state.day, slot=slot, limit=self.limit, at=visits.at[row] + delay, shopper=visits.shopper[row],
            context_item=visits.opened[row] if slot == "product" else np.full(len(row), -1, dtype=np.int32),
        )  # fmt: skip
        visits.see(slot, row, policy(request), delay)

    def _check_out(self, visits: Visits, basket: Basket) -> None:
        """Put everything on one order, and plan what is said or brought back later."""
        state, day, preset = self.state, self.state.day, self.world.preset
        shopper, item = visits.shopper[basket.row], basket.item
        quantity = self.world.pieces(shopper, item)
        source = {"slate": basket.slate, "slot": basket.slot, "position": basket.position, "quantity": quantity}
        at = visits.at[basket.row]
        visits.log.add("add_to_cart", shopper, item, at + 18 * MINUTE, **source)
        visits.log.add("purchase", shopper, item, at + 20 * MINUTE, order_day=day, **source)
        liking = self.world.taste(shopper, item, day)
        state.buy(shopper, item)
        bought: dict[str, NDArray[Any]] = {
            "shopper": shopper,
            "item": item,
            "quantity": quantity,
            "order_day": np.full(len(item), day),
        }
        rates = self.world.draw("rate", shopper, item, day) < preset.rate
        stars = np.clip(np.round(3.4 + 0.8 * liking + 0.7 * self.world.normal("stars", shopper, item, day)), 1, 5)
        self._plan(day + RATED_AFTER, rates, bought | {"value": stars})
        back = self.world.draw("refund", shopper, item, day) < preset.refund
        self._plan(day + REFUNDED_AFTER, back, bought)

    def _plan(self, day: int, chosen: Mask, rows: dict[str, NDArray[Any]]) -> None:
        self._later.setdefault(day, []).append({name: column[chosen] for name, column in rows.items()})

    def _tell_later(self, log: Log) -> None:
        for rows in self._later.pop(self.state.day, []):
            shopper, item = rows["shopper"], rows["item"]
            more = {name: column for name, column in rows.items() if name not in ("shopper", "item")}
            second = self.world.draw("later", shopper, item, self.state.day) * 12 * 3600
            at = self.world.start + self.state.day * DAY + 8 * HOUR + second.astype(np.int64) * 1_000_000
            log.add("rating" if "value" in rows else "refund", shopper, item, at, **more)

    def _remember(self, visits: Visits) -> None:
        width = self.state.shown_before.shape[1]
        if visits.seen.shape[1]:
            seen = visits.seen[:, :width]
            self.state.shown_before[visits.shopper, : seen.shape[1]] = seen


def _stats(world: World, visits: Visits, basket: Basket, lost: Mask, day: int) -> DayStats:
    n = len(visits.shopper)
    money = np.zeros(n, dtype=np.int64)
    np.add.at(
        money, basket.row, world.catalogue.price[basket.item] * world.pieces(visits.shopper[basket.row], basket.item)
    )
    return DayStats(
        day=day,
        shopper=visits.shopper,
        slates=visits.slates,
        clicked_slates=visits.clicked_slates,
        clicks=visits.clicks,
        purchases=np.bincount(basket.row, minlength=n).astype(np.int32),
        slate_purchases=np.bincount(basket.row[basket.slate > 0], minlength=n).astype(np.int32),
        spending=money,
        lost=lost,
        shown=visits.shown,
        item_changes=world.item_changes_on(day) if day > 0 else [],
    )
