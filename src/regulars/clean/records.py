"""What the journal holds beside interactions, as of an instant: identities, tombstones, changes, decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
import pyarrow.parquet as pq

from regulars.core.clock import Instant
from regulars.events.schema import Decision, Event, Identify, ItemChange, Tombstone, UserChange
from regulars.events.snapshot import canonical_keys

if TYPE_CHECKING:
    from regulars.events.snapshot import Snapshot

BATCH = 4096


class Place(msgspec.Struct, frozen=True, gc=False):
    """One position of a slate: which item stood where."""

    item_id: str
    position: int


class Showing(msgspec.Struct, frozen=True, gc=False, tag="decision"):
    """What of a Decision says who saw what and when.

    A Decision carries scores and reasons for every item: with 30,000 slates of ten, decoding no more than this
    halves the time of a whole `build_dataset`.
    """

    event_id: str
    timestamp: Instant
    user_key: int
    items: tuple[Place, ...]


Known = TypeVar("Known", ItemChange, UserChange, Showing)
Numbered: TypeAlias = tuple[int, "Event | Showing"]
_decoder = msgspec.json.Decoder(ItemChange | UserChange | Identify | Tombstone | Showing)


@dataclass(frozen=True, slots=True)
class Records:
    """Shoppers are named by the key they are read as; what a tombstone covers is gone."""

    canonical: Mapping[int, int]
    gone: Mapping[int, Instant]  # every raw key of a forgotten shopper -> instant of the tombstone
    items: list[ItemChange]  # oldest first
    users: list[UserChange]  # oldest first
    decisions: list[Showing]
    first_offset: Mapping[int, int]  # of a shopper's changes and decisions

    def canonical_key(self, key: int) -> int:
        """The key that this one is read as."""
        return self.canonical.get(key, key)

    @property
    def last_at(self) -> Instant:
        """Latest instant of all, 0 where there is none."""
        every: list[ItemChange | UserChange | Showing] = [*self.items, *self.users, *self.decisions]
        return max((each.timestamp for each in every), default=0)


def read_known(snapshot: Snapshot) -> list[Numbered]:
    """Every record once, by offset."""
    return sorted(_read(snapshot), key=lambda entry: entry[0])


def records_as_of(known: Sequence[Numbered], as_of: Instant | None) -> Records:
    """What was known at an instant; identities and tombstones hold for every instant, whenever they became known."""
    canonical = canonical_keys(each for _, each in known if isinstance(each, Identify))
    gone = _gone(known, canonical)
    users = _alive(_up_to(known, UserChange, as_of), gone)
    decisions = _alive(_up_to(known, Showing, as_of), gone)
    first_offset: dict[int, int] = {}
    seen = [(offset, each.user_key) for offset, each in users] + [
        (offset, each.user_key) for offset, each in decisions
    ]
    for offset, raw_key in seen:
        key = canonical.get(raw_key, raw_key)
        first_offset[key] = min(offset, first_offset.get(key, offset))
    return Records(
        canonical=canonical,
        gone=gone,
        items=[change for _, change in _up_to(known, ItemChange, as_of)],
        users=[change for _, change in users],
        decisions=[decision for _, decision in decisions],
        first_offset=first_offset,
    )


def _read(snapshot: Snapshot) -> Iterator[Numbered]:
    """Every record once, batch by batch."""
    for offset, event in snapshot.tail_records:
        yield offset, _showing(event) if isinstance(event, Decision) else event
    for file in snapshot.record_files:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(BATCH, columns=["offset", "payload"]):
                payloads = batch.column("payload").to_pylist()
                yield from zip(batch.column("offset").to_pylist(), map(_decoder.decode, payloads), strict=True)


def _showing(decision: Decision) -> Showing:
    places = tuple(Place(entry.item_id, entry.position) for entry in decision.items)
    return Showing(decision.event_id, decision.timestamp, decision.user_key, places)


def _up_to(records: Iterable[Numbered], kind: type[Known], as_of: Instant | None) -> list[tuple[int, Known]]:
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


Own = TypeVar("Own", UserChange, Showing)


def _alive(records: list[tuple[int, Own]], gone: Mapping[int, Instant]) -> list[tuple[int, Own]]:
    return [
        (offset, record)
        for offset, record in records
        if record.user_key not in gone or record.timestamp > gone[record.user_key]
    ]
