"""The command line run in this process, and a small shop that has been ingested and trained."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest

from cli.runs import Done, Run, call
from regulars.demo import write_catalogue
from regulars.simulate.presets import preset
from regulars.simulate.shop import Shop
from regulars.simulate.world import World


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command and catch what it says; no user's fault may end in a traceback."""

    def runner(*words: object) -> Done:
        capsys.readouterr()
        code = call(words)
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return Done(code, told.out, told.err)

    return runner


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `items.jsonl` and `events.csv` of a small practice shop."""
    folder = tmp_path_factory.mktemp("exports")
    shop = Shop(World(preset(shoppers=120, items=60), 3))
    log = pa.concat_tables(list(shop.history(40)))
    price = pc.divide(log["price"].cast(pa.float64()), 100.0)
    log = log.set_column(log.schema.get_field_index("price"), "price", price)
    log = log.set_column(
        log.schema.get_field_index("timestamp"), "timestamp", log["timestamp"].cast(pa.timestamp("us"))
    )
    pa.csv.write_csv(log, folder / "events.csv")
    write_catalogue(shop, folder / "items.jsonl")
    return folder


@pytest.fixture(scope="session")
def trained(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop that has imported the exports and trained once; tests must not change its settings or versions."""
    home = tmp_path_factory.mktemp("shops") / "tea"
    assert call(("init", home, "--name", "Tea & Co")) == 0
    (home / "regulars.toml").write_text(
        (home / "regulars.toml").read_text() + '\n[profiles]\nhalf_life = "20d"\n', encoding="utf-8"
    )
    assert call(("ingest", exports / "items.jsonl", exports / "events.csv", "--home", home)) == 0
    assert call(("train", "--home", home)) == 0
    return home


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A shop that has just been made."""
    assert call(("init", tmp_path / "new")) == 0
    return tmp_path / "new"
