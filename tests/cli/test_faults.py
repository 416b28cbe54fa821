"""What users get wrong ends in one clear message and the right exit code, never in a traceback."""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path

import pytest

from cli.runs import Run
from regulars.events import database


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("trian",), "train"),
        (("ingest",), "FILES"),
        (("recommend", "ann", "--limit", "0"), "--limit"),
        (("recommend", "ann", "--language", "fr"), "'en', 'zh'"),
        (("simulate", "--seeds", "0"), "--seeds"),
        (("simulate", "--policy", "slat"), "wanted one of random, popular"),
        (("simulate", "--policy", "random", "--preset", "grocry"), "'grocery'"),
        (("simulate", "--shoppers", "0", "--policy", "random"), "0 shoppers"),
        (("train", "--home", "nowhere"), "regulars init nowhere"),
        (("serve", "--home", "nowhere"), "regulars init nowhere"),
    ],
)
def test_wrong_use_ends_with_two(run: Run, words: tuple[str, ...], said: str, tmp_path: Path,
                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[rank]\nlimt = 3\n", "'limit'"),
        ("[rnak]\nlimit = 3\n", "'rank'"),
        ("[rank]\nlimit = 0\n", "at least 1"),
        ("[rank\nlimit = 3\n", "a TOML file"),
        ('[train]\nmodels = ["populr"]\n', "'popular'"),
    ],
)
@pytest.mark.parametrize("command", ["train", "serve"])
def test_broken_settings_end_with_two(run: Run, empty: Path, text: str, said: str, command: str) -> None:
    (empty / "regulars.toml").write_text(text)
    done = run(command, "--home", empty)
    assert done.code == 2
    assert said in done.err


def test_an_unknown_model_is_named_before_anything_is_read(run: Run, empty: Path) -> None:
    done = run("evaluate", "--models", "populr", "--home", empty)
    assert done.code == 2
    assert "Try 'popular'" in done.err
    assert "Cleaning" not in done.err


def test_no_events_no_training(run: Run, empty: Path) -> None:
    for command in ("train", "evaluate"):
        done = run(command, "--home", empty)
        assert done.code == 1
        assert "regulars ingest FILES" in done.err


def test_files_that_cannot_be_read(run: Run, empty: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "noise.parquet").write_bytes(bytes(range(256)) * 4)
    for name in ("missing.csv", "empty.csv", "noise.parquet", "."):
        done = run("ingest", tmp_path / name, "--home", empty)
        assert done.code == 1
        assert str(tmp_path / name) in done.err
        assert "wanted" in done.err


def test_a_foreign_journal_is_refused(run: Run, empty: Path) -> None:
    (empty / "journal.sqlite").unlink()
    with sqlite3.connect(empty / "journal.sqlite") as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    connection.close()
    done = run("doctor", "--home", empty)
    assert done.code == 1
    assert "another program" in done.err
    (empty / "journal.sqlite").write_bytes(b"no database at all" * 100)
    done = run("doctor", "--home", empty)
    assert done.code == 1
    assert "not a database" in done.err


def test_a_port_in_use_is_said_so(run: Run, empty: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run("serve", "--port", other.getsockname()[1], "--home", empty)
    assert done.code == 1
    assert "a free port" in done.err


def test_a_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("init", tmp_path / "file" / "shop")
    assert done.code == 1
    assert "can be written" in done.err


def test_the_demonstration_wants_a_new_folder(run: Run, empty: Path) -> None:
    done = run("demo", "--once", "--home", empty)
    assert done.code == 2
    assert "not empty" in done.err


def test_a_data_folder_without_the_logs(run: Run, tmp_path: Path) -> None:
    done = run("simulate", "--policy", "random", "--data", tmp_path)
    assert done.code == 1
    assert os.path.join("online_retail_0910", "transactions.parquet") in done.err


def test_a_locked_journal_is_said_so(run: Run, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    rows = tmp_path / "rows.csv"
    rows.write_text("event_type,timestamp,user_id,item_id\nview,2026-03-01T00:00:00Z,ann,tea\n")
    other = sqlite3.connect(empty / "journal.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    done = run("ingest", rows, "--home", empty)
    other.execute("ROLLBACK")
    other.close()
    assert done.code == 1
    assert "locked" in done.err
    assert run("ingest", rows, "--home", empty).code == 0
