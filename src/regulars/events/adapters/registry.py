"""The layouts by name: a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from regulars.core.errors import InputError
from regulars.events.adapters.base import Layout
from regulars.events.adapters.mapped import ColumnMap, Mapped
from regulars.events.adapters.online_retail import OnlineRetail
from regulars.events.adapters.own import Own

LAYOUTS: dict[str, Callable[[], Layout]] = {
    "own": Own,
    "online_retail": OnlineRetail,
}


def candidates(name: str | None, columns: Path | str | Mapping[str, Any] | None) -> list[Layout]:
    """The layouts that a file may have: the one asked for, or all."""
    if columns is not None:
        return [Mapped(ColumnMap.read(columns))]
    if name is None:
        return [make() for make in LAYOUTS.values()]
    if name not in LAYOUTS:
        raise InputError("layout", got=repr(name), wanted=" or ".join([*map(repr, LAYOUTS), "a column map"]))
    return [LAYOUTS[name]()]


def choose(layouts: Sequence[Layout], file: str, columns: Sequence[str]) -> Layout:
    """The first layout that fits the columns found; an error that shows them and what is needed."""
    for layout in layouts:
        if layout.fits(frozenset(columns)):
            return layout
    needed = " | ".join(f"{layout.name}: {layout.needs}" for layout in layouts)
    raise InputError(file, got=f"the columns {', '.join(columns)[:500]}", wanted=needed,
                     remedy="Write a column map in TOML and pass it as --columns.")  # fmt: skip
