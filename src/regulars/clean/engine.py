"""DuckDB as the reader of the log: what the rules ask, answered as numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from regulars.clean.rules import Queries, queries
from regulars.core.clock import Instant
from regulars.core.errors import SettingError, StorageError
from regulars.core.settings import Settings

Columns = dict[str, NDArray[Any]]
Connection: TypeAlias = duckdb.DuckDBPyConnection
BATCH = 100_000


@dataclass(frozen=True, slots=True)
class Source:
    """What there is to read: Parquet files, an Arrow table, and who is to be forgotten until when."""

    files: Sequence[str]
    tail: pa.Table
    gone: Mapping[int, Instant]  # every raw key of a forgotten shopper -> instant of the tombstone
    drop_duplicates: bool


@contextmanager
def duckdb_within(settings: Settings, spill: Path) -> Iterator[Connection]:
    """DuckDB of our own in memory, within `[clean] memory`; what does not fit goes to `spill`."""
    threads = settings.train.threads or len(os.sched_getaffinity(0))
    try:
        connection = duckdb.connect(config={
            "memory_limit": settings.clean.memory, "threads": threads, "temp_directory": str(spill),
            "preserve_insertion_order": False, "autoinstall_known_extensions": False,
        })  # fmt: skip
    except duckdb.ParserException as error:
        raise SettingError(
            "[clean] memory", got=repr(settings.clean.memory), wanted="a size such as '700MB'"
        ) from error
    try:
        yield connection
    except duckdb.Error as error:
        raise StorageError(
            "reading the lake", got=str(error).splitlines()[0], wanted="readable Parquet files within [clean] memory",
            remedy="Put the file it names back from a backup, or give [clean] memory more.",
        ) from error  # fmt: skip
    finally:
        connection.close()


def opened(connection: Connection, source: Source) -> Queries:
    """Show a connection what there is to read; the queries that fit it."""
    connection.register("tail", source.tail)
    connection.register("gone", _pairs("gone_key", "gone_at", source.gone))
    if source.files:
        connection.read_parquet(list(source.files), hive_partitioning=False).create_view("lake")
    return queries(lake=bool(source.files), gone=bool(source.gone), drop_duplicates=source.drop_duplicates)


def columns_of(connection: Connection, query: str) -> Columns:
    """The answer to a query, a column a name."""
    found = connection.sql(query).to_arrow_table()
    return {name: found.column(name).to_numpy() for name in found.column_names}


def read_rows(
    connection: Connection, query: str, user_idx: Mapping[int, int], items: Sequence[str], n_rows: int
) -> Columns:
    """The `n_rows` kept rows as dense columns, in no order; `user_idx` maps raw keys to rows of users.

    Arrays are filled batch by batch: the answer never stands twice in memory.
    """
    connection.register("people", _pairs("raw_key", "user_idx", user_idx))
    names = pa.array(items, pa.string())
    connection.register("catalogue", pa.table({"name": names, "item_idx": np.arange(len(items), dtype=np.int32)}))
    reader = connection.sql(query).to_arrow_reader(BATCH)
    columns = {field.name: np.empty(n_rows, dtype=field.type.to_pandas_dtype()) for field in reader.schema}
    start = 0
    for batch in reader:
        for name, column in columns.items():
            column[start : start + len(batch)] = batch.column(name).to_numpy(zero_copy_only=False)
        start += len(batch)
    return columns


def _pairs(key: str, value: str, pairs: Mapping[int, int]) -> pa.Table:
    return pa.table({key: pa.array(list(pairs), pa.int64()), value: pa.array(list(pairs.values()), pa.int64())})
