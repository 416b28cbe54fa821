"""What is printed to the letter, the server as a process, what `--help` imports, and the whole demonstration."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cli.runs import Run
from regulars import launch, show
from regulars.core.clock import SECOND
from regulars.core.settings import Settings, Span
from regulars.evaluate import offline

QUIET = """import sys; sys.argv = ["regulars", "--help"]
try:
    from regulars.cli import main; main()
except SystemExit: pass
"""
HEAVY = {"numpy", "scipy", "numba", "pyarrow", "duckdb", "ibis", "pandas", "litestar", "plotly", "msgspec", "uvicorn"}


def test_help_imports_nothing_heavy() -> None:
    code = QUIET + "sys.stderr.write(','.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "doctor" in done.stdout
    assert not HEAVY & {name.partition(".")[0] for name in done.stderr.split(",")}


@pytest.mark.parametrize("value", ['a "b" \\ 茶', 3, 0.25, True, ("a", "b"), (), {"x": 1.0}, {}, Span(90 * SECOND)])
def test_settings_are_written_as_toml(value: object) -> None:
    back = tomllib.loads(f"x = {show.written(value)}")["x"]
    assert back == (list(value) if isinstance(value, tuple) else repr(value) if isinstance(value, Span) else value)


def test_the_reference_says_what_a_setting_takes() -> None:
    text = show.settings_reference()
    assert "| `epsilon` | `0.1` | 0 to 1 |" in text
    assert '| `not_due` | `"demote"` | `off`, `demote`, `hide` |' in text
    assert f"| `limit` | `{Settings().rank.limit}` | 1 to 200 |" in text


def test_a_row_without_popularity_has_no_difference() -> None:
    row = {"model": "ease", "subset": "all", "users": 1200, "ndcg@20": 0.25, "ndcg@20_low": 0.2, "ndcg@20_high": 0.3,
           "recall@20": 0.5, "hr@20": 0.75, "coverage@20": 1.0}  # fmt: skip
    head, rule, line = offline.for_people([row]).splitlines()
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "ease", "all", "1,200", "0.2500 [0.2000, 0.3000]", "0.5000", "0.7500", "1.0000", "-"
    ]  # fmt: skip
    assert len(head) == len(rule) == len(line)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_serve_starts_answers_and_stops_with_zero(trained: Path, stop: signal.Signals) -> None:
    command = [sys.executable, "-m", "regulars", "serve", "--port", "0", "--home", str(trained)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        told = server.stderr.readline() + server.stderr.readline()
        url = re.findall(r"http://[0-9.:]+", told)[0]
        answer = ask(f"{url}/health/ready")
        server.send_signal(stop)
        out, err = server.communicate(timeout=30)
    assert json.loads(answer)["status"] == "ready"
    assert server.returncode == 0, err
    assert out == ""
    assert "Log in once for dashboard" in told
    assert "Traceback" not in err


def ask(address: str) -> str:
    """Ask until the server is ready, for half a minute at most."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return str(answer.read(), "utf-8")
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {address}")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_log_is_json_lines_on_request(trained: Path, workers: str) -> None:
    command = [sys.executable, "-m", "regulars", "serve", "--port", "0", "--home", str(trained)]
    env = {**os.environ, "REGULARS_SERVE_LOG": "json", "REGULARS_SERVE_WORKERS": workers}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as server:
        assert server.stderr is not None
        url = re.findall(r"http://[0-9.:]+", server.stderr.readline())[0]
        ask(f"{url}/health/ready")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}/v1/recommend/u1", timeout=5)
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=30)
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert any("/v1/recommend/{user_id" in line["message"] and " 401 " in line["message"] for line in lines), err


@pytest.mark.slow
def test_serve_retrains_as_often_as_the_settings_say(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="regulars.launch")
    settings, shop = Settings().change(train={"every": "1s"}), tmp_path / "shop"
    shutil.copytree(trained, shop)
    for home, said in ((shop, "trained: "), (tmp_path, "training failed: ")):
        stop = threading.Event()
        worker = threading.Thread(target=launch.retrain, args=(home, settings, stop))
        worker.start()
        for _ in range(600):
            if any(record.getMessage().startswith(said) for record in caplog.records):
                break
            time.sleep(0.1)
        stop.set()
        worker.join(60)
        assert any(record.getMessage().startswith(said) for record in caplog.records)


def test_simulate_prints_json_with_the_real_logs_beside(run: Run, data_folder: Path) -> None:
    words = ("--days", "9", "--seeds", "1", "--policy", "popular", "--shoppers", "60", "--items", "60")
    done = run("simulate", *words, "--data", data_folder, "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert [row["model"] for row in report["rows"]] == ["popular"]
    assert set(report["realism"]["gaps"]) == {"practice shop 'default'", "online_retail_0910"}
    assert "popular" in done.err


@pytest.mark.slow
def test_the_demonstration_ends_with_one_line_of_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "regulars", "demo", "--once", "--shoppers", "800", "--items", "120",
               "--events", "20000", "--home", str(tmp_path / "demo")]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["events"] >= 20_000
    assert summary["loop"]["before"]["model_version"] != summary["loop"]["after"]["model_version"]
    assert {row["model"] for row in summary["table"]} >= {"popular", "slate"}
