"""Which keys stand for which shopper: joined keys, tombstones, attributes and links."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from regulars.core.clock import NEVER, Instant
from regulars.core.data import Users
from regulars.events.schema import Identify, Tombstone, UserChange


class Facts(msgspec.Struct, frozen=True):
    """What a shopper's last UserChange said."""

    changed_at: Instant = NEVER
    attributes: dict[str, Any] = {}
    links: tuple[int, ...] = ()


UNTOLD = Facts()


class PeopleSnapshot(msgspec.Struct, frozen=True):
    """All of it as plain values; pairs, since JSON has no integer keys."""

    shoppers: list[tuple[int, int]]
    joined: list[tuple[int, int]]
    gone: list[tuple[int, Instant]]
    facts: list[tuple[int, Facts]]


class People:
    """Keys -> shoppers (rows of the event log). Callers hold the lock of `Live`."""

    def __init__(self) -> None:
        self._shopper_of: dict[int, int] = {}  # by the key that the shopper is read as
        self._joined: dict[int, int] = {}  # key -> the key it is read as, perhaps over several
        self._gone: dict[int, Instant] = {}  # by root: forgotten until
        self._facts: dict[int, Facts] = {}  # by shopper

    @classmethod
    def from_users(cls, users: Users, as_of: Instant) -> People:
        """The shoppers of a Dataset; shopper i is its user_idx i."""
        people = cls()
        people._shopper_of = {key: shopper for shopper, key in enumerate(users.keys.ids)}
        for shopper, (attributes, links) in enumerate(zip(users.attributes, users.links, strict=True)):
            if attributes or links:
                people._facts[shopper] = Facts(as_of, attributes, links)
        return people

    def __len__(self) -> int:
        return len(self._shopper_of)

    def index(self, keys: Iterable[int]) -> NDArray[np.int64]:
        """Shoppers of these keys, -1 where nothing is known."""
        if not self._joined:
            return np.fromiter((self._shopper_of.get(key, -1) for key in keys), dtype=np.int64)
        return np.fromiter(map(self.get, keys), dtype=np.int64)

    def get(self, key: int) -> int:
        """The shopper of one key, -1 where nothing is known."""
        return self._shopper_of.get(self.root(key), -1)

    def root(self, key: int) -> int:
        """The key that this one is read as."""
        while key in self._joined:
            key = self._joined[key]
        return key

    def keys_of(self, key: int) -> list[int]:
        """Every key that is read as the same shopper as this one, itself included."""
        root = self.root(key)
        return [root, *(joined for joined in self._joined if self.root(joined) == root)]

    def add(self, key: int, shopper: int) -> int:
        """Let a key stand for a new shopper."""
        self._shopper_of[self.root(key)] = shopper
        return shopper

    def erased(self, key: int, at: Instant) -> bool:
        """Whether a tombstone covers what this key did at that instant."""
        until = self._gone.get(self.root(key)) if self._gone else None
        return until is not None and at <= until

    def gone_until(self, key: int) -> Instant | None:
        """Until when this key's past is forgotten; None without a tombstone."""
        return self._gone.get(self.root(key))

    def join(self, event: Identify) -> tuple[int, int] | None:
        """Read `other_key` as `user_key` from now on; `(other, kept)` where both are shoppers to be merged."""
        kept, other = self.root(event.user_key), self.root(event.other_key)
        if kept == other:
            return None
        self._joined[other] = kept
        if other in self._gone:
            self._gone[kept] = max(self._gone.pop(other), self._gone.get(kept, NEVER))
        leaving = self._shopper_of.pop(other, -1)
        if leaving < 0:
            return None
        staying = self._shopper_of.setdefault(kept, leaving)
        if staying == leaving:
            return None
        facts = max(self._facts.pop(leaving, UNTOLD), self._facts.get(staying, UNTOLD), key=lambda f: f.changed_at)
        self._facts[staying] = facts
        return leaving, staying

    def bury(self, event: Tombstone) -> None:
        """Note that this shopper's past is forgotten."""
        key = self.root(event.user_key)
        self._gone[key] = max(event.timestamp, self._gone.get(key, NEVER))

    def forget(self, shopper: int, until: Instant) -> bool:
        """Drop attributes and links that were given up to then; whether later ones are left."""
        if self._facts.get(shopper, UNTOLD).changed_at <= until:
            self._facts.pop(shopper, None)
        return shopper in self._facts

    def remove(self, key: int) -> None:
        """Let a key stand for nobody."""
        self._shopper_of.pop(self.root(key), None)

    def change(self, shopper: int, event: UserChange) -> None:
        """Take attributes and links, unless later ones are known."""
        if event.timestamp >= self.facts(shopper).changed_at:
            self._facts[shopper] = Facts(event.timestamp, event.attributes, event.links)

    def facts(self, shopper: int) -> Facts:
        """Attributes and links of a shopper; none of -1."""
        return self._facts.get(shopper, UNTOLD)

    def dump(self) -> PeopleSnapshot:
        """Everything, for a snapshot."""
        return PeopleSnapshot(
            list(self._shopper_of.items()), list(self._joined.items()), list(self._gone.items()),
            list(self._facts.items()),
        )  # fmt: skip

    @classmethod
    def restore(cls, kept: PeopleSnapshot) -> People:
        """What `dump` gave."""
        people = cls()
        people._shopper_of, people._joined = dict(kept.shoppers), dict(kept.joined)
        people._gone, people._facts = dict(kept.gone), dict(kept.facts)
        return people
