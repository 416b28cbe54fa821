"""Policies of the tests' own, and a way to play some days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from regulars.core.arrays import Indices
from regulars.simulate import presets
from regulars.simulate.metrics import Figures, Ledger
from regulars.simulate.policies import Oracle, Random, answer
from regulars.simulate.protocol import DayStats, Policy, PolicyAnswer, PolicyRequest
from regulars.simulate.shop import Shop
from regulars.simulate.world import World


class Popular:
    """What was bought most so far, and is in stock, for everybody."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counts = np.zeros(len(world.catalogue))

    def learn(self, table: pa.Table) -> None:
        bought = table.filter(pa.compute.equal(table["event_type"], "purchase"))
        items = self.world.catalogue.ids.index(bought["item_id"].to_pylist())
        self.counts += np.bincount(items, minlength=len(self.counts))

    def __call__(self, request: PolicyRequest) -> PolicyAnswer:
        scores = np.where(self.world.catalogue.in_stock(request.day), self.counts, -np.inf)
        return answer(np.tile(scores.astype(np.float32), (len(request), 1)), request.limit)


class Whim:
    """Personal but for no reason: every shopper has an order of items of their own, for good."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, request: PolicyRequest) -> PolicyAnswer:
        items: Indices = np.arange(len(self.world.catalogue), dtype=np.int32)
        scores = self.world.draw("whim", request.shopper[:, None], items[None, :])
        scores[:, ~self.world.catalogue.in_stock(request.day)] = -np.inf
        return answer(scores.astype(np.float32), request.limit)


@dataclass
class Run:
    """One policy's days."""

    shop: Shop
    figures: Figures
    stats: list[DayStats]
    log: pa.Table


def play(preset: presets.Preset, policy: str, seed: int = 0, days: int = 60, noise: float = 0.0) -> Run:
    world = World(preset, seed)
    shop = Shop(world)
    popular = Popular(world)
    policies: dict[str, Policy | None] = {
        "popular": popular,
        "random": Random(world),
        "oracle": Oracle(shop, noise=noise),
        "whim": Whim(world),
        "none": None,
    }
    ledger, stats, tables = Ledger(preset.shoppers, len(world.catalogue)), [], []

    def record(table: pa.Table) -> None:
        popular.learn(table)
        tables.append(table)

    for _ in range(days):
        stats.append(shop.step(policies[policy], record))
        ledger.add(stats[-1])
    return Run(shop, ledger.figures(), stats, pa.concat_tables(tables))


@pytest.fixture(scope="session")
def runs() -> Callable[..., Run]:
    """`play` with 250 shoppers and 120 items, each run played once a session."""
    known: dict[tuple[object, ...], Run] = {}

    def get(policy: str, name: str = "default", seed: int = 0, days: int = 45, noise: float = 0.0) -> Run:
        key = (policy, name, seed, days, noise)
        if key not in known:
            small = presets.preset(name, shoppers=250, items=120)
            known[key] = play(small, policy, seed, days, noise)
        return known[key]

    return get


@pytest.fixture(scope="session")
def world() -> World:
    return World(presets.preset(shoppers=250, items=120), seed=3)
