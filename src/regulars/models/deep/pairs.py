"""What is known of a shopper and an item together, as numbers for a ranker; nothing here needs torch.

Everything is computed from what was known at an instant: counts of a log, and histories up to then.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Matrix
from regulars.core.clock import DAY, Instant
from regulars.core.data import Dataset, Histories, Items
from regulars.models.deep.two_tower import newest, recency
from regulars.models.deep.windows import seen
from regulars.models.features import Codes, attribute_rows
from regulars.models.links import add_links
from regulars.models.pair_links import pair_links
from regulars.models.sequences import recent_cells, training_sequences

RECENT = 30 * DAY
WINDOW = 10  # events between two items that count as taken together, at most
LINKS = 100  # of an item that are kept
OF_ITEM, OF_SHOPPER, GROUPS = 3, 2, 3
NUMBERS = OF_ITEM + OF_SHOPPER + GROUPS + 3


@dataclass(frozen=True)
class ItemSide:
    """Of each item: popularity, recent popularity and days since it was taken (logarithms); groups; price; links."""

    numbers: Floats  # (n_items, OF_ITEM)
    groups: Indices  # (n_items, GROUPS) whole category path, its first step, brand; -1 where unknown
    price: Floats  # (n_items,) in powers of two, NaN where unknown
    links: Matrix  # (n_items, n_items) how often two were taken together, over the root of what each was taken


@dataclass(frozen=True)
class ShopperSide:
    """Of each of `n` shoppers: items newest first, with shares of sum 1; weights; activity and pause; attributes."""

    taken: Indices  # (n, length)
    shares: Floats  # (n, length)
    owned: Matrix  # (n, n_items)
    numbers: Floats  # (n, OF_SHOPPER)
    told: Matrix  # (n, n_codes)

    def __len__(self) -> int:
        return len(self.taken)

    def __getitem__(self, rows: NDArray[np.int64]) -> ShopperSide:
        """Some of the shoppers."""
        return ShopperSide(self.taken[rows], self.shares[rows], self.owned[rows], self.numbers[rows], self.told[rows])


def item_side(data: Dataset, now: Instant, threads: int) -> ItemSide:
    """The items as this log shows them at `now`."""
    rows, n = data.interactions, len(data.items)
    good = rows.weight > 0
    items, at = rows.item_idx[good], rows.at[good]
    taken = np.bincount(items, minlength=n)
    lately = np.bincount(items[at > now - RECENT], minlength=n)
    last = np.full(n, np.iinfo(np.int64).min)
    np.maximum.at(last, items, at)
    days = np.where(taken > 0, np.maximum(now - np.maximum(last, 0), 0) / DAY, 0.0)
    usual = [np.log1p(counts * (n / max(1, counts.sum()))) for counts in (taken, lately)]
    numbers = np.column_stack((*usual, np.log1p(days))).astype(np.float32)
    worth = np.maximum(taken, 1).astype(np.float32) ** np.float32(-0.5)
    flat = np.ones(WINDOW, dtype=np.float32)
    links = pair_links(training_sequences(data, by_session=False), worth, flat, 1.0, LINKS, threads)
    links.data *= np.repeat(worth, np.diff(links.indptr))
    return ItemSide(numbers, _groups(data.items), _log_price(data.items), links)


def _groups(items: Items) -> Indices:
    columns = (items.category, [path[:1] for path in items.category], items.brand)
    return np.column_stack([_codes(column) for column in columns])


def _codes(names: Iterable[Hashable]) -> Indices:
    """A number for each distinct name, in order of first sight; -1 for an empty one."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) if name else -1 for name in names], dtype=np.int32)


def _log_price(items: Items) -> Floats:
    price = np.full(len(items), np.nan, dtype=np.float32)
    known = items.price > 0
    price[known] = np.log2(items.price[known])
    return price


def shopper_side(histories: Histories, now: Instant, length: int, decay: float, codes: Codes) -> ShopperSide:
    """The shoppers as their histories show them at `now`; the item looked at now is the newest."""
    events = seen(histories, now)
    taken = newest(events.item_idx, events.indptr[:-1], events.indptr[1:], length)
    sizes, days = np.diff(histories.indptr), np.zeros(len(histories))
    some = np.flatnonzero(sizes)
    days[some] = np.maximum(now - histories.at[histories.indptr[1:][some] - 1], 0) / DAY
    numbers = np.column_stack((np.log1p(events.sizes), np.log1p(days))).astype(np.float32)
    told = attribute_rows(histories.attributes, len(histories), codes)
    return ShopperSide(taken, recency(taken, decay), histories.user_items, numbers, told)


def pair_numbers(items: ItemSide, shoppers: ShopperSide, row: NDArray[np.int64], item: NDArray[np.int64]) -> Floats:
    """Numbers of shopper `row[p]` with item `item[p]`, `(n_pairs, NUMBERS)`.

    The two sides' own, then the share of the history in the item's path, first step and brand, how near its price is
    to the history's, how much it was taken together with the history's items, and what it weighs in the history.
    """
    shares = [_shares_of_groups(items.groups[:, each], shoppers)[row, items.groups[item, each]]
              * (items.groups[item, each] >= 0) for each in range(GROUPS)]  # fmt: skip
    near = np.exp2(-np.abs(items.price[item] - _usual_price(items.price, shoppers)[row]))
    together = add_links(recent_cells(shoppers.taken, shoppers.shares), items.links)[row, item]
    before = shoppers.owned.toarray()[row, item]
    return np.column_stack((
        items.numbers[item], shoppers.numbers[row], *shares, np.nan_to_num(near), together, np.log1p(before),
    )).astype(np.float32)  # fmt: skip


def _shares_of_groups(group: Indices, shoppers: ShopperSide) -> Floats:
    """How much of each history is of each group `(n, n_groups)`, at least one column."""
    width = int(group.max(initial=0)) + 1
    its = np.where(shoppers.taken >= 0, group[np.maximum(shoppers.taken, 0)], -1)
    real = its >= 0
    cells = (shoppers.shares[real], (np.nonzero(real)[0], its[real]))
    shares: Floats = sp.coo_array(cells, shape=(len(shoppers), width), dtype=np.float32).toarray()
    return shares


def _usual_price(price: Floats, shoppers: ShopperSide) -> Floats:
    """The mean log price of each history `(n,)`, NaN where no price is known."""
    its = np.where(shoppers.taken >= 0, price[np.maximum(shoppers.taken, 0)], np.float32(np.nan))
    weights = np.where(np.isnan(its), np.float32(0), shoppers.shares)
    total = weights.sum(axis=1)
    usual = np.full(len(total), np.nan, dtype=np.float32)
    np.divide((weights * np.nan_to_num(its)).sum(axis=1), total, out=usual, where=total > 0)
    return usual
