"""What each stage of the product costs: `dataset`, `help`, `serve`.

dataset: 10 million events in the lake -> Dataset, in a process of its own. help: `regulars --help`, best of five
after one warm start. serve: 100,000 items, one worker, decisions journaled; 100 requests a second for 30 s while
the model is swapped three times, then as fast as eight connections go.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
PROTOCOL = "each stage in processes of its own; p99 from each request's due time; swaps during the 100 requests/s"
N_ITEMS, N_USERS, N_EVENTS = 100_000, 20_000, 400_000
SWAPS = 3
MODELS = "popular,trending,repeat,item-knn,als,content"  # ease needs 40 GB at 100,000 items and leaves itself out


def run(models: Sequence[str] | None = None) -> dict[str, Any]:
    """All stages, or those named."""
    stages = {"dataset": dataset, "help": help_, "serve": serve}
    rows = []
    for name, stage in stages.items():
        if not models or name in models:
            sys.stderr.write(f"{name} ...\n")
            rows.append({"model": name, "subset": "all", "by": "ours", **stage()})
    return {"protocol": PROTOCOL, "rows": rows}


def dataset() -> dict[str, Any]:
    """10 million events -> Dataset."""
    import stage_dataset

    measured: dict[str, Any] = stage_dataset.measure()
    return measured


def help_() -> dict[str, Any]:
    """Seconds of `regulars --help`."""
    command = [sys.executable, "-m", "regulars", "--help"]
    took = []
    for _ in range(6):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        took.append(time.perf_counter() - start)
    return {"seconds": round(statistics.median(took[1:]), 3), "seconds_low": round(min(took[1:]), 3)}


def serve() -> dict[str, Any]:
    """Latency at 100 requests a second with swaps, then saturation."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "shop"
        key, versions, fit_seconds = make_shop(home, Path(scratch))
        server = subprocess.Popen(
            [sys.executable, "-m", "regulars", "serve", "--home", str(home), "--port", "0"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            address = _address(server)
            threading.Thread(target=_drain, args=(server,), daemon=True).start()
            _load(address, key, 50, 5)  # connections, caches
            swapper = threading.Thread(target=_swap, args=(home, versions))
            swapper.start()
            steady = _load(address, key, 100, 30)
            swapper.join()
            full = _load(address, key, 0, 10)
            journaled = _decisions(home)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(20)
    return {
        "items": N_ITEMS, "p50_ms": steady["p50_ms"], "p99_ms": steady["p99_ms"], "requests": steady["requests"],
        "rps": full["rps"], "saturated_p99_ms": full["p99_ms"], "failed": steady["failed"] + full["failed"],
        "swaps": SWAPS, "decisions": journaled, "fit_seconds": fit_seconds,
    }  # fmt: skip


def make_shop(home: Path, scratch: Path) -> tuple[str, list[str], float]:
    """A shop of 100,000 items with two versions; returns the admin key, the versions, and seconds of a training."""
    from regulars import pipeline
    from regulars.app import App
    from regulars.core.clock import DAY, ManualClock
    from regulars.core.settings import load_settings
    from regulars.serve.security import make_keys

    rng = np.random.default_rng(0)
    now = 1_790_000_000 * 1_000_000
    item = np.minimum(rng.zipf(1.25, N_EVENTS), N_ITEMS) - 1
    fresh = rng.random(N_EVENTS) < 0.5
    item[fresh] = rng.integers(0, N_ITEMS, int(fresh.sum()))
    table = pa.table({
        "user_id": [f"U{user}" for user in rng.integers(0, N_USERS, N_EVENTS)],
        "item_id": [f"I{number}" for number in item],
        "event_type": np.array(["view", "add_to_cart", "purchase"])[rng.choice(3, N_EVENTS, p=[0.7, 0.1, 0.2])],
        "timestamp": now - rng.integers(0, 60 * DAY, N_EVENTS),
    })  # fmt: skip
    pq.write_table(table, scratch / "events.parquet")
    words = np.array([f"word{number}" for number in range(2000)])
    chosen = words[rng.integers(0, 2000, (N_ITEMS, 4))]
    titles = [" ".join(row) for row in chosen]
    catalogue = pa.table({
        "item_id": [f"I{number}" for number in range(N_ITEMS)], "title": titles,
        "category": [f"c{number % 200}" for number in range(N_ITEMS)],
    })  # fmt: skip
    pq.write_table(catalogue, scratch / "items.parquet")
    settings = load_settings(env={}, flags={"train.gate": False, "train.models": MODELS})
    with App.create(home, settings, clock=ManualClock(now)) as app:
        key = make_keys(home).admin
        app.ingest([scratch / "items.parquet", scratch / "events.parquet"])
        start = time.perf_counter()
        first = pipeline.train_once(app)
        took = round(time.perf_counter() - start, 1)
        second = pipeline.train_once(app)
        sys.stderr.write(first.text() + "\n")
    return key, [first.version, second.version], took


def _address(server: subprocess.Popen[str]) -> tuple[str, str]:
    for line in server.stderr or ():
        if "http://" in line and " at " in line:
            host, _, port = line.split("http://")[1].strip().rpartition(":")
            return host, port
    raise RuntimeError("the server ended before it listened")


def _drain(server: subprocess.Popen[str]) -> None:
    for _ in server.stderr or ():
        pass


def _swap(home: Path, versions: Sequence[str]) -> None:
    from regulars.rank.versions import Versions

    for turn in range(SWAPS):
        time.sleep(7)
        Versions(home).switch(versions[turn % 2])


def _load(address: tuple[str, str], key: str, rate: float, seconds: float) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "load.py"), *address, key, str(N_USERS), str(rate), str(seconds)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _decisions(home: Path) -> int:
    from regulars.core.clock import SystemClock
    from regulars.core.settings import load_settings
    from regulars.events.journal import Journal

    journal = Journal(home, clock=SystemClock(), settings=load_settings(home).events)
    found = len(journal.snapshot().records("decision"))
    journal.close()
    return found
