"""The lake: Parquet files of what the journal holds no longer, named by the manifest in the journal's database.

`lake/interactions/day=YYYY-MM-DD/part-<first offset>-<n>.parquet`, sorted by (user_key, timestamp, offset), and
`lake/records/part-<first offset>-<n>.parquet` for every other kind of event. A file counts once the manifest
names it; one that it does not name is left over from a crash.

Fail points, for tests of crashes: with `REGULARS_FAIL_POINT=NAME` the process kills itself (SIGKILL) at
    lake-half-written     a file stands under its temporary name
    lake-file-written     a file has its name and is on disk
    compact-before-commit all files are on disk, the manifest does not know them
    compact-in-commit     the manifest has the new rows, the transaction is open
    compact-after-commit  the rows have moved
    bulk-before-commit    files of a bulk append are on disk, ids and manifest are not
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from regulars.core.clock import DAY, Instant
from regulars.core.errors import StorageError
from regulars.events.schema import Event, Interaction, decoder, encoder

INTERACTIONS = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("received_at", pa.int64(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("user_key", pa.int64(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("timestamp", pa.int64(), nullable=False),  # microseconds UTC
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("quantity", pa.float32(), nullable=False),
        pa.field("price", pa.int64()),  # minor units
        pa.field("currency", pa.string(), nullable=False),
        pa.field("order_id", pa.string(), nullable=False),
        pa.field("value", pa.float32()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("recommendation_id", pa.string(), nullable=False),
        pa.field("slot", pa.string(), nullable=False),
        pa.field("position", pa.int16()),
        pa.field("properties", pa.string(), nullable=False),  # JSON, "" = none
    ]
)
BULK = pa.schema([field for field in INTERACTIONS if field.name not in ("offset", "received_at")])
RECORDS = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("received_at", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("timestamp", pa.int64(), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),  # JSON
    ]
)
ORDER = [("user_key", "ascending"), ("timestamp", "ascending"), ("offset", "ascending")]
ROW_GROUP = 65_536

Numbered = tuple[int, Event]


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One row of the manifest."""

    file: str  # relative to the lake's folder
    kind: str  # interactions or records
    day: str
    first_offset: int
    last_offset: int
    n_rows: int
    n_bytes: int


def fail_point(name: str) -> None:
    """Die here, as by a power cut, when the environment asks for it."""
    if os.environ.get("REGULARS_FAIL_POINT") == name:
        os.kill(os.getpid(), signal.SIGKILL)


def table_of(rows: Sequence[tuple[int, Instant, Interaction]]) -> pa.Table:
    """Arrow table (INTERACTIONS) of (offset, received_at, event) rows."""
    if not rows:
        return INTERACTIONS.empty_table()
    values = [(offset, received, *_plain(event)) for offset, received, event in rows]
    arrays = [
        pa.array(column, field.type) for column, field in zip(zip(*values, strict=True), INTERACTIONS, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=INTERACTIONS)


def _plain(event: Interaction) -> tuple[Any, ...]:
    *fields, properties = msgspec.structs.astuple(event)
    return (*fields, encoder.encode(properties).decode() if properties else "")


def events_of(table: pa.Table) -> list[Numbered]:
    """The events of an INTERACTIONS table, in its order."""
    columns = [table.column(field.name).to_pylist() for field in BULK]
    names = BULK.names
    events: list[Numbered] = []
    for offset, *values in zip(table.column("offset").to_pylist(), *columns, strict=True):
        fields = dict(zip(names, values, strict=True))
        fields["properties"] = msgspec.json.decode(fields["properties"]) if fields["properties"] else {}
        events.append((offset, Interaction(**fields)))
    return events


def read_window(folder: Path, files: Iterable[LakeFile], after: int, upto: int) -> list[Numbered]:
    """Events with offsets in (after, upto] that these files hold, in no order."""
    found: list[Numbered] = []
    window = [("offset", ">", after), ("offset", "<=", upto)]
    for entry in files:
        table = read(folder / entry.file, filters=window)
        found += events_of(table) if entry.kind == "interactions" else records_of(table)
    return found


@contextmanager
def readable(file: str | Path) -> Iterator[None]:
    """Say which file of the lake it was that could not be read."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else str(error).splitlines()[0]
        raise StorageError(
            str(file), got=got, wanted="a Parquet file of the lake",
            remedy="Put this file back from a backup.",
        ) from error  # fmt: skip


def read(file: str | Path, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
    """Read some columns and rows of one file of the lake."""
    with readable(file):
        names = None if columns is None else list(columns)
        return pq.read_table(file, columns=names, partitioning=None, filters=filters)


def records_of(table: pa.Table) -> list[Numbered]:
    """The events of a RECORDS table, in its order."""
    pairs = zip(table.column("offset").to_pylist(), table.column("payload").to_pylist(), strict=True)
    return [(offset, decoder.decode(payload)) for offset, payload in pairs]


def record_table(rows: Sequence[tuple[int, Instant, str, Instant, bytes]]) -> pa.Table:
    """Arrow table (RECORDS) of (offset, received_at, kind, timestamp, payload) rows."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(RECORDS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, RECORDS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=RECORDS)


def days_of(timestamps: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Days since 1970-01-01 UTC of an Arrow column of instants."""
    return np.asarray(timestamps.to_numpy(), dtype=np.int64) // DAY


def write_interactions(folder: Path, table: pa.Table) -> list[LakeFile]:
    """Write one file a day; on disk when this returns."""
    days = days_of(table.column("timestamp"))
    order = np.lexsort((table.column("offset"), table.column("timestamp"), table.column("user_key"), days))
    if not np.array_equal(order, np.arange(len(order))):
        table, days = table.take(pa.array(order)), days[order]
    starts = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))
    entries = []
    for start, stop in zip(starts, [*starts[1:], len(days)], strict=True):
        day = str(np.datetime64(int(days[start]), "D"))
        part = table.slice(start, stop - start)
        entries.append(_write(folder, f"interactions/day={day}", day, part))
    _sync(folder / "interactions")
    return entries


def write_records(folder: Path, table: pa.Table) -> list[LakeFile]:
    """Write a RECORDS table as one file."""
    return [_write(folder, "records", "", table)] if len(table) else []


def _write(folder: Path, place: str, day: str, table: pa.Table) -> LakeFile:
    """Write under a temporary name, flush, rename, flush the folder: a named file is whole."""
    bounds = pc.min_max(table.column("offset")).as_py()
    name = f"{place}/part-{bounds['min']:020d}-{len(table)}.parquet"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd", row_group_size=ROW_GROUP)
        fail_point("lake-half-written")
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    temporary.rename(path)
    _sync(path.parent)
    fail_point("lake-file-written")
    return LakeFile(name, place.split("/")[0], day, bounds["min"], bounds["max"], len(table), size)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def add_to_manifest(connection: sqlite3.Connection, entries: Iterable[LakeFile]) -> None:
    """Name these files, inside the caller's transaction."""
    connection.executemany("INSERT INTO manifest VALUES (?, ?, ?, ?, ?, ?, ?)", map(astuple, entries))


def manifest(connection: sqlite3.Connection, after: int = -1, upto: int = 2**62) -> list[LakeFile]:
    """Files that may hold an offset in (after, upto], by first offset."""
    rows = connection.execute(
        "SELECT * FROM manifest WHERE last_offset > ? AND first_offset <= ? ORDER BY first_offset, file",
        (after, upto),
    )
    return [LakeFile(*row) for row in rows]


def remove_orphans(connection: sqlite3.Connection, folder: Path) -> int:
    """Delete files that the manifest does not name; the caller holds every lock under which files are made."""
    named = {file for (file,) in connection.execute("SELECT file FROM manifest")}
    orphans = [path for path in _files(folder) if str(path.relative_to(folder)) not in named]
    for path in orphans:
        path.unlink()
    return len(orphans)


def _files(folder: Path) -> Iterator[Path]:
    for pattern in ("*.parquet", "*.tmp"):
        yield from folder.rglob(pattern)
