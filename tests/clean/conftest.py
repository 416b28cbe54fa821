"""A small shop to fill by hand: a real journal, and short words for its events."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from regulars.clean.dataset import Cleaning
from regulars.clean.report import CleanReport
from regulars.core.clock import DAY, ManualClock
from regulars.core.data import Dataset
from regulars.core.settings import EventsSettings, Settings
from regulars.events.journal import Journal
from regulars.events.schema import (
    Decision,
    Event,
    Identify,
    Interaction,
    Item,
    ItemChange,
    Reason,
    SlateItem,
    Tombstone,
    UserChange,
)

T0 = 20_000 * DAY


class Shop:
    """Appends events to a journal; times are microseconds after `T0`."""

    def __init__(self, home: Path) -> None:
        self.t0 = T0
        self.journal = Journal(home, clock=ManualClock(T0 + 1000 * DAY), settings=EventsSettings())
        self._numbers = itertools.count()

    def append(self, *events: Event) -> None:
        receipts = self.journal.append(events)
        assert not any(receipt.duplicate for receipt in receipts)

    def _fresh(self, at: int) -> dict[str, Any]:
        return {"event_id": f"e{next(self._numbers)}", "timestamp": T0 + at}

    def event(self, user: int, kind: str, item: str, at: int, **more: Any) -> Interaction:
        named = self._fresh(at) | more
        return Interaction(user_key=user, event_type=cast(Any, kind), item_id=item, **named)

    def did(self, user: int, kind: str, item: str, at: int, **more: Any) -> None:
        self.append(self.event(user, kind, item, at, **more))

    def item(self, item_id: str, at: int, *, deleted: bool = False, **more: Any) -> None:
        self.append(ItemChange(**self._fresh(at), item=Item(item_id=item_id, **more), deleted=deleted))

    def user(self, key: int, at: int, **more: Any) -> None:
        self.append(UserChange(**self._fresh(at), user_key=key, **more))

    def joined(self, key: int, other: int, at: int) -> None:
        self.append(Identify(**self._fresh(at), user_key=key, other_key=other))

    def forget(self, key: int, at: int) -> None:
        self.append(Tombstone(**self._fresh(at), user_key=key))

    def slate(self, rec_id: str, user: int, items: Iterable[str], at: int) -> None:
        entries = tuple(
            SlateItem(item_id=name, score=1.0, position=position, propensity=1.0, source="popular",
                      reason=Reason(kind="popular", text="popular"))
            for position, name in enumerate(items)
        )  # fmt: skip
        self.append(Decision(
            event_id=rec_id, timestamp=T0 + at, user_key=user, slot="home", policy="slate", model_version="v1",
            settings_hash="", items=entries, n_candidates=len(entries),
        ))  # fmt: skip

    def cleaning(self, **clean: Any) -> Cleaning:
        return Cleaning(self.journal, Settings().change(clean=clean, train={"threads": 1}))

    def build(self, **clean: Any) -> tuple[Dataset, CleanReport]:
        return self.cleaning(**clean).whole()

    def dataset(self, as_of: int | None = None, **clean: Any) -> Dataset:
        cleaning = self.cleaning(**clean)
        return cleaning.whole()[0] if as_of is None else cleaning.as_of(T0 + as_of)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path / "home")
    yield opened
    opened.journal.close()


@dataclass
class FakeSnapshot:
    """Rows of interactions wherever a test puts them."""

    files: tuple[str, ...]
    tail: pa.Table
    offset: int = 0
    record_files: tuple[str, ...] = ()
    tail_records: tuple[tuple[int, Event], ...] = ()

    def canonical(self) -> dict[int, int]:
        return {}


@dataclass
class FakeJournal:
    """Holds one snapshot."""

    home: Path
    view: FakeSnapshot

    def snapshot(self) -> FakeSnapshot:
        return self.view


@pytest.fixture
def clean_from(tmp_path: Path) -> Callable[..., Cleaning]:
    """build(files, tail, settings): cleaning of these Parquet files and this Arrow table."""

    def build(files: Iterable[Path], tail: pa.Table, settings: Settings | None = None) -> Cleaning:
        journal = FakeJournal(tmp_path, FakeSnapshot(tuple(map(str, files)), tail))
        return Cleaning(cast(Journal, journal), settings or Settings())

    return build


def differences(a: Dataset, b: Dataset) -> list[str]:
    """Names of everything in which two Datasets differ."""
    found = [] if a.as_of == b.as_of else ["as_of"]
    pairs = [(part, getattr(a, part), getattr(b, part)) for part in ("users", "items", "interactions", "shown")]
    for part, left, right in pairs:
        for spec in fields(left):
            one, other = getattr(left, spec.name), getattr(right, spec.name)
            if spec.name in ("ids", "keys"):
                one, other = one.ids, other.ids
            same = np.array_equal(one, other, equal_nan=one.dtype.kind == "f") if isinstance(one, np.ndarray) else (
                list(one) == list(other)
            )  # fmt: skip
            if not same:
                found.append(f"{part}.{spec.name}")
    return found


@pytest.fixture(name="differences")
def _differences() -> Callable[[Dataset, Dataset], list[str]]:
    return differences
