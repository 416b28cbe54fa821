"""What was known about items and shoppers: the last change counts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from regulars.clean.records import Records
from regulars.core.data import UNKNOWN_PRICE, IdMap, Items, Users
from regulars.events.schema import Item


def item_features(records: Records, with_events: Iterable[str]) -> Items:
    """Items sorted by id: those with events, and those in the shop.

    An item that was deleted is left out, or, where it has events, is not available.
    """
    last = {change.item.item_id: change for change in records.items}
    ids = sorted({*with_events, *(name for name, change in last.items() if not change.deleted)})
    items = [last[name].item if name in last else Item(item_id=name) for name in ids]
    deleted = np.array([name in last and last[name].deleted for name in ids], dtype=np.bool_)
    return Items(
        ids=IdMap(ids),
        title=[item.title for item in items],
        description=[item.description for item in items],
        category=[item.category for item in items],
        brand=[item.brand for item in items],
        tags=[item.tags for item in items],
        price=np.array([UNKNOWN_PRICE if item.price is None else item.price for item in items], dtype=np.int64),
        available=np.array([item.available for item in items], dtype=np.bool_) & ~deleted,
        released_at=np.array([item.released_at or 0 for item in items], dtype=np.int64),
        kind=[item.kind for item in items],
    )


def user_features(records: Records, keys: Iterable[int]) -> Users:
    """Attributes and links of these shoppers; links lead to the keys that shoppers are read as."""
    last = {records.canonical_key(change.user_key): change for change in records.users}
    known = IdMap(keys)
    changes = [last.get(key) for key in known.ids]
    return Users(
        known,
        attributes=[{} if change is None else change.attributes for change in changes],
        links=[() if change is None else tuple(map(records.canonical_key, change.links)) for change in changes],
    )
