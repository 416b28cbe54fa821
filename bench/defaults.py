"""Which models a shop gets that names none: the product's slate with each set of models, on real logs.

Each log is ingested, its last tenth of time (1 to 28 days) asked for, and everything before it learned from, as
`regulars evaluate` does it; the blend comes from the days before. Subset LOG: all purchases; LOG/new: items new to
the shopper. `vs_default` is the paired difference in NDCG@20 to the default set, with its 95 % interval. Of Online
Retail only what is before the cut of its own bench is read.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

import online_retail
from measure import Row, apart, chosen, clocked
from regulars import trial as trials
from regulars.app import App
from regulars.core.bootstrap import paired
from regulars.core.clock import ManualClock, format_instant, parse_instant
from regulars.core.settings import Settings, load_settings
from regulars.evaluate import offline
from regulars.feedback.lessons import Lessons
from regulars.rank.blend import Blend
from regulars.rank.learn import Ranking

K = 20
DEFAULT = Settings().train.models
BEFORE = ("popular", "trending", "repeat", "item-knn", "ease", "als", "content")  # the first default, kept to compare
SETS: Mapping[str, Sequence[str]] = {
    "default": DEFAULT,
    "popular": ("popular",),
    "without-ease": [name for name in BEFORE if name != "ease"],
    "without-als": [name for name in BEFORE if name != "als"],
    "without-item-knn": [name for name in BEFORE if name != "item-knn"],
    "without-content": [name for name in BEFORE if name != "content"],
    "without-trending": [name for name in BEFORE if name != "trending"],
    "first": BEFORE,
    "co-occurrence": [*BEFORE, "co-occurrence"],
    "co-occurrence-for-item-knn": [*(name for name in BEFORE if name != "item-knn"), "co-occurrence"],
    "session-knn": [*BEFORE, "session-knn"],
    "rp3beta": [*BEFORE, "rp3beta"],
    "rlfm": [*BEFORE, "rlfm"],
    "next-basket": [*BEFORE, "next-basket"],
}
LOGS = ("online-retail", "retailrocket", "ml100k", "journey")
PROTOCOL = (
    "the last tenth of each log (1 to 28 days), learned from what is before; full ranking by the product's slate, "
    "k 20; ml100k: ratings of 4 and 5 are purchases; vs_default: paired difference in NDCG@20, 95 % by bootstrap"
)


def run(data: Path, models: Sequence[str] | None = None) -> Row:
    """A row a set of models and log; `models` names sets."""
    names = list(dict.fromkeys(["default", *chosen(models, list(SETS))]))
    rows: list[Row] = []
    for log in LOGS:
        sys.stderr.write(f"{log} ...\n")
        found = apart(measure, data, log, names)
        rows += [{**row, "peak_mb": found["peak_mb"]} for row in found["rows"]]  # of all sets: they share their fits
    return {"protocol": PROTOCOL, "rows": rows}


def measure(data: Path, log: str, names: Sequence[str]) -> Row:
    """All sets on one log; every model is fitted once."""
    with tempfile.TemporaryDirectory() as scratch, opened(data, log, Path(scratch)) as app:
        settings = app.settings.change(train={"models": tuple({each: 0 for name in names for each in SETS[name]})})
        cleaning = app.cleaning()
        full, _ = cleaning.whole()
        cut = full.as_of - trials.holdout(full, settings)
        before, older = cleaning.as_of(cut), cleaning.as_of(cut - trials.holdout(full, settings))
        cost: Row = {}
        with clocked(cost):
            fitted, _ = trials.fit_models(settings, before)
        fitted_older, _ = trials.fit_models(settings, older)
        rows, scores = [], {}
        for name in names:
            sys.stderr.write(f"  {name} ...\n")
            some = [each for each in SETS[name] if each in fitted and each in fitted_older]
            prior = Ranking(Blend.prior(some))
            past = trials.trial_of(settings, older, {each: fitted_older[each] for each in some}, prior, before)
            ranking = trials.ranking_after(past, Lessons())
            trial = trials.trial_of(settings, before, {each: fitted[each] for each in some}, ranking, full)
            ranker = trials.slate_ranker(trial)
            scores[name] = offline.score_by_shopper(ranker, trial.targets, ("all", "new"), K)
            rows += rows_of(log, name, scores, some)
    return {"rows": [{**row, **{f"all_{key}": value for key, value in cost.items()}} for row in rows]}


def rows_of(log: str, name: str, scores: Mapping[str, Mapping[str, np.ndarray]], models: Sequence[str]) -> list[Row]:
    """Rows of one set: both subsets, beside the default."""
    rows = []
    for subset, values in scores[name].items():
        if not len(values):
            continue
        row: Row = {"model": name, "by": "ours", "subset": log if subset == "all" else f"{log}/new",
                    "users": len(values), "ndcg@20": round(float(values.mean()), 4), "threads": 1,
                    "settings": {"models": " ".join(models)}}  # fmt: skip
        if name != "default":
            found = paired(values, scores["default"][subset], np.random.default_rng(0))
            row |= {"vs_default": round(found.mean, 4), "vs_default_low": round(found.low, 4),
                    "vs_default_high": round(found.high, 4)}  # fmt: skip
        rows.append(row)
    return rows


def opened(data: Path, log: str, scratch: Path) -> App:
    """A shop that has ingested one log, its clock at the log's end."""
    files, end = WRITERS[log](data, scratch)
    settings = load_settings(env={}, flags={
        "shop.name": log, "shop.currency": "USD", "shop.timezone": "UTC", "train.threads": 1,
    })  # fmt: skip
    app = App.create(scratch / "shop", settings, clock=ManualClock(end))
    app.ingest(files)
    return app


def _retail(data: Path, scratch: Path) -> tuple[list[Path], int]:
    lines = pq.read_table(data / "online_retail_0910" / "transactions.parquet")
    end = parse_instant(online_retail.CUT)
    return [online_retail.write_csv(lines, scratch / "lines.csv", before=end)], end


def _rocket(data: Path, scratch: Path) -> tuple[list[Path], int]:
    table = pq.read_table(data / "retailrocket_mb" / "events.parquet")
    words = {"view": "view", "cart": "add_to_cart", "buy": "purchase"}
    return _written(
        scratch, table["user_id"].to_pylist(), table["item_id"].to_pylist(),
        [second * 1_000_000 for second in table["timestamp"].to_pylist()],
        [words[str(kind)] for kind in table["event"].to_pylist()],
    )  # fmt: skip


def _films(data: Path, scratch: Path) -> tuple[list[Path], int]:
    table = pq.read_table(data / "ml100k" / "ratings.parquet")
    kinds = ["purchase" if rating >= 4 else "view" for rating in table["rating"].to_pylist()]
    films = pq.read_table(data / "ml100k" / "items.parquet").to_pydict()
    items = pa.table({
        "item_id": [str(each) for each in films["item_id"]], "title": films["title"],
        "tags": ["|".join(genres) for genres in films["genres"]],
    })  # fmt: skip
    pyarrow.csv.write_csv(items, scratch / "items.csv")
    files, end = _written(
        scratch, table["user_id"].to_pylist(), table["item_id"].to_pylist(),
        [second * 1_000_000 for second in table["timestamp"].to_pylist()], kinds,
    )  # fmt: skip
    return [scratch / "items.csv", *files], end


def _journey(data: Path, scratch: Path) -> tuple[list[Path], int]:
    table = pq.read_table(data / "complete_journey_sample" / "transactions.parquet")
    known = set(table["product_id"].to_pylist())
    goods = pq.read_table(data / "complete_journey_sample" / "products.parquet").to_pydict()
    rows = [row for row, product in enumerate(goods["product_id"]) if product in known]
    items = pa.table({
        "item_id": [str(goods["product_id"][row]) for row in rows],
        "title": [str(goods["product_type"][row] or "") for row in rows],
        "category": [f"{goods['department'][row]} > {goods['product_category'][row]}" for row in rows],
        "brand": [f"{goods['manufacturer_id'][row]}" for row in rows],
    })  # fmt: skip
    pyarrow.csv.write_csv(items, scratch / "items.csv")
    files, end = _written(
        scratch, table["household_id"].to_pylist(), table["product_id"].to_pylist(),
        table["transaction_timestamp"].cast(pa.timestamp("us")).cast(pa.int64()).to_pylist(),
        ["purchase"] * len(table), [str(basket) for basket in table["basket_id"].to_pylist()],
    )  # fmt: skip
    return [scratch / "items.csv", *files], end


def _written(
    scratch: Path, users: Iterable[int], items: Iterable[int], at: Sequence[int], kinds: Sequence[str],
    orders: Sequence[str] | None = None,
) -> tuple[list[Path], int]:  # fmt: skip
    """Events as a file of the product's own layout, and the instant after the last."""
    columns = {
        "event_type": list(kinds), "timestamp": [format_instant(each) for each in at],
        "user_id": [str(each) for each in users], "item_id": [str(each) for each in items],
    }  # fmt: skip
    if orders is not None:
        columns["order_id"] = list(orders)
    pyarrow.csv.write_csv(pa.table(columns), scratch / "events.csv")
    return [scratch / "events.csv"], max(at) + 1


WRITERS: Mapping[str, Callable[[Path, Path], tuple[list[Path], int]]] = {
    "online-retail": _retail, "retailrocket": _rocket, "ml100k": _films, "journey": _journey,
}  # fmt: skip
