"""What a layout is: it knows its columns, and turns a chunk of them into the columns of our own layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pyarrow as pa

from regulars.events.columns import Columns, Fault

Kind = Literal["interaction", "item", "user", "mixed"]


@dataclass(frozen=True)
class Translated:
    """A chunk in our own columns, row for row; skipped rows are no faults, but nothing a shopper did either."""

    kind: Kind
    table: pa.Table
    skipped: tuple[Fault, ...] = ()
    faults: tuple[Fault, ...] = ()


class Layout(Protocol):
    """A kind of file. One object serves one import, so it may keep what it notices on the way."""

    name: str
    needs: str  # the columns, for people

    def fits(self, columns: frozenset[str]) -> bool:
        """Whether a file with these columns is of this kind."""
        ...

    def translate(self, columns: Columns) -> Translated:
        """The chunk in our own columns."""
        ...

    def noticed(self) -> Iterable[Mapping[str, Any]]:
        """Rows of items that the files told of in passing, once everything is read."""
        ...
