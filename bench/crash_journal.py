"""A process that appends through `Journal` from two threads, files bulk batches and compacts without rest.

It prints the id of each event once that is acknowledged, and first sends again what the process before began with.
`python bench/crash_journal.py HOME NUMBER` is that process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from crash_plan import Kill, Writer

BATCH = 10  # events in one append
COMPACT_ROWS = 150
DAY = 86_400_000_000
START = 1_704_067_200_000_000  # 2024-01-01


class JournalWriter(Writer):
    """Starts the process and reads what it acknowledges."""

    fail_points = (
        "compact-before-commit", "lake-half-written", "compact-in-commit", "lake-file-written",
        "compact-after-commit", "bulk-before-commit",
    )  # fmt: skip
    in_compaction = frozenset(name for name in fail_points if name.startswith("compact"))
    every = 2
    n_shops = 1

    def until_killed(self, kill: Kill) -> set[str]:
        """Let it write until it is killed."""
        command = [sys.executable, __file__, str(self._home), str(kill.number)]
        environment = {**os.environ, "REGULARS_FAIL_POINT": kill.fail_point}
        seen: set[str] = set()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            for line in process.stdout or ():
                if line.endswith("\n"):  # a torn line is no acknowledgement
                    seen.add(line[:-1])
                if not kill.fail_point and len(seen) == kill.at_least:
                    threading.Timer(kill.pause_s, process.send_signal, [signal.SIGKILL]).start()
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"kill {kill.number}: the writer ended with {process.returncode}")
        return seen


def _event(name: str, number: int) -> Any:
    from regulars.events.schema import Interaction, Item, ItemChange

    at = START + number % 3 * DAY + number
    if number % 7 == 0:
        return ItemChange(event_id=name, timestamp=at, item=Item(item_id=f"i{number % 50}"))
    return Interaction(event_id=name, timestamp=at, user_key=number % 20 + 1, event_type="view", item_id="i1")


def write(home: Path, number: int) -> None:
    """Write for ever; prints an id when its append has returned."""
    from regulars.core.clock import SystemClock
    from regulars.core.settings import EventsSettings
    from regulars.events.journal import Journal

    journal = Journal(home, clock=SystemClock(), settings=EventsSettings())
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


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
