"""Crashes: a process that writes is killed again and again; nothing acknowledged may be lost, nothing doubled.

`server` is `regulars serve` under write load over HTTP (`crash_server.py`), `journal` a process that appends through
`Journal`, files bulk batches and compacts without rest (`crash_journal.py`). Some kills come from fail points inside
compactions, the others from here at a random moment. After every kill the next process is first sent again what got
no answer. A fresh process counts over journal and lake: `python bench/crash.py HOME`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from crash_journal import JournalWriter
from crash_plan import Kill, Writer, plan
from crash_server import ServerWriter

WRITERS: dict[str, type[Writer]] = {"server": ServerWriter, "journal": JournalWriter}


def run(models: Sequence[str] | None = None, *, kills: int = 50, between: int = 100, seed: int = 0) -> dict[str, Any]:
    """Kill each writer, or those named, `kills` times, at least `between` acknowledged events apart."""
    rows = []
    for name, kind in WRITERS.items():
        if not models or name in models:
            sys.stderr.write(f"{name} ...\n")
            kills_planned = plan(kind.fail_points, kind.every, kills=kills, between=between, seed=seed)
            rows.append({"model": name, "by": "ours", "subset": "all", **_measure(kind, kills_planned)})
    return {"protocol": " ".join((__doc__ or "").split()), "rows": rows}


def _measure(kind: type[Writer], kills: Sequence[Kill]) -> dict[str, Any]:
    """Spread the kills over shops side by side, and add up what was found."""
    started = time.monotonic()
    share = -(-len(kills) // kind.n_shops)
    parts = [kills[start : start + share] for start in range(0, len(kills), share)]
    with ThreadPoolExecutor(len(parts)) as pool:
        found = list(pool.map(partial(_kill_and_count, kind), parts))
    return {
        **{key: sum(each[key] for each in found) for key in found[0]}, "kills": len(kills),
        "in_compaction": sum(kill.fail_point in kind.in_compaction for kill in kills),
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip


def _kill_and_count(kind: type[Writer], kills: Sequence[Kill]) -> dict[str, int]:
    acknowledged: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        writer = kind(Path(folder))
        for kill in kills:
            fresh = writer.until_killed(kill) - acknowledged
            if len(fresh) < kill.at_least:
                raise RuntimeError(f"kill {kill.number}: after {len(fresh)} events, wanted {kill.at_least}")
            acknowledged |= fresh
        found = Counter(_count(Path(folder)))
    return {
        "acknowledged": len(acknowledged), "lost": len(acknowledged - found.keys()),
        "doubled": found.total() - len(found),
    }  # fmt: skip


def _count(home: Path) -> list[str]:
    """Every event id that a fresh process finds over journal and lake."""
    done = subprocess.run([sys.executable, __file__, str(home)], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def _print_ids(home: Path) -> None:
    from regulars.core.clock import SystemClock
    from regulars.core.settings import EventsSettings
    from regulars.events.journal import Journal

    journal, after, ids = Journal(home, clock=SystemClock(), settings=EventsSettings()), 0, []
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
    _print_ids(Path(sys.argv[1]))
