"""What slates showed, and what of it was clicked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from regulars.clean.records import Showing
from regulars.core.arrays import Mask
from regulars.core.data import IdMap, Shown

_NONE = np.zeros(0, dtype=np.int32)
NOBODY = Shown(_NONE, _NONE, _NONE.astype(np.int64), _NONE.astype(np.int16), _NONE.astype(np.bool_))


def shown_items(decisions: Sequence[Showing], users: Sequence[int], items: IdMap[str], named: pa.Table) -> Shown:
    """One row an item that was seen, sorted by (user_idx, at, position).

    `users[i]` is the row of the shopper of `decisions[i]`; `named` holds `recommendation_id, item_id, event_type`
    of the events that name a recommendation. Where a shop sends impressions for a recommendation, only what they
    (or a click) name was seen; without any, served counts as seen. Items nobody knows any more are left out.
    """
    lengths = [len(decision.items) for decision in decisions]
    rec_id = pa.array([decision.event_id for decision in decisions], pa.string()).take(
        np.repeat(np.arange(len(decisions)), lengths)
    )
    names = [entry.item_id for decision in decisions for entry in decision.items]
    position = np.array([entry.position for decision in decisions for entry in decision.items], dtype=np.int16)
    item_idx = items.index(names, on_unknown="skip")
    user_idx = np.repeat(np.array(users, dtype=np.int32), lengths)
    at = np.repeat(np.array([decision.timestamp for decision in decisions], dtype=np.int64), lengths)
    clicked, seen = _clicked_and_seen(rec_id, pa.array(names, pa.string()), named)
    rows = np.flatnonzero(seen & (item_idx >= 0))
    rows = rows[np.lexsort((position[rows], at[rows], user_idx[rows]))]
    return Shown(user_idx[rows], item_idx[rows], at[rows], position[rows], clicked[rows])


def _clicked_and_seen(rec_id: pa.Array, item_id: pa.Array, named: pa.Table) -> tuple[Mask, Mask]:
    impression = pc.equal(named.column("event_type"), "impression")
    impressions, clicks = named.filter(impression), named.filter(pc.invert(impression))
    pair = _pairs(rec_id, item_id)
    clicked = _is_in(pair, _pairs(clicks.column("recommendation_id"), clicks.column("item_id")))
    impressed = _is_in(pair, _pairs(impressions.column("recommendation_id"), impressions.column("item_id")))
    reported = _is_in(rec_id, impressions.column("recommendation_id"))
    return clicked, clicked | impressed | ~reported


def _pairs(rec_id: pa.Array, item_id: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(rec_id, item_id, "\x1f")


def _is_in(values: pa.Array, among: pa.Array) -> NDArray[np.bool_]:
    found = pc.is_in(values, value_set=among)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.bool_)
