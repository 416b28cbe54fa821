"""What slates showed, and what of it was clicked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from regulars.core.arrays import Mask
from regulars.core.data import Items, Shown, Users
from regulars.events.slates import Numbers, Slates


def shown_items(slates: Slates, users: Users, items: Items, named: pa.Table) -> Shown:
    """One row an item that was seen, sorted by (user_idx, at, position).

    `slates` are given to the keys in `users`; `named` holds `recommendation_id, item_id, event_type` of the events
    that name a recommendation. Where a shop sends impressions for a recommendation, only what they (or a click)
    name was seen; without any, served counts as seen. Items nobody knows any more are left out.
    """
    item_idx = items.ids.index(slates.items.ids, "skip")[slates.item_idx]
    user_idx = users.keys.index(slates.user_key.tolist())[slates.slate_idx]
    at = slates.at[slates.slate_idx]
    clicked, seen = _clicked_and_seen(slates, named)
    rows = np.flatnonzero(seen & (item_idx >= 0))
    rows = rows[np.lexsort((slates.position[rows], at[rows], user_idx[rows]))]
    return Shown(user_idx[rows], item_idx[rows], at[rows], slates.position[rows], clicked[rows])


def _clicked_and_seen(slates: Slates, named: pa.Table) -> tuple[Mask, Mask]:
    """Whether each row was clicked, and seen."""
    slate, item = _places(named["recommendation_id"], slates.ids), _places(named["item_id"], slates.items.ids)
    impression = np.asarray(pc.equal(named["event_type"], "impression"), dtype=np.bool_)
    n_items = max(len(slates.items), 1)
    codes, known = slate * n_items + item, (slate >= 0) & (item >= 0)
    shown = slates.slate_idx * n_items + slates.item_idx
    clicked = np.isin(shown, codes[known & ~impression])
    impressed = np.isin(shown, codes[known & impression])
    reported = np.zeros(len(slates), dtype=np.bool_)
    reported[slate[(slate >= 0) & impression]] = True
    return clicked, clicked | impressed | ~reported[slates.slate_idx]


def _places(column: pa.ChunkedArray, known: Sequence[str]) -> Numbers:
    """Place of each text in `known`, -1 where absent."""
    found = pc.index_in(column.cast(pa.string()), value_set=pa.array(known, pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy(), dtype=np.int64)
