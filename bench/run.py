"""One published table or speed claim: `python bench/run.py NAME --data DIR --json`.

The last line of stdout is one JSON object {"name", "protocol", "rows"}; `--save` also keeps it, with machine,
commit and command, under bench/results/. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# name -> (module with `run`, how long it takes on two cores)
BENCHES = {
    "online-retail": ("online_retail", "1 minute"),
    "ml1m-ncf": ("ml1m_ncf", "2 minutes"),
    "practice-shop": ("practice_shop", "10 minutes a preset"),
    "crash": ("crash", "4 minutes"),
    "stages": ("stages", "7 minutes"),
}
HERE = Path(__file__).parent


def main() -> int:
    """Parse, run one bench, print its object."""
    args = _parse()
    sys.path.insert(0, str(HERE))
    module = importlib.import_module(BENCHES[args.name][0])
    options = {"data": args.data, "models": args.models.split(",") if args.models else None, "seeds": args.seeds,
               "preset": args.preset, "budget": args.budget}  # fmt: skip
    wanted = module.run.__code__.co_varnames[
        : module.run.__code__.co_argcount + module.run.__code__.co_kwonlyargcount
    ]
    start = time.perf_counter()
    result = module.run(**{key: value for key, value in options.items() if key in wanted and value is not None})
    result = {"name": args.name, **result, "total_seconds": round(time.perf_counter() - start, 1)}
    if args.save:
        _save(result, args)
    if not args.json:
        sys.stdout.write(_table(result["rows"]) + "\n")
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _parse() -> argparse.Namespace:
    times = "\n".join(f"  {name:15} {took}" for name, (_, took) in BENCHES.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="names, and what they take:\n" + times,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("name", help="name of the bench")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("REGULARS_DATA", "../shared/data")),
                        help="folder of real data sets")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--models", default="", help="comma-separated models or policies; default: all")
    parser.add_argument("--seeds", type=int, help="seeds, where a bench is random")
    parser.add_argument("--preset", help="preset of the practice shop")
    parser.add_argument("--budget", type=float, help="stop early after so many seconds and mark rows partial")
    parser.add_argument("--save", action="store_true", help="keep the result under bench/results/")
    args = parser.parse_args()
    if args.name not in BENCHES:
        near = difflib.get_close_matches(args.name, BENCHES, n=1, cutoff=0)[0]
        parser.error(f"name: got {args.name!r}, wanted one of {', '.join(BENCHES)}. Did you mean {near!r}?")
    return args


def _save(result: dict[str, Any], args: argparse.Namespace) -> None:
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, cwd=HERE)
    dirty = subprocess.run(["git", "status", "--porcelain", "--", "../src"], capture_output=True, text=True, cwd=HERE)
    about = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {_cpu()}",
        "python": platform.python_version(),
        "commit": commit.stdout.strip() + ("+" if dirty.stdout.strip() else ""),
        "command": "python bench/run.py " + " ".join(_without_paths(sys.argv[1:])),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    suffix = f"-{args.preset}" if args.preset else ""
    path = HERE / "results" / f"{args.name}{suffix}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**about, **result}, indent=1) + "\n", encoding="utf-8")


def _without_paths(words: list[str]) -> list[str]:
    """The command, with the data folder of this machine left out."""
    return ["DATA" if "/" in word else word for word in words]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row if not isinstance(row[key], dict)))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = (f"{row[key]:.4f}" if isinstance(row.get(key), float) else str(row.get(key, "")) for key in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
