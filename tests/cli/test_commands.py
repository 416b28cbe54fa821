"""Every command on a small shop, as a user would run it."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

from cli.runs import Run


def test_init_makes_a_shop_and_says_what_next(run: Run, tmp_path: Path) -> None:
    done = run("init", tmp_path / "s", "--currency", "JPY", "--name", 'The "Tea" shop')
    assert done.code == 0
    assert "Admin key    rga_" in done.out
    assert "Browser key  rgb_" in done.out
    assert f"regulars ingest FILES --home {tmp_path / 's'}" in done.out
    assert "explore a little" in done.out
    assert 'currency = "JPY"' in (tmp_path / "s" / "regulars.toml").read_text()
    assert not stat.S_IMODE((tmp_path / "s" / "keys.json").stat().st_mode) & 0o077
    again = run("init", tmp_path / "s")
    assert again.code == 2
    assert "there already" in again.err


def test_ingest_twice_changes_nothing(run: Run, empty: Path, exports: Path) -> None:
    rows = len((exports / "events.csv").read_text().splitlines()) - 1
    first = run("ingest", exports / "events.csv", "--home", empty, "--json")
    assert json.loads(first.out)["accepted"] == rows
    second = run("ingest", exports / "events.csv", "--home", empty, "--json")
    assert json.loads(second.out)["accepted"] == 0
    assert json.loads(second.out)["duplicates"] == rows
    told = run("ingest", exports / "events.csv", "--home", empty)
    assert told.out.startswith(f"{rows:,} rows read (own): 0 new, {rows:,} known already")


def test_bad_rows_go_to_quarantine_with_the_reason(run: Run, empty: Path, tmp_path: Path) -> None:
    good = "".join(f"view,2026-03-01T00:00:{n:02d}Z,ann,tea\n" for n in range(40))
    bad = tmp_path / "some.csv"
    bad.write_text(f"event_type,timestamp,user_id,item_id\n{good}view,2026-03-01T00:00:00Z,,tea\n")
    done = run("ingest", bad, "--home", empty)
    assert done.code == 0
    assert "bad 1: nobody to attach to" in done.out
    assert "line 42: nobody to attach to" in done.out
    assert len(list((empty / "quarantine").glob("*.jsonl"))) == 1
    bad.write_text("event_type,timestamp,user_id,item_id\nview,2026-03-01T00:00:00Z,,tea\n")
    failed = run("ingest", bad, "--home", empty)
    assert failed.code == 1
    assert "bad_share" in failed.err
    assert "first in line 2: nobody to attach to" in failed.err
    assert failed.out == ""


def test_a_column_map_reads_another_layout(run: Run, empty: Path, tmp_path: Path) -> None:
    table, columns = tmp_path / "orders.csv", tmp_path / "columns.toml"
    table.write_text("customer,sku,when,action\nann,tea,2026-03-01T00:00:00Z,buy\n")
    unknown = run("ingest", table, "--home", empty)
    assert unknown.code == 1
    assert "customer, sku, when, action" in unknown.err
    assert "column map" in unknown.err
    columns.write_text(
        '[columns]\nuser_id = "customer"\nitem_id = "sku"\ntimestamp = "when"\nevent_type = "action"\n'
        '[event_types]\nbuy = "purchase"\n'
    )
    assert run("ingest", table, "--columns", columns, "--home", empty).code == 0
    assert "1 action" in run("profile", "ann", "--home", empty).out


def test_train_says_each_step_on_stderr_and_the_result_on_stdout(run: Run, trained: Path, tmp_path: Path) -> None:
    home = tmp_path / "copy"
    shutil.copytree(trained, home)
    done = run("train", "--home", home, "--no-gate", "--json")
    assert done.code == 0
    assert json.loads(done.out)["accepted"] is True
    assert "Cleaning the log" in done.err
    told = run("train", "--home", home)
    assert told.out.startswith("Version ")
    assert "| slate | all |" in told.out
    current = run("rollback", "--home", home, "--json")
    assert json.loads(current.out) == {"version": json.loads(done.out)["version"]}
    assert "again" in run("rollback", "--home", home).out
    last = run("rollback", "--home", home)
    assert last.code == 2
    assert "wanted an older version" in last.err


def test_a_budget_chooses_and_the_doctor_says_what(run: Run, trained: Path, tmp_path: Path) -> None:
    """Trials in a process of their own; how many of them 30 s hold is left open, that it ends is not."""
    home = tmp_path / "shop"
    shutil.copytree(trained, home)
    (home / "regulars.toml").write_text(
        (home / "regulars.toml").read_text() + "\n[models.item-knn]\nk = 30\n", encoding="utf-8"
    )
    done = run("train", "--budget", "30s", "--json", "--home", home)
    assert done.code == 0, done.err
    told = json.loads(done.out)["choice"]
    assert told["budget_s"] == 30.0
    assert told["seconds"] < 60
    assert (home / told["report"]).exists()
    assert {each["params"]["k"] for each in told["tried"] if each["model"] == "item-knn"} == {30}
    doctor = run("doctor", "--home", home).out
    assert ("models chosen by evidence" in doctor) == bool(told["chosen"] and json.loads(done.out)["accepted"])
    assert run("train", "--budget", "ten", "--home", home).code == 2


def test_evaluate_prints_a_table_json_and_a_chart(run: Run, trained: Path, tmp_path: Path) -> None:
    chart = tmp_path / "chart.html"
    done = run("evaluate", "--models", "popular,repeat", "--plot", chart, "--home", trained)
    assert done.code == 0
    lines = [line for line in done.out.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1  # the columns are aligned
    assert "Order of the slate" in done.out
    assert {line.split("|")[1].strip() for line in lines[2:]} == {"popular", "repeat", "slate"}
    assert "Plotly" in chart.read_text(encoding="utf-8")
    rows = json.loads(run("evaluate", "--models", "popular", "--json", "--home", trained).out)
    assert {row["model"] for row in rows} == {"popular", "slate"}
    nowhere = run("evaluate", "--models", "popular", "--plot", tmp_path / "no" / "x.html", "--home", trained)
    assert nowhere.code == 1
    assert "can be written" in nowhere.err


def test_recommend_for_people_and_programs(run: Run, trained: Path) -> None:
    done = run("recommend", "S000001", "--limit", "3", "--home", trained)
    assert done.code == 0
    assert [line[:4] for line in done.out.splitlines()[1::2]] == ["  1.", "  2.", "  3."]
    slate = json.loads(run("recommend", "S000001", "--limit", "2", "--json", "--home", trained).out)
    assert slate["user_id"] == "S000001"
    assert "user_key" not in slate
    assert [item["position"] for item in slate["items"]] == [0, 1]
    chinese = json.loads(run("recommend", "S000001", "--language", "zh", "--json", "--home", trained).out)
    assert all(any("一" <= letter <= "鿿" for letter in item["reason"]["text"]) for item in chinese["items"])
    assert run("recommend", "nobody-yet", "--home", trained).code == 0


def test_an_empty_shop_answers_with_why(run: Run, empty: Path) -> None:
    done = run("recommend", "ann", "--home", empty)
    assert done.code == 0
    assert done.out.startswith("Nothing to show: ")


def test_profile_for_people_and_programs(run: Run, trained: Path) -> None:
    done = run("profile", "S000001", "--home", trained)
    assert done.code == 0
    assert done.out.startswith("S000001\nsegment")
    values = json.loads(run("profile", "S000001", "--json", "--home", trained).out)
    assert values["user_id"] == "S000001"
    assert "user_key" not in values
    unknown = run("profile", "nobody-at-all", "--home", trained)
    assert unknown.code == 2
    assert "no event names" in unknown.err


def test_the_doctor_counts_and_warns(run: Run, empty: Path, trained: Path, tmp_path: Path) -> None:
    assert "no interactions yet" in run("doctor", "--home", empty).out
    found = json.loads(run("doctor", "--json", "--settings", "--home", trained).out)
    assert found["current"] in found["versions"]
    assert found["interactions"] > 1000
    assert found["settings"]["rank"]["limit"] == 10
    told = run("doctor", "--settings", "--home", trained).out
    assert 'half_life          "20d"' in told
    assert "[rank]" in told
    home = tmp_path / "damaged"
    shutil.copytree(trained, home)
    shutil.rmtree(home / "models" / found["current"] / "popular")
    damaged = run("doctor", "--home", home)
    assert damaged.code == 0
    assert "cannot be loaded" in damaged.out
    with (home / "regulars.toml").open("a") as file:
        file.write('[clean]\nsession_gap = "10m"\n')
    shutil.rmtree(home / "models")
    assert "no model version yet" in run("doctor", "--home", home).out


def test_a_changed_setting_is_noticed(run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGULARS_RANK_LIMIT", "4")
    assert "settings changed" in run("doctor", "--home", trained).out


def test_the_home_may_come_from_the_environment(run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGULARS_HOME", str(trained))
    assert run("profile", "S000001").code == 0
