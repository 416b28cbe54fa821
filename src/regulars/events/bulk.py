"""A bulk append: a table of interactions goes straight into the lake, each id once."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from regulars.core.clock import Instant
from regulars.events import lake


@dataclass(frozen=True, slots=True)
class BulkCount:
    """What became of the rows of a bulk append."""

    accepted: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows sorted as the lake wants them, each id once, and the ids' digests."""

    table: pa.Table
    digests: list[bytes]  # of the table's rows
    n_given: int


def prepare(table: pa.Table) -> Batch:
    """Sort and hash a table (lake.BULK columns), before any lock is taken."""
    table = table.select(lake.BULK.names).cast(lake.BULK).combine_chunks()
    days = lake.days_of(table.column("timestamp"))
    order = np.lexsort((table.column("timestamp"), table.column("user_key"), days))
    if not np.array_equal(order, np.arange(len(order))):
        table = table.take(pa.array(order))
    hashed = hashlib.blake2b
    digests = [hashed(name.encode(), digest_size=16).digest() for name in table.column("event_id").to_pylist()]
    first = _first_of_each(digests)
    if len(first) < len(digests):
        return Batch(table.take(pa.array(first)), [digests[row] for row in first], len(digests))
    return Batch(table, digests, len(digests))


def insert(connection: sqlite3.Connection, batch: Batch, folder: Path, received_at: Instant) -> BulkCount:
    """Write the files, then ids, offsets and manifest in the caller's transaction, whose lock is held throughout.

    Holding the write lock while the files are made keeps offsets dense for readers, and keeps a compaction of
    another process from taking the files for leftovers.
    """
    table = _unknown(connection, batch)
    if len(table):
        ((first,),) = connection.execute("SELECT value FROM counters WHERE name = 'next_offset'")
        columns = [pa.array(np.arange(first, first + len(table))), pa.array(np.full(len(table), received_at))]
        whole = pa.Table.from_arrays([*columns, *table.columns], schema=lake.INTERACTIONS)
        entries = lake.write_interactions(folder, whole)
        lake.add_to_manifest(connection, entries)
        connection.execute("UPDATE counters SET value = ? WHERE name = 'next_offset'", (first + len(table),))
        lake.fail_point("bulk-before-commit")
    return BulkCount(len(table), batch.n_given - len(table))


def _unknown(connection: sqlite3.Connection, batch: Batch) -> pa.Table:
    """Remember the ids; return the rows whose id was not known."""
    ordered = [(digest,) for digest in sorted(batch.digests)]  # B-trees like their keys in order
    connection.execute("SAVEPOINT ids")
    added = connection.executemany("INSERT OR IGNORE INTO event_ids VALUES (?)", ordered).rowcount
    if added == len(ordered):
        connection.execute("RELEASE ids")
        return batch.table
    connection.execute("ROLLBACK TO ids")
    connection.execute("RELEASE ids")
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS given (digest BLOB PRIMARY KEY) WITHOUT ROWID")
    connection.execute("DELETE FROM given")
    connection.executemany("INSERT INTO given VALUES (?)", ordered)
    known = {digest for (digest,) in connection.execute("SELECT digest FROM given JOIN event_ids USING (digest)")}
    connection.execute("INSERT OR IGNORE INTO event_ids SELECT digest FROM given ORDER BY digest")
    fresh = np.fromiter((digest not in known for digest in batch.digests), dtype=np.bool_, count=len(ordered))
    return batch.table.filter(pa.array(fresh))


def _first_of_each(digests: list[bytes]) -> NDArray[np.int64]:
    """Rows, in order, that are the first with their digest."""
    if len(set(digests)) == len(digests):
        return np.arange(len(digests))
    places: dict[bytes, int] = {}
    for row, digest in enumerate(digests):
        places.setdefault(digest, row)
    return np.fromiter(places.values(), dtype=np.int64)
