"""Any other layout, through a column map in TOML:

kind = "interaction"              # or "item", "user"

[columns]                         # our field = the file's column
user_id = "customer"
item_id = "sku"
timestamp = "when"
event_type = "action"

[constants]                       # fields that are the same in every row
currency = "EUR"

[event_types]                     # the file's words for kinds of events
buy = "purchase"
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from regulars.core.errors import InputError
from regulars.events.adapters.base import Kind, Translated
from regulars.events.columns import Columns
from regulars.events.rows import INTERACTION

KINDS: tuple[Kind, ...] = ("interaction", "item", "user")
PARTS = ("columns", "constants", "event_types")


@dataclass(frozen=True)
class ColumnMap:
    """The content of such a file."""

    columns: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    event_types: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "interaction"

    @classmethod
    def read(cls, given: Path | str | Mapping[str, Any]) -> ColumnMap:
        """From a TOML file, or a mapping of the same form."""
        where = "column map" if isinstance(given, Mapping) else str(given)
        table = given if isinstance(given, Mapping) else _load(Path(given))
        kind = table.get("kind", "interaction")
        parts = {name: table.get(name, {}) for name in PARTS}
        if kind not in KINDS or set(table) - {*PARTS, "kind"}:
            raise InputError(where, got=f"kind {kind!r} and {sorted(table)}", wanted=f"kind in {KINDS} and {PARTS}")
        for name, part in parts.items():
            if not isinstance(part, Mapping) or not all(
                isinstance(value, (str, int, float)) for value in part.values()
            ):
                raise InputError(f"{where}: [{name}]", got=str(part)[:80], wanted="a table of texts")
        if not parts["columns"]:
            raise InputError(f"{where}: [columns]", got="nothing", wanted="our fields = the file's columns")
        if kind == "interaction":
            _check_fields(where, [*parts["columns"], *parts["constants"]])
        return cls(**{name: {k: str(v) for k, v in part.items()} for name, part in parts.items()}, kind=kind)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(str(path), got=str(error), wanted="a column map in TOML") from error


def _check_fields(where: str, names: Iterable[str]) -> None:
    for name in names:
        if name not in INTERACTION:
            near = difflib.get_close_matches(name, INTERACTION, n=1, cutoff=0)[0]
            raise InputError(f"{where}: [columns]", got=f"unknown field {name!r}", wanted=repr(near))


class Mapped:
    """A file whose columns a map renames."""

    name = "mapped"

    def __init__(self, column_map: ColumnMap) -> None:
        self._map = column_map
        self.needs = ", ".join(column_map.columns.values())

    def fits(self, columns: frozenset[str]) -> bool:
        """Whether every column that the map names is there."""
        return columns.issuperset(self._map.columns.values())

    def translate(self, columns: Columns) -> Translated:
        """Renamed, with the constants, and the words for kinds of events replaced."""
        names = self._map.columns
        fields = {ours: columns.raw.column(theirs) for ours, theirs in names.items()}
        for name, value in self._map.constants.items():
            fields[name] = pa.repeat(value, len(columns))
        if "event_type" in names and self._map.event_types:
            words = columns.text(names["event_type"]).dictionary_encode()
            ours = [self._map.event_types.get(word, word) for word in words.dictionary.to_pylist()]
            fields["event_type"] = pa.array(ours, pa.string()).take(words.indices)
        return Translated(self._map.kind, pa.table(fields), (), tuple(columns.faults))

    def noticed(self) -> Iterable[Mapping[str, Any]]:
        """Nothing in passing."""
        return ()
