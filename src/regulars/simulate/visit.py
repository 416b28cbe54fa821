"""One day's visits, all at once: slates looked at, clicked and bought from, and what shoppers find by themselves.

Row `v` of every array is one visitor; `shopper[v]` is its number. Every draw is keyed by shopper, day and what it
is about, so another policy meets the same people in the same mood for chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Instants, Mask
from regulars.core.clock import MINUTE, SECOND
from regulars.simulate.catalogue import LEAVES
from regulars.simulate.log import SLOTS, Log
from regulars.simulate.presets import Preset
from regulars.simulate.protocol import PolicyAnswer, Slot
from regulars.simulate.state import State, sigmoid

MOST_CLICKS = 3  # on one slate
OFTEN = 1.5  # looks without a click (fading) from which an item is seen again and again


@dataclass
class Basket:
    """What visitors take to the till, one entry an item."""

    row: Indices
    item: Indices
    slate: Indices  # number in the log, 0 = found without a slate
    slot: NDArray[np.int8]
    position: NDArray[np.int64]


def irrelevance(preset: Preset, liking: Floats) -> Floats:
    """How irrelevant an item is felt to be, in (0, 1)."""
    return sigmoid(2 * (preset.irrelevant_at - liking))


def _int32(numbers: NDArray[np.integer]) -> Indices:
    return np.asarray(numbers, dtype=np.int32)


class Visits:
    """The visits of one day, from the door to the till."""

    def __init__(self, state: State, log: Log, shopper: Indices) -> None:
        n = len(shopper)
        self.state, self.log, self.shopper = state, log, shopper
        self.preset, self.goods = state.world.preset, state.world.catalogue
        self.at: Instants = state.world.instants(shopper, state.day)
        self.stock = self.goods.in_stock(state.day)
        self.taken = np.zeros((n, len(LEAVES)), dtype=np.bool_)  # categories already in the basket
        self.baskets: list[Basket] = []
        self.opened = np.full(n, -1, dtype=np.int32)  # the item page a visitor is on
        self.pleased = np.zeros(n, dtype=np.float32)
        self.slates, self.clicked_slates, self.clicks = (np.zeros(n, dtype=np.int32) for _ in range(3))
        self.looked, self.irrelevant, self.repeated, self.missed = (np.zeros(n, dtype=np.float32) for _ in range(4))
        self.seen = np.full((n, 0), -1, dtype=np.int32)  # items of today's slates
        self.shown = np.zeros(len(self.goods), dtype=np.bool_)

    def see(self, slot: Slot, row: Indices, answer: PolicyAnswer, delay: int) -> None:
        """Let visitors `row` look at their slates; events come `delay` microseconds into the visit."""
        state, shopper = self.state, self.shopper[row]
        code, day = SLOTS.index(slot), state.day
        valid = answer.items >= 0
        item = np.where(valid, answer.items, 0).astype(np.int32)
        place = np.arange(item.shape[1])[None, :]
        who = shopper[:, None]
        before = state.looks_at(shopper, item)
        liking = state.wanting(who, item) - self.preset.bored * before
        if slot == "product":
            liking = liking + state.related(item, self.opened[row][:, None])
        draw = state.world.draw
        looked = valid & (draw("look", who, day, code, place) < (place + 1.0) ** -self.preset.look)
        there = looked & self.stock[item]
        clicked = there & (draw("click", who, day, code, item) < sigmoid(liking - self.preset.click_at))
        clicked &= np.cumsum(clicked, axis=1) <= MOST_CLICKS
        bought = clicked & (draw("buy", who, day, code, item) < sigmoid(liking - self.preset.buy_at))
        self._count(row, valid, clicked, item)
        numbers = self.log.slates(answer.recommendation_id)
        line, column = np.nonzero(clicked)
        at = self.at[row[line]] + delay + (column + 1) * 7 * SECOND
        self.log.add("click", shopper[line], item[line, column], at, slate=numbers[line], slot=code, position=column)
        if not self.preset.effect:
            return
        self._feel(row, looked, clicked, liking, before, there, item)
        state.look(shopper, item, clicked, there)
        self.opened[row[line]] = item[line, column]
        self._buy_from(row, bought, item, numbers, code)

    def _count(self, row: Indices, valid: Mask, clicked: Mask, item: Indices) -> None:
        self.slates[row] += valid.any(axis=1)
        self.clicked_slates[row] += clicked.any(axis=1)
        self.clicks[row] += clicked.sum(axis=1).astype(np.int32)
        self.shown[item[valid]] = True
        seen = np.full((len(self.shopper), item.shape[1]), -1, dtype=np.int32)
        seen[row] = np.where(valid, item, -1)
        self.seen = np.concatenate((self.seen, seen), axis=1)

    def _feel(
        self, row: Indices, looked: Mask, clicked: Mask, liking: Floats, before: Floats, there: Mask, item: Indices
    ) -> None:
        """Note what pleased and what annoyed."""
        self.looked[row] += looked.sum(axis=1)
        if self.preset.annoyance_law == "sameness":
            old = (self.state.shown_before[self.shopper[row]][:, None, :] == item[:, :, None]).any(axis=2)
            self.irrelevant[row] += (looked & ~clicked & old).sum(axis=1)
        else:
            self.irrelevant[row] += ((looked & ~clicked) * irrelevance(self.preset, liking)).sum(axis=1)
        self.repeated[row] += (looked & ~clicked & (before > OFTEN)).sum(axis=1)
        self.missed[row] += (looked & ~there).sum(axis=1)
        self.pleased[row] += self.preset.pleased_click * clicked.sum(axis=1)

    def _buy_from(self, row: Indices, bought: Mask, item: Indices, numbers: Indices, code: int) -> None:
        """Put into the basket, from the top, at most one of a category and `most_bought` of a slate."""
        count = np.zeros(len(row), dtype=np.int64)
        for column in range(item.shape[1]):
            leaf = self.goods.leaf[item[:, column]]
            takes = bought[:, column] & (count < self.preset.most_bought) & ~self.taken[row, leaf]
            line = np.flatnonzero(takes)
            count += takes
            who, what = row[line], item[line, column]
            needed = self.state.urgency(self.shopper[who], leaf[line]) > 0
            self.pleased[who] += np.where(needed, self.preset.pleased_need, self.preset.pleased_buy)
            self._put(Basket(who, what, numbers[line], np.full(len(line), code, dtype=np.int8),
                             np.full(len(line), column)))  # fmt: skip

    def _put(self, basket: Basket) -> None:
        self.taken[basket.row, self.goods.leaf[basket.item]] = True
        self.baskets.append(basket)

    def search(self) -> None:
        """Look for needs that are remembered: the usual item, or the best of some come across."""
        state, day = self.state, self.state.day
        urgency = state.urgency(self.shopper[:, None], np.arange(len(LEAVES))[None, :])
        draw = state.world.draw
        thinks = draw("remember", self.shopper[:, None], np.arange(len(LEAVES))[None, :], day)
        row, leaf = map(_int32, np.nonzero(thinks < self.preset.remember * urgency))
        shopper = self.shopper[row]
        met = self._come_across(shopper, leaf, "search")
        usual = state.last_item[shopper, leaf]
        met = np.column_stack((np.where(usual >= 0, usual, met[:, 0]), met)).astype(np.int32)
        item, _ = self._best(shopper, met)
        gone = (usual >= 0) & ~self.stock[np.maximum(usual, 0)]
        np.add.at(self.missed, row[gone], 1.0)
        found = (draw("find", shopper, leaf, day) < self.preset.find) & (item >= 0)
        self._compare(row, met[:, 1], 3)
        self._view(row[found], item[found], 4)
        self._take_home(row[found], item[found])

    def browse(self) -> None:
        """Stroll through some categories of one's taste, and buy what is liked enough."""
        state, day = self.state, self.state.day
        leaves = np.arange(len(LEAVES))[None, :]
        who = self.shopper[:, None]
        liking = state.world.leaf_taste(who, leaves, day) + 0.5 * state.need(who, leaves)
        gumbel = -np.log(-np.log(np.clip(state.world.draw("stroll", who, leaves, day), 1e-9, 1 - 1e-9)))
        order = np.argsort(-(liking + gumbel), axis=1)[:, :3]
        many = np.floor(self.preset.browse + state.world.draw("strolls", self.shopper, day)).astype(np.int64)
        for stroll in range(min(3, int(many.max(initial=0)))):
            row = np.flatnonzero(many > stroll).astype(np.int32)
            leaf, shopper = order[row, stroll].astype(np.int32), self.shopper[row]
            met = self._come_across(shopper, leaf, "browse")
            item, wanting = self._best(shopper, met)
            some = item >= 0
            self._compare(row, met[:, 0], 5 + 2 * stroll)
            self._view(row[some], item[some], 6 + 2 * stroll)
            doubt = state.world.draw("impulse", shopper, leaf, day)
            free = some & ~self.taken[row, leaf]
            buys = free & (doubt < sigmoid(wanting - self.preset.browse_buy_at))
            only_carts = free & ~buys & (doubt < sigmoid(wanting - self.preset.browse_cart_at))
            self._cart(row[only_carts], item[only_carts], 7 + 2 * stroll)
            self._take_home(row[buys], item[buys])

    def _come_across(self, shopper: Indices, leaf: Indices, how: str) -> Indices:
        nth = np.arange(self.preset.considered)[None, :]
        draws = self.state.world.draw(f"met-{how}", shopper[:, None], leaf[:, None], self.state.day, nth)
        return self.goods.come_across(np.broadcast_to(leaf[:, None], draws.shape), draws)

    def _best(self, shopper: Indices, met: Indices) -> tuple[Indices, Floats]:
        """The item wanted most among those met, -1 where none is to be had, and how much."""
        wanting = np.where(self.stock[met], self.state.wanting(shopper[:, None], met), -np.inf)
        best = wanting.argmax(axis=1)
        lines = np.arange(len(met))
        top = wanting[lines, best].astype(np.float32)
        return np.where(np.isfinite(top), met[lines, best], -1).astype(np.int32), top

    def _view(self, row: Indices, item: Indices, minute: int) -> None:
        self.log.add("view", self.shopper[row], item, self.at[row] + minute * MINUTE)
        self.opened[row] = item

    def _compare(self, row: Indices, item: Indices, minute: int) -> None:
        there = self.stock[item]
        self._view(row[there], item[there], minute)

    def _cart(self, row: Indices, item: Indices, minute: int) -> None:
        """Into the cart, and left there."""
        self.log.add("add_to_cart", self.shopper[row], item, self.at[row] + minute * MINUTE)

    def _take_home(self, row: Indices, item: Indices) -> None:
        np.add.at(self.pleased, row, self.preset.pleased_self)
        none = np.zeros(len(row), dtype=np.int32)
        self._put(Basket(row, item, none, none.astype(np.int8), none.astype(np.int64) - 1))

    def annoyed(self) -> Floats:
        """Mood lost today."""
        preset = self.preset
        share = self.irrelevant / np.maximum(self.looked, 1)
        return np.asarray(
            preset.annoyed_irrelevant * share
            + preset.annoyed_repeated * self.repeated
            + preset.annoyed_stock * self.missed,
            dtype=np.float32,
        )

    def basket(self) -> Basket:
        """Everything taken to the till today."""
        empty = np.zeros(0, dtype=np.int32)
        parts = self.baskets or [Basket(empty, empty, empty, empty.astype(np.int8), empty.astype(np.int64))]
        return Basket(**{name: np.concatenate([getattr(part, name) for part in parts])
                         for name in Basket.__dataclass_fields__})  # fmt: skip
