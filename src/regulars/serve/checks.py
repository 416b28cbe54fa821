"""What callers name and wish for, checked: an error says which value is wrong, what it is, what was wanted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec

from regulars.core.errors import InputError
from regulars.events.schema import ItemKind
from regulars.serve.wire import Ask, Language

OPTIONS = {"language": get_args(Language), "kind": get_args(ItemKind)}
PREFIXES = {"user_id": "u:", "anonymous_id": "a:", "session": "s:"}  # of externals, see events.identity
LONGEST = 80  # characters of a value that an error repeats


def shopper(where: str, **ids: str | None) -> str:
    """The external of the one shopper who is named; of the ids exactly one must not be empty."""
    named = {name: value for name, value in ids.items() if value}
    if len(named) != 1:
        got = " and ".join(named) or "none of them"
        raise InputError(where, got=got, wanted=f"exactly one of {', '.join(ids)}")
    [(name, value)] = named.items()
    return PREFIXES[name] + value


def known(where: str, name: str, names: Sequence[str]) -> None:
    """Refuse a name that is not one of `names`, and tell the nearest."""
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0)
        wanted = f"one of {', '.join(names)}" if near else "no parameter"
        remedy = f"The nearest is {near[0]!r}." if near else "Put it into the body."
        raise InputError(f"{where}.{name[:LONGEST]}", got="an unknown name", wanted=wanted, remedy=remedy)


def read_ask(where: str, wishes: Mapping[str, Any]) -> Ask:
    """What a slate is wanted for, from plain values."""
    for name in wishes:
        known(where, name, Ask.__struct_fields__)
    try:
        return msgspec.convert(wishes, Ask)
    except msgspec.ValidationError as error:
        said, _, place = str(error).rstrip("`").partition(" - at `$.")
        name, (_, wanted) = re.split(r"\W", place, maxsplit=1)[0], complaint(said, place)
        raise InputError(f"{where}.{place}", got=repr(wishes[name])[:LONGEST], wanted=wanted) from error


def complaint(said: str, place: str) -> tuple[str, str]:
    """`(got, wanted)` of a message of msgspec's about the value at a place; `got` may be missing."""
    name = place.rpartition(".")[2]
    if said.startswith("Invalid enum value ") and name in OPTIONS:
        return said.removeprefix("Invalid enum value "), f"one of {', '.join(map(repr, OPTIONS[name]))}"
    if said.startswith("Object contains "):
        return said.removeprefix("Object contains "), "only fields that /docs lists"
    wanted, _, got = said.removeprefix("Expected ").partition(", got ")
    return got, wanted
