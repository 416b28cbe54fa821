"""A small practice shop behind the product's own doors: files are written, ingested, trained on, and served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from regulars import demo
from regulars.app import App
from regulars.core.clock import DAY, HOUR, ManualClock
from regulars.core.settings import Settings, load_settings
from regulars.simulate.presets import preset
from regulars.simulate.shop import Shop
from regulars.simulate.world import World

SHOPPERS, ITEMS, EVENTS = 240, 80, 6000
MODELS = ("popular", "trending", "repeat", "item-knn", "ease", "content")


def settings_of_street(**sections: dict[str, object]) -> Settings:
    """Settings that make trainings quick; `sections` change them further."""
    settings = load_settings(
        env={}, flags={"shop.practice": True, "train.models": ",".join(MODELS), "train.threads": 1}
    )
    return settings.change(**sections)


@dataclass
class Street:
    """One shop with its people, and the folder of the product that serves them."""

    world: World
    shop: Shop
    app: App
    clock: ManualClock
    files: list[Path]

    @property
    def now(self) -> int:
        return self.clock.at


def open_street(folder: Path, settings: Settings | None = None, *, seed: int = 3) -> Street:
    """Play days without slates, write the log as files, and ingest them into `folder`."""
    world = World(preset("default", shoppers=SHOPPERS, items=ITEMS), seed)
    shop = Shop(world)
    files, _ = demo.write_history(shop, folder / "import", EVENTS, world.start + 60 * DAY)
    clock = ManualClock(world.start + shop.day * DAY + 2 * HOUR)
    app = App.create(folder / "home", settings or settings_of_street(), clock=clock)
    app.ingest(files)
    return Street(world, shop, app, clock, files)
