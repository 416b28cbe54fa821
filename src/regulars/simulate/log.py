"""What a shop's own tracking would have written down, as Arrow tables in Regulars' own layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Instants
from regulars.simulate.world import World

SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("session_id", pa.string()),
        ("event_type", pa.string()),
        ("item_id", pa.string()),
        ("timestamp", pa.int64()),  # microseconds UTC
        ("quantity", pa.float64()),
        ("price", pa.int64()),  # minor units, of one piece
        ("order_id", pa.string()),
        ("value", pa.float64()),
        ("recommendation_id", pa.string()),
        ("slot", pa.string()),
        ("position", pa.int64()),
    ]
)
TYPES = ("view", "click", "add_to_cart", "purchase", "rating", "refund")
SLOTS = ("", "home", "product")
_IN_ORDER = {"purchase", "refund"}


class Log:
    """Collects the events of one day and hands them out round by round."""

    def __init__(self, world: World, day: int) -> None:
        self.world, self.day = world, day
        self._rows: list[dict[str, NDArray[Any]]] = []
        self._recommendations: list[str] = [""]
        self._told = 0
        self._shoppers = pa.array(world.shopper_ids)
        self._items = pa.array(world.item_ids)

    def slates(self, recommendation_ids: Sequence[str]) -> Indices:
        """Numbers that stand for recommendation ids in `add`."""
        first = len(self._recommendations)
        self._recommendations.extend(recommendation_ids)
        return np.arange(first, first + len(recommendation_ids), dtype=np.int32)

    def add(self, kind: str, shopper: Indices, item: Indices, at: Instants, **columns: Any) -> None:
        """Note events of one kind; `columns` may hold quantity, value, order_day, slate, slot, position."""
        n = len(shopper)
        row: dict[str, NDArray[Any]] = {
            "kind": np.full(n, TYPES.index(kind), dtype=np.int8), "shopper": shopper, "item": item, "at": at,
            "quantity": np.ones(n), "value": np.full(n, np.nan), "order_day": np.full(n, -1, dtype=np.int64),
            "slate": np.zeros(n, dtype=np.int32), "slot": np.zeros(n, dtype=np.int8),
            "position": np.full(n, -1, dtype=np.int64),
        }  # fmt: skip
        for name, value in columns.items():
            row[name] = np.broadcast_to(np.asarray(value, dtype=row[name].dtype), n)
        self._rows.append(row)

    def take(self) -> pa.Table:
        """The events noted since the last call, in order of time, as a table of `SCHEMA`."""
        if not self._rows:
            return SCHEMA.empty_table()
        rows = {name: np.concatenate([row[name] for row in self._rows]) for name in self._rows[0]}
        order = np.lexsort((rows["kind"], rows["shopper"], rows["at"]))
        rows = {name: column[order] for name, column in rows.items()}
        self._rows = []
        first, self._told = self._told, self._told + len(order)
        user = self._shoppers.take(pa.array(rows["shopper"]))
        number = pa.array(np.arange(first, self._told)).cast(pa.string())
        price = self.world.catalogue.price[rows["item"]]
        valued = np.isin(rows["kind"], [TYPES.index(name) for name in ("add_to_cart", "purchase", "refund")])
        columns = {
            "event_id": _join(f"E{self.day}", number),
            "user_id": user,
            "session_id": _join(user, f"V{self.day}"),
            "event_type": pa.array(TYPES).take(pa.array(rows["kind"])),
            "item_id": self._items.take(pa.array(rows["item"])),
            "timestamp": pa.array(rows["at"]),
            "quantity": pa.array(rows["quantity"]),
            "price": pa.array(price, mask=~valued),
            "order_id": self._orders(user, rows),
            "value": pa.array(rows["value"], mask=np.isnan(rows["value"])),
            "recommendation_id": pa.array(self._recommendations).take(pa.array(rows["slate"])),
            "slot": pa.array(SLOTS).take(pa.array(rows["slot"])),
            "position": pa.array(rows["position"], mask=rows["position"] < 0),
        }
        return pa.table(columns, schema=SCHEMA)

    def _orders(self, user: pa.Array, rows: dict[str, NDArray[Any]]) -> pa.Array:
        named = np.isin(rows["kind"], [TYPES.index(name) for name in _IN_ORDER])
        orders = _join(user, pc.binary_join_element_wise("O", pa.array(rows["order_day"]).cast(pa.string()), ""))
        return pc.if_else(pa.array(named), orders, "")


def _join(left: Any, right: Any) -> pa.Array:
    return pc.binary_join_element_wise(left, right, "-")
