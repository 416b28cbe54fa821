"""A shop's folder with an open journal, and makers of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from regulars.core.clock import DAY, ManualClock
from regulars.core.settings import Settings
from regulars.events.identity import Identities
from regulars.events.intake import Intake
from regulars.events.journal import Journal
from regulars.events.schema import Event, Interaction, Item, ItemChange

NOW = 20_000 * DAY  # 2024-10-04


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
def open_journal(tmp_path: Path, clock: ManualClock, settings: Settings) -> Iterator[Callable[[], Journal]]:
    """Opens the same folder as often as asked, as several processes would."""
    opened: list[Journal] = []

    def make() -> Journal:
        opened.append(Journal(tmp_path / "shop", clock=clock, settings=settings.events))
        return opened[-1]

    yield make
    for journal in opened:
        journal.close()


@pytest.fixture
def journal(open_journal: Callable[[], Journal]) -> Journal:
    return open_journal()


@pytest.fixture
def identities(journal: Journal) -> Identities:
    return Identities(journal)


@pytest.fixture
def intake(journal: Journal, identities: Identities, settings: Settings, clock: ManualClock) -> Intake:
    return Intake(journal, identities, settings, clock)


@pytest.fixture
def view() -> Callable[..., Interaction]:
    def make(number: int, **changes: Any) -> Interaction:
        fields: dict[str, Any] = {
            "event_id": f"e{number}", "user_key": number % 5 + 1, "event_type": "view",
            "timestamp": NOW - 30 * DAY + number % 4 * DAY + number, "item_id": f"i{number % 3}",
        }  # fmt: skip
        return Interaction(**{**fields, **changes})

    return make


@pytest.fixture
def change() -> Callable[[int], ItemChange]:
    return lambda number: ItemChange(event_id=f"c{number}", timestamp=NOW, item=Item(item_id=f"i{number}"))


def events(journal: Journal) -> list[Event]:
    """Every event, by offset."""
    found, after = [], 0
    while window := journal.read(after):
        found += [event for _, event in window]
        after = window[-1][0]
    return found


def told(journal: Journal) -> Counter[tuple[str, str, float, int | None]]:
    """How often each (type, item, pieces, price) was told."""
    interactions = [event for event in events(journal) if isinstance(event, Interaction)]
    return Counter((each.event_type, each.item_id, each.quantity, each.price) for each in interactions)
