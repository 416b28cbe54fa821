"""Who is behind a key: the one table that knows raw user, anonymous and session ids.

Externals are "u:USER_ID", "a:ANONYMOUS_ID" and "s:SESSION_ID". A key is 63 random bits that say nothing about its
shopper; dropping the mapping cuts the tie for good.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Sequence
from functools import partial

from regulars.core.errors import InputError
from regulars.events.journal import Journal

CHUNK = 50_000


class Identities:
    """Two-way mapping between externals and keys, in the journal's database."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def keys(self, externals: Sequence[str], create: bool = True) -> list[int]:
        """The key of each external; an unknown one gets a new key, or -1 when `create` is false."""
        wanted = list(dict.fromkeys(externals))
        known: dict[str, int] = {}
        with self._journal.reading() as connection:
            for start in range(0, len(wanted), CHUNK):
                known.update(_known(connection, wanted[start : start + CHUNK]))
        missing = [external for external in wanted if external not in known] if create else []
        for start in range(0, len(missing), CHUNK):
            known.update(self._journal.write(partial(_create, externals=missing[start : start + CHUNK])))
        return [known.get(external, -1) for external in externals]

    def external(self, key: int) -> str | None:
        """The external of a key: the user id where there is one; None for an unknown or forgotten key."""
        with self._journal.reading() as connection:
            found = connection.execute(
                "SELECT external FROM identities WHERE user_key = ? ORDER BY external DESC LIMIT 1", (key,)
            ).fetchone()
        return str(found[0]) if found else None

    def users(self, limit: int) -> list[tuple[str, int]]:
        """User ids with their keys, at most `limit`, in the (random) order of the keys."""
        with self._journal.reading() as connection:
            rows = connection.execute(
                "SELECT substr(external, 3), user_key FROM identities WHERE external >= 'u:' AND external < 'u;' "
                "ORDER BY user_key LIMIT ?", (limit,)
            ).fetchall()  # fmt: skip
        return [(str(name), int(key)) for name, key in rows]

    def forget(self, keys: Sequence[int]) -> int:
        """Drop every mapping of these keys, on disk when this returns; return how many there were."""
        return int(self._journal.write(partial(_forget, keys=keys)))


def _known(connection: sqlite3.Connection, externals: list[str]) -> dict[str, int]:
    rows = connection.execute(
        "SELECT external, user_key FROM json_each(?) JOIN identities ON external = value", (json.dumps(externals),)
    )
    return dict(rows.fetchall())


def _create(connection: sqlite3.Connection, externals: list[str]) -> dict[str, int]:
    for external in externals:
        if external[:2] not in ("u:", "a:", "s:") or len(external) == 2 or "\0" in external:
            raise InputError("external", got=repr(external[:40]), wanted="'u:', 'a:' or 's:' and an id without NUL")
    rows = [(external, secrets.randbits(63)) for external in sorted(externals)]
    connection.executemany("INSERT OR IGNORE INTO identities VALUES (?, ?)", rows)
    return _known(connection, externals)  # another process may have been first


def _forget(connection: sqlite3.Connection, keys: Sequence[int]) -> int:
    return connection.executemany("DELETE FROM identities WHERE user_key = ?", [(key,) for key in keys]).rowcount
