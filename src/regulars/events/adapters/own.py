"""Our own layout: the names of the fields, as over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from regulars.events.adapters.base import Kind, Translated
from regulars.events.columns import Columns
from regulars.events.rows import WHO

ITEM_SIGNS = frozenset({"title", "description", "category", "brand", "price", "tags", "available", "released_at"})


class Own:
    """Interactions, items or users, told apart by their columns; with a column `type` all of them mixed."""

    name = "own"
    needs = (
        "interactions: event_type, timestamp, item_id and one of user_id, anonymous_id, session_id; "
        "items: item_id and any of title, description, category, brand, price, tags, available, released_at; "
        "users: user_id and attributes"
    )

    def fits(self, columns: frozenset[str]) -> bool:
        """Whether one of the three kinds has these columns."""
        return kind_of(columns) is not None

    def translate(self, columns: Columns) -> Translated:
        """The chunk as it is."""
        kind = kind_of(frozenset(columns.raw.column_names)) or "interaction"
        return Translated(kind, columns.raw)

    def noticed(self) -> Iterable[Mapping[str, Any]]:
        """Nothing in passing."""
        return ()


def kind_of(columns: frozenset[str]) -> Kind | None:
    """What a file with these columns holds."""
    if "type" in columns:
        return "mixed"
    if "event_type" in columns:
        return "interaction" if "timestamp" in columns and columns & WHO.keys() else None
    if "item_id" in columns:
        return "item" if columns & ITEM_SIGNS and not columns & WHO.keys() else None
    return "user" if "user_id" in columns and len(columns) > 1 else None
