"""The journal: append-only, acknowledged = on disk, every event once, in one order that all readers share.

Recent events stand in SQLite, older ones in the lake; together they are the truth. Offsets are dense: each write
takes the next ones inside its own transaction, so a reader that has seen offset n has seen all before it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from regulars.core.clock import Clock, Instant
from regulars.core.errors import InputError
from regulars.core.settings import EventsSettings
from regulars.events import bulk, lake
from regulars.events.database import FILE_NAME, open_database, storage_errors, view
from regulars.events.database import synchronous as pragma_synchronous
from regulars.events.schema import Event, Interaction, decoder, encoder, interaction_decoder
from regulars.events.snapshot import Snapshot
from regulars.events.writer import Job, Writer

MOVE_ROWS = 100_000  # rows that one step of a compaction holds in memory

Row = tuple[bytes, str, str, Instant, bytes]  # digest, event_id, kind, at, payload


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one appended event: its offset, or None when its id was there before."""

    offset: int | None
    duplicate: bool


class Journal:
    """The events of a shop's folder `home`; many threads and processes may hold one on the same folder."""

    def __init__(self, home: Path, *, clock: Clock, settings: EventsSettings) -> None:
        self.home, self.settings, self.clock = Path(home), settings, clock
        self.lake = self.home / "lake"
        self._path = self.home / FILE_NAME
        with storage_errors(self._path):
            self.lake.mkdir(parents=True, exist_ok=True)
        self._writer = Writer(self._path)
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []

    def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Write events; all are on disk when this returns. An id that was seen before is not written again."""
        rows = [_row(event) for event in events]
        return self._writer.run(partial(self._insert, rows=rows)) if rows else []

    def submit(self, event: Event) -> None:
        """Hand an event over; it is on disk with the next group commit."""
        self._writer.submit(partial(self._insert, rows=[_row(event)]))

    def append_bulk(self, table: pa.Table) -> bulk.BulkCount:
        """File an Arrow table (lake.BULK columns) straight into the lake, on disk when this returns.

        Offsets follow (day, user_key, timestamp, row), so each day's file holds a run of them.
        """
        if missing := set(lake.BULK.names) - set(table.column_names):
            raise InputError("append_bulk", got=f"no column {', '.join(sorted(missing))}", wanted="all of lake.BULK")
        prepared = bulk.prepare(table)
        return self._writer.run(partial(bulk.insert, batch=prepared, folder=self.lake, received_at=self.clock.now()))

    def read(self, after: int, limit: int = 10_000) -> list[tuple[int, Event]]:
        """At most `limit` events that follow offset `after`, by offset; empty at the end."""
        while after < self.last_offset:
            if found := self._window(after, after + limit):
                return found
            after += limit
        return []

    def snapshot(self) -> Snapshot:
        """Everything up to now, as one consistent view that later writes do not touch."""
        with self.reading() as connection:
            offset = _next_offset(connection) - 1
            files = lake.manifest(connection)
            rows = connection.execute("SELECT offset, received_at, payload FROM journal ORDER BY offset").fetchall()
        events = [(number, received, decoder.decode(payload)) for number, received, payload in rows]
        return Snapshot(
            offset=offset,
            files=tuple(str(self.lake / entry.file) for entry in files if entry.kind == "interactions"),
            tail=lake.table_of([(n, at, e) for n, at, e in events if isinstance(e, Interaction)]),
            record_files=tuple(str(self.lake / entry.file) for entry in files if entry.kind == "records"),
            tail_records=tuple((n, e) for n, _, e in events if not isinstance(e, Interaction)),
        )

    def compact(self, at_least: int = 1) -> int:
        """Move the journal's rows into the lake when there are `at_least` so many; return how many moved.

        Another process that is compacting makes this return 0.
        """
        moved = 0
        with self._compacting() as mine:
            if mine and self.n_waiting >= at_least:
                self._writer.run(partial(lake.remove_orphans, folder=self.lake))
                while step := self._move():
                    moved += step
        return moved

    def flush(self) -> None:
        """Return when everything submitted so far is on disk."""
        self._writer.run(lambda connection: None)

    def write(self, job: Job) -> Any:
        """Run a job on the database inside the writer's next transaction."""
        return self._writer.run(job)

    @property
    def last_offset(self) -> int:
        """Offset of the newest event, 0 when there is none."""
        with self.reading() as connection:
            return _next_offset(connection) - 1

    @property
    def n_waiting(self) -> int:
        """Rows that a compaction would move."""
        with self.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM journal").fetchone()[0])

    @property
    def synchronous(self) -> int:
        """SQLite's `PRAGMA synchronous` as the writer reads it back; 2 = FULL."""
        return self._writer.run(pragma_synchronous)

    def close(self) -> None:
        """Write what was submitted and close the files."""
        self._writer.close()
        while self._readers:
            self._readers.pop().close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read transaction on this thread's own connection."""
        with storage_errors(self._path):
            if not hasattr(self._local, "connection"):
                self._local.connection = open_database(self._path)
                self._readers.append(self._local.connection)
            with view(self._local.connection) as connection:
                yield connection

    def _insert(self, connection: sqlite3.Connection, rows: list[Row]) -> list[Receipt]:
        offset, received = _next_offset(connection), self.clock.now()
        receipts, fresh = [], []
        for digest, event_id, kind, at, payload in rows:
            if connection.execute("INSERT OR IGNORE INTO event_ids VALUES (?)", (digest,)).rowcount:
                fresh.append((offset, event_id, kind, at, received, payload))
                receipts.append(Receipt(offset, False))
                offset += 1
            else:
                receipts.append(Receipt(None, True))
        connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)", fresh)
        connection.execute("UPDATE counters SET value = ? WHERE name = 'next_offset'", (offset,))
        return receipts

    def _window(self, after: int, upto: int) -> list[tuple[int, Event]]:
        with self.reading() as connection:
            files = lake.manifest(connection, after, upto)
            rows = connection.execute(
                "SELECT offset, payload FROM journal WHERE offset > ? AND offset <= ?", (after, upto)
            ).fetchall()
        found = lake.read_window(self.lake, files, after, upto)
        found += [(offset, decoder.decode(payload)) for offset, payload in rows]
        return sorted(found, key=lambda pair: pair[0])

    def _move(self) -> int:
        """One step of a compaction: files first, then manifest and removal in one transaction."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT offset, received_at, kind, at, payload FROM journal ORDER BY offset LIMIT ?", (MOVE_ROWS,)
            ).fetchall()
        if not rows:
            return 0
        events = [
            (offset, received, interaction_decoder.decode(payload))
            for offset, received, kind, _, payload in rows
            if kind == "interaction"
        ]
        entries = lake.write_records(self.lake, lake.record_table([row for row in rows if row[2] != "interaction"]))
        if events:
            entries += lake.write_interactions(self.lake, lake.table_of(events))
        lake.fail_point("compact-before-commit")
        self._writer.run(partial(_switch, entries=entries, first=rows[0][0], last=rows[-1][0]))
        lake.fail_point("compact-after-commit")
        return len(rows)

    @contextmanager
    def _compacting(self) -> Iterator[bool]:
        """Whether this process may compact; the system frees the lock when its holder dies."""
        with storage_errors(self._path), (self.lake / ".compacting").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            file.write(str(os.getpid()))
            yield True


def digest_of(event_id: str) -> bytes:
    """The key under which an id is remembered: 16 bytes of BLAKE2b."""
    return hashlib.blake2b(event_id.encode(), digest_size=16).digest()


def _row(event: Event) -> Row:
    kind = str(event.__struct_config__.tag)
    return digest_of(event.event_id), event.event_id, kind, event.timestamp, encoder.encode(event)


def _next_offset(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT value FROM counters WHERE name = 'next_offset'").fetchone()[0])


def _switch(connection: sqlite3.Connection, entries: list[lake.LakeFile], first: int, last: int) -> None:
    lake.add_to_manifest(connection, entries)
    lake.fail_point("compact-in-commit")
    connection.execute("DELETE FROM journal WHERE offset BETWEEN ? AND ?", (first, last))
