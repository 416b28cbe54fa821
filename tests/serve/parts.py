"""A small practice shop made of the real parts, and a real server of it on loopback."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn

from regulars.clean.dataset import build_dataset
from regulars.core.clock import DAY, HOUR, Instant, SystemClock
from regulars.core.settings import Settings
from regulars.events.identity import Identities
from regulars.events.intake import Intake
from regulars.events.journal import Journal
from regulars.models.registry import model_class
from regulars.profiles.live import Live
from regulars.rank.blend import Blend
from regulars.rank.bundle import Bundle, ItemFacts
from regulars.rank.versions import Versions
from regulars.serve.security import Keys, Tickets, make_keys
from regulars.serve.server import create_app
from regulars.serve.service import Service

MODELS = ("popular", "item-knn", "repeat")
CATEGORIES = ("Tea", "Coffee", "Bakery", "Kitchen", "Books")
NAMES = ("Morning", "Garden", "Harbour", "Lantern", "Meadow", "Orchard", "River", "Winter", "Copper", "Willow")


@dataclass
class Parts:
    """A shop's folder and what was made of it."""

    home: Path
    settings: Settings
    journal: Journal
    service: Service
    keys: Keys

    def train(self, version: str, names: tuple[str, ...] = MODELS) -> Bundle:
        """Fit a version on everything up to now; it is not published."""
        dataset, report = build_dataset(self.journal, self.settings)
        models = {name: model_class(name)().fit(dataset) for name in names}
        return Bundle(
            version=version, items=dataset.items.ids, models=models, blend=Blend.prior(names),
            item_facts=ItemFacts.of(dataset), offset=report.offset, trained_at=dataset.as_of,
            settings_hash=self.settings.ranking_hash(),
            facts={"table": [{"model": "slate", "subset": "all", "ndcg@20": 0.21, "ndcg@20_low": 0.19,
                              "ndcg@20_high": 0.23, "users": 40}],
                   "verdict": {"accepted": True, "why": "the first version"}},
        )  # fmt: skip

    def publish(self, version: str, names: tuple[str, ...] = MODELS) -> None:
        """Fit a version and name it in CURRENT."""
        Versions(self.home).publish(self.train(version, names), keep=5)


def rows_of_catalogue(n: int) -> list[dict[str, Any]]:
    return [
        {"type": "item", "item_id": f"i{i:03d}", "title": f"{NAMES[i % 10]} {CATEGORIES[i % 5].lower()} {i}",
         "category": [CATEGORIES[i % 5]], "brand": f"Brand {i % 4}", "price": 3 + i % 17, "tags": ["organic"],
         "description": "Made with care, tested by many, and used every day."}
        for i in range(n)
    ]  # fmt: skip


def rows_of_shopping(n_users: int, n_items: int, now: Instant) -> list[dict[str, Any]]:
    """Purchases and views: each shopper prefers one category."""
    rng = np.random.default_rng(7)
    rows = []
    for user in range(n_users):
        for visit in range(6):
            for step in range(4):
                item = int(rng.integers(n_items // 5)) * 5 + (
                    user % 5 if rng.random() < 0.8 else int(rng.integers(5))
                )
                kind = "purchase" if step == 3 else "view"
                at = now - (6 - visit) * 5 * DAY + step * HOUR // 10
                order = f"o{user}-{visit}" if step == 3 else ""
                rows.append({"user_id": f"user-{user}", "event_type": kind, "item_id": f"i{item % n_items:03d}",
                             "timestamp": at, "price": 5.0, "order_id": order})  # fmt: skip
    return rows


def open_parts(home: Path, settings: Settings | None = None, *, filled: bool = True) -> Parts:
    """Compose a shop in `home` from the real parts."""
    chosen = settings or Settings().change(shop={"practice": True, "name": "Corner shop"})
    clock = SystemClock()
    journal = Journal(home, clock=clock, settings=chosen.events)
    identities = Identities(journal)
    intake = Intake(journal, identities, chosen, clock)
    live = Live.load(home / "live", chosen) if (home / "live").exists() else Live(chosen)
    service = Service(
        settings=chosen, journal=journal, identities=identities, intake=intake, live=live,
        bundle_source=Versions(home).load_current, clock=clock, home=home,
    )  # fmt: skip
    keys = make_keys(home)
    if filled:
        intake.record(rows_of_catalogue(60))
        intake.record(rows_of_shopping(40, 60, clock.now()))
    return Parts(home, chosen, journal, service, keys)


@dataclass
class Doors:
    """A running server."""

    parts: Parts
    url: str
    admin: httpx.Client
    browser: httpx.Client
    nobody: httpx.Client
    stack: ExitStack

    def login(self) -> httpx.Client:
        """A client with a session, as a person's browser has one."""
        client = self.stack.enter_context(httpx.Client(base_url=self.url, follow_redirects=True))
        token = Tickets(self.parts.home).issue(SystemClock().now())
        assert client.get(f"/login?token={token}").status_code == 200
        return client


@contextmanager
def serving(parts: Parts) -> Iterator[str]:
    """Run the app under uvicorn in a thread; yields its address."""
    config = uvicorn.Config(
        create_app(parts.service, os.urandom(32)), host="127.0.0.1", port=0, loop="uvloop", http="httptools",
        log_config=None, access_log=False, lifespan="on",
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()
