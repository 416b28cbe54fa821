from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from regulars.core.clock import DAY, ManualClock
from regulars.core.settings import Settings
from regulars.events.identity import Identities
from regulars.events.intake import Intake
from regulars.events.journal import Journal
from regulars.events.rows import INTERACTION
from regulars.events.schema import Event, Identify, Interaction, ItemChange, UserChange

NOW = 20_000 * DAY  # as in conftest
ROW = {"event_type": "view", "user_id": "ann", "item_id": "tea"}


def one(intake: Intake, row: Mapping[str, Any]) -> Event:
    (result,) = intake.record([row])
    assert result.status == "accepted", result.why
    assert result.event is not None
    return result.event


def why(intake: Intake, row: Any) -> tuple[str, ...]:
    (result,) = intake.record([row])
    assert result.status == "rejected"
    assert result.event is None
    assert result.why
    return result.why


def test_a_row_becomes_an_event_on_disk(intake: Intake, identities: Identities, journal: Journal) -> None:
    row = {
        **ROW, "event_id": "e1", "session_id": "s1", "timestamp": "2024-09-01T10:00:00+02:00", "quantity": 2,
        "price": "12.345", "order_id": 77, "value": 4.5, "text": " nice ", "recommendation_id": "r1", "slot": "home",
        "position": 3, "properties": {"colour": "red"},
    }  # fmt: skip
    (key,) = identities.keys(["u:ann"], create=False)
    assert key == -1
    event = one(intake, row)
    (key,) = identities.keys(["u:ann"], create=False)
    at = int(datetime(2024, 9, 1, 8, tzinfo=UTC).timestamp()) * 1_000_000
    assert event == Interaction(
        event_id="e1", user_key=key, event_type="view", timestamp=at, item_id="tea", session_id="s1", quantity=2.0,
        price=1234, order_id="77", value=4.5, text="nice", recommendation_id="r1", slot="home", position=3,
        properties={"colour": "red"},
    )  # fmt: skip
    assert journal.read(0) == [(1, event)]
    assert intake.record([row])[0].status == "duplicate"


def test_one_bad_row_never_stops_the_others_and_all_its_faults_are_told(
    intake: Intake, identities: Identities
) -> None:
    bad = {"event_type": "vew", "quantity": 0, "price": "-1", "user_id": "stranger", "colour": "red"}
    results = intake.record([ROW, bad, {**ROW, "item_id": "cup"}])
    assert [result.status for result in results] == ["accepted", "rejected", "accepted"]
    faults = " | ".join(results[1].why)
    for part in (
        "perhaps 'view'",
        "no item_id",
        "quantity: not above 0",
        "price: negative",
        "unknown field 'colour'",
    ):
        assert part in faults
    assert identities.keys(["u:stranger"], create=False) == [-1]  # a rejected row leaves no trace of its shopper


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"user_id": ""}, "nobody to attach to"),
        ({"item_id": None}, "no item_id"),
        ({"timestamp": "yesterday"}, "not a time"),
        ({"timestamp": NOW + 2 * DAY}, "in the future"),
        ({"timestamp": "1969-12-31"}, "before 1970"),
        ({"quantity": "three"}, "quantity: not a number"),
        ({"quantity": float("nan")}, "quantity: not a number"),
        ({"quantity": True}, "quantity: not a number"),
        ({"value": "1e300"}, "value: not a number"),
        ({"price": "1e30"}, "price: too large"),
        ({"price": 1, "currency": "EUR"}, "no rate"),
        ({"position": 1.5}, "position: not a whole number"),
        ({"position": -1}, "position: not a whole number"),
        ({"item_id": ["a"]}, "item_id: not a text"),
        ({"text": "x" * 70_000}, "longer than 65536 bytes"),
        ({"properties": "[1]"}, "not an object"),
        ({"properties": {"a": "x" * 70_000}}, "longer than 65536 bytes"),
        ({"properties": {1: 2}}, "not an object"),
        ({"type": "order"}, "type: must be one of"),
    ],
)
def test_faults(intake: Intake, change: dict[str, Any], fault: str) -> None:
    assert fault in " ".join(why(intake, {**ROW, **change}))


def test_what_is_no_row_is_rejected(intake: Intake) -> None:
    assert "must be an object" in why(intake, ["view"])[0]


def test_an_idempotency_key_makes_a_repeated_request_harmless(intake: Intake, journal: Journal) -> None:
    rows = [ROW, ROW]
    assert [r.status for r in intake.record(rows, idempotency_key="k")] == ["accepted", "accepted"]
    assert [r.status for r in intake.record(rows, idempotency_key="k")] == ["duplicate", "duplicate"]
    assert [r.status for r in intake.record(rows)] == ["accepted", "accepted"]  # without one they count as new
    assert journal.last_offset == 4


def test_the_strongest_id_names_the_shopper(intake: Intake, identities: Identities) -> None:
    row = {"event_type": "view", "item_id": "tea", "anonymous_id": "7", "session_id": "7"}
    events = [one(intake, each) for each in ({**row, "user_id": "7"}, row, {**row, "anonymous_id": ""})]
    keys = [event.user_key for event in events if isinstance(event, Interaction)]
    assert [identities.external(key) for key in keys] == ["u:7", "a:7", "s:7"]


def test_searches_need_no_item_and_times_default_to_now(intake: Intake) -> None:
    event = one(intake, {"event_type": "search", "user_id": "ann", "text": "茶"})
    assert (event.timestamp, event.text) == (NOW, "茶")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("shop", "rates", "row", "minor"),
    [
        ("JPY", {}, {"price": "1200"}, 1200),
        ("KWD", {}, {"price": "1.2345"}, 1234),  # a half goes to the even neighbour
        ("USD", {}, {"price": 19.99}, 1999),
        ("USD", {"EUR": 1.5}, {"price": "2.00", "currency": "eur"}, 300),
        ("USD", {"JPY": 0.01}, {"price": 500, "currency": "JPY"}, 500),
    ],
)
def test_money(journal: Journal, identities: Identities, shop: str, rates: dict[str, float],
               row: dict[str, Any], minor: int) -> None:  # fmt: skip
    settings = Settings().change(shop={"currency": shop}, events={"rates": rates})
    event = one(Intake(journal, identities, settings, ManualClock(NOW)), {**ROW, **row})
    assert isinstance(event, Interaction)
    assert (event.price, event.currency) == (minor, "")


def test_a_time_without_a_zone_is_the_shops(journal: Journal, identities: Identities) -> None:
    settings = Settings().change(shop={"timezone": "Asia/Shanghai"})
    intake = Intake(journal, identities, settings, ManualClock(NOW))
    local = one(intake, {**ROW, "timestamp": "2024-09-01 08:00:00"})
    assert local.timestamp == one(intake, {**ROW, "timestamp": "2024-09-01T00:00:00Z"}).timestamp
    assert local.timestamp == one(intake, {**ROW, "timestamp": 1_725_148_800}).timestamp
    assert local.timestamp == one(intake, {**ROW, "timestamp": datetime(2024, 9, 1, 8)}).timestamp


def test_items(intake: Intake) -> None:
    row = {
        "type": "item", "item_id": "tea", "title": "茶", "category": "drinks > tea", "tags": ["green", "loose"],
        "price": "4.50", "available": "no", "released_at": "2024-01-01", "origin": "Fujian",
    }  # fmt: skip
    event = one(intake, row)
    assert isinstance(event, ItemChange)
    item = event.item
    assert (item.category, item.tags, item.price) == (("drinks", "tea"), ("green", "loose"), 450)
    assert (item.available, item.released_at, item.properties) == (False, 19_723 * DAY, {"origin": "Fujian"})
    assert one(intake, {**row, "category": ["a", "b"], "deleted": True}).deleted is True  # type: ignore[union-attr]
    faults = " ".join(why(intake, {"type": "item", "kind": "gift", "available": "perhaps", "tags": [1]}))
    for part in ("no item_id", "kind", "not true or false", "not a list of texts"):
        assert part in faults


def test_users_and_identify(intake: Intake, identities: Identities, journal: Journal) -> None:
    user = one(
        intake, {"type": "user", "user_id": "ann", "attributes": {"city": "Xi'an"}, "links": ["bob"], "age": 30}
    )
    ann, bob, phone = identities.keys(["u:ann", "u:bob", "a:phone"])
    assert isinstance(user, UserChange)
    assert (user.user_key, user.links, user.attributes) == (ann, (bob,), {"city": "Xi'an", "age": 30})
    joined = one(intake, {"type": "identify", "user_id": "ann", "anonymous_id": "phone"})
    assert isinstance(joined, Identify)
    assert (joined.user_key, joined.other_key) == (ann, phone)
    assert journal.snapshot().canonical() == {phone: ann}
    assert "identify needs" in why(intake, {"type": "identify", "user_id": "ann"})[0]


def test_keys_are_random_and_can_be_forgotten(identities: Identities, open_journal: Callable[[], Journal]) -> None:
    names = [f"u:{n}" for n in range(2000)]
    keys = identities.keys([*names, "u:0"])
    assert keys[0] == keys[-1]
    assert len(set(keys)) == 2000
    assert Identities(open_journal()).keys(names) == keys[:-1]  # another process sees the same
    bits = np.unpackbits(np.array(keys[:-1], dtype=np.uint64).view(np.uint8)).mean() * 64 / 63
    assert abs(bits - 0.5) < 6 * 0.5 / np.sqrt(63 * 2000)  # six standard errors: a failure rate below 1e-8
    listed = identities.users(limit=10)
    assert [key for _, key in listed] == sorted(keys[:-1])[:10]
    assert [identities.external(key) for _, key in listed] == [f"u:{name}" for name, _ in listed]
    assert identities.forget(keys[:1]) == 1
    assert identities.external(keys[0]) is None
    assert identities.keys(["u:0"]) != keys[:1]
    with pytest.raises(Exception, match="'u:', 'a:' or 's:'"):
        identities.keys(["ann"])


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.datetimes(),
              st.sampled_from(["view", "search", "2024-01-01", "1.5", "{}", "\ud800", "a\0b"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from([*INTERACTION, "attributes", "links", "tags", "title", "category"]), st.text(max_size=4)
)


@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    row=st.dictionaries(NAMES, ANYTHING, max_size=8),
    kind=st.sampled_from(["interaction", "item", "user", "identify"]),
    base=st.booleans(),
)
def test_no_row_whatever_stops_its_neighbours(intake: Intake, row: dict[str, Any], kind: str, base: bool) -> None:
    odd = {**(ROW if base else {}), "type": kind, **row}
    first, middle, last = intake.record([ROW, odd, ROW])
    assert (first.status, last.status) == ("accepted", "accepted")
    assert (middle.event is None) == (middle.status == "rejected") == bool(middle.why)


def rows_to_columns(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


EDGES: list[dict[str, Any]] = [
    {}, {"user_id": ""}, {"user_id": "", "anonymous_id": "x"}, {"item_id": ""}, {"event_type": "search"},
    {"event_type": "search", "item_id": ""},
    {"event_type": "vew"}, {"timestamp": "2024-09-01"}, {"timestamp": "2024-09-01T08:00:00.25+02:00"},
    {"timestamp": 1_700_000_000}, {"timestamp": 1_700_000_000_000}, {"timestamp": "1700000000000001"},
    {"timestamp": "soon"}, {"timestamp": "2031-01-01"}, {"timestamp": "1969-01-01"}, {"quantity": "2.5"},
    {"quantity": 0}, {"quantity": "-1"}, {"quantity": "1e400"}, {"quantity": "two"}, {"quantity": "nan"},
    {"price": "1.005"}, {"price": "1.015"}, {"price": 0.125}, {"price": "-2"}, {"price": "1e30"}, {"price": ""},
    {"price": "3", "currency": "eur"}, {"price": "3", "currency": "XYZ"}, {"price": "7.77", "currency": "JPY"},
    {"position": 32_767}, {"position": 32_768}, {"position": "1.5"}, {"position": -1}, {"value": "4.5"},
    {"value": "x"},
    {"text": "  茶 "}, {"text": "x" * 65_536}, {"text": "x" * 65_537}, {"properties": '{"a": 1}'},
    {"properties": "[]"},
    {"order_id": 12}, {"user_id": 12}, {"user_id": "a\0b"},
]  # fmt: skip


def test_files_and_loose_rows_go_by_the_same_rules(
    intake: Intake, journal: Journal, settings: Settings, identities: Identities, tmp_path: Path
) -> None:
    """The same rows, one way through `rows.py`, one way through `columns.py`: a second way to the same events."""
    generous = settings.change(events={"rates": {"EUR": 1.1, "JPY": 0.007}, "bad_share": 1})
    intake = Intake(journal, identities, generous, intake.clock)
    base = {**ROW, "timestamp": "2024-09-01T08:00:00Z"}
    rows = [{**base, **edge, "event_id": f"loose-{n}"} for n, edge in enumerate(EDGES)]
    results = intake.record(rows)
    loose = [replace_id(result.event, "") for result in results if result.event is not None]
    before = journal.last_offset
    report = intake.ingest(
        [rows_to_columns(tmp_path / "rows.jsonl", [{**r, "event_id": f"file-{n}"} for n, r in enumerate(rows)])]
    )
    assert report.bad_rows == sum(result.status == "rejected" for result in results)
    filed = {event.event_id: event for _, event in journal.read(before)}
    ordered = [replace_id(filed[f"file-{n}"], "") for n in range(len(rows)) if f"file-{n}" in filed]
    assert ordered == loose
    lines = (json.loads(line) for line in report.quarantine[0].read_text().splitlines())
    told = {row["line"]: row["why"] for row in lines}
    for number, result in enumerate(results, 1):
        if result.status == "rejected":
            for each in told[number].split("; "):  # every fault of a file's row is one of the loose row's
                assert any(each in fault or fault.startswith(each) for fault in result.why), (each, result.why)


def replace_id(event: Event, event_id: str) -> Event:
    from msgspec.structs import replace as change

    return change(event, event_id=event_id)
