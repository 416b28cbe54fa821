"""Which occurrence of an identical row this is, over a whole file, in 16 bytes a row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Occurrences:
    """Counts equal rows of one file by the first 64 bits of their digest.

    Two different rows that share 64 bits would at worst be numbered together: still different ids, the same ones
    at the next import.
    """

    def __init__(self) -> None:
        self._seen: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)  # sorted
        self._counts: dict[int, int] = {}  # of those seen more than once

    def ids(self, digests: Sequence[bytes]) -> list[str]:
        """The event id of each row: its digest, and from the second occurrence on a hash of digest and number."""
        keys = np.frombuffer(b"".join(digests), dtype=np.uint64)[::2]
        names = [digest.hex() for digest in digests]
        for row, number in self._repeated(keys):
            numbered = digests[row] + number.to_bytes(8, "little")
            names[row] = hashlib.blake2b(numbered, digest_size=16).hexdigest()
        return names

    def _repeated(self, keys: NDArray[np.uint64]) -> list[tuple[int, int]]:
        """(row, number from 1) of the rows that are not the first of their kind."""
        order = np.argsort(keys, kind="stable")
        ranked = keys[order]
        first = np.ones(len(ranked), dtype=np.bool_)
        first[1:] = ranked[1:] != ranked[:-1]
        fresh = ranked[first]
        places = np.searchsorted(self._seen, fresh)
        known = np.zeros(len(fresh), dtype=np.bool_)
        inside = places < len(self._seen)
        known[inside] = self._seen[places[inside]] == fresh[inside]
        was_known = known[np.cumsum(first) - 1]
        found = []
        for at in np.flatnonzero(~first | was_known):
            key = int(ranked[at])
            number = self._counts.get(key, 1)
            self._counts[key] = number + 1
            found.append((int(order[at]), number))
        self._seen = np.sort(np.concatenate([self._seen, fresh[~known]]), kind="stable")
        return found
