"""Several server processes on one port: they agree within a second, and start and stop together."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from regulars.core.clock import SystemClock
from regulars.core.settings import Settings
from regulars.events.journal import Journal
from regulars.serve.security import make_keys

pytestmark = pytest.mark.slow
WORKERS, TRIES = 2, 30
SETTINGS = f'[shop]\npractice = true\n[serve]\nworkers = {WORKERS}\nport = 0\n[rank]\nnot_due = "hide"\n'
AGREED_S = 1.0  # what another process acknowledged is served by then


@dataclass
class Running:
    """A started server and how to speak to it."""

    process: subprocess.Popen[str]
    url: str
    key: str

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """One request over a connection of its own, so that any worker may take it."""
        answer = httpx.request(method, f"{self.url}{path}", headers={"Authorization": f"Bearer {self.key}"}, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def workers(self) -> list[int]:
        """Process ids of the workers, without the helper that multiprocessing keeps beside them."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]

    def await_ready(self) -> None:
        """Wait until a worker answers."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None
            try:
                if self.ask("GET", "/health/ready"):
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError("no answer")

    def end(self) -> tuple[int, str]:
        """Exit code and what was said."""
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@contextmanager
def started(home: Path) -> Iterator[Running]:
    key = make_keys(home).admin
    command = [sys.executable, "-m", "regulars", "serve", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            [url] = re.findall(r"http://[0-9.:]+", process.stderr.readline())
            running = Running(process, url, key)
            running.await_ready()
            yield running
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def server(tmp_path: Path, filled_home: Path) -> Iterator[Running]:
    shutil.copytree(filled_home, tmp_path, dirs_exist_ok=True)
    (tmp_path / "regulars.toml").write_text(SETTINGS)
    with started(tmp_path) as running:
        yield running


def test_every_worker_serves_the_changed_slate_within_a_second(server: Running, tmp_path: Path) -> None:
    def slates() -> list[set[str]]:
        """What each of many requests shows: everything that this shopper may see."""
        answers = [server.ask("GET", "/v1/recommend/user-1?limit=60") for _ in range(TRIES)]
        return [{item["item_id"] for item in answer["items"]} for answer in answers]

    bought = min(set.intersection(*slates()))
    ids = [f"w{number}" for number in range(TRIES)]
    for event_id in ids:  # each over a connection of its own, and one of them sent twice
        kind = "purchase" if event_id == ids[0] else "view"
        row = {"event_id": event_id, "user_id": "user-1", "event_type": kind, "item_id": bought, "price": 4}
        assert server.ask("POST", "/v1/events", json=row)["results"][0]["status"] == "accepted"
    again = server.ask("POST", "/v1/events", json=row)
    assert again["results"][0]["status"] == "duplicate"
    time.sleep(AGREED_S)
    assert [shown for shown in slates() if bought in shown] == []  # bought and not due again
    assert len(server.workers()) == WORKERS
    os.kill(server.process.pid, signal.SIGTERM)
    code, said = server.end()
    assert code == 0, said
    assert "Traceback" not in said
    assert journalled(tmp_path, "w") == sorted(ids)


def journalled(home: Path, start: str) -> list[str]:
    """Ids in the journal that begin with `start`, each as often as it stands there."""
    journal = Journal(home, clock=SystemClock(), settings=Settings().events)
    try:
        rows, offset = [], -1
        while found := journal.read(offset, 1000):
            rows += [event.event_id for _, event in found]
            offset = found[-1][0]
    finally:
        journal.close()
    return sorted(event_id for event_id in rows if re.fullmatch(rf"{start}\d+", event_id))


def test_ctrl_c_in_a_terminal_stops_all_with_zero(server: Running) -> None:
    os.killpg(server.process.pid, signal.SIGINT)  # a terminal sends it to every process of the group
    code, said = server.end()
    assert code == 0, said
    assert "Traceback" not in said


def test_workers_do_not_outlive_a_parent_that_was_killed(server: Running) -> None:
    workers = server.workers()
    server.process.kill()
    server.end()  # the pipes close once the last worker has gone
    with pytest.raises(httpx.TransportError):
        server.ask("GET", "/health/live")
    assert [pid for pid in workers if "spawn_main" in _command(pid)] == []


def _command(pid: int) -> str:
    """What a process runs, "" when it has ended (a zombie runs nothing)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_stops_the_server(server: Running, how: signal.Signals) -> None:
    workers = server.workers()
    os.kill(workers[0], how)
    code, said = server.end()
    assert code == 1
    assert f"worker {workers[0]} ended" in said.splitlines()[-1]
    assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []
