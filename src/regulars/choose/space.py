"""The candidates: for each registered model a few settings, from cheap to dear.

What is written here is where searches of the benches ended (`bench/`: films, clothes, groceries, clicks), so that few
settings span much. Models stand from cheap to dear, as their fits cost on a middling log; of each the defaults come
first. A shop's own `[models.NAME]` holds in every setting of NAME, and its own `[train] models` is all that is tried.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regulars.core.settings import Settings
from regulars.models.base import Model
from regulars.models.ease import EASE
from regulars.models.registry import make_model, needs_torch

Params = Mapping[str, Any]
FLOOR = "popular"  # always tried, and always among what is chosen

SPACE: Mapping[str, Sequence[Params]] = {
    FLOOR: ({},),
    "trending": ({}, {"window_days": 28.0}),
    "segment-popular": ({},),
    "repeat": ({}, {"horizon_days": 7.0, "recent_days": 7.0}),
    "next-basket": ({}, {"part": "repeat"}),
    "sequential-rules": ({},),
    "co-occurrence": (
        {},
        {"history_decay": 0.6, "window": 20, "decay": 0.3, "power": 0.1, "k": 1000},
        {"window": 200, "decay": 1.0, "backward": 1.0, "history_decay": 0.5, "power": 0.0, "source_power": 0.0},
    ),
    "session-knn": ({}, {"gap_minutes": 0.0}, {"gap_minutes": 0.0, "repeats": 1.0}),
    "item-knn": (
        {},
        {"k": 50, "shrink": 0.0, "user_power": 0.3},
        {"k": 100, "shrink": 10.0, "user_power": 1.0, "asymmetry": 0.4},
        {"k": 500, "shrink": 30.0},
    ),
    "rp3beta": ({}, {"k": 100, "alpha": 1.0, "beta": 0.7}),
    "user-knn": (
        {},
        {"k": 150, "shrink": 0.0, "asymmetry": 0.35, "sharpness": 3.0, "beta": 0.27},
        {"k": 500, "shrink": 0.0, "sharpness": 2.0, "beta": 0.1, "weighting": "tf-idf"},
    ),
    "content": ({},),
    "pure-svd": ({}, {"factors": 200}),
    "als": (
        {},
        {"factors": 128, "alpha": 33.3, "reg": 0.001},
        {"factors": 128, "alpha": 5.0},
    ),
    "ease": ({}, {"l2": 100.0}, {"l2": 2000.0}),
    "rlfm": ({},),
    "graph-filter": ({}, {"factors": 128}),
    "slim": ({}, {"l1": 0.1, "k": 100}),
    "mf-ccl": ({"epochs": 5}, {}),
    "bpr": ({"epochs": 20}, {"rate": 0.1, "item_reg": 0.002, "epochs": 40}),
    "two-tower": ({},),
    "mult-vae": ({},),
    "sasrec": ({}, {"dropout": 0.5, "patience": 5, "features": 3000}),
    "gru4rec": ({},),
}


def flat(n_items: int) -> frozenset[str]:
    """Models whose fit costs what the items cost, whichever shoppers it learns from.

    Of more items than EASE holds dense it leaves out those that nobody took: then it does depend on the shoppers.
    """
    return frozenset({"content", "ease"} if EASE().holds(n_items) else {"content"})


# Registered, and tried only where a shop names them in `[train] models`.
NOT_TRIED: Mapping[str, str] = {
    "random": "a floor of experiments",
    "mf": "tells ratings, not what comes next",
    "neumf": "asked of every item at each answer, and behind cheaper models on every log of the benches",
    "friends": "whether links between people shape slates is for a shop and its shoppers to agree on",
    "transfer-ease": "takes the folder of another shop, without which it is `ease`",
    "dnn-ranker": "a second stage: far too slow to be asked of every item",
}


@dataclass(frozen=True)
class Candidate:
    """A model with settings; the rest keeps its default."""

    model: str
    params: Params = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name and what differs from the defaults: `als factors=128 alpha=5`."""
        return " ".join([self.model, *(f"{key}={_short(value)}" for key, value in self.params.items())])

    def make(self) -> Model:
        """The model, not fitted."""
        return make_model(self.model, self.params)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def candidates(settings: Settings) -> list[Candidate]:
    """What is tried for a shop: the floor, then what the shop uses now, then the rest, each part from cheap to dear.

    A `[train] models` other than the default names all the models there are; equal settings stand once.
    """
    own = tuple(dict.fromkeys((FLOOR, *settings.train.models)))
    by_cost = sorted(own, key=lambda name: list(SPACE).index(name) if name in SPACE else len(SPACE))
    free = settings.train.models == Settings().train.models

    def kept(name: str, params: Params) -> Candidate:
        return Candidate(name, {**params, **settings.models.get(name, {})})

    now = [kept(name, {}) for name in by_cost]
    rest = [kept(name, params) for name in (SPACE if free else by_cost) for params in SPACE.get(name, ({},))]
    return list({each.label: each for each in now + rest}.values())


def missing_part(candidate: Candidate) -> str:
    """Why a candidate cannot be fitted by this install, "" where it can."""
    if needs_torch(candidate.model) and not all(importlib.util.find_spec(name) for name in ("torch", "safetensors")):
        return "torch is not installed (pip install 'regulars[deep]')"
    return ""
