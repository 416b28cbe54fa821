"""Crashes: a writer under load is killed again and again; nothing acknowledged may be lost, nothing doubled.

A writer is any process that writes into the shop's folder and prints the id of each event once that is
acknowledged; `JOURNAL` appends through `Journal` from two threads, files bulk batches and compacts all the while.
Half of the kills come from here at a random moment, the others from the fail points of `regulars.events.lake`.
Every round first sends again what the round before began with, as a client does that saw no answer.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

FAIL_POINTS = (
    "lake-half-written", "lake-file-written", "compact-before-commit", "compact-in-commit", "compact-after-commit",
    "bulk-before-commit",
)  # fmt: skip
IN_COMPACTION = FAIL_POINTS[2:5]
COMPACT_ROWS = 150
BATCH = 10  # events in one append
DAY = 86_400_000_000
START = 1_767_225_600_000_000  # 2026-01-01


@dataclass(frozen=True)
class Writer:
    """How to start a process that writes, and how to read what was acknowledged from what it prints."""

    command: Callable[[Path, int], list[str]]  # home and round
    acknowledged: Callable[[IO[str]], Iterator[str]]


def _lines(stream: IO[str]) -> Iterator[str]:
    return (line[:-1] for line in stream if line.endswith("\n"))  # a torn line is no acknowledgement


JOURNAL = Writer(lambda home, number: [sys.executable, __file__, "write", str(home), str(number)], _lines)


def run(
    data: Path | None = None, *, kills: int = 50, between: int = 100, writer: Writer = JOURNAL, seed: int = 0
) -> dict[str, Any]:
    """Kill `kills` times, at least `between` acknowledged events apart; count in a fresh process."""
    started = time.monotonic()
    moments = random.Random(seed)
    acknowledged: set[str] = set()
    inside = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(kills):
            fail_point = IN_COMPACTION[number // 2 % 3] if number % 2 == 0 else ""
            if number % 10 == 9:
                fail_point = FAIL_POINTS[(0, 1, 5)[number // 10 % 3]]
            seen, died = _round(writer, Path(folder), number, between, fail_point, moments.uniform(0, 0.05))
            if len(seen) < between:
                raise RuntimeError(f"round {number}: {len(seen)} acknowledged before the kill, wanted {between}")
            inside += died and fail_point in IN_COMPACTION
            acknowledged |= seen
        found = Counter(_count(Path(folder)))
    row = {
        "model": "journal", "by": "ours", "subset": "all", "acknowledged": len(acknowledged),
        "lost": len(acknowledged - found.keys()), "doubled": sum(found.values()) - len(found),
        "kills": kills, "kills_in_compaction": inside, "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    return {"name": "crash", "protocol": " ".join((__doc__ or "").split()), "rows": [row]}


def _round(
    writer: Writer, home: Path, number: int, between: int, fail_point: str, pause: float
) -> tuple[set[str], bool]:
    """Let a writer run until it is killed; return what it acknowledged and whether a fail point killed it."""
    environment = {**os.environ, "REGULARS_FAIL_POINT": fail_point}
    command = writer.command(home, number)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        stream = process.stdout
        if stream is None:
            raise RuntimeError("no pipe to the writer")
        seen: set[str] = set()
        for event_id in writer.acknowledged(stream):
            seen.add(event_id)
            if not fail_point and len(seen) == between:
                threading.Timer(pause, process.send_signal, [signal.SIGKILL]).start()
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError(f"round {number}: the writer ended with {process.returncode}, wanted a kill")
    return seen, bool(fail_point)


def _count(home: Path) -> list[str]:
    """Every event id that a fresh process finds over journal and lake."""
    done = subprocess.run([sys.executable, __file__, "count", str(home)], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def _open(home: Path) -> Any:
    from regulars.core.clock import SystemClock
    from regulars.core.settings import EventsSettings
    from regulars.events.journal import Journal

    return Journal(home, clock=SystemClock(), settings=EventsSettings())


def _event(name: str, number: int) -> Any:
    from regulars.events.schema import Interaction, Item, ItemChange

    at = START + number % 3 * DAY + number
    if number % 7 == 0:
        return ItemChange(event_id=name, timestamp=at, item=Item(item_id=f"i{number % 50}"))
    return Interaction(event_id=name, timestamp=at, user_key=number % 20 + 1, event_type="view", item_id="i1")


def _write(home: Path, number: int) -> None:
    """The writer: prints an id when its append has returned; ends only by being killed."""
    journal = _open(home)
    for stream in "ab":
        again = [_event(f"{number - 1}-{stream}-{n}", n) for n in range(5 * BATCH)] if number else []
        journal.append(again)
    acknowledged = threading.Semaphore(0)

    def append(stream: str) -> None:
        for start in range(0, 10**9, BATCH):
            events = [_event(f"{number}-{stream}-{n}", n) for n in range(start, start + BATCH)]
            journal.append(events)
            _acknowledge([event.event_id for event in events])
            acknowledged.release(BATCH)

    for stream in "ab":
        threading.Thread(target=append, args=(stream,), daemon=True).start()
    for _ in range(COMPACT_ROWS):
        acknowledged.acquire()
    for batch in range(10**9):
        _file_bulk(journal, f"{number}-bulk{batch}")
        journal.compact(at_least=COMPACT_ROWS)


def _file_bulk(journal: Any, name: str) -> None:
    from regulars.events import lake

    numbers = [n for n in range(1, 31) if n % 7]
    table = lake.table_of([(0, 0, _event(f"{name}-{n}", n)) for n in numbers])
    journal.append_bulk(table.select(lake.BULK.names))
    _acknowledge(table.column("event_id").to_pylist())


def _acknowledge(ids: list[str]) -> None:
    os.write(1, "".join(f"{each}\n" for each in ids).encode())  # one write: lines of threads never mix


def _print_ids(home: Path) -> None:
    journal, after, ids = _open(home), 0, []
    while events := journal.read(after):
        ids += [event.event_id for _, event in events]
        if [offset for offset, _ in events] != list(range(after + 1, events[-1][0] + 1)):
            raise RuntimeError(f"offsets after {after} have gaps or repeat")
        after = events[-1][0]
    snapshot = journal.snapshot()
    kinds = ("item", "user", "identify", "tombstone", "decision")
    records = sum(len(snapshot.records(kind)) for kind in kinds)
    if snapshot.interactions(["event_id"]).num_rows + records != len(ids):
        raise RuntimeError("a snapshot and a reader see different events")
    sys.stdout.write(json.dumps(ids))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        _write(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1] == "count":
        _print_ids(Path(sys.argv[2]))
