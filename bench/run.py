"""One published table or speed claim: `python bench/run.py NAME --data DIR --json`.

The last line of stdout is one JSON object {"name", "protocol", "rows"}; `--save` also keeps it, with machine,
commit and command, under bench/results/ (with `--models`, its rows among those kept before). Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from results import save

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# name -> (module with `run`, how long it takes on two cores)
BENCHES = {
    "online-retail": ("online_retail", "1 minute"),
    "ml1m-ncf": ("ml1m_ncf", "5 minutes, 10 for gmf, mlp, neumf and mult-vae"),
    "gowalla": ("gowalla", "1 hour, at most 20 minutes a model, and hours for mult-vae"),
    "tafeng": ("tafeng", "3 minutes"),
    "retailrocket-funnel": ("retailrocket_funnel", "1 minute"),
    "ratings-ml100k": ("ratings", "5 minutes, 2 without mf:moments"),
    "knn-speed": ("knn_speed", "3 minutes"),
    "als-speed": ("als_speed", "15 minutes"),
    "topk-speed": ("topk_speed", "2 minutes"),
    "csr-speed": ("csr_speed", "3 minutes"),
    "ml1m-sasrec": ("sequences", "2 minutes, 30 for sasrec, and more for gru4rec"),
    "amazon-beauty": ("sequences", "3 minutes, 10 for each sasrec, 4 for gru4rec, 6 for dnn-ranker"),
    "amazon-sports": ("sequences", "4 minutes, 30 for each sasrec, and more for gru4rec"),
    "cold-start": ("cold_start", "8 minutes"),
    "sequence-serving": ("sequence_serving", "1 minute"),
    "diginetica": ("sessions", "5 minutes, 25 for sasrec, and hours for gru4rec"),
    "retailrocket-sessions": ("sessions", "2 minutes, and hours for gru4rec"),
    "defaults": ("defaults", "10 minutes"),
    "transfer": ("transfer", "15 minutes"),
    "warm-retrain": ("warm_retrain", "10 minutes"),
    "practice-shop": ("practice_shop", "10 minutes a preset"),
    "crash": ("crash", "4 minutes"),
    "stages": ("stages", "7 minutes"),
    "growth": ("growth", "10 minutes, 2 with --preset small"),
}


def main() -> int:
    """Parse, run one bench, print its object."""
    args = _parse()
    module = importlib.import_module(BENCHES[args.name][0])
    options = {"name": args.name, "data": args.data, "models": args.models.split(",") if args.models else None,
               "seeds": args.seeds, "preset": args.preset, "budget": args.budget, "full": args.full,
               "keep": args.keep, "jobs": args.jobs}  # fmt: skip
    wanted = module.run.__code__.co_varnames[
        : module.run.__code__.co_argcount + module.run.__code__.co_kwonlyargcount
    ]
    start = time.perf_counter()
    result = module.run(**{key: value for key, value in options.items() if key in wanted and value is not None})
    result = {"name": args.name, **result, "total_seconds": round(time.perf_counter() - start, 1)}
    if args.save:
        save(result, sys.argv[1:], args.preset or "", partial=bool(args.models))
    if args.plot:
        if not hasattr(module, "to_html"):
            raise SystemExit(f"--plot: {args.name} draws nothing")
        args.plot.write_text(module.to_html(result["rows"]), encoding="utf-8")
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
    parser.add_argument("--jobs", type=int, help="seeds measured at a time, in the benches of sequences and sessions")
    parser.add_argument("--keep", type=Path, help="folder for their fits: an ended run of one commit goes on there")
    parser.add_argument("--preset", help="preset of the practice shop")
    parser.add_argument("--budget", type=float, help="stop early after so many seconds and mark rows partial")
    parser.add_argument("--full", action="store_true", help="the largest sizes too, where a bench has them")
    parser.add_argument("--plot", type=Path, help="write the figure of the bench as an HTML page, where it has one")
    parser.add_argument(
        "--save", action="store_true", help="keep the result under bench/results/; with --models its rows only"
    )
    args = parser.parse_args()
    if args.name not in BENCHES:
        near = difflib.get_close_matches(args.name, BENCHES, n=1, cutoff=0)[0]
        parser.error(f"name: got {args.name!r}, wanted one of {', '.join(BENCHES)}. Did you mean {near!r}?")
    return args


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row if not isinstance(row[key], dict)))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = (f"{row[key]:.4f}" if isinstance(row.get(key), float) else str(row.get(key, "")) for key in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
