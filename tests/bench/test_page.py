"""The page of benchmarks: it says what the results say."""

from __future__ import annotations

import json
from pathlib import Path

import page
from run import BENCHES

REPOSITORY = Path(__file__).parents[2]


def test_the_page_is_fresh() -> None:
    wanted = page.page()
    assert (REPOSITORY / "docs" / "benchmarks.md").read_text(encoding="utf-8") == wanted, "run `make docs`"


def test_every_result_has_its_place() -> None:
    kept = {path.stem for path in page.RESULTS.glob("*.json")}
    shown = {name for name in kept if not name.startswith("practice-shop") and not name.endswith("-validation")}
    assert shown <= page.TITLES.keys()
    assert page.TITLES.keys() | {"practice-shop"} >= BENCHES.keys()


def test_a_section_by_hand(tmp_path: Path) -> None:
    about = {"commit": "abc", "date": "2026-01-02", "command": "python bench/run.py gowalla"}
    rows = [
        {"model": "a", "by": "ours", "subset": "all", "seconds": 1.25, "ndcg@20": 0.1, "recall@20": 0.2, **about,
         "settings": {"k": 3}, "note": "lost"},
        {"model": "b", "by": "published", "subset": "all", "recall@20": 0.3},
        {"model": "c", "by": "peer", "subset": "all", "recall@20": 0.25, "recall@20_low": 0.2, "recall@20_high": 0.3,
         "peak_mb": 1234, **about},
    ]  # fmt: skip
    result = {"name": "gowalla", "protocol": "p", "machine": "m", "python": "3", "rows": rows}
    (tmp_path / "gowalla.json").write_text(json.dumps(result), encoding="utf-8")
    lines = page.page(tmp_path).removeprefix(page.HEAD).strip().splitlines()
    assert lines[0] == f"## {page.TITLES['gowalla']}"
    assert lines[2] == "`gowalla`: p."
    assert lines[4:9] == [
        "| model | by | recall@20 | ndcg@20 | seconds | peak_mb |",
        "| --- | --- | --- | --- | --- | --- |",
        "| b | published | 0.3000 |  |  |  |",
        "| c | peer | 0.2500 [0.2000, 0.3000] |  |  | 1,234 |",
        "| **a** | ours | 0.2000 | 0.1000 | 1.25 |  |",
    ]
    assert "- a: lost" in lines
    assert "- a: k 3" in lines
    assert lines.count("- `python bench/run.py gowalla` on commit `abc`, 2026-01-02") == 1


def test_the_lowest_error_comes_first() -> None:
    rows = [{"model": name, "rmse": error, "mae": 1.0} for name, error in (("a", 0.9), ("b", 0.8), ("c", 0.95))]
    assert [row["model"] for row in page.sorted_rows([*rows, {"model": "d"}])] == ["b", "a", "c", "d"]
    assert [row["model"] for row in page.sorted_rows([{**row, "ratio": row["rmse"]} for row in rows])] == [
        "c",
        "a",
        "b",
    ]
