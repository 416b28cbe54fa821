"""A small Dataset by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from regulars.core.data import PURCHASE, Dataset, IdMap, Interactions, Items, Shown, Users


def make_dataset(rows: Sequence[tuple[int, str, int]], as_of: int, **columns: Any) -> Dataset:
    """Purchases (user key, item id, at); users and items in order of first sight; `columns` replace defaults."""
    users = IdMap(dict.fromkeys(user for user, _, _ in rows))
    items = Items.bare(dict.fromkeys(item for _, item, _ in rows))
    user_idx, at = users.index(user for user, _, _ in rows), np.array([each[2] for each in rows], dtype=np.int64)
    item_idx, n = items.ids.index(item for _, item, _ in rows), len(rows)
    ones, none = np.ones(n, dtype=np.float32), np.full(n, -1, dtype=np.int32)
    fields = {
        "user_idx": user_idx, "item_idx": item_idx, "kind": np.full(n, PURCHASE, dtype=np.int8), "at": at,
        "weight": ones, "quantity": ones, "value": np.zeros(n, dtype=np.int64), "rating": ones, "session_idx": none,
        "order_idx": none, "from_slate": np.zeros(n, dtype=np.bool_), **columns,
    }  # fmt: skip
    nobody = np.zeros(0, dtype=np.int32)
    return Dataset(
        as_of=as_of,
        users=Users(users, [{}] * len(users), [()] * len(users)),
        items=items,
        interactions=Interactions(**fields)[np.lexsort((at, user_idx))],
        shown=Shown(nobody, nobody, nobody.astype(np.int64), nobody.astype(np.int16), nobody.astype(np.bool_)),
    )
