"""A model version: the fitted models, how they blend, and what is known of how they were made.

Saved as one folder: `bundle.json`, `items.json`, one folder a model, and the item facts as `.npy`. `bundle.json`
holds digests of all of them, so a folder put together from two versions is refused.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from regulars.core.arrays import Floats, Indices
from regulars.core.clock import DAY, Instant
from regulars.core.data import PURCHASE, Dataset, IdMap
from regulars.core.errors import ModelError
from regulars.models.base import MANIFEST, Model
from regulars.models.registry import load_model
from regulars.rank.blend import Blend
from regulars.rank.features import feature_names
from regulars.rank.hybrid import FILE as HYBRID
from regulars.rank.hybrid import Hybrid, parts_of
from regulars.rank.retrieve import Retriever, retrievers

log = logging.getLogger(__name__)

FORMAT = 1
FILE = "bundle.json"
RANKER = "ranker"  # folder of the second look
REMEDY = "Run `regulars rollback` or `regulars train`."
GAP_PRIOR_PAIRS = 3.0  # repeat gaps that the shop-wide mean gap is worth when an item has few of its own
FACTS = ("gap_days", "buyers", "week_buyers")  # saved arrays of ItemFacts
SELDOM = 0.05  # an item that fewer of its buyers buy twice is bought once


@dataclass(frozen=True)
class ItemFacts:
    """What the data says of each item, for rules and reasons; `(n_items,)` each."""

    gap_days: Floats  # usual days between two purchases by one shopper, inf = bought once
    buyers: Indices  # distinct buyers ever
    week_buyers: Indices  # distinct buyers in the last 7 days of the data

    @cached_property
    def buyers_of_popular(self) -> int:
        """Buyers from which on an item belongs to the shop's first tenth, at least 1."""
        place = max(len(self.buyers) // 10, min(len(self.buyers), 10))
        return max(1, int(np.partition(self.buyers, -place)[-place])) if place else 1

    @cached_property
    def in_demand(self) -> tuple[Indices, Indices]:
        """Items by buyers of the last week, then of all time, most first; and each item's place among them."""
        order = np.lexsort((-self.buyers, -self.week_buyers)).astype(np.int32)
        place = np.empty_like(order)
        place[order] = np.arange(len(order), dtype=np.int32)
        return order, place

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Count them; gaps of one item are shrunk to the shop's own mean gap."""
        rows = dataset.interactions
        bought = np.flatnonzero((rows.kind == PURCHASE) & (rows.quantity > 0))
        n_items = len(dataset.items)
        order = bought[np.lexsort((rows.at[bought], rows.item_idx[bought], rows.user_idx[bought]))]
        user, item, at = rows.user_idx[order], rows.item_idx[order], rows.at[order]
        same = (user[1:] == user[:-1]) & (item[1:] == item[:-1])
        gap = (at[1:] - at[:-1]) / DAY
        pair = same & (gap > 0.5)
        sums = np.bincount(item[1:][pair], weights=gap[pair], minlength=n_items)
        pairs = np.bincount(item[1:][pair], minlength=n_items)
        first = np.concatenate(([True], ~same))[: len(item)]
        buyers = np.bincount(item[first], minlength=n_items)
        mean = sums.sum() / max(pairs.sum(), 1)
        usual = (sums + GAP_PRIOR_PAIRS * mean) / (pairs + GAP_PRIOR_PAIRS)
        week = at > dataset.as_of - 7 * DAY
        pairs_of_week = np.unique(user[week].astype(np.int64) * n_items + item[week])
        return cls(
            gap_days=np.where(pairs < SELDOM * buyers, np.inf, usual).astype(np.float32),
            buyers=buyers.astype(np.int32),
            week_buyers=np.bincount(pairs_of_week % max(n_items, 1), minlength=n_items).astype(np.int32),
        )


@dataclass(frozen=True)
class Bundle:
    """One version of everything that makes slates."""

    version: str
    items: IdMap[str]
    models: Mapping[str, Model]
    blend: Blend
    item_facts: ItemFacts
    offset: int  # the last journal row it has learned from
    trained_at: Instant  # the data's instant
    settings_hash: str
    facts: Mapping[str, Any] = field(default_factory=dict)  # table, verdict, seconds: for people
    hybrid: Hybrid | None = None  # the second look
    beside: Blend | None = None  # for slates beside an item, where there was something to learn from

    @cached_property
    def retrievers(self) -> dict[str, Retriever]:
        """The models, ready to be asked for candidates."""
        return retrievers(self.models)

    def blend_for(self, item: str) -> Blend:
        """The blend of requests that name an item, or of those that do not."""
        return self.beside if item and self.beside is not None else self.blend

    def save(self, folder: Path) -> None:
        """Write the version; `bundle.json` comes last, so a folder without it was never finished."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, model in self.models.items():
            model.save(folder / name)
        for name in FACTS:
            np.save(folder / f"{name}.npy", getattr(self.item_facts, name), allow_pickle=False)
        if self.hybrid is not None:
            self.hybrid.save(folder / RANKER)
        (folder / "items.json").write_text(json.dumps(list(self.items.ids), ensure_ascii=False), encoding="utf-8")
        about = {
            "format": FORMAT, "version": self.version, "models": list(self.models), "blend": self.blend.to_json(),
            "beside": None if self.beside is None else self.beside.to_json(),
            "offset": self.offset, "trained_at": self.trained_at, "settings_hash": self.settings_hash,
            "facts": dict(self.facts), "sums": _sums(folder, list(self.models), self.hybrid is not None),
        }  # fmt: skip
        (folder / FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, maps: MutableMapping[str, IdMap[str]] | None = None) -> Self:
        """Read what `save` wrote; arrays are memory-mapped, so workers share them.

        `maps` are the maps of items read before, by digest: versions of the same items share one, and whatever is
        kept for it (the catalogue's columns, the live state's translation).
        """
        about = read_about(folder)
        try:
            for part, digest in about["sums"].items():
                if _digest(folder / part) != digest:
                    raise ModelError(f"{folder / part}", got="a part of another version, or a changed one",
                                     wanted="the part saved with this version", remedy=REMEDY)  # fmt: skip
            items = _read_items(folder / "items.json", about["sums"]["items.json"], {} if maps is None else maps)
            arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in FACTS}
        except (OSError, ValueError, KeyError, msgspec.MsgspecError) as error:
            raise ModelError(str(folder), got=str(error), wanted="a whole model version", remedy=REMEDY) from error
        models = {name: load_model(folder / name) for name in about["models"]}
        return cls(
            version=about["version"], items=items, models=models, blend=Blend.from_json(about["blend"]),
            item_facts=ItemFacts(**arrays), offset=about["offset"], trained_at=about["trained_at"],
            settings_hash=about["settings_hash"], facts=about["facts"],
            beside=Blend.from_json(about["beside"]) if about.get("beside") else None,
            hybrid=_read_hybrid(folder / RANKER, models) if f"{RANKER}/{HYBRID}" in about["sums"] else None,
        )  # fmt: skip


def _read_hybrid(folder: Path, models: Mapping[str, Model]) -> Hybrid | None:
    """The second look; one that reads other features than this release's is left out."""
    hybrid = Hybrid.load(folder)
    if hybrid.names != feature_names(tuple(models)):
        log.warning("%s: reads other features than this release has, and is left out until the next training", folder)
        return None
    return hybrid


def _read_items(path: Path, digest: str, maps: MutableMapping[str, IdMap[str]]) -> IdMap[str]:
    items = maps.get(digest)
    if items is None:
        items = maps[digest] = IdMap(msgspec.json.decode(path.read_bytes(), type=list[str]))
    return items


def _sums(folder: Path, models: Sequence[str], ranker: bool) -> dict[str, str]:
    """Digest by part; a model's manifest holds the digests of its arrays."""
    parts = ["items.json", *(f"{name}.npy" for name in FACTS), *(f"{name}/{MANIFEST}" for name in models)]
    if ranker:
        parts += [f"{RANKER}/{name}" for name in parts_of(folder / RANKER)]
    return {part: _digest(folder / part) for part in parts}


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def read_about(folder: Path) -> dict[str, Any]:
    """`bundle.json` of a version, checked for form and format."""
    try:
        about = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(str(folder), got=str(error), wanted=f"a model version with {FILE}",
                         remedy="Run `regulars train`.") from error  # fmt: skip
    wanted = {"format", "version", "models", "blend", "offset", "trained_at", "settings_hash", "facts", "sums"}
    if not isinstance(about, dict) or not wanted <= about.keys():
        raise ModelError(str(folder / FILE), got="another form", wanted=f"the keys {sorted(wanted)}",
                         remedy="Run `regulars train`.")  # fmt: skip
    if about["format"] != FORMAT:
        raise ModelError(str(folder), got=f"format {about['format']}", wanted=f"format {FORMAT}",
                         remedy="Run `regulars train`.")  # fmt: skip
    return about
