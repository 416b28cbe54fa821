"""The live catalogue: every item's present features, by live item index, as a fold of `ItemChange`.

The latest change by its own time wins, so a late one changes nothing. Items that only events named are there
too, bare: available, without features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Instants, Mask
from regulars.core.clock import FOREVER, NEVER, Instant
from regulars.core.data import UNKNOWN_PRICE, IdMap, Items
from regulars.events.schema import Item, ItemChange
from regulars.profiles.alignment import Alignments

KINDS = ("product", "article", "ad")
PATH = " > "  # joins the names of a category path
KEPT_VIEWS = 4  # alignments kept: the live model's, the next one's, and those of an evaluation

ROW = np.dtype(
    [
        ("price", np.int64),
        ("released_at", np.int64),
        ("category_idx", np.int32),
        ("top_category_idx", np.int32),
        ("brand_idx", np.int32),
        ("kind", np.int8),
        ("available", np.bool_),
    ],
    align=True,
)
BARE = (UNKNOWN_PRICE, 0, -1, -1, -1, 0, True)


@dataclass(frozen=True)
class CatalogueColumns:
    """Item features as arrays `(n_items,)` aligned to some IdMap; read only, -1 = none."""

    available: Mask  # false when out of stock or deleted
    price: NDArray[np.int64]  # minor units, UNKNOWN_PRICE where none
    category_idx: Indices  # the whole path, in Catalogue.categories
    top_category_idx: Indices  # its first name
    brand_idx: Indices  # in Catalogue.brands
    released_at: Instants  # 0 where unknown
    kind: NDArray[np.int8]  # Catalogue.kind_code


class CatalogueSnapshot(msgspec.Struct, frozen=True):
    """A catalogue as plain values, one entry an item."""

    ids: list[str]
    facts: list[Item | None]
    changed_at: list[Instant]
    deleted: list[int]
    version: int


class _View:
    """The rows of the catalogue in the order of another IdMap, patched when items change."""

    def __init__(self, items: IdMap[str], rows: NDArray[np.void], to_model: Indices) -> None:
        self.items, self.length = items, len(items)
        table = np.full(self.length, np.array(BARE, dtype=ROW))
        known = np.flatnonzero(to_model >= 0)
        table[to_model[known]] = rows[known]
        self.columns = CatalogueColumns(**{name: table[name].copy() for name in ROW.names or ()})
        self._released: tuple[Instant, Instant, Mask] | None = None  # from when to when it holds

    def released(self, now: Instant) -> Mask:
        """Which items are out: looked up again only when one more may be, or time goes backwards."""
        kept = self._released
        if kept is None or not kept[0] <= now < kept[1]:
            later = self.columns.released_at > now
            kept = self._released = (now, int(self.columns.released_at[later].min(initial=FOREVER)), ~later)
        return kept[2]

    def patch(self, item_id: str, row: Any) -> None:
        """Write one item's new features in place."""
        idx = self.items.get(item_id)
        if 0 <= idx < self.length:
            for name in ROW.names or ():
                getattr(self.columns, name)[idx] = row[name]
            self._released = None


class Catalogue:
    """What the shop sells, now; `version` grows with every change. Callers hold the lock of `Live`."""

    def __init__(self) -> None:
        self.items: IdMap[str] = IdMap()
        self.categories: IdMap[str] = IdMap()
        self.brands: IdMap[str] = IdMap()
        self.version = 0
        self._facts: list[Item | None] = []  # None: bare
        self._changed_at: list[Instant] = []
        self._deleted: set[int] = set()
        self._rows = np.zeros(0, dtype=ROW)
        self._views: dict[int, _View] = {}
        self._alignments = Alignments()

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def from_items(cls, items: Items) -> Catalogue:
        """The catalogue of a Dataset; live indices are the Dataset's, and any change that is applied wins."""
        catalogue = cls()
        catalogue.items = IdMap(items.ids.ids)
        catalogue._grow(len(items))
        for idx, item_id in enumerate(items.ids.ids):
            price, released_at = int(items.price[idx]), int(items.released_at[idx])
            item = Item(
                item_id=item_id, title=items.title[idx], description=items.description[idx],
                category=tuple(items.category[idx]), brand=items.brand[idx], tags=tuple(items.tags[idx]),
                price=None if price == UNKNOWN_PRICE else price, available=bool(items.available[idx]),
                released_at=released_at or None, kind=items.kind[idx],  # type: ignore[arg-type]
            )  # fmt: skip
            known = item != Item(item_id=item_id)
            catalogue._facts.append(item if known else None)
            catalogue._changed_at.append(NEVER)
            catalogue._rows[idx] = catalogue._row(item) if known else BARE
        catalogue.version = 1
        return catalogue

    def add(self, item_id: str) -> int:
        """Index of an item that an event names, bare when new."""
        idx = self.items.get(item_id)
        if idx < 0:
            idx = self.items.add(item_id)
            self._grow(idx + 1)
            self._facts.append(None)
            self._changed_at.append(NEVER)
            self._rows[idx] = BARE
            self.version += 1
        return idx

    def apply(self, change: ItemChange) -> None:
        """Fold one change: what it gives replaces all that was known, unless a later change is known."""
        item_id = change.item.item_id
        idx = self.add(item_id)
        if change.timestamp < self._changed_at[idx]:
            return
        self._changed_at[idx] = change.timestamp
        row = self._row(change.item)
        self._facts[idx] = change.item
        self._deleted.discard(idx)
        if change.deleted:
            self._deleted.add(idx)
            row = (*row[:-1], False)
        self._rows[idx] = row
        self.version += 1
        for view in self._views.values():
            view.patch(item_id, self._rows[idx])

    def get(self, item_id: str) -> Item | None:
        """An item's features; None when it is unknown or deleted. A bare item has only its id."""
        idx = self.items.get(item_id)
        return None if idx < 0 or idx in self._deleted else self.last_known(idx)

    def last_known(self, idx: int) -> Item:
        """The features of an item by live index, also of one that was deleted: what was bought stays a sign."""
        return self._facts[idx] or Item(item_id=self.items[idx])

    def columns(self, items: IdMap[str]) -> CatalogueColumns:
        """Features in the order of `items`; what the catalogue does not know is bare.

        O(n_items) at the first call with an IdMap, then O(1): a change patches one row of each view.
        """
        return self._view(items).columns

    def released(self, items: IdMap[str], now: Instant) -> Mask:
        """Which of `items` are out by now; read only."""
        return self._view(items).released(now)

    def _view(self, items: IdMap[str]) -> _View:
        view = self._views.get(id(items))
        if view is None or view.items is not items or view.length != len(items):
            view = _View(items, self._rows, self.to_model(items))
        elif next(reversed(self._views.values())) is view:
            return view
        self._views.pop(id(items), None)
        self._views[id(items)] = view  # last place: used most recently
        while len(self._views) > KEPT_VIEWS:
            del self._views[next(iter(self._views))]
        return view

    def to_model(self, items: IdMap[str]) -> Indices:
        """`(len(self) + 1,)` indices into `items`, -1 where it lacks the item; the last entry, read by -1, is -1."""
        return self._alignments.to_model(self.items, items)

    def align(self, items: IdMap[str], to_model: Indices) -> None:
        """Take a translation that was worked out beforehand (`alignment.translated`)."""
        self._alignments.keep(items, to_model)

    def kind_code(self, kind: str) -> int:
        """The number of an item kind in `columns.kind`, -1 for a kind that does not exist."""
        return KINDS.index(kind) if kind in KINDS else -1

    def price_cuts(self, n_bands: int = 5) -> NDArray[np.int64]:
        """Prices `(n_bands - 1,)` that part the products into equal bands, cheap to dear; () without prices."""
        prices = self._rows["price"][: len(self.items)]
        known = prices[prices != UNKNOWN_PRICE]
        if not len(known):
            return np.zeros(0, dtype=np.int64)
        shares = np.arange(1, n_bands) / n_bands
        return np.asarray(np.quantile(known, shares, method="inverted_cdf"), dtype=np.int64)

    def dump(self) -> CatalogueSnapshot:
        """Everything, for a snapshot."""
        return CatalogueSnapshot(
            list(self.items.ids), list(self._facts), list(self._changed_at), sorted(self._deleted), self.version
        )

    @classmethod
    def restore(cls, kept: CatalogueSnapshot) -> Catalogue:
        """What `dump` gave."""
        catalogue = cls()
        catalogue.items = IdMap(kept.ids)
        catalogue._facts, catalogue._changed_at = list(kept.facts), list(kept.changed_at)
        catalogue._deleted, catalogue.version = set(kept.deleted), kept.version
        catalogue._grow(len(kept.ids))
        for idx, item in enumerate(kept.facts):
            catalogue._rows[idx] = BARE if item is None else catalogue._row(item)
        catalogue._rows["available"][kept.deleted] = False
        return catalogue

    def _row(self, item: Item) -> tuple[Any, ...]:
        category, top, brand = -1, -1, -1
        if item.category:
            top = self.categories.add(item.category[0])
            category = self.categories.add(PATH.join(item.category))
        if item.brand:
            brand = self.brands.add(item.brand)
        price = UNKNOWN_PRICE if item.price is None else item.price
        return price, item.released_at or 0, category, top, brand, self.kind_code(item.kind), item.available

    def _grow(self, length: int) -> None:
        if length > len(self._rows):
            grown = np.zeros(max(length, 2 * len(self._rows), 64), dtype=ROW)
            grown[: len(self._rows)] = self._rows
            self._rows = grown
