"""One loose row, as it comes over HTTP or from a file of items -> a checked event, or every fault it has."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any, get_args
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from regulars.core.clock import Instant, from_datetime, parse_instant
from regulars.core.errors import InputError
from regulars.core.settings import Settings
from regulars.events.money import Money
from regulars.events.schema import (
    Event,
    EventType,
    Identify,
    Interaction,
    Item,
    ItemChange,
    ItemKind,
    UserChange,
    encoder,
)

EVENT_TYPES = frozenset(get_args(EventType))
WHO = {"user_id": "u:", "anonymous_id": "a:", "session_id": "s:"}  # strongest first
INTERACTION = (
    "event_id", "type", "event_type", *WHO, "item_id", "timestamp", "quantity", "price", "currency",
    "order_id", "value", "text", "recommendation_id", "slot", "position", "properties",
)  # fmt: skip
NOBODY = "nobody to attach to: no user_id, anonymous_id or session_id"
NO_ITEM = "no item_id"
MAX_POSITION = 32_767


@dataclass(frozen=True)
class Rules:
    """What rows are checked against."""

    settings: Settings
    now: Instant

    @cached_property
    def money(self) -> Money:
        """The shop's currency and rates."""
        return Money(self.settings.shop.currency, self.settings.events.rates)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The zone of times that name none."""
        return ZoneInfo(self.settings.shop.timezone)

    @property
    def latest(self) -> Instant:
        """The last time that is not in the future."""
        return self.now + self.settings.events.max_future

    def instant(self, value: Any) -> Instant:
        """Read a time: a datetime, ISO 8601, or Unix seconds, milliseconds or microseconds."""
        moment = value
        if isinstance(value, str) and not value.strip().lstrip("-").replace(".", "", 1).isdigit():
            try:
                moment = datetime.fromisoformat(value.strip())
            except ValueError:
                return parse_instant(value)  # raises, and says what was wanted
        if isinstance(moment, datetime):
            return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=self.zone))
        return parse_instant(str(moment))


@dataclass(frozen=True, slots=True)
class Draft:
    """A checked row; `build` makes its event once the externals have keys."""

    event_id: str
    externals: tuple[str, ...]
    build: Callable[[Sequence[int]], Event]


class Fields:
    """Reads the fields of one row and collects what is wrong with them."""

    def __init__(self, row: Mapping[str, Any], rules: Rules) -> None:
        self.row, self.rules = row, rules
        self.faults: list[str] = []

    def fault(self, name: str, why: str) -> None:
        """Note that a field cannot be used."""
        got = self.row.get(name)
        self.faults.append(why if got in (None, "") else f"{name}: {why}, got {str(got)[:40]!r}")

    def text(self, name: str) -> str:
        """A text or whole number, stripped; "" when absent."""
        value = self.row.get(name)
        if value is None:
            return ""
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            self.fault(name, "not a text")
            return ""
        return str(value).strip() if self._storable(name, value) else ""

    def _storable(self, name: str, value: Any) -> bool:
        """Whether a value can be written as JSON text, without NUL, and is short enough; else a fault."""
        most = self.rules.settings.events.max_field_bytes
        try:
            written = encoder.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            self.faults.append(f"{name}: cannot be written as JSON in UTF-8")
            return False
        if b"\\u0000" in written:
            self.faults.append(f"{name}: holds a NUL character")
        if len(written) > most + 2:  # the quotation marks
            self.faults.append(f"{name}: longer than {most} bytes")
        return b"\\u0000" not in written and len(written) <= most + 2

    def decimal(self, name: str, wanted: str) -> Decimal | None:
        """A finite number; None when absent."""
        value = self.row.get(name)
        if value is None or value == "":
            return None
        try:
            number = Decimal("nan") if isinstance(value, bool) else Decimal(str(value).strip())
        except InvalidOperation:
            number = Decimal("nan")
        if not number.is_finite() or not math.isfinite(np.float32(number) if abs(number) < 10**40 else math.inf):
            self.fault(name, wanted)
            return None
        return number

    def single(self, name: str) -> float | None:
        """A number, rounded to the single precision in which the lake keeps it."""
        number = self.decimal(name, "not a number")
        return None if number is None else float(np.float32(number))

    def quantity(self) -> float:
        """Pieces, above 0; 1 when absent."""
        number = self.single("quantity")
        if number is not None and not number > 0:
            self.fault("quantity", "not above 0")
        return 1.0 if number is None else number

    def price(self) -> int | None:
        """Minor units of the shop's currency; None when absent."""
        amount, currency = self.decimal("price", "not a number"), self.text("currency")
        factor = self.rules.money.factor(currency)
        if factor is None:
            self.fault("currency", "no rate for it in [events] rates")
        if amount is None or factor is None:
            return None
        if amount < 0:
            self.fault("price", "negative")
        elif amount * factor > 2**62:
            self.fault("price", "too large")
        else:
            return self.rules.money.minor(amount, factor)
        return None

    def instant(self, name: str = "timestamp") -> Instant | None:
        """A time not in the future; None when absent."""
        value = self.row.get(name)
        if value is None or value == "":
            return None
        try:
            at = self.rules.instant(value)
        except (InputError, OverflowError, ValueError):
            self.fault(name, "not a time")
            return None
        if at < 0:
            self.fault(name, "before 1970")
        return at

    def timestamp(self) -> Instant:
        """When it happened; now when absent."""
        at = self.instant()
        if at is not None and at > self.rules.latest:
            self.fault("timestamp", "in the future")
        return self.rules.now if at is None else at

    def position(self) -> int | None:
        """A place in a slate, from 0."""
        number = self.decimal("position", "not a whole number")
        if number is None:
            return None
        if number != int(number) or not 0 <= number <= MAX_POSITION:
            self.fault("position", f"not a whole number in [0, {MAX_POSITION}]")
        return int(number)

    def truth(self, name: str, default: bool) -> bool:
        """True or false, also as the words a CSV file holds."""
        value = self.row.get(name)
        words = {"": default, "none": default, "true": True, "1": True, "yes": True,
                 "false": False, "0": False, "no": False}  # fmt: skip
        word = str(value).strip().lower()
        if word not in words:
            self.fault(name, "not true or false")
        return words.get(word, default)

    def texts(self, name: str, separator: str) -> tuple[str, ...]:
        """A list of texts, or one text with separators."""
        value = self.row.get(name)
        parts = list(value) if isinstance(value, (list, tuple)) else self.text(name).split(separator)
        if not all(isinstance(part, str) for part in parts):
            self.fault(name, "not a list of texts")
            return ()
        if not self._storable(name, parts):
            return ()
        return tuple(part.strip() for part in parts if part.strip())

    def table(self, name: str) -> dict[str, Any]:
        """An object, or JSON text of one."""
        value = self.row.get(name)
        if value is None or value == "":
            return {}
        try:
            table = msgspec.json.decode(value) if isinstance(value, (str, bytes)) else value
        except (msgspec.MsgspecError, UnicodeError):
            table = None
        if not isinstance(table, Mapping) or not all(isinstance(key, str) for key in table):
            self.faults.append(f"{name}: not an object")
            return {}
        return dict(table) if self._storable(name, dict(table)) else {}

    def who(self) -> str:
        """The external of the shopper: the strongest id that the row has."""
        for name, prefix in WHO.items():
            if found := self.text(name):
                return prefix + found
        self.faults.append(NOBODY)
        return ""

    def extras(self, known: Sequence[str]) -> dict[str, Any]:
        """Fields beyond the known ones."""
        extras = {str(name): value for name, value in self.row.items()
                  if name not in known and value is not None and value != ""}  # fmt: skip
        return {name: value for name, value in extras.items() if self._storable(ascii(name), {name: value})}


def draft(row: Any, rules: Rules, event_id: str) -> Draft | list[str]:
    """Check one row; `event_id` is for a row that brings none. Returns its faults when it has any."""
    if not isinstance(row, Mapping):
        return [f"a row must be an object, got {type(row).__name__}"]
    kind = row.get("type") or "interaction"
    if not isinstance(kind, str) or kind not in _KINDS:
        return [f"type: must be one of {', '.join(_KINDS)}, got {str(kind)[:40]!r}"]
    fields = Fields(row, rules)
    made = _KINDS[kind](fields, fields.text("event_id") or event_id)
    return fields.faults or made


def build(drafts: Sequence[Draft], keys_of: Callable[[Sequence[str]], Sequence[int]]) -> list[Event]:
    """Events of checked rows, in their order; `keys_of` gives externals their keys."""
    keys = iter(keys_of([external for each in drafts for external in each.externals]))
    return [each.build([next(keys) for _ in each.externals]) for each in drafts]


def _interaction(fields: Fields, event_id: str) -> Draft:
    event_type, item_id, external = fields.text("event_type"), fields.text("item_id"), fields.who()
    if event_type not in EVENT_TYPES:
        near = difflib.get_close_matches(event_type, sorted(EVENT_TYPES), n=1)
        fields.fault("event_type", f"unknown event_type{f', perhaps {near[0]!r}' if near else ''}")
    if not item_id and event_type != "search":
        fields.faults.append(NO_ITEM)
    for name in fields.extras(INTERACTION):
        near = difflib.get_close_matches(name, INTERACTION, n=1, cutoff=0)
        fields.faults.append(f"unknown field {name[:40]!r}, the nearest is {near[0]!r}; others go into properties")
    values: dict[str, Any] = {
        "event_id": event_id, "event_type": event_type, "item_id": item_id, "timestamp": fields.timestamp(),
        "quantity": fields.quantity(), "price": fields.price(), "value": fields.single("value"),
        "position": fields.position(), "properties": fields.table("properties"),
        **{name: fields.text(name) for name in ("session_id", "order_id", "text", "recommendation_id", "slot")},
    }  # fmt: skip
    return Draft(event_id, (external,), lambda keys: Interaction(user_key=keys[0], **values))


_ITEM = (
    "event_id", "type", "timestamp", "item_id", "title", "description", "category", "brand", "price", "currency",
    "tags", "image_url", "available", "released_at", "kind", "properties", "deleted",
)  # fmt: skip


def _item(fields: Fields, event_id: str) -> Draft:
    kind = fields.text("kind") or "product"
    if kind not in get_args(ItemKind):
        fields.fault("kind", f"not one of {', '.join(get_args(ItemKind))}")
    values: dict[str, Any] = {
        **{name: fields.text(name) for name in ("item_id", "title", "description", "brand", "image_url")},
        "category": fields.texts("category", ">"), "tags": fields.texts("tags", "|"),
        "price": fields.price(), "available": fields.truth("available", True),
        "released_at": fields.instant("released_at"), "kind": kind,
        "properties": {**fields.table("properties"), **fields.extras(_ITEM)},
    }  # fmt: skip
    if not values["item_id"]:
        fields.faults.append(NO_ITEM)
    timestamp, deleted = fields.timestamp(), fields.truth("deleted", False)
    return Draft(
        event_id,
        (),
        lambda keys: ItemChange(event_id=event_id, timestamp=timestamp, item=Item(**values), deleted=deleted),
    )


def _user(fields: Fields, event_id: str) -> Draft:
    known = ("event_id", "type", "timestamp", "attributes", "links", *WHO)
    external = fields.who()
    linked = tuple(f"u:{name}" for name in fields.texts("links", "|"))
    attributes, timestamp = {**fields.table("attributes"), **fields.extras(known)}, fields.timestamp()
    return Draft(
        event_id,
        (external, *linked),
        lambda keys: UserChange(
            event_id=event_id, timestamp=timestamp, user_key=keys[0], attributes=attributes, links=tuple(keys[1:])
        ),
    )


def _identify(fields: Fields, event_id: str) -> Draft:
    user_id = fields.text("user_id")
    other = next((WHO[name] + fields.text(name) for name in ("anonymous_id", "session_id") if fields.text(name)), "")
    if not user_id or not other:
        fields.faults.append("identify needs a user_id and an anonymous_id or session_id")
    timestamp = fields.timestamp()
    return Draft(
        event_id,
        (f"u:{user_id}", other),
        lambda keys: Identify(event_id=event_id, timestamp=timestamp, user_key=keys[0], other_key=keys[1]),
    )


_KINDS: dict[str, Callable[[Fields, str], Draft]] = {
    "interaction": _interaction, "item": _item, "user": _user, "identify": _identify,
}  # fmt: skip
