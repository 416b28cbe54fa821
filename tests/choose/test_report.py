"""The report says what was tried, what it took, what was chosen and why; to people, programs and eyes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from choose.conftest import Hand, Table, asked_of, blocks
from regulars.choose import report
from regulars.choose.budget import Budget
from regulars.choose.halving import Found, Halving
from regulars.choose.plot import figure
from regulars.choose.space import Candidate
from regulars.core.clock import DAY
from regulars.core.errors import StorageError

AT = 20_000 * DAY
QUALITY = {"popular": 0.1, "als factors=8 alpha=2.5": 0.8, "ease": 0.3, "slim": 0.2}


@pytest.fixture(scope="module")
def found() -> Found:
    asked, clock = asked_of(blocks()), Hand()
    table = Table(asked, clock, dict.fromkeys(QUALITY, 2.0), QUALITY, frozenset({"slim"}))
    tried = [Candidate("popular"), Candidate("als", {"factors": 8, "alpha": 2.5}), Candidate("ease"),
             Candidate("slim"), Candidate("sasrec")]  # fmt: skip
    return Halving(asked, table, Budget(100.0), clock, memory_mb=300).run(tried)


def test_the_markdown_can_be_read(found: Found) -> None:
    text = report.to_markdown(report.to_values(found, AT))
    assert text.startswith("# What to fit: the choice of 2024-10-04T00:00:00Z\n")
    assert "252 shoppers were asked about" in text
    assert "Of a budget of 100s the choice had 50s" in text
    assert "3 of 5 settings were tried" in text
    rows = {line.split("|")[1].strip(" `"): line for line in text.splitlines() if line.startswith("|")}
    assert "0.8016 [" in rows["als factors=8 alpha=2.5"]
    assert "the best alone" in text
    assert "beaten: adds" in rows["ease"]
    assert "its process died (signal 9), on all shoppers" in text
    assert "would need about" in text
    assert "[train] memory_mb allows 300" in text
    widths = {len(line) for line in text.split("## What was tried")[1].split("##")[0].splitlines() if line[:1] == "|"}
    assert len(widths) == 1  # columns are aligned in the text, too


def test_the_settings_to_hold_by_hand_are_those_chosen(found: Found) -> None:
    block = report.to_markdown(report.to_values(found, AT)).split("```toml\n")[1].split("```")[0]
    assert tomllib.loads(block) == {
        "train": {"models": ["als", "popular"]}, "models": {"als": {"factors": 8, "alpha": 2.5}},
    }  # fmt: skip


def test_all_three_forms_are_kept_and_say_the_same(found: Found, tmp_path: Path) -> None:
    values = report.keep(found, AT, tmp_path)
    assert values["report"] == "reports/choice-20241004T000000.md"
    names = sorted(path.name for path in (tmp_path / "reports").iterdir())
    assert names == [f"choice-20241004T000000.{end}" for end in ("html", "json", "md")]
    kept = json.loads((tmp_path / "reports" / "choice-20241004T000000.json").read_text("utf-8"))
    assert kept == json.loads(json.dumps({name: each for name, each in values.items() if name != "report"}))
    assert (tmp_path / values["report"]).read_text("utf-8") == report.to_markdown(values)
    assert "als factors=8 alpha=2.5" in (tmp_path / "reports" / "choice-20241004T000000.html").read_text("utf-8")
    assert [each["label"] for each in kept["tried"]][:2] == ["als factors=8 alpha=2.5", "popular"]


def test_the_chart_shows_scores_with_intervals_against_seconds(found: Found) -> None:
    values = report.to_values(found, AT)
    drawn = {
        name: (x, y, y + up, y - down)
        for trace in figure(values)["data"]
        for name, x, y, up, down in zip(
            trace["text"],
            trace["x"],
            trace["y"],
            trace["error_y"]["array"],
            trace["error_y"]["arrayminus"],
            strict=True,
        )
    }
    assert set(drawn) == {"popular", "als factors=8 alpha=2.5", "ease"}
    for each in values["tried"]:
        if each["trials"]:
            last = each["trials"][-1]
            told = (2.0, last["ndcg@20"], last["ndcg@20_high"], last["ndcg@20_low"])
            assert drawn[each["label"]] == pytest.approx(told)


def test_a_terminal_gets_a_short_table(found: Found) -> None:
    text = report.short(report.to_values(found, AT))
    assert "3 of 5 settings were tried in 6s." in text
    assert "chosen: the best alone" in text


def test_nothing_chosen_is_said_everywhere() -> None:
    asked, clock = asked_of(blocks()), Hand()
    table = Table(asked, clock, {"popular": 1.0, "ease": 1.0}, QUALITY)
    none = Halving(asked, table, Budget(0.001), clock, memory_mb=300).run([Candidate("popular"), Candidate("ease")])
    values = report.to_values(none, AT)
    for text in (report.to_markdown(values), report.short(values)):
        assert "nothing but popular could be tried in 0.0 s" in text
        assert "settings stay as they are" in text
    assert figure(values)["data"] == []


def test_a_folder_that_cannot_be_written(found: Found, tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(StorageError, match="choice-2024"):
        report.keep(found, AT, tmp_path)
