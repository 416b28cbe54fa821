"""The world of a practice shop: goods and people, and the laws of taste, drift and use.

Taste is a tree (department, leaf category, brand, style) with a shopper's own noise at every node and for every
item, so it has no low rank; the leaf's part drifts. Everything is computed for the pairs that are asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from regulars.core.arrays import Floats, Indices, Instants
from regulars.core.rng import hashes, key_of, uniforms
from regulars.events.schema import ItemChange
from regulars.simulate.catalogue import DEPARTMENT_OF, build_catalogue, item_changes
from regulars.simulate.presets import Preset
from regulars.simulate.shoppers import HOURS, build_shoppers


def normals(key: int, *counters: Any) -> NDArray[np.float64]:
    """Standard normal numbers that depend on key and counters alone."""
    return np.asarray(special.ndtri(np.clip(uniforms(key, *counters), 1e-12, 1 - 1e-12)))


class World:
    """A catalogue and its shoppers' hidden truth, a pure function of (preset, seed)."""

    def __init__(self, preset: Preset, seed: int) -> None:
        self.preset, self.seed = preset, seed
        self.start = preset.start
        self.catalogue = build_catalogue(preset, seed)
        self.shoppers = build_shoppers(preset, seed, self.catalogue)
        self.item_ids = self.catalogue.ids.ids
        self.shopper_ids = [f"S{number:06d}" for number in range(len(self.shoppers))]
        self._keys: dict[str, int] = {}

    def key(self, purpose: str) -> int:
        """The key of all draws for one purpose."""
        if purpose not in self._keys:
            self._keys[purpose] = key_of("world", self.preset.name, self.seed, purpose)
        return self._keys[purpose]

    def draw(self, purpose: str, *counters: Any) -> NDArray[np.float64]:
        """Uniform numbers keyed by (seed, purpose, counters): usually shopper, day and what it is about."""
        return uniforms(self.key(purpose), *counters)

    def normal(self, purpose: str, *counters: Any) -> NDArray[np.float64]:
        """Standard normal numbers, keyed likewise."""
        return normals(self.key(purpose), *counters)

    def item_changes(self) -> list[ItemChange]:
        """The public catalogue as the shop opens; what changes later comes with each day."""
        there = np.flatnonzero(self.catalogue.released <= 0).tolist()
        return item_changes(self.catalogue, 0, self.start, there)

    def item_changes_on(self, day: int) -> list[ItemChange]:
        """What is released, runs out or returns on a day after the first."""
        now, before = self.catalogue.in_stock(day), self.catalogue.in_stock(day - 1)
        new = (self.catalogue.released > day - 1) & (self.catalogue.released <= day)
        return item_changes(self.catalogue, day, self.start, np.flatnonzero((now != before) | new).tolist())

    def taste(self, shopper: Any, item: Any, day: int) -> Floats:
        """Liking without need or habit, in logits; `shopper` and `item` are broadcast together."""
        leaf = self.leaf_taste(shopper, self.catalogue.leaf[item], day)
        liking = self.lasting_taste(shopper, item) + leaf + self.freshness(shopper, item, day)
        return np.asarray(liking, dtype=np.float32)

    def lasting_taste(self, shopper: Any, item: Any) -> Floats:
        """The part of a taste that stays: quality, price, brand, style, and the shopper's own noise."""
        goods, people = self.catalogue, self.shoppers
        liking = goods.quality[item] - people.price_sense[shopper] * goods.dearness[item]
        liking = liking + people.brand[shopper, goods.brand[item]] + people.style[shopper, goods.style[item]]
        if self.preset.noise > 0:
            liking = liking + self.preset.noise * self.normal("noise", shopper, item)
        return np.asarray(liking, dtype=np.float32)

    def freshness(self, shopper: Any, item: Any, day: int) -> Floats:
        """The part of a taste that new releases have, fading."""
        age = day - self.catalogue.released[item]
        fresh = np.clip(1 - age / self.preset.fresh_days, 0, 1) * (age >= 0)
        return np.asarray(self.shoppers.novelty[shopper] * fresh, dtype=np.float32)

    def leaf_taste(self, shopper: Any, leaf: Any, day: int) -> Floats:
        """The part of a taste that the categories decide, on a day."""
        people, preset = self.shoppers, self.preset
        liking = people.department[shopper, DEPARTMENT_OF[leaf]]
        if preset.taste_law == "topics":
            epoch = day / preset.topic_days + uniforms(self.key("topic-phase"), shopper)
            topic = hashes(self.key("topic"), shopper, np.floor(epoch).astype(np.int64)) % np.uint64(preset.topics)
            return np.asarray(liking + people.topic_leaf[topic.astype(np.int64), leaf], dtype=np.float32)
        liking = liking + people.leaf[shopper, leaf]
        if preset.drift > 0:
            liking = liking + preset.drift * self._drift(shopper, leaf, day)
        return np.asarray(liking, dtype=np.float32)

    def _drift(self, shopper: Any, leaf: Any, day: int) -> NDArray[np.float64]:
        """Unit noise, linear between knots `drift_days` apart whose phase differs by shopper."""
        at = day / self.preset.drift_days + uniforms(self.key("drift-phase"), shopper)
        knot = np.floor(at).astype(np.int64)
        share = at - knot
        key = self.key("drift")
        low, high = uniforms(key, shopper, leaf, knot) - 0.5, uniforms(key, shopper, leaf, knot + 1) - 0.5
        return np.asarray(np.sqrt(12.0) * ((1 - share) * low + share * high))

    def lasting(self, shopper: Any, leaf: Any, day: Any) -> Floats:
        """Days until what is bought on `day` (the opening stock: -1) is used up, by the preset's law, mean 1 pack."""
        preset = self.preset
        draw = self.draw("use-up", shopper, leaf, day)
        mean = self.shoppers.use_up[shopper, leaf]
        if preset.use_up_law == "periodic":  # a fixed rhythm, whenever it was bought
            phase = self.draw("use-up-phase", shopper, leaf)
            beat = np.maximum(mean, 1.0)
            ahead = beat * (1 + np.floor((day + 0.4 * beat) / beat - phase) + phase) - day
            return np.asarray(np.maximum(ahead, 0.3 * beat), dtype=np.float32)
        shape = preset.use_up_shape
        if preset.use_up_law == "weibull":
            part = (-np.log1p(-draw)) ** (1 / shape) / special.gamma(1 + 1 / shape)
        else:
            part = special.gammaincinv(shape, np.clip(draw, 1e-9, 1 - 1e-9)) / shape
        return np.asarray(mean * part, dtype=np.float32)

    def pieces(self, shopper: Indices, item: Indices) -> NDArray[np.int64]:
        """How many of an item are bought at once: a household's usual pack, or one durable."""
        consumable = self.catalogue.lasts[self.catalogue.leaf[item]] > 0
        return np.where(consumable, self.shoppers.pack[shopper], 1).astype(np.int64)

    def instants(self, shopper: Indices, day: int) -> Instants:
        """When these shoppers come on a day: mostly around their own hour, else by the shop's habit."""
        table = np.cumsum(HOURS) / sum(HOURS)
        common = np.searchsorted(table, self.draw("hour", shopper, day), side="right")
        own = self.shoppers.hour[shopper]
        hour = np.where(self.draw("own-hour", shopper, day) < 0.6, own, common)
        second = (self.draw("second", shopper, day) * 3600).astype(np.int64)
        return np.asarray(self.start + (day * 86_400 + hour.astype(np.int64) * 3600 + second) * 1_000_000)
