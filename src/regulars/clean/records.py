"""What the journal holds beside interactions, as of an instant: identities, tombstones, changes, decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
import numpy as np
import pyarrow.parquet as pq

from regulars.core.clock import NEVER, Instant
from regulars.events.lake import readable
from regulars.events.schema import Decision, Event, Identify, ItemChange, Tombstone, UserChange
from regulars.events.slates import Numbers, Showing, Slates, look_up
from regulars.events.snapshot import canonical_keys

if TYPE_CHECKING:
    from regulars.events.snapshot import Snapshot

BATCH = 4096


Change = TypeVar("Change", ItemChange, UserChange)
Numbered: TypeAlias = tuple[int, Event]
_decoder = msgspec.json.Decoder(ItemChange | UserChange | Identify | Tombstone | Showing)


@dataclass(frozen=True, slots=True)
class Known:
    """Everything beside interactions that one view of the log holds."""

    changes: list[Numbered]  # items, shoppers, identities and tombstones, by offset
    canonical: Mapping[int, int]  # key -> the key it is read as, for every key that was joined away
    gone: Mapping[int, Instant]  # every raw key of a forgotten shopper -> instant of the tombstone
    slates: Slates  # to raw keys; oldest first, those of one instant in journal order, without what is gone
    slate_offset: Numbers  # (n_slates,)


@dataclass(frozen=True, slots=True)
class Records:
    """Shoppers are named by the key they are read as; what a tombstone covers is gone."""

    canonical: Mapping[int, int]
    gone: Mapping[int, Instant]  # every raw key of a forgotten shopper -> instant of the tombstone
    items: list[ItemChange]  # oldest first
    users: list[UserChange]  # oldest first
    slates: Slates  # oldest first
    first_offset: Mapping[int, int]  # of a shopper's changes and decisions

    def canonical_key(self, key: int) -> int:
        """The key that this one is read as."""
        return self.canonical.get(key, key)

    @property
    def last_at(self) -> Instant:
        """Latest instant of all, 0 where there is none."""
        changes: list[ItemChange | UserChange] = [*self.items, *self.users]
        return max((each.timestamp for each in changes), default=int(self.slates.at.max(initial=0)))


def read_known(snapshot: Snapshot) -> Known:
    """Every record once."""
    changes: list[Numbered] = []
    showings: list[tuple[int, Decision | Showing]] = []
    for offset, event in _read(snapshot):
        if isinstance(event, Decision | Showing):
            showings.append((offset, event))
        else:
            changes.append((offset, event))
    changes.sort(key=lambda entry: entry[0])
    canonical = canonical_keys(each for _, each in changes if isinstance(each, Identify))
    gone = _gone(changes, canonical)
    showings.sort(key=lambda entry: (entry[1].timestamp, entry[0]))
    slates = Slates.of([showing for _, showing in showings])
    alive = slates.at > look_up(slates.user_key, gone, NEVER)
    offsets = np.array([offset for offset, _ in showings], dtype=np.int64)
    return Known(changes, canonical, gone, slates[alive], offsets[alive])


def records_as_of(known: Known, as_of: Instant | None) -> Records:
    """What was known at an instant; identities and tombstones hold for every instant, whenever they became known."""
    canonical, gone = known.canonical, known.gone
    users = [
        (offset, change)
        for offset, change in _up_to(known.changes, UserChange, as_of)
        if change.user_key not in gone or change.timestamp > gone[change.user_key]
    ]
    made = np.ones(len(known.slates), dtype=np.bool_) if as_of is None else known.slates.at <= as_of
    slates = known.slates[made].read_as(canonical)
    first_offset: dict[int, int] = {}
    seen = [(offset, canonical.get(change.user_key, change.user_key)) for offset, change in users]
    seen += zip(known.slate_offset[made].tolist(), slates.user_key.tolist(), strict=True)
    for offset, key in seen:
        first_offset[key] = min(offset, first_offset.get(key, offset))
    return Records(
        canonical=canonical,
        gone=gone,
        items=[change for _, change in _up_to(known.changes, ItemChange, as_of)],
        users=[change for _, change in users],
        slates=slates,
        first_offset=first_offset,
    )


def _read(snapshot: Snapshot) -> Iterator[tuple[int, Event | Showing]]:
    """Every record once, batch by batch."""
    yield from snapshot.tail_records
    for file in snapshot.record_files:
        with readable(file), pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(BATCH, columns=["offset", "payload"]):
                payloads = batch.column("payload").to_pylist()
                yield from zip(batch.column("offset").to_pylist(), map(_decoder.decode, payloads), strict=True)


def _up_to(records: Iterable[Numbered], kind: type[Change], as_of: Instant | None) -> list[tuple[int, Change]]:
    """Records at or before the instant, oldest first; those of one instant in journal order."""
    known = [
        (offset, record)
        for offset, record in records
        if isinstance(record, kind) and (as_of is None or record.timestamp <= as_of)
    ]
    return sorted(known, key=lambda entry: (entry[1].timestamp, entry[0]))


def _gone(records: Iterable[Numbered], canonical: Mapping[int, int]) -> dict[int, Instant]:
    """Until when each raw key is forgotten: the tombstone of one key covers all that are read as the same."""
    until: dict[int, Instant] = {}
    for _, tombstone in records:
        if isinstance(tombstone, Tombstone):
            key = canonical.get(tombstone.user_key, tombstone.user_key)
            until[key] = max(tombstone.timestamp, until.get(key, tombstone.timestamp))
    joined = {other: until[key] for other, key in canonical.items() if key in until}
    return until | joined
