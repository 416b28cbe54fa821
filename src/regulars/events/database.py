"""The SQLite file `journal.sqlite`: tables, format version, transactions, and errors that say what to do.

WAL with `synchronous=FULL`: a commit returns when its pages are on disk. Every writer takes the write lock at
BEGIN, so offsets are given out in commit order over all processes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regulars.core.errors import StorageError

FILE_NAME = "journal.sqlite"
FORMAT = 1
APPLICATION_ID = 0x52656775  # "Regu"
BUSY_SECONDS = 30.0

_TABLES = """
CREATE TABLE journal (
    offset INTEGER PRIMARY KEY, event_id TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL,
    received_at INTEGER NOT NULL, payload BLOB NOT NULL
);
CREATE TABLE event_ids (digest BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('next_offset', 1);
CREATE TABLE manifest (
    file TEXT PRIMARY KEY, kind TEXT NOT NULL, day TEXT NOT NULL, first_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL, n_rows INTEGER NOT NULL, n_bytes INTEGER NOT NULL
);
CREATE TABLE identities (external TEXT PRIMARY KEY, user_key INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX identities_by_key ON identities (user_key);
"""

_REMEDIES = {
    "locked": "Another program holds the journal; close it or try again.",
    "full": "Free some disk space and try again.",
    "not a database": "Point --home at a shop's folder, or restore the file from a copy.",
    "malformed": "The file is damaged; restore it from a copy.",
    "readonly": "Give this user the right to write there.",
    "unable to open": "Check that the folder exists and that this user may write there.",
}


def open_database(path: Path) -> sqlite3.Connection:
    """Open the journal's database, creating it when missing; refuse foreign files and other formats."""
    with storage_errors(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -65536")  # KiB
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if _pragma(connection, "user_version") == 0 and not _tables(connection):
        with transaction(connection):
            if not _tables(connection):  # another process may have been first
                for statement in _TABLES.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise StorageError(str(path), got="a database of another program", wanted="a Regulars journal",
                           remedy="Point --home at a shop's folder.")  # fmt: skip
    version = _pragma(connection, "user_version")
    if version != FORMAT:
        newer = version > FORMAT
        older = "Open it with the Regulars that wrote it, or import the shop's files into a new folder."
        remedy = "Install a newer Regulars." if newer else older
        raise StorageError(str(path), got=f"{'newer' if newer else 'older'} journal format {version}",
                           wanted=f"format {FORMAT}", remedy=remedy)  # fmt: skip


def _tables(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def synchronous(connection: sqlite3.Connection) -> int:
    """What SQLite says its `synchronous` is; 2 = FULL."""
    return _pragma(connection, "synchronous")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A write transaction: the lock is taken at once; on any error nothing of it stays."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def view(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A read transaction: all statements inside see the same commit."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        connection.execute("ROLLBACK")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into a `StorageError` with a remedy."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        text = str(error)
        remedy = next((advice for sign, advice in _REMEDIES.items() if sign in text), "")
        raise StorageError(str(path), got=text, wanted="a journal that can be read and written",
                           remedy=remedy) from error  # fmt: skip
