"""Results kept under bench/results/: one JSON file a bench, each row with the commit and command that gave it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOLDER = HERE / "results"
Row = dict[str, Any]


def save(result: dict[str, Any], words: Sequence[str], preset: str = "", *, partial: bool = False) -> Path:
    """Keep a result; a `partial` run (some models only) replaces its own rows and leaves the others as they are."""
    about = {"commit": commit(), "date": time.strftime("%Y-%m-%d", time.gmtime()), "command": command(words)}
    rows = [row if row.get("by") == "published" else {**row, **about} for row in result["rows"]]
    path = FOLDER / f"{result['name']}{f'-{preset}' if preset else ''}.json"
    if partial and path.exists():
        rows = merged(json.loads(path.read_text(encoding="utf-8"))["rows"], rows)
    whole = {**machine(), **result, "rows": rows}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return path


def merged(kept: Sequence[Row], fresh: Sequence[Row]) -> list[Row]:
    """The rows kept; those of a model, subset and origin give way to all fresh ones of it, new ones come last."""
    rows: list[Row] = []
    placed: set[tuple[Any, ...]] = set()
    for row in [*kept, *fresh]:
        name = _name(row)
        newer = [each for each in fresh if _name(each) == name]
        if not newer:
            rows.append(row)
        elif name not in placed:
            rows += newer
            placed.add(name)
    return rows


def _name(row: Row) -> tuple[Any, ...]:
    return row.get("by"), row.get("model"), row.get("subset")


def machine() -> dict[str, str]:
    """What the bench ran on."""
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {_cpu()}", "python": platform.python_version(),
    }  # fmt: skip


def commit() -> str:
    """The commit of the code, with a + where the code differs from it."""
    head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, cwd=HERE)
    code = ["git", "status", "--porcelain", "--", "../src", "*.py"]
    dirty = subprocess.run(code, capture_output=True, text=True, cwd=HERE)
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def command(words: Sequence[str]) -> str:
    """The command, with the folders of this machine left out."""
    return " ".join(["python bench/run.py", *("DATA" if "/" in word else word for word in words)])


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
