"""What changes from day to day and nobody sees: pantries, moods, what shoppers have looked at, who is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from regulars.core.arrays import Floats, Indices, Mask
from regulars.simulate.catalogue import LEAVES
from regulars.simulate.world import World

LOOKS = 48  # looks without a click that a shopper remembers
SHOWN = 24  # items of the last visit's slates that a shopper remembers


class State:
    """The hidden state of every shopper at the beginning of `day`."""

    def __init__(self, world: World) -> None:
        people = world.shoppers
        n, n_leaves = len(people), len(LEAVES)
        self.world = world
        self.day = 0
        rows, leaves = np.arange(n)[:, None], np.arange(n_leaves)[None, :]
        phase = world.draw("opening-stock", rows, leaves)
        self.due = np.where(people.uses, phase * people.use_up, np.inf).astype(np.float32)  # day of being used up
        self.bought_at = np.full((n, n_leaves), -np.inf, dtype=np.float32)
        self.last_item = np.full((n, n_leaves), -1, dtype=np.int32)
        self.looked_item = np.full((n, LOOKS), -1, dtype=np.int32)
        self.looked_day = np.zeros((n, LOOKS), dtype=np.float32)
        self.looks = np.zeros(n, dtype=np.int32)
        self.shown_before = np.full((n, SHOWN), -1, dtype=np.int32)
        self.mood = np.zeros(n, dtype=np.float32)
        self.next_visit = people.arrives.astype(np.float32)
        self.lost = np.zeros(n, dtype=np.bool_)

    def copy(self) -> State:
        """An independent copy; the world, which never changes, is shared."""
        twin = object.__new__(State)
        twin.__dict__ = {
            name: value.copy() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()
        }
        return twin

    def visitors(self) -> Indices:
        """Who comes today."""
        return np.flatnonzero(~self.lost & (self.next_visit < self.day + 1)).astype(np.int32)

    def buy_elsewhere(self) -> None:
        """Needs that waited may be served by other shops."""
        shopper, leaf = np.nonzero(self.due < self.day)
        gone = self.world.draw("elsewhere", shopper, leaf, self.day) < 1 / self.world.preset.elsewhere
        shopper, leaf = shopper[gone], leaf[gone]
        self.due[shopper, leaf] = self.day + self.world.lasting(shopper, leaf, self.day)

    def urgency(self, shopper: Any, leaf: Any) -> Floats:
        """0 = enough at home, 1 = used up (or nearly); 0 too where the household does not use it."""
        early = max(self.world.preset.early, 1e-6)
        return np.asarray(np.clip((self.day - self.due[shopper, leaf]) / early + 1, 0, 1), dtype=np.float32)

    def need(self, shopper: Any, leaf: Any) -> Floats:
        """What need adds to or takes from the utility of a category's items today."""
        world, preset = self.world, self.world.preset
        urgency = self.urgency(shopper, leaf)
        used = np.where(world.shoppers.uses[shopper, leaf], (preset.need + preset.sated) * urgency - preset.sated,
                        -preset.unused)  # fmt: skip
        owned = -preset.owned * np.exp((self.bought_at[shopper, leaf] - self.day) / preset.owned_days)
        return np.asarray(np.where(world.catalogue.lasts[leaf] > 0, used, owned), dtype=np.float32)

    def wanting(self, shopper: Any, item: Any) -> Floats:
        """Utility of items today: taste, need and habit, in logits; arguments are broadcast together."""
        leaf = self.world.catalogue.leaf[item]
        habit = self.world.preset.habit * (self.last_item[shopper, leaf] == item)
        return np.asarray(
            self.world.taste(shopper, item, self.day) + self.need(shopper, leaf) + habit, dtype=np.float32
        )

    def related(self, item: Any, context: Any) -> Floats:
        """What an item gains on the page of another: alternatives and complements do (context -1: nothing does)."""
        goods = self.world.catalogue
        leaf, beside = goods.leaf[item], goods.leaf[np.maximum(context, 0)]
        kin = ((leaf == beside) | (leaf == goods.complement[beside])) & (context >= 0) & (item != context)
        return np.asarray(self.world.preset.related * kin, dtype=np.float32)

    def looks_at(self, shopper: Indices, item: Indices) -> Floats:
        """Earlier looks without a click, fading, `(n, k)` for shoppers `(n,)` and items `(n, k)`."""
        age = self.day - self.looked_day[shopper]
        weight = np.exp(-age / self.world.preset.bored_days)
        same = self.looked_item[shopper][:, None, :] == item[:, :, None]
        return np.asarray((same * weight[:, None, :]).sum(axis=2), dtype=np.float32)

    def look(self, shopper: Indices, item: Indices, clicked: Mask, looked: Mask) -> None:
        """Remember looks without a click, and forget those at items now clicked; arrays `(n, k)`."""
        for column in range(item.shape[1]):
            wanted = clicked[:, column]
            who = shopper[wanted]
            memory = self.looked_item[who]
            memory[memory == item[wanted, column][:, None]] = -1
            self.looked_item[who] = memory
            passed = looked[:, column] & ~wanted
            who = shopper[passed]
            place = self.looks[who] % LOOKS
            self.looked_item[who, place] = item[passed, column]
            self.looked_day[who, place] = self.day
            self.looks[who] += 1

    def buy(self, shopper: Indices, item: Indices) -> None:
        """Take purchases home: pantries fill, durables are owned."""
        leaf = self.world.catalogue.leaf[item]
        self.bought_at[shopper, leaf] = self.day
        self.last_item[shopper, leaf] = item
        used = self.world.shoppers.uses[shopper, leaf]
        who, what = shopper[used], leaf[used]
        stock = np.maximum(self.due[who, what], self.day)
        self.due[who, what] = stock + self.world.lasting(who, what, self.day)

    def leave(self, shopper: Indices, pleased: Floats, annoyed: Floats) -> Mask:
        """End these visits: mood, the next date, or never; returns who is lost."""
        world, preset, people = self.world, self.world.preset, self.world.shoppers
        change = pleased - annoyed / people.patience[shopper]
        mood = (preset.mood_keep * self.mood[shopper] + change).astype(np.float32)
        self.mood[shopper] = mood
        leaving = preset.lose / people.loyalty[shopper] * np.exp(-preset.lose_mood * mood)
        lost = world.draw("leave", shopper, self.day) < np.minimum(leaving, 0.5)
        spread = preset.gap_noise
        noise = np.exp(spread * world.normal("gap", shopper, self.day) - spread**2 / 2)
        gap = people.gap[shopper] * np.exp(-preset.mood_gap * np.tanh(mood)) * noise
        date = self.day + 0.5 + np.maximum(gap, 0.5)
        keep = np.array(preset.weekdays)[np.floor(date).astype(np.int64) % 7]
        date = date + (world.draw("postpone", shopper, self.day) >= keep)
        self.next_visit[shopper] = date
        self.lost[shopper] = lost
        return np.asarray(lost)


def sigmoid(logit: NDArray[Any]) -> Floats:
    """The logistic function."""
    return np.asarray(special.expit(logit), dtype=np.float32)
