"""The whole loop on a practice shop, as a shop would live it.

A log without slates is written to files and ingested; the first version trains, is evaluated, and serves some
days; a second version learns from what came of it. Then both serve the same shoppers over the same days.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from regulars import pipeline, show
from regulars.app import App
from regulars.core.clock import DAY, Instant
from regulars.core.errors import WrongUse
from regulars.evaluate import offline
from regulars.feedback.intervals import wilson
from regulars.models.base import all_cores
from regulars.practice import ProductPolicy
from regulars.serve.security import make_keys
from regulars.simulate.presets import preset
from regulars.simulate.shop import Shop
from regulars.simulate.world import World

SEED = 1
SERVED_DAYS = 1  # days that the first version serves before the second is trained
COMPARED_DAYS = 1  # days that both versions serve, from the same morning
HISTORY_LIMIT = 400  # days of log at most
Say = Callable[[str], None]


@dataclass(frozen=True)
class Summary:
    """What the demonstration saw; `to_json` is the last line that it prints."""

    home: Path
    shoppers: int
    items: int
    events: int
    decisions: int
    seconds: dict[str, float]
    peak_mb: int
    table: list[dict[str, Any]]
    loop: dict[str, dict[str, Any]]
    settings_hash: str

    def to_json(self) -> dict[str, Any]:
        """Plain values, the folder left out."""
        return {
            "shoppers": self.shoppers, "items": self.items, "events": self.events, "decisions": self.decisions,
            "seconds": self.seconds, "peak_mb": self.peak_mb, "table": self.table, "loop": self.loop,
            "settings_hash": self.settings_hash,
        }  # fmt: skip


def run(home: Path | None, *, shoppers: int, items: int, events: int, now: Instant, say: Say) -> Summary:
    """Play the whole loop once in `home` (None: a fresh folder that stays); it ends in the week before `now`."""
    folder = home or Path(tempfile.mkdtemp(prefix="regulars-demo-"))
    if folder.exists() and any(folder.iterdir()):
        raise WrongUse(str(folder), got="a folder that is not empty", wanted="a new folder for the demonstration")
    start, watch = time.perf_counter(), pipeline.Watch(say)
    world = World(preset("default", shoppers=shoppers, items=items), SEED)
    shop = Shop(world)
    with watch.step("history", f"Opening a practice shop: {shoppers:,} shoppers, {items:,} items"):
        files, written = write_history(shop, folder / "import", events, now)
    product = ProductPolicy(folder, world, "slate", SEED, threads=all_cores())
    app = product.app
    product.clock.at = world.start + shop.day * DAY
    with watch.step("ingest", f"Ingesting {written:,} interactions"):
        say("  " + show.import_text(app.ingest(files)).splitlines()[0])
    with watch.step("train", "Training the first version"):
        first = pipeline.train_once(app, gate=True)
    for line in offline.to_markdown(
        [pipeline.short(row) for row in first.table if row["subset"] == "all"]
    ).splitlines():
        say("  " + line)
    with watch.step("slates", f"Serving {SERVED_DAYS} days with version {first.version}"):
        product.use(app.bundle())
        for _ in range(SERVED_DAYS):
            product.step(shop, product)
    with watch.step("retrain", "Training again, from what came of the slates"):
        second = pipeline.train_once(app, gate=True)
    with watch.step("compare", "Both versions serve the same shoppers over the same days"):
        loop = compare(shop, product, [first.version, second.version])
    seconds = {**watch.seconds, "total": round(time.perf_counter() - start, 1)}
    summary = Summary(
        home=folder, shoppers=shoppers, items=items, events=written, decisions=count_decisions(app), seconds=seconds,
        peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), table=first.table,
        loop={"before": loop[0], "after": loop[1]}, settings_hash=app.settings.ranking_hash(),
    )  # fmt: skip
    make_keys(folder)
    app.close()
    return summary


def write_history(shop: Shop, folder: Path, least: int, now: Instant) -> tuple[list[Path], int]:
    """Play days without slates until the log is long enough; write it as files in the own layout."""
    folder.mkdir(parents=True)
    days, written = [], 0
    for table in shop.history(HISTORY_LIMIT):
        days.append(table)
        written += len(table)
        if written >= least:
            break
    log = pa.concat_tables(days)
    ahead = shop.world.start + (shop.day + SERVED_DAYS + COMPARED_DAYS) * DAY
    moved = (now - ahead) // (7 * DAY) * (7 * DAY)  # whole weeks: weekdays stay
    shop.world.start += moved
    at = log.schema.get_field_index("timestamp")
    log = log.set_column(at, "timestamp", pc.add(log["timestamp"], moved))
    log = log.set_column(
        log.schema.get_field_index("price"), "price", pc.divide(log["price"].cast(pa.float64()), 100.0)
    )
    pq.write_table(log, folder / "interactions.parquet")
    write_catalogue(shop, folder / "items.jsonl")
    return [folder / "items.jsonl", folder / "interactions.parquet"], written


def write_catalogue(shop: Shop, path: Path) -> None:
    """The public catalogue with all its changes until today, one change a line."""
    world = shop.world
    changes = world.item_changes()
    for day in range(1, shop.day):
        changes += world.item_changes_on(day)
    with path.open("wb") as file:
        for change in changes:
            values = msgspec.to_builtins(change.item)
            if change.item.price is not None:
                values["price"] = change.item.price / 100
            row = {"type": "item", "event_id": change.event_id, "timestamp": change.timestamp, **values}
            file.write(msgspec.json.encode(row) + b"\n")


def compare(shop: Shop, product: ProductPolicy, versions: Sequence[str]) -> list[dict[str, Any]]:
    """Serve the same days from the same morning with each version; nothing of it is kept in the journal."""
    results = []
    for version in versions:
        trial, dry = shop.fork(), product.dry(version)
        clicked = slates = 0
        for _ in range(COMPARED_DAYS):
            stats = trial.step(dry, dry.record)
            clicked, slates = clicked + int(stats.clicked_slates.sum()), slates + int(stats.slates.sum())
        low, high = wilson(clicked, slates)
        results.append({
            "click_rate": clicked / max(slates, 1), "click_rate_low": float(low), "click_rate_high": float(high),
            "slates": slates, "model_version": version,
        })  # fmt: skip
    return results


def count_decisions(app: App) -> int:
    """Decisions in journal and lake."""
    return len(app.journal.snapshot().records("decision"))
