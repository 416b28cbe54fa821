"""How the cost of each stage grows with the log, on practice shops of three sizes (`--full`: four).

A practice shop as the demonstration opens it, 90 days without slates. Shoppers grow with the events, about 110 of
them each; items with the square root of the events, 1,000 at a million: a shop that sells ten times as much has three
times the goods. Each stage and size runs in a process of its own on one thread; writing the log, and what a stage
finds done by those before it, does not count:

- `ingest` the files into a new shop, `clean` the log into a Dataset and its matrix, `profiles` the batch fold of all
  shoppers;
- each model of the default settings, fitted on all of it;
- `ranking`, the blend and the trees, on the days that judge, models fitted before them; `evaluate` these models and
  the slate on the same days.

A stage is run until ten seconds are over, five times at most, and the fastest run counts: the first one also waits
for memory. Rows `exponent` are slopes of least squares of the logarithm of a cost over that of the events: 1 is
linear. Memory is the process's peak without what it took for the same work on a tiny shop, before it read anything
(`base_mb`). `--plot FILE` draws the costs.

The bar is 1.15. EASE may be above it: it inverts a matrix of items, and their number cubed grows with the events to
the power of 1.5.
"""

from __future__ import annotations

import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from measure import Row, apart, chosen, clocked, peak_mb
from regulars.app import App
from regulars.core.clock import DAY, ManualClock
from regulars.core.data import Dataset
from regulars.core.rng import generator
from regulars.core.settings import Settings, load_settings
from regulars.demo import write_catalogue
from regulars.feedback.lessons import Lessons
from regulars.models.registry import make_model
from regulars.profiles.live import Live
from regulars.rank.bundle import Bundle
from regulars.simulate.presets import preset as preset_of
from regulars.simulate.shop import Shop
from regulars.simulate.world import World
from regulars.trial import Trial, holdout, make_trial, rankers_of, ranking_after, table_of

SIZES: Mapping[str, Mapping[str, int]] = {
    "default": {"1M": 1_000_000, "3M": 3_000_000, "10M": 10_000_000},
    "small": {"30k": 30_000, "100k": 100_000, "300k": 300_000},
}
FULL = {"30M": 30_000_000}
TINY = 5_000
DAYS = 90
EVENTS_A_SHOPPER = 110  # in that time
SEED = 1
QUICK, RUNS = 10.0, 5  # seconds below which a stage is repeated, and how often it is run at most
SETTINGS = {"shop.name": "Growth", "shop.practice": True, "train.threads": 1, "train.memory_mb": 16_000}
MODELS = Settings().train.models
STAGES = ("ingest", "clean", "profiles", *MODELS, "ranking", "evaluate")
PROTOCOL = (
    "practice shops of 90 days without slates, shoppers in proportion to events, items to their square root; each "
    "stage in a process of its own, one thread; exponents are slopes of log cost over log events of seconds, of CPU "
    "seconds, and of peak memory less what the process held after the same work on a tiny shop"
)
Figure = dict[str, Any]


def run(models: Sequence[str] | None = None, preset: str = "default", full: bool = False) -> Row:
    """A row a stage and size, then one of exponents a stage."""
    if preset not in SIZES:
        raise SystemExit(f"--preset: got {preset!r}, wanted one of {', '.join(SIZES)}")
    stages = chosen(models, STAGES)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        tiny = Path(scratch) / "tiny"
        open_shop(tiny, TINY)
        for size, events in {**SIZES[preset], **(FULL if full else {})}.items():
            rows += costs(Path(scratch) / size, tiny, size, events, stages)
    return {"protocol": PROTOCOL, "rows": rows + exponents(rows)}


def open_shop(folder: Path, events: int) -> Row:
    """A shop of about so many events in this folder, with all that its stages find."""
    told = apart(write_log, folder, events)
    apart(fill, folder)
    return told


def costs(folder: Path, tiny: Path, size: str, events: int, stages: Sequence[str]) -> list[Row]:
    """Write a log of about so many events, then a row a stage."""
    told = apart(write_log, folder, events)
    shop = {key: told[key] for key in ("events", "users", "items")}
    rows = []
    for stage in dict.fromkeys(["ingest", *stages]):
        sys.stderr.write(f"{shop['events']:,} events: {stage} ...\n")
        row = apart(measure, folder, tiny, stage)
        if stage in stages:
            rows.append({"model": stage, "by": "ours", "subset": size, **shop, **row})
        if stage == "ingest":
            apart(prepare, folder)
    shutil.rmtree(folder)
    return rows


def write_log(folder: Path, events: int) -> Row:
    """Play a practice shop of about so many events and write its files, a day at a time."""
    folder.mkdir()
    shoppers, items = max(1, round(events / EVENTS_A_SHOPPER)), round(events**0.5)
    shop = Shop(World(preset_of("default", shoppers=shoppers, items=max(items, 40)), SEED))
    written, writer = 0, None
    for table in shop.history(DAYS):
        price = table.schema.get_field_index("price")
        day = table.set_column(price, "price", pc.divide(table["price"].cast(pa.float64()), 100.0))
        writer = writer or pq.ParquetWriter(folder / "interactions.parquet", day.schema)
        writer.write_table(day)
        written += len(day)
    if writer is not None:
        writer.close()
    write_catalogue(shop, folder / "items.jsonl")
    return {"events": written, "users": len(shop.world.shopper_ids), "items": len(shop.world.item_ids)}


def fill(folder: Path) -> Row:
    """Ingest, and what `prepare` does."""
    ingest(folder)
    return prepare(folder)


def prepare(folder: Path) -> Row:
    """Keep what later stages find: the Dataset, and a trial with models that do not know the last days."""
    with closing(opened(folder)) as app:
        cleaning = app.cleaning()
        full, _ = cleaning.whole()
        cut = full.as_of - holdout(full, app.settings)
        trial = make_trial(cleaning, app.settings, full, cut, Lessons(), blended=False)
    trial.bundle.save(folder / "bundle")
    trial.live.save(folder / "live")
    for name, value in (
        ("full", full),
        ("before", trial.before),
        ("targets", (trial.targets, trial.beside, trial.until)),
    ):
        with (folder / f"{name}.pickle").open("wb") as file:
            pickle.dump(value, file, protocol=5)
    return {}


def measure(folder: Path, tiny: Path, stage: str) -> Row:
    """Seconds and memory of one stage, the fastest of some runs where it is quick.

    It has done its work on a tiny shop before: kernels are compiled, and libraries are loaded.
    """
    ready(tiny, stage)()
    base = peak_mb()
    work = ready(folder, stage)
    runs: list[Row] = []
    while not runs or (len(runs) < RUNS and sum(run["seconds"] for run in runs) < QUICK and stage != "ingest"):
        runs.append({})
        with clocked(runs[-1], digits=4):
            work()
    return {**min(runs, key=lambda run: float(run["cpu_seconds"])), "threads": 1, "base_mb": base}


def ready(folder: Path, stage: str) -> Callable[[], object]:
    """A stage's work, with all that it finds in memory."""
    if stage == "ingest":
        return lambda: ingest(folder)
    if stage == "clean":
        return lambda: clean(folder)
    if stage in MODELS:
        full: Dataset = kept(folder, "full")
        full.user_items  # noqa: B018 - counted with `clean`: all models share it
        return lambda: make_model(stage).fit(full, generator(0, "fit", stage))
    if stage == "profiles":
        whole, settings = kept(folder, "full"), settings_of_shop()
        return lambda: Live.from_dataset(whole, settings)
    trial = kept_trial(folder)
    if stage == "ranking":
        return lambda: ranking_after(trial, Lessons())
    return lambda: table_of(trial, rankers_of(trial))


def kept(folder: Path, name: str) -> Any:
    """What `prepare` put by, in this run of the bench."""
    with (folder / f"{name}.pickle").open("rb") as file:
        return pickle.load(file)


def kept_trial(folder: Path) -> Trial:
    """The trial that `prepare` made, its version and live state loaded as a server loads them."""
    settings = settings_of_shop()
    bundle, live = Bundle.load(folder / "bundle"), Live.load(folder / "live", settings)
    wanted, visits, until = kept(folder, "targets")
    return Trial(kept(folder, "before"), bundle, live, wanted, visits, until, settings)


def settings_of_shop() -> Settings:
    """The default settings, on one thread."""
    return load_settings(env={}, flags=SETTINGS)


def opened(folder: Path) -> App:
    """The shop, on the morning after its last day."""
    return App.create(folder / "shop", settings_of_shop(), clock=ManualClock(preset_of().start + DAYS * DAY))


def ingest(folder: Path) -> None:
    with closing(opened(folder)) as app:
        app.ingest([folder / "items.jsonl", folder / "interactions.parquet"])


def clean(folder: Path) -> None:
    with closing(opened(folder)) as app:
        app.cleaning().whole()[0].user_items  # noqa: B018


def exponents(rows: Sequence[Row]) -> list[Row]:
    """A row a stage: how its costs grow with the events."""
    found = []
    for stage in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == stage]
        if len({row["events"] for row in mine}) < 2:
            continue
        events = [row["events"] for row in mine]
        memory = [max(row["peak_mb"] - row["base_mb"], 1) for row in mine]
        found.append({
            "model": stage, "by": "ours", "subset": "exponent",
            "exponent": slope(events, [row["seconds"] for row in mine]),
            "cpu_exponent": slope(events, [row["cpu_seconds"] for row in mine]),
            "memory_exponent": slope(events, memory),
        })  # fmt: skip
    return found


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The power of a size that a cost grows with: least squares of log cost over log size.

    A cost below a ten-thousandth counts as that.
    """
    x, y = np.log(sizes), np.log(np.maximum(costs, 0.0001))
    return round(float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()), 2)


def figure(rows: Sequence[Row]) -> Figure:
    """Seconds and memory over events, both logarithmic, a line a stage, as a Plotly figure of plain values."""
    data: list[Figure] = []
    layout: Figure = {"template": None, "height": 900, "title": {"text": "What each stage costs as the log grows"}}
    for place, (key, title) in enumerate((("seconds", "seconds"), ("peak_mb", "peak memory, MB"))):
        number = "" if place == 0 else str(place + 1)
        layout[f"xaxis{number}"] = {"type": "log", "anchor": f"y{number}", "title": {"text": "events"}}
        domain = [0.55 - 0.55 * place, 1 - 0.55 * place]
        layout[f"yaxis{number}"] = {"type": "log", "title": {"text": title}, "domain": domain}
        for stage in dict.fromkeys(row["model"] for row in rows):
            mine = [row for row in rows if row["model"] == stage and key in row]
            data.append({
                "type": "scatter", "mode": "lines+markers", "name": stage, "legendgroup": stage,
                "showlegend": place == 0, "x": [row["events"] for row in mine], "y": [row[key] for row in mine],
                "xaxis": f"x{number}", "yaxis": f"y{number}",
            })  # fmt: skip
    return {"data": data, "layout": layout}


def to_html(rows: Sequence[Row]) -> str:
    """One page that holds the figure and loads nothing from anywhere."""
    import plotly.io

    page: str = plotly.io.to_html(figure(rows), include_plotlyjs=True, full_html=True)
    return page
