"""Whatever is wrong with a shop's folder is said in one line, with what to do, and the right exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from regulars.app import App
from regulars.serve.server import bind


def regulars(*words: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "regulars", *map(str, words)], capture_output=True, text=True,
                          check=False, timeout=60, env=env)  # fmt: skip


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The last line on standard error, which progress may precede; never a traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("regulars: ")
    return last


def test_a_damaged_settings_file(copy: App) -> None:
    (copy.home / "regulars.toml").write_text("[rank\nlimit = 3")
    assert "regulars.toml" in complaint(regulars("profile", "S000003", "--home", copy.home), 2)


def test_an_unknown_key_names_the_nearest(copy: App) -> None:
    (copy.home / "regulars.toml").write_text("[rank]\nlimmit = 3\n")
    said = complaint(regulars("train", "--home", copy.home), 2)
    assert "limmit" in said
    assert "'limit'" in said


@pytest.mark.slow
@pytest.mark.parametrize("command", [["train"], ["evaluate"], ["serve"], ["rollback"]])
def test_a_folder_without_settings(tmp_path: Path, command: list[str]) -> None:
    assert "regulars init" in complaint(regulars(*command, "--home", tmp_path), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_nothing_to_learn_from(tmp_path: Path) -> None:
    assert regulars("init", tmp_path / "shop").returncode == 0
    assert "regulars ingest" in complaint(regulars("train", "--home", tmp_path / "shop"), 1)


@pytest.mark.slow
def test_a_model_of_another_shop(copy: App, tmp_path: Path) -> None:
    assert regulars("init", tmp_path / "other").returncode == 0
    shutil.copytree(copy.home / "models", tmp_path / "other" / "models")
    said = complaint(regulars("recommend", "S000003", "--home", tmp_path / "other"), 1)
    assert "a model of another shop" in said
    assert "regulars train" in said


@pytest.mark.slow
def test_a_port_in_use(copy: App) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        said = complaint(regulars("serve", "--home", copy.home, "--port", str(port)), 1)
    assert f"127.0.0.1:{port}" in said
    assert "another [serve] port" in said


@pytest.mark.slow
def test_an_older_format_of_a_version(copy: App) -> None:
    path = copy.home / "models" / copy.versions.current() / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 0}))
    assert "Run `regulars train`" in complaint(regulars("recommend", "S000003", "--home", copy.home), 1)
    assert regulars("train", "--home", copy.home, "--json").returncode == 0  # and the advice helps
