"""What the shop sells: public facts as arrays and item changes, and two hidden ones, quality and fame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Mask
from regulars.core.clock import DAY, HOUR
from regulars.core.data import IdMap
from regulars.core.rng import generator, hashes, key_of, uniforms
from regulars.events.schema import Item, ItemChange
from regulars.simulate import texts
from regulars.simulate.presets import Preset

LEAVES: tuple[texts.Leaf, ...] = tuple(leaf for department in texts.DEPARTMENTS for leaf in department.leaves)
DEPARTMENT_OF: Indices = np.repeat(
    np.arange(len(texts.DEPARTMENTS), dtype=np.int32), [len(each.leaves) for each in texts.DEPARTMENTS]
)
OLDEST = 400.0  # days before the start


@dataclass(frozen=True)
class Catalogue:
    """One entry an item, unless said otherwise; items of one leaf category stand together."""

    ids: IdMap[str]
    leaf: Indices
    department: Indices
    brand: Indices
    style: Indices
    noun: Indices
    edition: Indices  # number among products of the same name
    price: NDArray[np.int64]  # minor units
    dearness: Floats  # log(price / usual price of the category)
    released: Floats  # day, negative = before the start
    quality: Floats  # hidden
    fame: Floats  # hidden, > 0: how easily it is come across
    lasts: Floats  # (n_leaves,) days that a pack lasts; 0 = durable
    complement: Indices  # (n_leaves,) hidden: what one looks for beside it
    first: NDArray[np.int64]  # (n_leaves + 1,) where each leaf's items begin
    cumulated: NDArray[np.float64]  # fame summed over all items up to and with this one
    stock_key: int
    outages: float
    outage_days: int

    def __len__(self) -> int:
        return len(self.leaf)

    def in_stock(self, day: int) -> Mask:
        """Which items are released and not sold out on a day, a pure function of the day."""
        ago = np.arange(self.outage_days)[:, None]
        items = np.arange(len(self))[None, :]
        start = uniforms(self.stock_key, items, day - ago)
        length = hashes(self.stock_key + 1, items, day - ago) % np.uint64(self.outage_days) + np.uint64(1)
        out = ((start < self.outages) & (length > ago.astype(np.uint64))).any(axis=0)
        return np.asarray(~out & (self.released <= day))

    def come_across(self, leaf: Indices, draws: NDArray[np.float64]) -> Indices:
        """Items met in a category, by fame; `leaf` and uniform `draws` of one shape."""
        top = np.concatenate(([0.0], self.cumulated))
        low, high = top[self.first[leaf]], top[self.first[leaf + 1]]
        found = np.searchsorted(self.cumulated, low + draws * (high - low), side="right")
        return np.asarray(np.clip(found, self.first[leaf], self.first[leaf + 1] - 1), dtype=np.int32)


def build_catalogue(preset: Preset, seed: int) -> Catalogue:
    """Make the goods of a shop, a pure function of preset and seed."""
    rng = generator("catalogue", preset.name, seed)
    n, n_leaves = preset.items, len(LEAVES)
    leaf = np.sort(np.arange(n, dtype=np.int32) % n_leaves)
    brand = (DEPARTMENT_OF[leaf] * 3 + rng.integers(0, 8, n)).astype(np.int32) % len(texts.BRANDS)
    style = rng.integers(0, len(texts.STYLES), n).astype(np.int32)
    noun = rng.integers(0, 3, n).astype(np.int32)
    dearness = rng.normal(0.0, 0.35, n)
    usual = np.array([each.price for each in LEAVES])[leaf]
    price = np.maximum(50, np.round(usual * np.exp(dearness) / 10) * 10 - 1).astype(np.int64)
    quality, other = rng.normal(size=n), rng.normal(size=n)
    known = preset.fame_quality
    fame = np.exp(preset.fame * (known * quality + np.sqrt(1 - known**2) * other))
    late = rng.random(n) < preset.late_items
    released = np.floor(np.where(late, rng.uniform(1, 1 + preset.release_days, n), -rng.uniform(1, OLDEST, n)))
    lasts = np.array([each.days for each in LEAVES], dtype=np.float32)
    lasts[rng.random(n_leaves) >= preset.consumables] = 0.0
    return Catalogue(
        ids=IdMap(f"P{number:05d}" for number in range(n)),
        leaf=leaf, department=DEPARTMENT_OF[leaf], brand=brand, style=style, noun=noun,
        edition=_editions(np.stack((leaf, brand, style, noun), axis=1)),
        price=price,
        dearness=np.log(price / usual).astype(np.float32),
        released=released.astype(np.float32),
        quality=(preset.quality * quality).astype(np.float32),
        fame=fame.astype(np.float32),
        lasts=lasts,
        complement=_complements(rng, n_leaves),
        first=np.searchsorted(leaf, np.arange(n_leaves + 1)).astype(np.int64),
        cumulated=np.cumsum(fame),
        stock_key=key_of("stock", preset.name, seed),
        outages=preset.outages,
        outage_days=preset.outage_days,
    )  # fmt: skip


def _editions(names: NDArray[np.int32]) -> Indices:
    """How many rows above are equal to each row."""
    seen: dict[tuple[int, ...], int] = {}
    editions = np.zeros(len(names), dtype=np.int32)
    for row, name in enumerate(map(tuple, names.tolist())):
        editions[row] = seen.get(name, 0)
        seen[name] = int(editions[row]) + 1
    return editions


def _complements(rng: np.random.Generator, n_leaves: int) -> Indices:
    """A leaf of mostly the same department for each leaf, never itself."""
    complement = np.empty(n_leaves, dtype=np.int32)
    for leaf in range(n_leaves):
        near = np.flatnonzero(DEPARTMENT_OF[leaf] == DEPARTMENT_OF)
        pool = near if rng.random() < 0.8 else np.arange(n_leaves)
        complement[leaf] = rng.choice(pool[pool != leaf])
    return complement


def item(catalogue: Catalogue, idx: int, start: int, available: bool) -> Item:
    """The public record of one item; `start` is the instant of day 0."""
    leaf_idx, brand, style = int(catalogue.leaf[idx]), int(catalogue.brand[idx]), int(catalogue.style[idx])
    leaf, department = LEAVES[leaf_idx], texts.DEPARTMENTS[int(catalogue.department[idx])]
    noun = leaf.nouns[int(catalogue.noun[idx])]
    title, title_zh = texts.title(brand, style, noun, int(catalogue.edition[idx]))
    about, about_zh = texts.description(brand, style, noun, leaf)
    return Item(
        item_id=catalogue.ids[idx],
        title=title,
        description=about,
        category=(department.name, leaf.name),
        brand=texts.BRANDS[brand][0],
        price=int(catalogue.price[idx]),
        tags=(texts.STYLES[style][0].lower(), noun[0].lower()),
        available=available,
        released_at=start + int(catalogue.released[idx]) * DAY,
        properties={
            "title_zh": title_zh,
            "description_zh": about_zh,
            "category_zh": [department.name_zh, leaf.name_zh],
            "brand_zh": texts.BRANDS[brand][1],
        },
    )


def item_changes(catalogue: Catalogue, day: int, start: int, items: Sequence[int]) -> list[ItemChange]:
    """Changes that put these items into the state they have on a day, told at six in the morning of it."""
    stock = catalogue.in_stock(day)
    return [
        ItemChange(
            event_id=f"{catalogue.ids[idx]}-D{day}",
            timestamp=start + day * DAY + 6 * HOUR if day > 0 else start,
            item=item(catalogue, idx, start, bool(stock[idx])),
        )
        for idx in items
    ]
