"""Columns of interactions as files hold them -> checked columns of the lake, without a Python step per row.

The rules are those of `rows.py`; a test sends the same rows through both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from regulars.core.arrays import Mask
from regulars.core.clock import SECOND
from regulars.core.errors import InputError
from regulars.events.occurrences import Occurrences
from regulars.events.readers import column_of
from regulars.events.rows import EVENT_TYPES, MAX_POSITION, NO_ITEM, NOBODY, WHO, Rules

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
UNREADABLE = "\x00"  # stands for a value that could not be read, so that later steps see it as bad

Numbers = NDArray[np.float64]
Fault = tuple[str, Mask]  # why, and the rows it is true of


@dataclass(frozen=True)
class Checked:
    """Good rows (lake.BULK, but `external` for `user_key`), which they were, and what is wrong with the others."""

    table: pa.Table
    good: Mask
    faults: list[Fault]


class Columns:
    """Reads columns of one chunk and collects what is wrong with their rows."""

    def __init__(self, raw: pa.Table, rules: Rules) -> None:
        self.raw, self.rules = raw.combine_chunks(), rules
        self.faults: list[Fault] = []
        self._texts: dict[str, pa.Array] = {}

    def __len__(self) -> int:
        return len(self.raw)

    def has(self, name: str) -> bool:
        """Whether the file has this column."""
        return name in self.raw.column_names

    def fault(self, why: str, rows: Any) -> None:
        """Note the rows (a mask, Arrow or NumPy) that cannot be used, and why."""
        mask = np.asarray(
            rows if isinstance(rows, np.ndarray) else pc.fill_null(rows, False).to_numpy(zero_copy_only=False)
        )
        if mask.any():
            self.faults.append((why, mask))

    def text(self, name: str) -> pa.Array:
        """Texts, stripped; "" where absent."""
        if name not in self._texts:
            self._texts[name] = self._text(name)
        return self._texts[name]

    def _text(self, name: str) -> pa.Array:
        if not self.has(name):
            return pa.repeat("", len(self))
        column = self.raw.column(name).combine_chunks()
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            column = self._decode(name, column)
        texts = pc.utf8_trim_whitespace(pc.fill_null(_as_text(column), ""))
        most = self.rules.settings.events.max_field_bytes
        self.fault(f"{name}: holds a NUL character", pc.match_substring(texts, "\x00"))
        self.fault(f"{name}: longer than {most} bytes", pc.greater(pc.binary_length(texts), most))
        return texts

    def _decode(self, name: str, column: pa.Array) -> pa.Array:
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            texts = [None if value is None else value.decode(errors="replace") for value in column.to_pylist()]
            decoded = pa.array(texts, pa.string())
            self.fault(f"{name}: not UTF-8", pc.match_substring(decoded, "\ufffd"))
            return decoded

    def number(self, name: str) -> Numbers:
        """Finite numbers; NaN where absent or unreadable."""
        if not self.has(name):
            return np.full(len(self), np.nan)
        column = self.raw.column(name).combine_chunks()
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
            numbers = column.cast(pa.float64(), safe=False)
            given: Mask = column.is_valid().to_numpy(zero_copy_only=False)
        else:
            texts = self.text(name)
            given = pc.not_equal(texts, "").to_numpy(zero_copy_only=False)
            fits = pc.match_substring_regex(texts, NUMBER)
            numbers = pc.if_else(fits, texts, pa.scalar(None, pa.string())).cast(pa.float64())
        values = np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)
        wrong = given & ~(np.abs(values) <= np.finfo(np.float32).max)
        self.fault(f"{name}: not a number", wrong)
        values[wrong] = np.nan
        return values

    def instant(self, name: str) -> NDArray[np.int64]:
        """Microseconds UTC; 0 where absent or unreadable, which is a fault."""
        column = self.raw.column(name).combine_chunks() if self.has(name) else pa.nulls(len(self))
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            values, read = _from_numbers(np.asarray(pc.fill_null(column, -1).cast(pa.float64(), safe=False)))
        elif pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            read = column.is_valid().to_numpy(zero_copy_only=False)
            values = self._from_timestamps(column)
        else:
            values, read = self._from_texts(self.text(name))
        self.fault(f"{name}: not a time", ~read)
        self.fault(f"{name}: before 1970", read & (values < 0))
        self.fault(f"{name}: in the future", read & (values > self.rules.latest))
        return np.where(read, values, 0)

    def _from_timestamps(self, column: pa.Array) -> NDArray[np.int64]:
        moments = column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False)
        zone = self.rules.settings.shop.timezone
        if moments.type.tz is None and zone != "UTC":
            moments = pc.assume_timezone(moments, zone, ambiguous="earliest", nonexistent="latest")
        return np.asarray(pc.fill_null(moments.cast(pa.int64()), 0), dtype=np.int64)

    def _from_texts(self, texts: pa.Array) -> tuple[NDArray[np.int64], Mask]:
        if pc.all(pc.match_substring_regex(texts, r"^\d+(\.\d+)?$")).as_py():
            return _from_numbers(np.asarray(texts.cast(pa.float64())))
        for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
            try:
                moments = texts.cast(kind)
            except pa.ArrowInvalid:  # mixed, numbers or unreadable: row by row below
                continue
            return self._from_timestamps(moments), np.ones(len(self), dtype=np.bool_)
        return self._one_by_one(texts)

    def _one_by_one(self, texts: pa.Array) -> tuple[NDArray[np.int64], Mask]:
        values, read = np.zeros(len(self), dtype=np.int64), np.zeros(len(self), dtype=np.bool_)
        for row, text in enumerate(texts.to_pylist()):
            try:
                values[row] = self.rules.instant(text)
                read[row] = True
            except (InputError, ValueError, OverflowError):
                continue
        return values, read

    def price(self) -> pa.Array:
        """Minor units of the shop's currency; null where absent."""
        amounts, currencies = self.number("price"), self.text("currency").dictionary_encode()
        known = [self.rules.money.factor(code) for code in currencies.dictionary.to_pylist()]
        codes = currencies.indices.to_numpy()
        self.fault(
            "currency: no rate for it in [events] rates", np.array([f is None for f in known], dtype=np.bool_)[codes]
        )
        self.fault("price: negative", amounts < 0)
        factors = [factor if factor is not None else Decimal(1) for factor in known]
        exact = amounts * np.array([float(factor) for factor in factors])[codes]
        self.fault("price: too large", exact > 2.0**62)
        exact[~(np.abs(exact) <= 2.0**62)] = np.nan
        minor = np.rint(exact)
        for row in np.flatnonzero(
            np.abs(np.abs(exact - np.floor(exact)) - 0.5) < 1e-6
        ):  # halves: exactly, as in rows.py
            minor[row] = self.rules.money.minor(Decimal(repr(float(amounts[row]))), factors[codes[row]])
        return pa.array(np.nan_to_num(minor).astype(np.int64), mask=np.isnan(minor))


def check(raw: pa.Table, rules: Rules, layout: str, occurrences: Occurrences, given: Sequence[Fault] = ()) -> Checked:
    """Check a chunk with the columns of our own layout; `given` are faults that an adapter found."""
    columns = Columns(raw, rules)
    columns.faults.extend(given)
    kinds, items = columns.text("event_type"), columns.text("item_id")
    columns.fault("unknown event_type", pc.invert(pc.is_in(kinds, pa.array(sorted(EVENT_TYPES)))))
    columns.fault(NO_ITEM, pc.and_(pc.equal(items, ""), pc.not_equal(kinds, "search")))
    values = {
        "external": _who(columns), "event_type": kinds, "timestamp": pa.array(columns.instant("timestamp")),
        "item_id": items, "session_id": columns.text("session_id"), "quantity": _quantity(columns),
        "price": columns.price(), "currency": pa.repeat("", len(columns)), "order_id": columns.text("order_id"),
        "value": _single(columns.number("value")), "text": columns.text("text"),
        "recommendation_id": columns.text("recommendation_id"), "slot": columns.text("slot"),
        "position": _position(columns), "properties": _properties(columns),
    }  # fmt: skip
    event_ids = columns.text("event_id")  # before the faults are summed up: this, too, may have some
    bad = np.zeros(len(columns), dtype=np.bool_)
    for _, rows in columns.faults:
        bad |= rows
    table = pa.table({"event_id": event_ids, **values}).filter(pa.array(~bad))
    return Checked(_with_ids(table, layout, occurrences), ~bad, columns.faults)


def _who(columns: Columns) -> pa.Array:
    external = pa.nulls(len(columns), pa.string())
    for name, prefix in WHO.items():
        ids = columns.text(name)
        external = pc.coalesce(
            external, pc.if_else(pc.equal(ids, ""), None, pc.binary_join_element_wise(prefix, ids, ""))
        )
    columns.fault(NOBODY, external.is_null())
    return pc.fill_null(external, "")


def _quantity(columns: Columns) -> pa.Array:
    pieces = columns.number("quantity").astype(np.float32)
    columns.fault("quantity: not above 0", pieces <= 0)
    return pa.array(np.where(np.isnan(pieces), np.float32(1), pieces))


def _single(values: Numbers) -> pa.Array:
    return pa.array(values.astype(np.float32), mask=np.isnan(values))


def _position(columns: Columns) -> pa.Array:
    places = columns.number("position")
    outside = (places < 0) | (places > MAX_POSITION) | (places != np.floor(places)) & ~np.isnan(places)
    columns.fault(f"position: not a whole number in [0, {MAX_POSITION}]", outside)
    inside = np.clip(np.nan_to_num(places), 0, MAX_POSITION)
    return pa.array(inside.astype(np.int16), mask=np.isnan(places))


def _properties(columns: Columns) -> pa.Array:
    texts = columns.text("properties")
    if not columns.has("properties"):
        return texts
    distinct = texts.dictionary_encode()
    plain = [_object(text) for text in distinct.dictionary.to_pylist()]
    codes = distinct.indices.to_numpy()
    columns.fault(
        "properties: not an object", np.array([text == UNREADABLE for text in plain], dtype=np.bool_)[codes]
    )
    return pa.array(plain, pa.string()).take(distinct.indices)


def _object(text: str) -> str:
    if not text:
        return ""
    try:
        table = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return UNREADABLE
    return msgspec.json.encode(table).decode() if table else ""


def _with_ids(table: pa.Table, layout: str, occurrences: Occurrences) -> pa.Table:
    """Give rows without an id the hash of the layout, the normalised row and its occurrence in the file."""
    ids = table.column("event_id").combine_chunks()
    without = np.flatnonzero(pc.equal(ids, "").to_numpy(zero_copy_only=False))
    if not len(without):
        return table
    rows = table if len(without) == len(table) else table.take(pa.array(without))
    parts = [_canonical(rows.column(name).combine_chunks()) for name in rows.column_names[1:]]
    joined = pc.binary_join_element_wise(layout, *parts, "\x1f").cast(pa.binary())
    digests = [hashlib.blake2b(row, digest_size=16).digest() for row in joined.to_pylist()]
    made = pa.array(occurrences.ids(digests), pa.string())
    if len(without) < len(table):
        made = pc.replace_with_mask(ids, pc.equal(ids, ""), made)
    return table.set_column(0, "event_id", made)


def _canonical(column: pa.Array) -> pa.Array:
    """Text that is the same on every machine: single-precision numbers by their bits."""
    if pa.types.is_float32(column.type):
        column = column.view(pa.int32())
    return pc.fill_null(column.cast(pa.string()), "")


def _as_text(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_nested(kind):
        return column_of(column.to_pylist())
    if pa.types.is_floating(kind) and pc.all(pc.equal(column, pc.round(column))).as_py():
        column = column.cast(pa.int64(), safe=False)  # ids that a missing value turned into floats
    return column.cast(pa.string())


def _from_numbers(numbers: Numbers) -> tuple[NDArray[np.int64], Mask]:
    """Unix seconds, milliseconds or microseconds by their size, as `clock.parse_instant` has it."""
    scale = np.where(np.abs(numbers) < 1e11, float(SECOND), np.where(np.abs(numbers) < 1e14, 1000.0, 1.0))
    micros = numbers * scale
    read = (numbers >= 0) & (micros < 2.0**62)
    return np.where(read, micros, 0).astype(np.int64), read
