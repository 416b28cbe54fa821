"""One consistent view of all events up to an offset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from regulars.core.clock import Instant
from regulars.events.lake import read, records_of
from regulars.events.schema import Event, Identify


@dataclass(frozen=True)
class Snapshot:
    """Files of the lake plus the journal's tail, as one read transaction saw them."""

    offset: int
    files: tuple[str, ...]  # Parquet files of interactions
    tail: pa.Table  # lake.INTERACTIONS
    record_files: tuple[str, ...] = field(repr=False)
    tail_records: tuple[tuple[int, Event], ...] = field(repr=False)

    def interactions(self, columns: Sequence[str], *, since: Instant | None = None) -> pa.Table:
        """Some columns of every interaction, lake and tail, in no particular order; `since`: only later ones."""
        names, tail, later = list(columns), self.tail, None
        if since is not None:
            later, tail = [("timestamp", ">", since)], tail.filter(pc.greater(tail["timestamp"], since))
        parts = [read(file, names, later) for file in self.files]
        return pa.concat_tables([*parts, tail.select(names)], promote_options="permissive")

    def records(self, kind: str, *, since: Instant | None = None) -> list[tuple[int, Event]]:
        """Every event of a kind that is not an interaction, by offset; `since`: only those later than that.

        `kind` is the event's tag: item, user, identify, tombstone or decision.
        """
        found = [pair for pair in self.tail_records if pair[1].__struct_config__.tag == kind]
        filters: list[tuple[str, str, object]] = [("kind", "=", kind)]
        if since is not None:
            found = [pair for pair in found if pair[1].timestamp > since]
            filters.append(("timestamp", ">", since))
        for file in self.record_files:
            found += records_of(read(file, filters=filters))
        return sorted(found, key=lambda pair: pair[0])

    def canonical(self) -> dict[int, int]:
        """Key -> the key it is read as, for every key that an identify event (or a chain of them) joined away."""
        return canonical_keys(event for _, event in self.records("identify") if isinstance(event, Identify))


def canonical_keys(identifies: Iterable[Identify]) -> dict[int, int]:
    """Key -> the key it is read as, from identify events in journal order."""
    parents: dict[int, int] = {}

    def root(key: int) -> int:
        while key in parents:
            key = parents[key]
        return key

    for event in identifies:
        kept, joined = root(event.user_key), root(event.other_key)
        if kept != joined:
            parents[joined] = kept
    return {key: root(key) for key in parents}
