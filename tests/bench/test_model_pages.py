"""Pages of models: every registered one has its own, and it says what code, guide and results say."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import model_pages
from glossary import WORDS
from page import TITLES
from regulars.models.registry import MODELS, model_class

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "docs" / "models"
every_model = pytest.mark.parametrize("name", list(MODELS))


def test_the_pages_are_fresh() -> None:
    wanted = model_pages.pages()
    assert {path.name for path in FOLDER.iterdir()} == wanted.keys(), "run `make docs`"
    stale = [name for name, text in wanted.items() if (FOLDER / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"


@every_model
def test_a_page_says_when_cost_source_and_settings(name: str) -> None:
    text, kind = (FOLDER / f"{name}.md").read_text(encoding="utf-8"), model_class(name)
    assert re.search(r"^Choose it when: .{5,}\.$", text, re.MULTILINE), "its line in the table of docs/models.md"
    assert "O(" in (inspect.getdoc(inspect.getmodule(kind)) or ""), "what a fit and an answer cost, in its docstring"
    for setting, spec in inspect.signature(kind).parameters.items():
        cells = re.findall(rf"^\| `{setting}` \| `(.*?)` \| (.+?) \|", text, re.MULTILINE)
        assert cells, setting
        assert cells[0][0] == repr(spec.default)
    assert "def estimate_mb" not in text  # the formula, not the head of the function
    assert f"from regulars.models import {kind.__name__}" in text


def test_words_are_of_settings_that_there_are() -> None:
    known = {f"{name}: {setting}" for name in MODELS for setting in inspect.signature(model_class(name)).parameters}
    settings = {setting.partition(": ")[2] for setting in known}
    assert {words for words in WORDS if words not in known | settings} == set()


def test_headings_that_are_linked_are_there() -> None:
    page = (REPOSITORY / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    headings = {model_pages.anchor(line.removeprefix("## ")) for line in page.splitlines() if line.startswith("## ")}
    assert {model_pages.anchor(TITLES[name]) for name in model_pages.results()} <= headings


def test_the_guide_is_read_row_by_row() -> None:
    text = "\n".join([
        "| model | learns from | choose it when | a fit costs | an answer costs |", "| --- | --- | --- | --- | --- |",
        "| `a`, `b-c` | counts | always, `d` | nothing | little |", "| other | table |", "`a` in words",
    ])  # fmt: skip
    row = ["counts", "always, `d`", "nothing", "little"]
    assert model_pages.guide(text) == {"a": row, "b-c": row}


def test_the_best_row_of_each_table_beside_the_best_published() -> None:
    rows = [
        {"model": "als", "by": "ours", "subset": "all", "recall@20": 0.1, "seconds": 2.0},
        {"model": "als:long", "by": "ours", "subset": "all", "recall@20": 0.2, "recall@20_low": 0.15,
         "recall@20_high": 0.25, "seconds": 4.0, "peak_mb": 100},
        {"model": "popular", "by": "ours", "subset": "all", "recall@20": 0.05},
        {"model": "blend", "by": "ours", "subset": "all", "recall@20": 0.3},
        {"model": "ease", "by": "published", "subset": "all", "recall@20": 0.25},
        {"model": "old", "by": "published", "subset": "all", "ndcg@20": 0.9},
        {"model": "als", "by": "published", "subset": "new", "recall@20": 0.9},
    ]  # fmt: skip
    lines = model_pages.row_of("als", "gowalla", {"rows": rows})
    assert [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines] == [
        [
            "recall@20",
            "0.2000 [0.1500, 0.2500] (als:long)",
            "0.0500",
            "0.3000 (blend)",
            "0.2500 (ease)",
            "4.00",
            "100",
        ]
    ]
    assert model_pages.row_of("slim", "gowalla", {"rows": rows}) == []


def test_the_fastest_row_is_the_best_of_times() -> None:
    assert model_pages.best([{"p50_ms": 3.0}, {"p50_ms": 1.0}, {}], "p50_ms") == {"p50_ms": 1.0}


def test_a_page_that_nobody_needs_goes(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("a model of before", encoding="utf-8")
    model_pages.write(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {*MODELS, "README"}
