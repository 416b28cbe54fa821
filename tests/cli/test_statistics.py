"""Two shops with the same shoppers: one writes its statistics, the other takes them in and trains with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cli.runs import Run
from regulars.app import App
from regulars.models.source import Source


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "key").write_bytes(bytes(range(32)))
    return tmp_path / "key"


def test_statistics_go_from_shop_to_shop(
    run: Run, trained: Path, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = json.loads(
        run("statistics", tmp_path / "tea", "--key", key, "--factors", 8, "--home", trained, "--json").out
    )
    assert given["factors"] == 8
    assert given["shoppers"] > 50
    home = tmp_path / "other"
    shutil.copytree(trained, home)
    told = run("statistics", tmp_path / "tea", "--take", "--key", key, "--home", home).out
    assert "[models.transfer-ease]" in told
    source = Source.load(home / "sources" / "tea")
    with App.open(home) as app:  # the same user ids, so the same shoppers under this shop's keys
        data, _ = app.cleaning().whole()
    assert set(source.shopper_keys) <= set(data.user_keys)
    assert len(source.shopper_keys) == given["shoppers"]

    toml = (home / "regulars.toml").read_text(encoding="utf-8")
    added = told.partition("[train]:")[2]
    (home / "regulars.toml").write_text(f"{toml}\n{added}", "utf-8")
    monkeypatch.setenv("REGULARS_TRAIN_MODELS", "popular,transfer-ease")
    learned = run("train", "--no-gate", "--home", home, "--json")
    assert learned.code == 0, learned.err
    trained_once = json.loads(learned.out)
    assert trained_once["left_out"] == {}
    assert run("recommend", "S000001", "--home", home).code == 0
    with App.open(home) as app:
        live = app.live.histories(list(data.users.keys.ids), data.items.ids, data.as_of)
    np.testing.assert_array_equal(live.user_keys, data.user_keys)


def test_another_key_shares_nobody(run: Run, trained: Path, tmp_path: Path, key: Path) -> None:
    run("statistics", tmp_path / "tea", "--key", key, "--home", trained)
    key.write_bytes(b"x" * 32)
    home = tmp_path / "other"
    shutil.copytree(trained, home)
    taken = json.loads(run("statistics", tmp_path / "tea", "--take", "--key", key, "--home", home, "--json").out)
    assert taken["shoppers"] == 0
    assert taken["items"] > 0


def test_no_user_id_and_no_event_is_in_what_is_written(run: Run, trained: Path, tmp_path: Path, key: Path) -> None:
    run("statistics", tmp_path / "tea", "--key", key, "--home", trained)
    written = b"".join(path.read_bytes() for path in (tmp_path / "tea").iterdir())
    assert b"S000001" not in written
    assert b"purchase" not in written
    names = {path.name.partition(".")[0] for path in (tmp_path / "tea").iterdir()}
    assert names == {"gram", "words", "item_factors", "shopper_factors", "shopper_keys", "statistics"}


def test_what_cannot_work_is_said(run: Run, empty: Path, tmp_path: Path, key: Path) -> None:
    nothing = run("statistics", tmp_path / "x", "--key", key, "--home", empty)
    assert nothing.code == 1
    assert "regulars ingest FILES" in nothing.err
    assert run("statistics", tmp_path / "x", "--key", tmp_path / "none", "--home", empty).code == 1
    missing = run("statistics", tmp_path / "x", "--take", "--key", key, "--home", empty)
    assert missing.code == 1
    assert "wanted a folder of a shop's statistics" in missing.err
    key.write_bytes(b"short")
    assert "16 to 64 bytes" in run("statistics", tmp_path / "x", "--key", key, "--home", empty).err
