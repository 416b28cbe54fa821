from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from regulars.core.clock import ManualClock
from regulars.core.errors import InputError, StorageError
from regulars.core.settings import EventsSettings
from regulars.events import database, lake
from regulars.events.bulk import BulkCount
from regulars.events.journal import Journal, Receipt
from regulars.events.schema import Event, Identify, Interaction, ItemChange

View = Callable[..., Interaction]
Change = Callable[[int], ItemChange]


def everything(journal: Journal, limit: int = 7) -> list[tuple[int, Event]]:
    found: list[tuple[int, Event]] = []
    while events := journal.read(found[-1][0] if found else 0, limit):
        found += events
    return found


def test_receipts_and_order(journal: Journal, view: View, change: Change) -> None:
    assert journal.append([view(1), change(2)]) == [Receipt(1, False), Receipt(2, False)]
    assert journal.append([view(1), view(3)]) == [Receipt(None, True), Receipt(3, False)]
    assert journal.append([]) == []
    assert everything(journal) == [(1, view(1)), (2, change(2)), (3, view(3))]
    assert journal.last_offset == 3


def test_an_id_twice_in_one_append_counts_once(journal: Journal, view: View) -> None:
    assert journal.append([view(1), view(1)]) == [Receipt(1, False), Receipt(None, True)]


def test_submitted_events_are_there_after_a_flush_and_after_closing(
    open_journal: Callable[[], Journal], view: View
) -> None:
    journal = open_journal()
    journal.submit(view(1))
    journal.flush()
    assert everything(journal) == [(1, view(1))]
    journal.submit(view(2))
    journal.close()
    journal.close()
    assert everything(open_journal()) == [(1, view(1)), (2, view(2))]
    with pytest.raises(StorageError, match="closed journal"):
        journal.append([view(3)])


@pytest.mark.parametrize("repeats", [1, 2])
def test_compaction_moves_everything_and_changes_nothing(
    journal: Journal, view: View, change: Change, repeats: int
) -> None:
    full = view(
        0, session_id="s", quantity=2.5, price=199, order_id="o", value=4.0, text="Tee 茶", currency="EUR",
        recommendation_id="r", slot="home", position=3, properties={"a": [1, None], "b": "x"},
    )  # fmt: skip
    events: list[Event] = [full, *(view(n) for n in range(1, 40)), *(change(n) for n in range(5))]
    journal.append(events)
    before = everything(journal)
    for _ in range(repeats):
        moved = journal.compact()
    assert moved == (45 if repeats == 1 else 0)
    assert journal.n_waiting == 0
    assert everything(journal) == before
    assert journal.append([full, change(1)]) == [Receipt(None, True)] * 2  # the ids outlive the move


def test_compaction_waits_for_enough_rows(journal: Journal, view: View) -> None:
    journal.append([view(1)])
    assert journal.compact(at_least=2) == 0
    assert journal.compact(at_least=1) == 1


def test_a_bulk_append_dedupes_and_can_be_read_at_once(journal: Journal, view: View) -> None:
    journal.append([view(3)])
    events = [view(n) for n in (5, 3, 4, 4)]
    table = lake.table_of([(0, 0, event) for event in events]).select(lake.BULK.names)
    assert journal.append_bulk(table) == BulkCount(2, 2)
    assert journal.append_bulk(table) == BulkCount(0, 4)
    # offsets follow (day, user_key, timestamp): event 4 is of the first day, 5 of the second
    assert everything(journal) == [(1, view(3)), (2, view(4)), (3, view(5))]
    with pytest.raises(InputError, match="slot"):
        journal.append_bulk(table.drop_columns(["slot"]))


def test_files_lie_by_day_sorted_and_named_by_the_manifest(journal: Journal, view: View) -> None:
    journal.append([view(n) for n in range(40)])
    journal.compact()
    snapshot = journal.snapshot()
    days = {Path(file).parent.name for file in snapshot.files}
    assert days == {"day=2024-09-04", "day=2024-09-05", "day=2024-09-06", "day=2024-09-07"}
    assert {str(path) for path in journal.lake.rglob("*.parquet")} == set(snapshot.files)
    for file in snapshot.files:
        rows = pq.read_table(file, partitioning=None)
        keys = list(zip(*(rows.column(name).to_pylist() for name, _ in lake.ORDER), strict=True))
        assert keys == sorted(keys)
        assert rows.schema.equals(lake.INTERACTIONS)


def test_a_snapshot_stands_still(journal: Journal, view: View, change: Change) -> None:
    journal.append([view(1), change(1)])
    journal.compact()
    journal.append([view(2), change(2)])
    snapshot = journal.snapshot()
    journal.append([view(3), change(3)])
    journal.compact()
    ids = snapshot.interactions(["event_id"]).column("event_id").to_pylist()
    assert sorted(ids) == ["e1", "e2"]
    assert snapshot.records("item") == [(2, change(1)), (4, change(2))]
    assert snapshot.records("user") == []
    assert snapshot.offset == 4
    assert snapshot.tail.column("offset").to_pylist() == [3]


def test_identify_events_join_keys_also_in_chains(journal: Journal) -> None:
    pairs = [(1, 2), (3, 4), (1, 3), (2, 1), (9, 8)]
    journal.append(
        [Identify(event_id=f"j{n}", timestamp=n, user_key=a, other_key=b) for n, (a, b) in enumerate(pairs)]
    )
    assert journal.snapshot().canonical() == {2: 1, 4: 1, 3: 1, 8: 9}


def test_the_interactions_of_the_lake_have_the_fields_of_the_schema() -> None:
    assert tuple(lake.BULK.names) == Interaction.__struct_fields__


@hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.lists(st.integers(0, 30), max_size=8)),
            st.tuples(st.just("bulk"), st.lists(st.integers(0, 30), min_size=1, max_size=8)),
            st.tuples(st.just("compact"), st.just([])),
        ),
        max_size=8,
    )
)
def test_any_order_of_writes_holds_each_id_once_under_dense_offsets(
    steps: list[tuple[str, list[int]]], view: View, tmp_path_factory: pytest.TempPathFactory
) -> None:
    journal = Journal(tmp_path_factory.mktemp("shop"), clock=ManualClock(), settings=EventsSettings())
    expected: dict[str, Interaction] = {}
    for step, numbers in steps:
        events = [view(n) for n in numbers]
        if step == "append":
            journal.append(events)
        elif step == "bulk":
            journal.append_bulk(lake.table_of([(0, 0, event) for event in events]).select(lake.BULK.names))
        else:
            journal.compact()
        expected.update({event.event_id: event for event in events})
    found = everything(journal, limit=5)
    assert [offset for offset, _ in found] == list(range(1, len(expected) + 1))
    assert {event.event_id: event for _, event in found} == expected
    journal.close()


def test_threads_and_handles_share_one_order(open_journal: Callable[[], Journal], view: View) -> None:
    handles = [open_journal(), open_journal()]
    receipts: dict[str, int | None] = {}

    def work(worker: int) -> None:
        for start in range(0, 40, 8):
            events = [view(n, event_id=f"{worker}-{n}") for n in range(start, start + 8)]
            done = handles[worker % 2].append(events)
            receipts.update({event.event_id: each.offset for event, each in zip(events, done, strict=True)})
            if worker == 0:
                handles[0].compact()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    while any(thread.is_alive() for thread in threads) or len(seen) < 160:  # a reader that tails meanwhile
        seen += [offset for offset, _ in handles[1].read(seen[-1] if seen else 0, 9)]
    assert seen == list(range(1, 161))
    assert {event.event_id: offset for offset, event in everything(handles[0])} == receipts


def test_one_compaction_at_a_time(open_journal: Callable[[], Journal], view: View) -> None:
    first, second = open_journal(), open_journal()
    first.append([view(1)])
    with first._compacting() as mine:
        assert mine
        assert second.compact() == 0
    assert second.compact() == 1


def test_leftovers_of_a_crash_go_at_the_next_compaction(journal: Journal, view: View) -> None:
    journal.append([view(1)])
    orphans = [journal.lake / "records" / name for name in ("part-1-1.parquet", "part-2-1.tmp")]
    orphans[0].parent.mkdir()
    for orphan in orphans:
        orphan.write_bytes(b"half")
    journal.compact()
    assert not any(orphan.exists() for orphan in orphans)
    assert everything(journal) == [(1, view(1))]


def test_the_writer_reads_back_full_synchronous(journal: Journal) -> None:
    assert journal.synchronous == 2


def test_one_failing_job_does_not_fail_its_neighbours(journal: Journal, view: View) -> None:
    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT * FROM nowhere")

    gate, begun = threading.Event(), threading.Event()
    outcomes: list[object] = []

    def block(connection: sqlite3.Connection) -> None:
        begun.set()
        gate.wait(10)

    blocker = threading.Thread(target=journal.write, args=(block,))
    blocker.start()  # while it holds the writer, the others wait together and form one batch
    assert begun.wait(10)

    def fail() -> None:
        with pytest.raises(StorageError, match="nowhere"):
            journal.write(wrong)
        outcomes.append("failed")

    others = [
        threading.Thread(target=fail),
        threading.Thread(target=lambda: outcomes.append(journal.append([view(1)]))),
    ]
    for thread in others:
        thread.start()
    while journal._writer._jobs.qsize() < 2:
        pass
    gate.set()
    for thread in [blocker, *others]:
        thread.join()
    assert sorted(map(str, outcomes)) == sorted(["failed", str([Receipt(1, False)])])
    assert everything(journal) == [(1, view(1))]


def test_a_submitted_event_that_cannot_be_written_is_logged(
    journal: Journal, view: View, caplog: pytest.LogCaptureFixture
) -> None:
    journal.write(lambda connection: connection.execute("DROP TABLE event_ids"))
    journal.submit(view(1))
    journal.close()
    assert "event_ids" in caplog.text


def test_a_locked_journal_says_so(journal: Journal, view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.write(lambda connection: None)
    journal._writer._connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(journal.home / database.FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match=r"locked.*close it or try again"):
        journal.append([view(1)])
    other.execute("ROLLBACK")
    other.close()
    assert journal.append([view(1)]) == [Receipt(1, False)]


def test_a_full_disk_says_so_and_loses_nothing(journal: Journal, view: View) -> None:
    journal.append([view(1)])
    pages = journal.write(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    journal._writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match=r"full.*disk space"):
        journal.append([view(2, text="x" * 100_000)])
    journal._writer._connection.execute("PRAGMA max_page_count = 1000000")
    assert journal.append([view(3)]) == [Receipt(2, False)]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (f"PRAGMA user_version = {database.FORMAT + 1}", "newer journal format.*Install a newer"),
        ("PRAGMA user_version = 0", "older journal format"),
        ("PRAGMA application_id = 7", "another program"),
    ],
)
def test_other_formats_are_refused(tmp_path: Path, statement: str, message: str) -> None:
    path = tmp_path / database.FILE_NAME
    database.open_database(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(statement)
    other.close()
    with pytest.raises(StorageError, match=message):
        database.open_database(path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / database.FILE_NAME).write_bytes(b"not a database at all" * 100)
    with pytest.raises(StorageError, match="shop's folder"):
        Journal(tmp_path, clock=ManualClock(), settings=EventsSettings())
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Journal(tmp_path / "file", clock=ManualClock(), settings=EventsSettings())


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static int real(const char *name, int fd) {
    int (*call)(int) = dlsym(RTLD_NEXT, name);
    int done = call(fd);
    if (write(atoi(getenv("TRACE_FD")), "sync\n", 5)) {}
    return done;
}
int fsync(int fd) { return real("fsync", fd); }
int fdatasync(int fd) { return real("fdatasync", fd); }
"""
CHILD = """
import os, sys
from pathlib import Path
from regulars.core.clock import ManualClock
from regulars.core.settings import EventsSettings
from regulars.events.journal import Journal
from regulars.events.schema import Interaction
trace = int(os.environ["TRACE_FD"])
journal = Journal(Path(sys.argv[1]), clock=ManualClock(), settings=EventsSettings())
if len(sys.argv) > 2:
    journal._writer._connection.execute(f"PRAGMA synchronous = {sys.argv[2]}")
for n in range(3):
    os.write(trace, b"receipt\\n")
    journal.append([Interaction(event_id=str(n), user_key=1, event_type="view", timestamp=n, item_id="i")])
    os.write(trace, b"acknowledged\\n")
"""


def syncs_before_acknowledgements(tmp_path: Path, *pragma: str) -> list[int]:
    """Run a writer whose fsync calls are logged beside its receipts; count the calls before each acknowledgement."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "the tests need a C compiler"
    (tmp_path / "shim.c").write_text(SHIM)
    library, trace = tmp_path / "shim.so", tmp_path / "trace"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "shim.c", "-ldl"], check=True)
    handle = os.open(trace, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    environment = {**os.environ, "LD_PRELOAD": str(library), "TRACE_FD": str(handle)}
    command = [sys.executable, "-c", CHILD, str(tmp_path / "shop"), *pragma]
    subprocess.run(command, check=True, pass_fds=[handle], env=environment)
    os.close(handle)
    counts = []
    for part in trace.read_text().split("receipt\n")[1:]:
        before, acknowledged, _ = part.partition("acknowledged\n")
        assert acknowledged
        counts.append(before.count("sync\n"))
    return counts


def test_an_fsync_lies_between_receipt_and_acknowledgement(tmp_path: Path) -> None:
    assert min(syncs_before_acknowledgements(tmp_path)) >= 1


def test_without_full_synchronous_there_would_be_none(tmp_path: Path) -> None:
    assert max(syncs_before_acknowledgements(tmp_path, "NORMAL")) == 0
