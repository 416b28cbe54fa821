"""`regulars evaluate FILE`: any log in, a table out; wrong use is told in one message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.runs import Run
from regulars.models.registry import settings_of


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Shoppers of two tastes with Chinese ids, ratings and days; three rows cannot be read."""
    lines = ["顾客,商品,日期,评分"]
    for step in range(12):
        for user in range(40):
            item = (step * 7 + user) % 15
            lines.append(
                f"顾客{user:02d},{'茶' if user % 2 else '书'}{item},2025-01-{step + 1:02d},{1 + (item + user) % 5}"
            )
    lines[20:20] = ["顾客01,茶1", ",茶1,2025-01-01,5", "顾客01,茶1,yesterday,5"]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "log.csv"


def test_a_table_on_stdout_and_progress_on_stderr(run: Run, log: Path) -> None:
    done = run("evaluate", log, "--models", "item-knn,ease", "--k", "5")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == f"{log}: 480 rows, 40 shoppers, 30 items, 2025-01-01 to 2025-01-12"
    assert lines[1] == "Columns: user = 顾客, item = 商品, time = 日期, weight = 评分"
    assert lines[2].startswith("3 of 483 rows left out (1 ")
    assert lines[2].endswith("the first in line 21")
    table = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in table}) == 1  # aligned
    assert "NDCG@5" in table[0]
    assert {line.split("|")[1].strip() for line in table[2:]} == {"popular", "item-knn", "ease"}
    assert done.err.splitlines() == [
        f"Reading {log}", "Fitting popular", "Fitting item-knn", "Fitting ease", "Ranking for 40 shoppers"
    ]  # fmt: skip


def test_everything_can_be_said(run: Run, log: Path, tmp_path: Path) -> None:
    report, chart = tmp_path / "report.md", tmp_path / "chart.html"
    done = run(
        "evaluate", log, "--models", "item-knn", "--split", "random", "--share", "0.3", "--at-least", "3",
        "--user", "顾客", "--item", "商品", "--time", "日期", "--weight", "评分", "--set", "item-knn.k=3",
        "--seed", "7", "--save", report, "--plot", chart, "--json",
    )  # fmt: skip
    assert done.code == 0
    found = json.loads(done.out)
    assert found["data"]["columns"] == {"user": "顾客", "item": "商品", "time": "日期", "weight": "评分"}
    assert found["data"]["below"] == 192  # ratings 1 and 2 of 5
    assert sum(found["data"]["bad"].values()) == 3
    assert [row["line"] for row in found["data"]["examples"]] == [21, 22, 23]
    assert {row["model"] for row in found["rows"]} == {"popular", "item-knn"}
    assert "drawn at random" in found["question"]
    assert report.read_text(encoding="utf-8").startswith(f"{log}: 288 rows")
    assert "Plotly" in chart.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--models", "populr"), 2, "Try 'popular'"),
        (("--set", "als.factor=3"), 2, "wanted 'factors'"),
        (("--set", "als"), 2, "wanted MODEL.NAME=VALUE"),
        (("--set", "als.factors=many"), 2, "als: factors: got 'many'"),
        (("--split", "lats"), 2, "--split"),
        (("--k", "0"), 2, "--k"),
        (("--user", "kunde"), 1, "got user='kunde', wanted one of the columns 顾客, 商品, 日期, 评分"),
        (("--time", ""), 1, "take another split"),
        (("--at-least", "6"), 1, "480 of them below 6"),
    ],
)
def test_wrong_use(run: Run, log: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = run("evaluate", log, *words)
    assert done.code == code
    assert said in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item,when\na,2025-01-01\n", "wanted one of shoppers, such as user_id"),
        ("user,item\na,b\nc,d\n", "rows without times"),
        ("user,item,time\na,b,1\na,c,2\n", "got 1 shopper"),
        ("user,item,time\n,b,1\n,c,2\n", "2 of 2 rows left out (2 user: empty)"),
        ("", "an empty file"),
    ],
)
def test_files_that_leave_nothing_to_compare(run: Run, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "log.csv").write_text(text, encoding="utf-8")
    done = run("evaluate", tmp_path / "log.csv")
    assert done.code == 1
    assert said in done.err


def test_options_of_a_file_need_one(run: Run) -> None:
    done = run("evaluate", "--at-least", "3")
    assert done.code == 2
    assert "--at-least: got no FILE" in done.err


def test_settings_are_written_as_in_toml() -> None:
    assert settings_of(["als.factors=8", "als.solver=cg", "ease.l2=1e2", "content.words='a b'"]) == {
        "als": {"factors": 8, "solver": "cg"}, "ease": {"l2": 100.0}, "content": {"words": "a b"}
    }  # fmt: skip


def test_real_logs(run: Run, data_folder: Path) -> None:
    done = run(
        "evaluate", data_folder / "ml100k" / "ratings.parquet", "--models", "item-knn", "--at-least", "4", "--json"
    )
    assert done.code == 0
    best, floor = json.loads(done.out)["rows"]
    assert (best["model"], floor["model"]) == ("item-knn", "popular")
    assert best["ndcg@20"] > floor["ndcg@20"]
    steam = data_folder / "steam_200k" / "purchases.parquet"
    refused = run("evaluate", steam)
    assert refused.code == 1
    assert "take another split: last or random" in refused.err
    done = run("evaluate", steam, "--models", "item-knn", "--split", "random", "--json")
    rows = {(row["model"], row["subset"]): row for row in json.loads(done.out)["rows"]}
    assert rows["item-knn", "new"]["vs_popular_low"] > 0.1
