"""Play policies side by side in the practice shop: each product policy is a whole shop of its own.

A product policy records every event in its own journal, cleans, trains weekly, and makes its slates with
`rank/slates.py`. `popular`, `repeat` and `random` go the same way and differ in scores only.
"""

from __future__ import annotations

import gc
import logging
import math
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from regulars import pipeline
from regulars.app import App
from regulars.core.clock import DAY, ManualClock
from regulars.core.data import Dataset
from regulars.core.errors import SettingError
from regulars.core.rng import generator
from regulars.core.settings import Settings, load_settings
from regulars.evaluate.plot import to_html
from regulars.evaluate.stats import paired_t, t_interval
from regulars.events.schema import Event, Interaction
from regulars.models.registry import make_model
from regulars.profiles.live import Live
from regulars.rank.blend import Blend
from regulars.rank.bundle import Bundle, ItemFacts
from regulars.rank.slates import Request, State, decision, slates
from regulars.simulate.log import SCHEMA
from regulars.simulate.metrics import Ledger
from regulars.simulate.policies import Oracle
from regulars.simulate.presets import preset as preset_of
from regulars.simulate.protocol import DayStats, Policy, PolicyAnswer, PolicyRequest
from regulars.simulate.shop import Shop
from regulars.simulate.world import World

log = logging.getLogger(__name__)

POLICIES = ("random", "popular", "repeat", "slate", "slate-frozen", "slate-shuffled", "oracle")
LONGEST_FIRST = ("slate", "slate-shuffled", "slate-frozen", "repeat", "popular", "random", "oracle")
PLAIN = {"random": ("random",), "popular": ("popular",), "repeat": ("repeat", "popular")}
WARM_UP = 14  # days of log without slates before the first policy day: a shop that takes up Regulars has one
RETRAIN = 7  # days between trainings
FROZEN_AFTER = 14  # policy days after which `slate-frozen` learns no more
FIGURES = ("returned@7", "visits", "purchases", "spending", "lost_shoppers", "click_rate", "coverage")


class ProductPolicy:
    """One policy with a shop's folder of its own."""

    def __init__(self, folder: Path, world: World, name: str, seed: int, *, threads: int = 1) -> None:
        settings = load_settings(env={}, flags={
            "shop.name": "Practice shop", "shop.practice": True, "train.seed": seed, "train.gate": False,
            "train.threads": threads, "events.compact_rows": 20_000, "train.holdout": "7d",
        })  # fmt: skip
        self.clock = ManualClock(world.start)
        self.app = App.create(folder, settings, clock=self.clock)
        self.world, self.name, self.seed = world, name, seed
        self.app.journal.append(world.item_changes())
        keys = self.app.identities.keys([f"u:{shopper}" for shopper in world.shopper_ids])
        self._keys = dict(zip(world.shopper_ids, keys, strict=True))
        self._item_of = {item_id: idx for idx, item_id in enumerate(world.item_ids)}
        self._bundle: Bundle | None = None
        self._decided: list[Event] = []  # since the last round
        self._rounds = 0

    @property
    def settings(self) -> Settings:
        """The settings of this policy's shop."""
        return self.app.settings

    def record(self, table: Any) -> None:
        """Journal a round's decisions and events and fold them; `slate-shuffled` first deals items out anew."""
        events = interactions_of(table, self._keys)
        if self.name == "slate-shuffled":
            events = shuffled(events, generator(self.seed, "shuffle", self._rounds))
        self._rounds += 1
        self._take([*self._decided, *events])
        self._decided = []

    def _take(self, events: Sequence[Event]) -> None:
        """Journal events and fold them; nobody else writes here, so nothing need be read back."""
        receipts = zip(self.app.journal.append(events), events, strict=True)
        self.live.fold((receipt.offset, event) for receipt, event in receipts if receipt.offset is not None)

    @property
    def live(self) -> Live:
        """What this policy knows of its shoppers."""
        return self.app.live

    def use(self, bundle: Bundle | None) -> None:
        """Make slates with this version from now on."""
        self._bundle = bundle

    def step(self, shop: Shop, policy: Policy | None) -> DayStats:
        """Play one day, with the day's changes of the catalogue told first."""
        changes = shop.world.item_changes_on(shop.day) if shop.day > 0 else []
        self.clock.at = max(self.clock.at, shop.world.start + shop.day * DAY)
        if changes:
            self._take(changes)
        return shop.step(policy, self.record)

    def __call__(self, request: PolicyRequest) -> PolicyAnswer:
        """Slates for everybody who asks; the decisions are journaled with what follows on them."""
        now = int(request.at.max())
        self.clock.at = max(self.clock.at, now)
        state = State(self._bundle, self.live, self.settings, now, policy=self.name, explain=False)
        asked = [
            Request(
                user_key=self._keys[self.world.shopper_ids[who]],
                recommendation_id=f"{self.seed}-{request.day}-{request.slot}-{who}",
                slot=request.slot, limit=request.limit, item=self.world.item_ids[item] if item >= 0 else "",
            )
            for who, item in zip(request.shopper.tolist(), request.context_item.tolist(), strict=True)
        ]  # fmt: skip
        made = slates(asked, state)
        self._decided += [decision(slate, each, state) for slate, each in zip(made, asked, strict=True)]
        items = np.full((len(made), request.limit), -1, dtype=np.int32)
        for row, slate in enumerate(made):
            items[row, : len(slate.items)] = [self._item_of[item.item_id] for item in slate.items]
        return PolicyAnswer(items, [slate.recommendation_id for slate in made])

    def night(self, played: int) -> None:
        """After a day: learn, once a week."""
        if played % RETRAIN or (self.name == "slate-frozen" and played > FROZEN_AFTER):
            return
        self.app.journal.compact()
        if self.name in PLAIN:
            cleaning = self.app.cleaning()
            full, _ = cleaning.whole()
            self.use(plain_bundle(PLAIN[self.name], full, self.settings))
            self.app.refold(cleaning, full)
        else:
            pipeline.train_once(self.app)
            self.use(self.app.bundle())

    def close(self) -> None:
        """Let go of the folder."""
        self.app.close()

    def dry(self, version: str) -> DryPolicy:
        """The same shop served by some version, on a live state of its own; the journal learns nothing of it."""
        return DryPolicy(self, Bundle.load(self.app.home / "models" / version))


class DryPolicy(ProductPolicy):
    """A product policy that only remembers: what-if days for comparing versions."""

    def __init__(self, product: ProductPolicy, bundle: Bundle) -> None:
        self.app, self.world, self.name, self.seed = product.app, product.world, product.name, product.seed
        self.clock = ManualClock(product.clock.at)
        self._keys, self._item_of, self._rounds = product._keys, product._item_of, 0
        self._bundle, self._decided = bundle, []
        self._memory = Live.load(product.app.home / "live", product.settings)
        product.app.follow(self._memory)

    @property
    def live(self) -> Live:
        """The state of its own."""
        return self._memory

    def _take(self, events: Sequence[Event]) -> None:
        self._memory.fold(enumerate(events, self._memory.offset + 1))


def plain_bundle(names: Sequence[str], data: Dataset, settings: Settings) -> Bundle:
    """A version whose scores are the first model's; a second one only fills up."""
    models = {
        name: make_model(name, settings.models.get(name)).fit(data, generator(settings.train.seed, "fit", name))
        for name in names
    }
    row = np.array([weight for place in range(len(names)) for weight in (1.0 / 10**place, 0.0)], dtype=np.float32)
    prior = Blend.prior(tuple(names))
    blend = Blend(prior.sources, np.stack([row, row]), 0.0, prior.not_due, prior.fatigue)
    return Bundle(
        version=f"{names[0]}-{data.as_of}", items=data.items.ids, models=models, blend=blend,
        item_facts=ItemFacts.of(data), offset=0, trained_at=data.as_of, settings_hash=settings.ranking_hash(),
    )  # fmt: skip


def interactions_of(table: Any, keys: Mapping[str, int]) -> list[Interaction]:
    """A round's log (own layout, money in minor units) as events."""
    columns = [table.column(name).to_pylist() for name in SCHEMA.names]
    return [
        Interaction(
            event_id=event_id, user_key=keys[user_id], session_id=session_id, event_type=event_type, item_id=item_id,
            timestamp=timestamp, quantity=quantity, price=price, order_id=order_id, value=value,
            recommendation_id=recommendation_id, slot=slot, position=position,
        )
        for (event_id, user_id, session_id, event_type, item_id, timestamp, quantity, price, order_id, value,
             recommendation_id, slot, position) in zip(*columns, strict=True)
    ]  # fmt: skip


def shuffled(events: Sequence[Interaction], rng: np.random.Generator) -> list[Interaction]:
    """Deal the items of each kind of event out anew: totals of items and of shoppers stay, who likes what goes."""
    dealt = list(events)
    for kind in dict.fromkeys(event.event_type for event in events):
        rows = [row for row, event in enumerate(events) if event.event_type == kind]
        for row, other in zip(rows, rng.permutation(rows).tolist(), strict=True):
            dealt[row] = msgspec.structs.replace(
                events[row], item_id=events[other].item_id, price=events[other].price
            )
    return dealt


# --- playing


@dataclass(frozen=True)
class Game:
    """One policy in one world."""

    policy: str
    seed: int
    preset: str
    days: int
    shoppers: int
    items: int


def play(game: Game) -> dict[str, Any]:
    """Play one game in a scratch folder; return its figures and how long it took."""
    start = time.perf_counter()
    world = World(preset_of(game.preset, shoppers=game.shoppers, items=game.items), game.seed)
    shop = Shop(world)
    if game.policy == "oracle":
        for _ in shop.history(WARM_UP):
            pass
        policy, ledger = Oracle(shop), Ledger(game.shoppers, game.items)
        for _ in range(game.days):
            ledger.add(shop.step(policy, _nobody))
        return _played(game, ledger, start, "")
    with tempfile.TemporaryDirectory() as scratch:
        product = ProductPolicy(Path(scratch), world, game.policy, game.seed)
        _open_doors(shop, product)
        ledger = Ledger(game.shoppers, game.items)
        for day in range(game.days):
            ledger.add(product.step(shop, product))
            product.night(day + 1)
        played = _played(game, ledger, start, product.settings.ranking_hash())
        product.close()
    return played


def _open_doors(shop: Shop, product: ProductPolicy) -> None:
    """The days before the first slate, then the first training."""
    for _ in range(WARM_UP):
        product.step(shop, None)
    product.night(0)


def _nobody(table: Any) -> None:
    """The oracle keeps no journal."""


def _played(game: Game, ledger: Ledger, start: float, settings_hash: str) -> dict[str, Any]:
    figures = ledger.figures()
    return {
        **asdict(game), **figures.means(),
        "slate_share": float(figures.slate_purchases.sum() / max(figures.purchases.sum(), 1)),
        "seconds": round(time.perf_counter() - start, 1), "settings_hash": settings_hash,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }  # fmt: skip


# --- comparing


@dataclass(frozen=True)
class Comparison:
    """Policies side by side: one row a policy, then rows of paired differences by seed."""

    preset: str
    games: list[dict[str, Any]]
    rows: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def text(self) -> str:
        """For people: a Markdown table."""
        lines = [f"Practice shop {self.preset!r}: means over seeds, 95 % intervals (Student's t)", ""]
        names = [name for name in FIGURES if any(name in row for row in self.rows)]
        lines += ["| policy | " + " | ".join(names) + " |", "|" + " --- |" * (len(names) + 1)]
        for row in self.rows:
            cells = [_cell(row, name) for name in names]
            lines.append(f"| {row['model']} | " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def to_html(self) -> str:
        """A chart of `returned@7`, nothing loaded from anywhere."""
        rows = [{**row, "subset": "returned within 7 days"} for row in self.rows if row["model"] in POLICIES]
        return to_html(rows, "returned@7")


def _cell(row: dict[str, Any], name: str) -> str:
    if name not in row:
        ratio = row.get("ratio") if name == "returned@7" else None
        return "" if ratio is None else f"{ratio:.2f}"
    value = f"{row[name]:.4g}"
    if math.isfinite(row.get(f"{name}_low", math.inf)):
        value += f" [{row[f'{name}_low']:.4g}, {row[f'{name}_high']:.4g}]"
    return value


def compare(
    policies: Sequence[str], *, days: int = 60, seeds: int = 5, preset: str = "default", shoppers: int = 2000,
    items: int = 500, processes: int = 2, say: Callable[[str], None] = log.info,
) -> Comparison:  # fmt: skip
    """Play every policy in every world, some at a time."""
    for name in policies:
        if name not in POLICIES:
            raise SettingError("policy", got=repr(name), wanted=f"one of {', '.join(POLICIES)}")
    games = [Game(name, seed, preset, days, shoppers, items) for seed in range(seeds) for name in policies]
    games.sort(key=lambda game: LONGEST_FIRST.index(game.policy))  # so that all processes end at about one time
    played = []
    # What a process has imported stays: frozen, it is not looked through at every collection of a game.
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=gc.freeze) as pool:
        for result in pool.map(play, games):
            played.append(result)
            say(f"{result['policy']:15} seed {result['seed']}  returned@7 {result['returned@7']:.3f}  "
                f"{result['seconds']:.0f} s")  # fmt: skip
    return Comparison(preset, played, rows_of(policies, played))


PAIRS = {
    "slate-popular": ("slate", "popular"), "slate-random": ("slate", "random"),
    "slate-minus-frozen": ("slate", "slate-frozen"), "shuffled-popular": ("slate-shuffled", "popular"),
}  # fmt: skip


def rows_of(policies: Sequence[str], played: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds, paired differences, and the share of what the oracle gains."""
    by_policy = {
        name: sorted((game for game in played if game["policy"] == name), key=lambda game: int(game["seed"]))
        for name in policies
    }
    rows = [_row(name, games, None) for name, games in by_policy.items()]
    rows += [
        _row(name, by_policy[left], by_policy[right])
        for name, (left, right) in PAIRS.items()
        if left in by_policy and right in by_policy
    ]
    if {"slate", "popular", "oracle"} <= by_policy.keys():
        rows.append({"model": "share-of-oracle", "ratio": _share(by_policy)})
    return rows


def _share(by_policy: Mapping[str, Sequence[Mapping[str, Any]]]) -> float | None:
    """What slates gain on popularity, of what an all-knowing policy gains; None where that is no more than chance."""
    slate, popular, oracle = (
        [game["returned@7"] for game in by_policy[name]] for name in ("slate", "popular", "oracle")
    )
    ceiling = paired_t(oracle, popular)
    return float(np.mean(slate) - np.mean(popular)) / ceiling.mean if ceiling.low > 0 else None


def _row(name: str, games: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]] | None) -> dict[str, Any]:
    row: dict[str, Any] = {"model": name, "seeds": len(games), "settings_hash": games[0]["settings_hash"]}
    for figure in FIGURES:
        mine = [game[figure] for game in games]
        found = t_interval(mine) if others is None else paired_t(mine, [game[figure] for game in others])
        row |= {figure: found.mean, f"{figure}_low": found.low, f"{figure}_high": found.high}
    if others is None:
        row["slate_share"] = float(np.mean([game["slate_share"] for game in games]))
        row["seconds"] = round(sum(game["seconds"] for game in games), 1)
        row["peak_mb"] = max(game["peak_mb"] for game in games)
    return row
