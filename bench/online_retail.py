"""UCI Online Retail II, sheet 2009-2010: a real log through the whole product, tested as published.

The shared copy is written out under UCI's own column names as CSV up to the cut and ingested. The test set comes
from the raw lines: customer known, quantity and price above 0, stock code of five leading digits; customers and
codes that the same filter finds before the cut. Exploration is off and `now` is the cut; for `new` the bench
passes the bought items as `exclude`, nothing else differs.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from rankings import rank_for
from regulars import pipeline, show
from regulars.app import App
from regulars.core.clock import ManualClock, parse_instant
from regulars.core.settings import Settings, load_settings

CUT = "2010-10-01T00:00:00Z"
K = 20
PUBLISHED = [
    ("popular", "all", {"recall@20": 0.109, "ndcg@20": 0.121, "hr@20": 0.694}),
    ("item-knn", "all", {"recall@20": 0.206, "ndcg@20": 0.211, "hr@20": 0.777}),
    ("repeat", "all", {"recall@20": 0.334, "ndcg@20": 0.350, "hr@20": 0.902}),
    ("popular", "new", {"recall@20": 0.053, "ndcg@20": 0.051, "hr@20": 0.440}),
    ("item-knn", "new", {"recall@20": 0.096, "ndcg@20": 0.091, "hr@20": 0.563}),
]
PROTOCOL = "global time split at 2010-10-01, full ranking, k 20, relevant = distinct items bought after the cut"


def settings_of_bench() -> Settings:
    """The product's defaults with exploration off and no gate: there is no older version to judge against."""
    return load_settings(env={}, flags={
        "shop.name": "Online Retail", "shop.currency": "GBP", "shop.timezone": "UTC", "rank.explore": "off",
        "train.gate": False,
    })  # fmt: skip


def run(data: Path, models: Sequence[str] | None = None) -> dict[str, Any]:
    """Ingest, train, and rank for every customer of the test; one row a model and subset."""
    lines = pq.read_table(data / "online_retail_0910" / "transactions.parquet")
    with tempfile.TemporaryDirectory() as scratch:
        return run_in(Path(scratch), lines, models)


def run_in(scratch: Path, lines: pa.Table, models: Sequence[str] | None = None) -> dict[str, Any]:
    """The bench in a folder of its own; `lines` as in the shared copy."""
    cut = parse_instant(CUT)
    seconds: dict[str, float] = {}
    start = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        seconds[name], start = round(time.perf_counter() - start, 2), time.perf_counter()

    file = write_csv(lines, scratch / "online_retail_II.csv", before=cut)
    lap("write")
    with App.create(scratch / "shop", settings_of_bench(), clock=ManualClock(cut)) as app:
        report = app.ingest([file])
        lap("ingest")
        sys.stderr.write(show.import_text(report) + "\n")
        trained = pipeline.train_once(app)
        lap("train")
        rows = score(app, lines, cut, models)
        lap("rank")
        settings_hash = app.settings.ranking_hash()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for row in rows:
        row |= {"by": "ours", "settings_hash": settings_hash, "seconds": round(sum(seconds.values()), 1),
                "peak_mb": round(peak)}  # fmt: skip
    rows += [{"model": m, "subset": s, "by": "published", **figures} for m, s, figures in PUBLISHED]
    return {"protocol": PROTOCOL, "rows": rows, "steps": seconds, "left_out": trained.left_out}


def write_csv(lines: pa.Table, path: Path, *, before: int | None = None) -> Path:
    """Write the shared copy back under UCI's own column names."""
    if before is not None:
        lines = lines.filter(pc.less(lines["invoice_time"].cast(pa.int64()), before))
    table = pa.table({
        "Invoice": lines["invoice"], "StockCode": lines["stock_code"], "Description": lines["description"],
        "Quantity": lines["quantity"], "InvoiceDate": pc.strftime(lines["invoice_time"], "%Y-%m-%d %H:%M:%S"),
        "Price": lines["unit_price"], "Customer ID": lines["customer_id"],
        "Country": lines["country"].cast(pa.string()),
    })  # fmt: skip
    pyarrow.csv.write_csv(table, path)
    return path


def test_lines(lines: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Customer, upper-cased stock code and instant of the lines that the protocol counts."""
    keep = pc.and_(
        pc.and_(pc.is_valid(lines["customer_id"]), pc.greater(lines["quantity"], 0)),
        pc.and_(pc.greater(lines["unit_price"], 0), pc.match_substring_regex(lines["stock_code"], r"^\d{5}")),
    )
    kept = lines.filter(keep)
    codes = np.array([code.upper() for code in kept["stock_code"].to_pylist()], dtype=object)
    return kept["customer_id"].to_numpy(), codes, kept["invoice_time"].cast(pa.int64()).to_numpy()


def score(app: App, lines: pa.Table, cut: int, models: Sequence[str] | None) -> list[dict[str, Any]]:
    """Rows of every model and the slate, on all purchases and on those new to the customer."""
    customer, code, at = test_lines(lines)
    bought, wanted = _sets(customer, code, at < cut), _sets(customer, code, at >= cut)
    codes = {c for items in bought.values() for c in items}
    relevant = {c: [i for i in items if i in codes] for c, items in wanted.items() if c in bought}
    rows = []
    bundle = app.bundle()
    if bundle is None:
        raise RuntimeError("training published no version")
    names = [*app.settings.train.models, "slate"]
    for name in names:
        if models and name not in models:
            continue
        for subset in ("all", "new"):
            hits = {c: [i for i in items if subset == "all" or i not in bought[c]] for c, items in relevant.items()}
            hits = {c: items for c, items in hits.items() if items}
            exclude = {c: tuple(bought[c]) if subset == "new" else () for c in hits}
            ranked = rank_for(app, bundle, name, [str(c) for c in hits], [exclude[c] for c in hits], K)
            rows.append({"model": name, "subset": subset, **_metrics(ranked, list(hits.values()))})
    return rows


def _sets(customer: np.ndarray, code: np.ndarray, keep: np.ndarray) -> dict[int, dict[str, None]]:
    """Distinct codes of each customer, in order of first purchase."""
    found: dict[int, dict[str, None]] = {}
    for who, what in zip(customer[keep].tolist(), code[keep].tolist(), strict=True):
        found.setdefault(int(who), {})[what] = None
    return found


def _metrics(ranked: Sequence[Sequence[str]], relevant: Sequence[Sequence[str]]) -> dict[str, float]:
    """Recall@20 over min(20, relevant), NDCG@20 with the same ideal, Hit@20; means over customers."""
    discount = 1 / np.log2(np.arange(2, K + 2))
    figures = []
    for items, wanted in zip(ranked, relevant, strict=True):
        hit = np.array([item in set(wanted) for item in items[:K]] + [False] * (K - len(items[:K])))
        ideal = min(K, len(wanted))
        figures.append((hit.sum() / ideal, (hit * discount).sum() / discount[:ideal].sum(), hit.any()))
    recall, ndcg, hits = np.mean(np.array(figures, dtype=np.float64), axis=0)
    return {
        "users": len(figures), "recall@20": round(float(recall), 4), "ndcg@20": round(float(ndcg), 4),
        "hr@20": round(float(hits), 4),
    }  # fmt: skip
