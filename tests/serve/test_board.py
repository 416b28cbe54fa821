"""The dashboard's numbers against plain counting."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from regulars.core.clock import DAY, SystemClock
from regulars.events.schema import Interaction
from regulars.rank.slates import Request, State, decision, slates
from regulars.serve.pages import board as board_module
from regulars.serve.pages.board import Board, versions
from serve.parts import Parts


@pytest.fixture
def board(shop: Parts) -> Board:
    return Board(shop.service, shop.home / "models")


def events_of(shop: Parts) -> list[Interaction]:
    return [event for _, event in shop.journal.read(0, 100_000) if isinstance(event, Interaction)]


@pytest.mark.parametrize("compacted", [False, True])
def test_counts_equal_plain_loops(shop: Parts, board: Board, compacted: bool) -> None:
    shop.service.record_events([
        {"session_id": "web", "event_type": "view", "item_id": "i001"},
        {"type": "identify", "user_id": "user-3", "session_id": "web"},
    ])  # fmt: skip
    if compacted:
        assert shop.journal.compact() > 0
    times: dict[int, list[int]] = defaultdict(list)
    kinds: dict[str, set[int]] = defaultdict(set)
    web, user = shop.service.key("s:web"), shop.service.key("u:user-3")
    for event in events_of(shop):
        key = user if event.user_key == web else event.user_key
        times[key].append(event.timestamp)
        kinds[event.event_type].add(key)
    gap = shop.settings.clean.session_gap
    sessions = sum(
        1 + sum(later - earlier > gap for earlier, later in zip(sorted(at), sorted(at)[1:], strict=False))
        for at in times.values()
    )
    data = board.data()
    assert (data["loop"]["events"], data["loop"]["sessions"], data["loop"]["shoppers"]) == (961, sessions, 40)
    assert {row["step"]: row["shoppers"] for row in data["funnel"] if row["events"]} == {
        kind: len(who) for kind, who in kinds.items()
    }


def test_an_empty_shop_has_a_dashboard(bare_shop: Parts) -> None:
    data = Board(bare_shop.service, bare_shop.home / "models").data()
    assert {data["loop"][name] for name in ("events", "sessions", "shoppers", "slates", "orphans")} == {0}
    assert data["versions"] == data["slots"] == data["positions"] == []


def test_rates_count_closed_slates(shop: Parts, board: Board) -> None:
    now = SystemClock().now()
    for i, age in enumerate([30 * DAY, 30 * DAY, 20 * DAY, 0]):
        state = State(shop.service.bundle, shop.service.live, shop.settings, now - age)
        request = Request(user_key=shop.service.key("u:user-1"), recommendation_id=f"r{i}", limit=3)
        [slate] = slates([request], state)
        shop.journal.submit(decision(slate, request, state))
        if i == 0:
            click = {"user_id": "user-1", "event_type": "click", "item_id": slate.items[1].item_id,
                     "timestamp": now - age + 60_000_000, "recommendation_id": "r0", "position": 1}  # fmt: skip
            shop.service.record_events([click])
    shop.journal.flush()
    data = board.data()
    [slot] = data["slots"]
    assert (slot["slot"], slot["slates"], slot["clicked"]) == ("home", 3, 1)
    assert slot["click_rate_low"] < slot["click_rate"] < slot["click_rate_high"]
    assert [(row["position"], row["seen"], row["clicked"]) for row in data["positions"]] == [
        (0, 3, 0), (1, 3, 1), (2, 3, 0)
    ]  # fmt: skip
    assert data["loop"]["open"] == 1


def test_events_that_name_no_slate_are_orphans(shop: Parts, board: Board) -> None:
    row = {"user_id": "user-1", "event_type": "click", "item_id": "i001", "recommendation_id": "nobody made it"}
    shop.service.record_events([row])
    assert board.data()["loop"]["orphans"] == 1


def test_numbers_are_kept_for_a_while(shop: Parts, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    first = board.data()
    assert board.data() is first
    monkeypatch.setattr(board_module, "KEEP_S", 0.0)
    monkeypatch.setattr(board_module, "REST", 0)
    fresh = Board(shop.service, shop.home / "models")
    assert fresh.data() is not fresh.data()


def test_versions_newest_first_with_table_and_verdict(shop: Parts, board: Board) -> None:
    shop.publish("v2", ("popular",))
    (shop.home / "models" / "torn").mkdir()
    (shop.home / "models" / "torn" / "bundle.json").write_text("{")
    found: list[dict[str, Any]] = versions(shop.home / "models", "v1")
    assert [(each["version"], each["current"]) for each in found] == [("v2", False), ("v1", True)]
    assert found[0]["table"][0]["model"] == "slate"
    assert found[0]["verdict"]["accepted"]


def test_quarantine_counts_rows(shop: Parts, board: Board, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(
        "user_id,event_type,item_id,timestamp\n" + "u,view,i001,2026-01-01\n" * 60 + "u,view,,2026-01-01\n"
    )
    shop.service._intake.ingest([bad])
    [row] = board.data()["quarantine"]
    assert row["rows"] == 1
