"""Statistics between shops: write those of this one, and take those of another in for `transfer-ease`.

Shoppers are shared by the hash of their user id under a key that both shops hold (`models/source.py`); who has no
user id is never shared. What is taken in is kept in the shop's folder under its own keys, of shoppers it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regulars.app import App
from regulars.clean.dataset import Cleaning
from regulars.core.errors import InputError, StorageError
from regulars.core.rng import generator
from regulars.models.source import Source, shared_id

SOURCES = "sources"
EVERYBODY = (1 << 63) - 1


@dataclass(frozen=True)
class Exchanged:
    """What was written, and where."""

    folder: str
    items: int
    shoppers: int  # shared ones
    factors: int

    @classmethod
    def of(cls, source: Source, folder: Path) -> Exchanged:
        """Count a source."""
        return cls(str(folder), len(source.items), *source.shopper_factors.shape)


def give(app: App, folder: Path, key: bytes, factors: int) -> Exchanged:
    """Write this shop's statistics, as of now, into a folder."""
    cleaning = app.cleaning()
    data, _ = cleaning.whole()
    if not len(data.interactions):
        raise InputError("statistics", got="a log without interactions", wanted="at least one",
                         remedy="Run `regulars ingest FILES`.")  # fmt: skip
    ids = _names(app, cleaning, key)
    shared = np.array([ids.get(user, -1) for user in data.users.keys.ids], dtype=np.int64)
    rng = generator(app.settings.train.seed, "statistics")
    source = Source.of(data, shared, factors=factors, rng=rng, threads=app.settings.train.threads)
    try:
        source.save(folder)
    except OSError as error:
        raise StorageError(str(folder), got=str(error), wanted="a folder that can be written") from error
    return Exchanged.of(source, folder)


def take(app: App, folder: Path, key: bytes) -> Exchanged:
    """Keep another shop's statistics for this one: the folder to name under `[models.transfer-ease] source`."""
    ids = _names(app, app.cleaning(), key)
    source = Source.load(folder).renamed({shared: user for user, shared in ids.items()})
    kept = app.home.resolve() / SOURCES / folder.resolve().name
    source.save(kept)
    return Exchanged.of(source, kept)


def read_key(path: Path) -> bytes:
    """The key that two shops hold, from a file of 16 to 64 bytes."""
    try:
        key = path.read_bytes()
    except OSError as error:
        raise StorageError(str(path), got=str(error), wanted="a file that can be read") from error
    shared_id("", key)  # a key of a wrong length is said now
    return key


def _names(app: App, cleaning: Cleaning, key: bytes) -> dict[int, int]:
    """Shopper's key -> shared id, of those with a user id; of several user ids of one shopper the first by name."""
    users: Sequence[tuple[str, int]] = sorted(app.identities.users(EVERYBODY), reverse=True)
    return {cleaning.canonical.get(user, user): shared_id(name, key) for name, user in users}
