"""`regulars serve` under write load: connections post lists of events until the server is killed.

An event is acknowledged when the answer that names it has come back whole. After a kill each connection first sends
its last two lists again, the one that got an answer and the one that did not, with the same event ids.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import chain, count
from pathlib import Path
from typing import Any

from crash_plan import Kill, Writer

CONNECTIONS = 4
BATCH = 10  # events in one request
COMPACT_ROWS = 150  # a server looks every ten seconds
DAY = 86_400_000_000
START = 1_704_067_200_000_000  # 2024-01-01
PATIENCE_S = 60.0

Rows = list[dict[str, Any]]


class ServerWriter(Writer):
    """A shop's folder, the connections that load it, and its server, started again after every kill."""

    fail_points = (
        "compact-before-commit", "lake-half-written", "compact-in-commit", "lake-file-written",
        "compact-after-commit",
    )  # fmt: skip
    in_compaction = frozenset(fail_points)  # nothing else writes into the lake here
    every = 4
    n_shops = 2

    def __init__(self, home: Path) -> None:
        from regulars.app import App
        from regulars.core.settings import Settings
        from regulars.serve.security import make_keys

        App.create(home, Settings().change(events={"compact_rows": COMPACT_ROWS}, serve={"port": 0})).close()
        super().__init__(home)
        key = make_keys(home).admin
        self._senders = [Sender(f"{home.name}-{number}", key) for number in range(CONNECTIONS)]

    def until_killed(self, kill: Kill) -> set[str]:
        """Load the server until it is killed."""
        enough = self._accepted() + kill.at_least
        with _started(self._home, kill.fail_point) as (server, port), ThreadPoolExecutor(CONNECTIONS) as pool:
            sending = [pool.submit(sender.until_refused, port) for sender in self._senders]
            try:
                while not kill.fail_point and self._accepted() < enough and not any(each.done() for each in sending):
                    time.sleep(0.005)
                if not kill.fail_point:
                    time.sleep(kill.pause_s)
                    server.kill()
                server.wait(PATIENCE_S)
            finally:
                server.kill()
            seen = [each.result() for each in sending]
        if server.returncode != -signal.SIGKILL:
            raise RuntimeError(f"kill {kill.number}: the server ended with {server.returncode}")
        return set().union(*seen)

    def _accepted(self) -> int:
        return sum(sender.n_accepted for sender in self._senders)


class Sender:
    """One connection at a time."""

    def __init__(self, name: str, key: str) -> None:
        self.n_accepted = 0
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._new = (_rows(name, number) for number in count())
        self._last: list[Rows] = []  # of two lists the older one got an answer, the newer one perhaps not

    def until_refused(self, port: int) -> set[str]:
        """Send until the server is gone; return the ids that it acknowledged."""
        acknowledged: set[str] = set()
        with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
            for rows in chain(self._last, self._new):
                self._last = [*self._last[-1:], rows]
                try:
                    results = self._post(connection, rows)
                except (OSError, HTTPException):
                    break
                self.n_accepted += results["accepted"]
                acknowledged.update(result["event_id"] for result in results["results"])
        return acknowledged

    def _post(self, connection: HTTPConnection, rows: Rows) -> dict[str, Any]:
        connection.request("POST", "/v1/events", json.dumps(rows), self._headers)
        answer = connection.getresponse()
        text = answer.read()
        results: dict[str, Any] = json.loads(text) if answer.status == 200 else {}
        if results.get("rejected") != 0 or len(results["results"]) != len(rows):
            raise RuntimeError(f"wanted every event accepted, got {answer.status}: {text[:500]!r}")
        return results


def _rows(name: str, number: int) -> Rows:
    """The list of that number: views, and now and then an item as it is from now on."""
    rows: Rows = []
    for place in range(number * BATCH, (number + 1) * BATCH):
        row = {
            "event_id": f"{name}-{place}",
            "item_id": f"i{place % 50}",
            "timestamp": START + place % 3 * DAY + place,
        }
        kind = {"type": "item"} if place % 7 == 0 else {"event_type": "view", "user_id": f"u{place % 20}"}
        rows.append({**row, **kind})
    return rows


@contextmanager
def _started(home: Path, fail_point: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that dies at `fail_point`, and the port at which it listens."""
    command = [sys.executable, "-m", "regulars", "serve", "--home", str(home)]
    environment = {**os.environ, "REGULARS_FAIL_POINT": fail_point}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        stream = server.stderr
        if stream is None:
            raise RuntimeError("no pipe to the server")
        told = stream.readline()
        port = re.search(r"http://127\.0\.0\.1:(\d+)", told)
        if port is None:
            server.kill()
            raise RuntimeError(f"the server does not say where it listens: {told}{stream.read()}")
        draining = threading.Thread(target=stream.read)
        draining.start()
        yield server, int(port[1])
        draining.join()
