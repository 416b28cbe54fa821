"""docs/benchmarks.md out of bench/results/: `python bench/page.py > docs/benchmarks.md`, or `make docs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
RESULTS = Path(__file__).parent / "results"

HEAD = """# Benchmarks

<!-- written by `make docs` from bench/results/: do not edit -->

Every table here is one file of `bench/results/`, and every row one run of a command that is named below the table,
with the commit it ran on. To check one: `python bench/run.py NAME --data DIR` (DIR holds the public data sets, which
are not part of this project; `--help` lists names and how long they take, `--models a,b` limits a run).

How it is measured:

- Settings are chosen on a validation part cut from the training part; the test part is read once a model. Each
  bench's file says how, and `--preset validation` repeats the search.
- Full rankings unless the protocol says otherwise; rankings among sampled negatives stand in tables of their own, and
  the two are never compared. Ties go by item id.
- *published* rows are quoted, their source stands in the bench's file; *peer* rows are other libraries, run here
  beside ours. Rows that lost stay. RecTools is no peer: it asks for numpy 1, and this runs on 2.
- `seconds` is the fit (kernels compiled before), `score_seconds` the ranking of all test shoppers, `threads` what the
  fit was allowed, `peak_mb` the most memory of the process that fitted and ranked. Two shared cores are a noisy
  place: where a peer is to be beaten, speed is told as a ratio of CPU seconds of runs that took turns.
- A model with random numbers in it runs with one seed; `seeds` says where it is the mean of several, with the lowest
  and the highest value in brackets.
"""
TITLES = {
    "ml1m-ncf": "MovieLens-1M, leave-one-out among 99 negatives (the protocol of NCF)",
    "gowalla": "Gowalla, full ranking (the split of LightGCN)",
    "ml1m-sasrec": "MovieLens-1M, next film, full ranking (the files of SASRec)",
    "amazon-beauty": "Amazon Beauty, next item, full ranking (5-core, the files of S3-Rec)",
    "amazon-sports": "Amazon Sports, next item, full ranking (5-core, the files of S3-Rec)",
    "diginetica": "Diginetica, next item of a session (the files of SR-GNN)",
    "retailrocket-sessions": "RetailRocket, next item of a session",
    "tafeng": "Ta-Feng, next basket",
    "retailrocket-funnel": "RetailRocket, next purchase after views and carts, among 99 negatives",
    "cold-start": "Cold start: new shoppers and new items, by how much is known of them",
    "defaults": "Which models a shop gets that names none: the slate of each set on real logs",
    "transfer": "Amazon, from one category to another, same shoppers, among 999 negatives (the files of DisenCDR)",
    "online-retail": "Online Retail, what is bought after a cut in time (the whole product, from the raw file)",
    "als-speed": "ALS: CPU time of an epoch",
    "knn-speed": "Item neighbours: CPU time of a fit",
    "warm-retrain": "Retrains from the last model",
    "topk-speed": "Search among 100,000 items",
    "csr-speed": "Ten million events from Parquet to a matrix",
    "sequence-serving": "A sequence model's answer without torch",
    "stages": "Stages of the product",
    "crash": "Crashes",
}
ORDER = ("ratio", "hr", "recall", "p", "ndcg", "mrr", "phr")  # metrics in this order, the rest after them
COSTS = ("seconds", "cpu_seconds", "score_seconds", "threads", "peak_mb", "seeds")
NOT_METRICS = {"model", "by", "subset", "settings", "settings_hash", "commit", "date", "command", "note", *COSTS}


def page(folder: Path = RESULTS) -> str:
    """The whole page."""
    parts = [HEAD]
    for name, title in TITLES.items():
        path = folder / f"{name}.json"
        if path.exists():
            parts.append(section(title, json.loads(path.read_text(encoding="utf-8"))))
    parts.append("The practice shop has [a page of its own](practice-shop.md).\n")
    return "\n".join(parts)


def section(title: str, result: Row) -> str:
    """One bench: protocol, table, settings, where the rows come from."""
    rows = sorted_rows(result["rows"])
    notes = [f"- {row['model']}: {row['note']}" for row in rows if row.get("note")]
    lines = [f"## {title}", "", f"`{result['name']}`: {result['protocol']}.".replace("..", "."), "", *table(rows), ""]
    lines += [*notes, ""] if notes else []
    lines += [f"On {result['machine']}, Python {result['python']}:", "", *origins(result), ""]
    return "\n".join(lines)


def sorted_rows(rows: Sequence[Row]) -> list[Row]:
    """By subset, then the best first by the first metric, rows without it last."""
    subsets = list(dict.fromkeys(row.get("subset", "all") for row in rows))
    named = metrics(rows)

    def place(row: Row) -> tuple[int, bool, float]:
        value = row.get(named[0]) if named else None
        return subsets.index(row.get("subset", "all")), value is None, -float(value or 0)

    return sorted(rows, key=place)


def metrics(rows: Sequence[Row]) -> list[str]:
    """The columns of numbers, the important ones first; bounds of intervals belong to their metric."""
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, int | float))
    names = [key for key in keys if key not in NOT_METRICS and not key.endswith(("_low", "_high"))]

    def place(name: str) -> int:
        head = name.partition("@")[0]
        return ORDER.index(head) if head in ORDER else len(ORDER)

    return sorted(names, key=place)


def table(rows: Sequence[Row]) -> list[str]:
    """Markdown, one row a model and subset."""
    columns = ["model", "by", "subset", *metrics(rows), *COSTS]
    columns = [name for name in columns if any(name in row for row in rows)]
    if all(row.get("subset", "all") == "all" for row in rows):
        columns.remove("subset")
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return lines + ["| " + " | ".join(cell(row, name) for name in columns) + " |" for row in rows]


def cell(row: Row, name: str) -> str:
    """A value as text, with its interval where there is one; ours stand out."""
    if name not in row or row[name] is None:
        return ""
    if name == "model":
        return f"**{row[name]}**" if row.get("by") == "ours" else str(row[name])
    if f"{name}_low" in row and f"{name}_high" in row:
        return f"{plain(row[name])} [{plain(row[f'{name}_low'])}, {plain(row[f'{name}_high'])}]"
    return plain(row[name])


def plain(value: Any) -> str:
    """Rates to four places, larger numbers to two."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:.4f}" if abs(value) < 1 else f"{value:,.2f}"


def origins(result: Row) -> list[str]:
    """Command and commit of the rows that were run, and the settings of each."""
    rows = [row for row in result["rows"] if row.get("by") != "published"]
    runs = dict.fromkeys(origin(result, row) for row in rows)
    lines = [f"- `{command}` on commit `{commit}`, {date}" for command, commit, date in runs]
    for row in rows:
        if row.get("settings"):
            told = ", ".join(f"{key} {value}" for key, value in row["settings"].items())
            lines.append(f"- {row['model']}: {told}")
    return list(dict.fromkeys(lines))


def origin(result: Row, row: Row) -> tuple[str, str, str]:
    """Where a row comes from; older files tell it once for all rows."""
    command, commit, date = (row.get(key) or result.get(key, "") for key in ("command", "commit", "date"))
    return command, commit, date


if __name__ == "__main__":
    sys.stdout.write(page())
