from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from events.conftest import events, told
from regulars.core.clock import DAY, ManualClock, parse_instant
from regulars.core.errors import InputError
from regulars.core.settings import Settings
from regulars.events.identity import Identities
from regulars.events.intake import Intake
from regulars.events.journal import Journal
from regulars.events.occurrences import Occurrences
from regulars.events.schema import Interaction, ItemChange, UserChange

HEADER = "event_type,user_id,item_id,timestamp,quantity,price\n"
ROWS = (
    "purchase,ann,tea,2024-09-01 10:00:00,2,4.50\n"
    "purchase,ann,tea,2024-09-01 10:00:00,2,4.50\n"  # the same line again: it happened twice
    "view,bob,cup,2024-09-02 11:00:00,,\n"
)
COUNT = Counter({("purchase", "tea", 2.0, 450): 2, ("view", "cup", 1.0, None): 1})


def write_csv(folder: Path) -> Path:
    path = folder / "events.csv"
    path.write_text("\ufeff" + HEADER + ROWS, encoding="utf-8")
    return path


def write_semicolons(folder: Path) -> Path:
    path = folder / "events.txt"
    path.write_text((HEADER + ROWS).replace(",", ";"))
    return path


def write_gzip(folder: Path) -> Path:
    path = folder / "events.csv.gz"
    path.write_bytes(gzip.compress((HEADER + ROWS).encode()))
    return path


def as_rows() -> list[dict[str, str]]:
    names = HEADER.strip().split(",")
    return [dict(zip(names, line.split(","), strict=True)) for line in ROWS.splitlines()]


def write_jsonl(folder: Path) -> Path:
    path = folder / "events.jsonl"
    path.write_text("\n".join(json.dumps({k: v for k, v in row.items() if v}) for row in as_rows()) + "\n\n")
    return path


def write_typed_jsonl(folder: Path) -> Path:
    rows = [{**row, "quantity": float(row["quantity"] or 1), "price": row["price"] and float(row["price"]),
             "timestamp": parse_instant(row["timestamp"])} for row in as_rows()]  # fmt: skip
    path = folder / "typed.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path


def write_parquet(folder: Path) -> Path:
    rows = as_rows()
    path = folder / "events.parquet"
    at = pa.array([parse_instant(row["timestamp"]) for row in rows], pa.int64()).cast(pa.timestamp("us", "UTC"))
    columns = {name: pa.array([row[name] for row in rows]) for name in ("event_type", "user_id", "item_id")}
    columns |= {"timestamp": at, "quantity": pa.array([2, 2, None]), "price": pa.array([4.5, 4.5, None])}
    pq.write_table(pa.table(columns), path)
    return path


WRITERS = [write_csv, write_semicolons, write_gzip, write_jsonl, write_typed_jsonl, write_parquet]


@pytest.mark.parametrize("write", WRITERS)
def test_every_format_brings_the_same_events_once(
    intake: Intake, journal: Journal, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path)
    seen: list[tuple[int, int | None]] = []
    report = intake.ingest([path], on_progress=lambda done, total: seen.append((done, total)))
    assert (report.rows, report.accepted, report.duplicates, report.bad_rows) == (3, 3, 0, 0)
    assert told(journal) == COUNT
    assert seen == [(3, 3)]
    again = intake.ingest([path])
    assert (again.accepted, again.duplicates) == (0, 3)
    assert told(journal) == COUNT


def test_all_formats_agree_on_the_ids_of_rows_without_one(intake: Intake, journal: Journal, tmp_path: Path) -> None:
    report = intake.ingest([write(tmp_path) for write in WRITERS])
    assert (report.accepted, report.duplicates) == (3, 3 * (len(WRITERS) - 1))
    assert told(journal) == COUNT


def test_overlapping_exports_import_once(intake: Intake, journal: Journal, tmp_path: Path) -> None:
    lines = [f"view,u{n % 3},i{n % 5},2024-09-0{1 + n % 9} 10:00:00,,\n" for n in range(60)]
    paths = [tmp_path / name for name in ("first.csv", "second.csv")]
    paths[0].write_text(HEADER + "".join(lines[:45]))
    paths[1].write_text(HEADER + "".join(lines[0:60]))
    assert intake.ingest(paths[:1]).accepted == 45
    assert intake.ingest(paths[1:]).accepted == 15
    assert sum(told(journal).values()) == 60


def test_occurrences_are_numbered_over_batches() -> None:
    rows = [b"%015d%d" % (0, n) for n in (1, 2, 1, 3, 1, 2, 2)]
    whole = Occurrences().ids(rows)
    assert len(set(whole)) == 7
    split = Occurrences()
    assert [name for start in range(0, 7, 2) for name in split.ids(rows[start : start + 2])] == whole


def test_standard_input(intake: Intake, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((HEADER + ROWS).encode())))
    assert intake.ingest(["-"]).accepted == 3
    assert told(journal) == COUNT


BAD = [
    (b"view,,tea,2024-09-01,1,1\n", "nobody to attach to"),
    (b"view,ann,,2024-09-01,1,1\n", "no item_id"),
    (b"view,ann,tea,last week,1,1\n", "not a time"),
    (b"view,ann,tea,2031-01-01,1,1\n", "in the future"),
    (b"view,ann,tea,2024-09-01,1,-1\n", "price: negative"),
    (b"view,ann,tea,2024-09-01,many,1\n", "quantity: not a number"),
    (b"view,ann,t\xe9a,2024-09-01,1,1\n", "item_id: not UTF-8"),
    (b"view,ann,tea\n", "3 cells where the header has 6"),
    (b"view,ann,tea,2024-09-01,1,1,1\n", "7 cells where the header has 6"),
    (b"view,ann," + b"x" * 10_000_000 + b",2024-09-01,1,1\n", "item_id: longer than 65536 bytes"),
    (b"peek,ann,tea,2024-09-01,many,1\n", "unknown event_type; quantity: not a number"),
]


def test_bad_rows_go_to_quarantine_with_line_and_reason(
    journal: Journal, identities: Identities, tmp_path: Path
) -> None:
    good = [b"view,ann,tea,2024-09-%02d,1,1\n" % day for day in range(1, len(BAD) + 1)]
    path = tmp_path / "a shop's events.csv"
    path.write_bytes(
        HEADER.encode() + b"".join(part for pair in zip(good, (row for row, _ in BAD), strict=True) for part in pair)
    )
    settings = Settings().change(events={"bad_share": 0.5})
    intake = Intake(journal, identities, settings, ManualClock(20_000 * DAY))
    report = intake.ingest([path])
    assert (report.rows, report.accepted, report.bad_rows) == (2 * len(BAD), len(BAD), len(BAD))
    (quarantine,) = report.quarantine
    assert quarantine.parent == journal.home / "quarantine"
    rows = [json.loads(line) for line in quarantine.read_text(encoding="utf-8").splitlines()]
    found = {row["line"]: row["why"] for row in rows}
    for number, (_, why) in enumerate(BAD):
        assert why in found[2 * number + 3], (number, found)
    assert max(len(str(row["row"])) for row in rows) < 2000  # not the whole 10 MB
    assert report.bad["quantity: not a number"] == 2
    assert len(report.examples) == 5
    assert {example.line for example in report.examples} <= found.keys()
    assert intake.ingest([path]).duplicates == len(BAD)


def test_too_many_bad_rows_fail_the_import_and_lose_nothing(intake: Intake, journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(HEADER + ROWS + "view,,tea,2024-09-01,1,1\n")
    with pytest.raises(InputError, match=r"1 bad of 4 rows.*nobody.*at most 5.0%.*kept: 3 new") as caught:
        intake.ingest([path])
    assert "quarantine" in str(caught.value)
    assert told(journal) == COUNT


def test_json_lines_that_are_no_objects_are_bad(intake: Intake, journal: Journal, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path)
    path.write_text('{"event_type": \n[1]\n' + path.read_text())
    with pytest.raises(InputError, match=r"2 bad of 5 rows.*not a JSON object"):
        intake.ingest([path])
    assert told(journal) == COUNT


def test_rows_of_nested_values(intake: Intake, journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "nested.jsonl"
    base = {"event_type": "view", "user_id": 7, "item_id": 1, "timestamp": 1_725_000_000}
    path.write_text("".join(json.dumps({**base, "properties": each}) + "\n" for each in ({"a": 1}, {"b": [2]}, None)))
    intake.ingest([path])
    properties = [event.properties for event in events(journal) if isinstance(event, Interaction)]
    assert sorted(map(str, properties)) == ["{'a': 1}", "{'b': [2]}", "{}"]


def test_a_table_of_items_and_one_of_users(intake: Intake, journal: Journal, tmp_path: Path) -> None:
    items, users = tmp_path / "items.csv", tmp_path / "users.jsonl"
    items.write_text(
        "item_id,title,category,price,tags,timestamp\ntea,茶,drinks > tea,4.5,green|loose,2024-01-01\n,x,,,,\n"
    )
    users.write_text('{"user_id": "ann", "city": "Xi\'an", "timestamp": "2024-01-01"}\n')
    intake = Intake(journal, intake.identities, Settings().change(events={"bad_share": 0.5}), intake.clock)
    report = intake.ingest([items, users])
    assert (report.rows, report.items, report.users, report.bad) == (3, 1, 1, {"no item_id": 1})
    (item,) = [event.item for event in events(journal) if isinstance(event, ItemChange)]
    assert (item.title, item.category, item.price, item.tags) == ("茶", ("drinks", "tea"), 450, ("green", "loose"))
    (user,) = [event for event in events(journal) if isinstance(event, UserChange)]
    assert user.attributes == {"city": "Xi'an"}
    assert intake.ingest([items, users]).duplicates == 2


def test_rows_of_every_type_in_one_file(intake: Intake, journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    rows = [
        {"type": "item", "item_id": "tea", "title": "Tea"},
        {"event_type": "view", "user_id": "ann", "item_id": "tea"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = intake.ingest([path])
    assert (report.accepted, report.items) == (2, 1)
    assert [type(event) for event in events(journal)] == [ItemChange, Interaction]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"when,who,what\n1,2,3\n", "the columns when, who, what.*event_type.*StockCode.*column map"),
        (b"a,a\n1,2\n", "a different name for each column"),
        ("gr\u00f6\u00dfe,b\n".encode("latin-1"), "not UTF-8"),
        (b'event_type,user_id,item_id,timestamp\nview,"ann,tea,2024-01-01\n' + b"x" * 70_000_000, "never closed"),
        (b"PAR1 but no more", "a whole Parquet file"),
        (b"PK\x03\x04 but no more", "a whole XLSX workbook"),
        (b"\x1f\x8b but no more", "a whole gzip file"),
        (b"{\n", "no JSON object"),
    ],
)
def test_files_that_cannot_be_used(intake: Intake, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"(?s){message}"):
        intake.ingest([path])


def test_a_file_that_is_not_there(intake: Intake, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        intake.ingest([tmp_path / "nothing.csv"])
    with pytest.raises(InputError, match="'own' or 'online_retail'"):
        intake.ingest([write_csv(tmp_path)], layout="mine")


MAP = """
[columns]
user_id = "customer"
item_id = "sku"
timestamp = "when"
event_type = "action"
price = "paid"
quantity = "n"

[constants]
slot = "home"

[event_types]
buy = "purchase"
look = "view"
"""
WORDS = {"purchase": "buy", "view": "look"}
MAPPED = "customer,sku,when,action,paid,n,more\n" + "".join(
    f"{row['user_id']},{row['item_id']},{row['timestamp']},{WORDS[row['event_type']]},{row['price']},{row['quantity']},x\n"
    for row in as_rows()
)


def test_any_layout_through_a_column_map(intake: Intake, journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(MAP)
    (tmp_path / "theirs.csv").write_text(MAPPED)
    report = intake.ingest([tmp_path / "theirs.csv"], columns=tmp_path / "map.toml")
    assert (report.accepted, report.layouts) == (3, ("mapped",))
    assert told(journal) == COUNT
    assert {event.slot for event in events(journal) if isinstance(event, Interaction)} == {"home"}


def test_items_through_a_column_map(intake: Intake, journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "theirs.csv").write_text("sku,name\ntea,Tea\n")
    columns = {"kind": "item", "columns": {"item_id": "sku", "title": "name"}}
    assert intake.ingest([tmp_path / "theirs.csv"], columns=columns).items == 1
    (item,) = [event.item for event in events(journal) if isinstance(event, ItemChange)]
    assert (item.item_id, item.title) == ("tea", "Tea")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns = 1", "a table of texts"),
        ("kind = 'gift'", "kind"),
        ("", r"\[columns\]"),
        ("[columns]\nitem = 'sku'", "'item_id'"),
        ("[columns", "TOML"),
        ("[columns]\nitem_id = 'absent'", "wanted mapped: absent"),
    ],
)
def test_column_maps_that_cannot_be_used(intake: Intake, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        intake.ingest([write_csv(tmp_path)], columns=tmp_path / "map.toml")


def test_a_shops_zone_and_mixed_times(journal: Journal, identities: Identities, tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    times = ["2024-09-01 08:00:00", "2024-09-01T00:00:00Z", "1725148800", "1725148800000"]
    path.write_text(HEADER + "".join(f"view,u,i,{time},,\n" for time in times))
    settings = Settings().change(shop={"timezone": "Asia/Shanghai"})
    Intake(journal, identities, settings, ManualClock(20_000 * DAY)).ingest([path])
    assert {event.timestamp for event in events(journal)} == {1_725_148_800_000_000}


KILLED = """
import sys
from pathlib import Path
from regulars.core.clock import ManualClock, DAY
from regulars.core.settings import Settings
from regulars.events import ingest
from regulars.events.identity import Identities
from regulars.events.intake import Intake
from regulars.events.journal import Journal
ingest.CHUNK_ROWS = 1
clock, settings = ManualClock(20_000 * DAY), Settings()
journal = Journal(Path(sys.argv[1]), clock=clock, settings=settings.events)
Intake(journal, Identities(journal), settings, clock).ingest(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "fail_point",
    [
        "bulk-before-commit",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("lake-half-written", "lake-file-written")),
    ],
)
def test_an_import_that_was_killed_is_completed_by_repeating_it(tmp_path: Path, fail_point: str) -> None:
    first, second = tmp_path / "first.csv", write_csv(tmp_path)
    first.write_text(HEADER + "view,ann,tea,2024-09-03,,\n")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "shop")]
    subprocess.run([*command, str(first)], check=True)
    files = [str(first), str(second)]
    broken = subprocess.run([*command, *files], env={**os.environ, "REGULARS_FAIL_POINT": fail_point}, check=False)
    assert broken.returncode == -signal.SIGKILL
    journal = Journal(tmp_path / "shop", clock=ManualClock(), settings=Settings().events)
    assert sum(told(journal).values()) == 1
    subprocess.run([*command, *files], check=True)
    assert told(journal) == COUNT + Counter({("view", "tea", 1.0, None): 1})
    journal.close()
