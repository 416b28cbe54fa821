"""Tables of shopper, item and time -> a Dataset, for people who use the library without a shop.

A table is a pandas or polars frame, an Arrow table, whatever else speaks the Arrow or the dataframe interchange, a
mapping of columns, or a file (CSV, JSONL, Parquet, XLSX, also .gz). Ids are whole numbers or texts and come back as
they were. A row that cannot be used is counted, with the reason, and never takes a good one with it.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.interchange import from_dataframe

from regulars.clean.plain import MOST_ROWS, dataset_of_codes
from regulars.clean.roles import Roles, roles_of
from regulars.core.arrays import Floats, Indices, Instants
from regulars.core.clock import Instant, format_instant
from regulars.core.data import Dataset, IdMap, Names
from regulars.core.errors import InputError, RowsLeftOut
from regulars.core.settings import Settings
from regulars.events.columns import Columns
from regulars.events.readers import BadRow, Chunk, open_source
from regulars.events.rows import Rules

LATEST: Instant = 10**17  # in the year 5138: what is later was meant as nanoseconds
RULES = Rules(Settings(), LATEST)
EXAMPLES = 3  # bad rows that are told one by one
WHOLE = r"^(0|-?[1-9][0-9]{0,17})$"  # what a file writes of a whole number; 007 is a text


@dataclass(frozen=True)
class Reading:
    """What was read of a table: its columns, how many rows, and which could not be used."""

    where: str
    roles: Roles
    rows: int
    bad: Mapping[str, int]  # why -> rows
    examples: Sequence[BadRow]
    below: int = 0  # rows left out on purpose: their weight is below
    at_least: float | None = None

    def about(self, data: Dataset) -> str:
        """What the table holds, for people."""
        named = ", ".join(f"{what} = {name}" for what, name in asdict(self.roles).items() if name is not None)
        n_users, n_items = data.shape
        lines = [f"{self.where}: {len(data.interactions):,} rows, {n_users:,} shoppers, {n_items:,} items"]
        if self.roles.time is not None:
            at = data.interactions.at
            lines[0] += f", {format_instant(int(at.min()))[:10]} to {format_instant(int(at.max()))[:10]}"
        lines.append(f"Columns: {named}")
        if self.below:
            lines.append(f"{self.below:,} rows left out: their {self.roles.weight} is below {self.at_least:g}")
        return "\n".join([*lines, self.text()]).rstrip()

    def to_json(self, data: Dataset) -> dict[str, Any]:
        """Plain values."""
        return {
            "file": self.where, "rows": self.rows, "used": len(data.interactions), "users": data.shape[0],
            "items": data.shape[1], "columns": asdict(self.roles), "bad": dict(self.bad), "below": self.below,
            "examples": [{"line": row.line, "why": row.why} for row in self.examples],
        }  # fmt: skip

    def warn(self) -> None:
        """Say on the spot what was left out, to the caller of who calls this."""
        if self.bad:
            warnings.warn(f"{self.where}: {self.text()}", RowsLeftOut, stacklevel=3)

    def text(self) -> str:
        """What was left out, in a sentence; "" where nothing was."""
        if not self.bad:
            return ""
        first = self.examples[0]
        told = "; ".join(f"{n:,} {why}" for why, n in self.bad.items())
        return f"{sum(self.bad.values()):,} of {self.rows:,} rows left out ({told}), the first in line {first.line}"


@dataclass
class _Gathered:
    """Columns of the good rows, chunk by chunk, and what was wrong with the others."""

    users: list[pa.Array] = field(default_factory=list)
    items: list[pa.Array] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)
    when: list[Instants] = field(default_factory=list)
    bad: Counter[str] = field(default_factory=Counter)
    examples: list[BadRow] = field(default_factory=list)
    rows: int = 0
    below: int = 0
    written: bool = False  # the file holds nothing but text, so what looks like a whole number is one


def dataset_of(
    table: Any, *, user: str | None = None, item: str | None = None, time: str | None = None,
    weight: str | None = None, at_least: float | None = None,
) -> Dataset:  # fmt: skip
    """One purchase a row of a table or file, with the ids that stand in it (`Dataset.names`).

    Columns not named are told by the usual words (`clean/roles.py`); "" does without one. `time` may be ISO text,
    a date, a datetime (without a zone: UTC) or Unix seconds, milliseconds or microseconds; without it a shopper's
    rows keep their order, at instant 0. `weight` holds ratings, quantities or plays; without it each row weighs 1.
    `at_least` leaves rows of a smaller weight out. Warns (`RowsLeftOut`) of rows that cannot be used; a table
    without one that can, or without its columns, is an `InputError`.
    """
    dataset, reading = read(table, user=user, item=item, time=time, weight=weight, at_least=at_least)
    reading.warn()
    return dataset


def read(
    table: Any, *, user: str | None = None, item: str | None = None, time: str | None = None,
    weight: str | None = None, at_least: float | None = None,
) -> tuple[Dataset, Reading]:  # fmt: skip
    """`dataset_of` without a warning: what was left out stands in the `Reading`."""
    where = str(table) if isinstance(table, (str, Path)) else "table"
    with ExitStack() as stack:
        columns, chunks = _opened(table, where, stack)
        roles = roles_of(columns, where, {"user": user, "item": item, "time": time, "weight": weight})
        if at_least is not None and roles.weight is None:
            raise InputError(where, got="no column of weights", wanted=f"one that is at least {at_least:g}",
                             remedy="Name it: weight=COLUMN.")  # fmt: skip
        found = _Gathered()
        for chunk in chunks(roles):
            _gather(found, chunk, roles, at_least)
    reading = Reading(where, roles, found.rows, dict(found.bad.most_common()), found.examples, found.below,
                      at_least)  # fmt: skip
    if not sum(map(len, found.users)):
        few = f", {found.below:,} of them below {at_least:g}" if found.below else ""
        told = [f"{found.rows:,} rows{few}", *([reading.text()] if reading.bad else [])]
        raise InputError(where, got="; ".join(told), wanted="a row that can be used")
    users, user_ids = encoded(found.users, found.written)
    items, item_ids = encoded(found.items, found.written)
    names = Names(IdMap(user_ids), IdMap(item_ids), roles.user, roles.item, roles.time, roles.weight)
    weights = np.concatenate(found.weights) if roles.weight is not None else np.ones(len(users), dtype=np.float32)
    when = np.concatenate(found.when) if roles.time is not None else None
    known = (len(user_ids), [str(each) for each in item_ids])
    return dataset_of_codes(users, items, known, weights=weights, at=when, names=names), reading


# --- what is a table


def _opened(table: Any, where: str, stack: ExitStack) -> tuple[list[str], Any]:
    """Names of the columns, and a function of their roles that gives the rows."""
    if isinstance(table, (str, Path)):
        source = open_source(table, stack)
        return list(source.columns), lambda roles: source.chunks()
    names = columns_of(table, where)
    return names, lambda roles: iter([_chunk(arrow_of(table, roles.used, where))])


def columns_of(table: Any, where: str = "table") -> list[str]:
    """Names of a table's columns; an `InputError` where it has none, or no rows yet."""
    if hasattr(table, "collect") and not hasattr(table, "__arrow_c_stream__"):
        raise InputError(where, got=f"a {type(table).__name__}, which holds no rows yet", wanted="a table",
                         remedy="Collect it first.")  # fmt: skip
    names = table.keys() if isinstance(table, Mapping) else getattr(table, "column_names", None)
    if names is None and hasattr(table, "schema") and isinstance(table.schema, pa.Schema):
        names = table.schema.names
    if names is None:
        names = getattr(table, "columns", None)
    if names is None:
        raise InputError(where, got=type(table).__name__, wanted="a table with named columns, or a file")
    return [str(name) for name in names]


def arrow_of(table: Any, names: Sequence[str], where: str = "table") -> pa.Table:
    """These columns of a table as Arrow; a lazy one, or columns of mixed values, are `InputError`s."""
    wanted = list(dict.fromkeys(names))
    try:
        if isinstance(table, Mapping):
            return pa.table({name: _values(table[name]) for name in wanted})
        if isinstance(table, pa.RecordBatch):
            return pa.Table.from_batches([table]).select(wanted)
        if not isinstance(table, pa.Table):
            table = _interchanged(table, wanted)
        return table.select(wanted)
    except (pa.ArrowException, KeyError, TypeError, ValueError, OverflowError) as error:
        told = " ".join(str(error).split())[:160]
        raise InputError(where, got=f"{type(table).__name__}: {told}", wanted="columns of one type each",
                         remedy="Turn mixed ids into texts first.") from error  # fmt: skip


def _interchanged(table: Any, names: list[str]) -> pa.Table:
    """Only the wanted columns of a pandas or polars frame are turned: the others may hold anything."""
    if hasattr(table, "loc"):
        table = table.loc[:, names]
    elif hasattr(table, "select") and hasattr(table, "__arrow_c_stream__"):
        table = table.select(*names)
    if hasattr(table, "__arrow_c_stream__"):
        return pa.table(table)
    return from_dataframe(table)


def _values(values: Any) -> Any:
    return values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)


def _chunk(table: pa.Table) -> Chunk:
    if len(table) > MOST_ROWS:
        raise InputError("table", got=f"{len(table)} rows", wanted=f"at most {MOST_ROWS}")
    return Chunk(table, np.arange(1, len(table) + 1))


# --- reading rows


def _gather(found: _Gathered, chunk: Chunk, roles: Roles, at_least: float | None) -> None:
    """Add the good rows of a chunk, and count the others."""
    table = pa.table({name: _plain(chunk.table, name) for name in roles.used})
    found.written = all(pa.types.is_binary(kind) for kind in table.schema.types)
    columns = Columns(table, RULES)
    users, items = ids(columns, roles.user), ids(columns, roles.item)
    when = columns.instant(roles.time) if roles.time is not None else None
    weights = _weights(columns, roles.weight) if roles.weight is not None else None
    good = np.ones(len(table), dtype=np.bool_)
    for why, rows in columns.faults:
        found.bad[why] += int((rows & good).sum())  # a row with two faults is one bad row
        found.examples += [BadRow(int(chunk.lines[row]), why, "") for row in np.flatnonzero(rows & good)[:EXAMPLES]]
        good &= ~rows
    for row in chunk.bad:
        found.bad[row.why] += 1
        found.examples.append(row)
    found.bad = +found.bad
    found.examples = sorted(found.examples, key=lambda row: row.line)[:EXAMPLES]
    found.rows += len(table) + len(chunk.bad)
    if weights is not None and at_least is not None:
        small = good & (weights < at_least)
        found.below += int(small.sum())
        good &= ~small
    kept = pa.array(good)
    found.users.append(users.filter(kept))
    found.items.append(items.filter(kept))
    if when is not None:
        found.when.append(when[good])
    if weights is not None:
        found.weights.append(weights[good])


def _plain(table: pa.Table, name: str) -> pa.Array:
    """A column without dictionaries and views, which few functions of Arrow take; nulls where it is missing."""
    if name not in table.column_names:  # JSON rows that leave it out
        return pa.nulls(len(table))
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        parts = [_texts(chunk.dictionary).take(chunk.indices) for chunk in column.chunks]
        return pa.chunked_array(parts, None if parts else pa.large_string()).combine_chunks()
    return _texts(column).combine_chunks()


def _texts(column: Any) -> Any:
    """Of the three ways in which Arrow keeps texts, one; other columns as they are."""
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return column.cast(pa.large_string()) if any(kind(column.type) for kind in kinds) else column


def ids(columns: Columns, name: str) -> pa.Array:
    """A column of ids as whole numbers or texts; null, and a fault, where there is none."""
    column = columns.raw.column(name).combine_chunks()
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_duration(kind):
        raise InputError(name, got=f"a column of {kind}", wanted="ids: texts or whole numbers")
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):  # whole numbers that a missing one turned into floats
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        odd = (numbers != np.floor(numbers)) | (np.abs(numbers) > 2**53)
        columns.fault(f"{name}: neither a text nor a whole number", odd & ~np.isnan(numbers))
        found = pa.array(np.where(odd, 0, numbers).astype(np.int64), mask=np.isnan(numbers))
    elif pa.types.is_integer(kind):
        found = column if pa.types.is_uint64(kind) else column.cast(pa.int64())
    elif pa.types.is_binary(kind):
        texts = columns.text(name)
        found = pc.if_else(pc.equal(texts, ""), None, texts).cast(pa.large_string())
    else:
        texts = column.cast(pa.large_string())  # dates and truth values too
        found = pc.if_else(pc.equal(texts, ""), None, texts)
    columns.fault(f"{name}: empty", found.is_null())
    return found


def _weights(columns: Columns, name: str) -> Floats:
    numbers = columns.number(name)  # unreadable ones are a fault by now
    columns.fault(f"{name}: empty", np.isnan(numbers))
    return numbers.astype(np.float32)


def encoded(parts: Sequence[pa.Array], written: bool = False) -> tuple[Indices, list[int | str]]:
    """Columns of ids as rows of the distinct ids, in the order of first sight; `written`: "7" is the number 7."""
    if len({part.type for part in parts}) > 1:
        parts = [part.cast(pa.large_string()) for part in parts]
    coded = pa.chunked_array(parts).dictionary_encode().unify_dictionaries()
    codes = [chunk.indices.to_numpy() for chunk in coded.chunks]
    known = coded.chunk(0).dictionary
    if written and pc.all(pc.match_substring_regex(known, WHOLE)).as_py():
        known = known.cast(pa.int64())
    return np.concatenate(codes).astype(np.int32, copy=False), known.to_pylist()
