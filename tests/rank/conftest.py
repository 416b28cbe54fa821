"""A tiny shop in memory: items with known features, models that say the same of everybody, and what shoppers did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from regulars.core.arrays import Scores
from regulars.core.clock import DAY, HOUR
from regulars.core.data import Dataset, Histories, IdMap
from regulars.core.settings import Settings
from regulars.events.schema import Decision, Interaction, Item, ItemChange, Reason, SlateItem
from regulars.models.base import Model
from regulars.profiles.live import Live
from regulars.rank.blend import Blend
from regulars.rank.bundle import Bundle, ItemFacts
from regulars.rank.slates import State

NOW = 1_800_000_000_000_000
PLAIN = {"explore": "off", "diversity": 0.0}


class Fixed(Model):
    """A model that says the same of every shopper."""

    name = "fixed"

    def __init__(self, *, row: tuple[float, ...] = ()) -> None:
        self.row = row

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        pass

    def score(self, histories: Histories, now: int) -> Scores:
        return np.tile(np.array(self.row, dtype=np.float32), (len(histories), 1))


class Shop:
    """Items a, b, c, ... in the order of the model's liking."""

    def __init__(self, items: Sequence[Item], **rank: Any) -> None:
        self.settings = Settings().change(rank={**PLAIN, **rank})
        self.live = Live(self.settings)
        for item in items:
            self.change(item)
        ids = IdMap([item.item_id for item in items])
        n = len(ids)
        model = Fixed(row=tuple(float(n - place) for place in range(n))).fit(np.zeros((1, n)))
        self.bundle = Bundle(
            version="v", items=ids, models={"fixed": model}, blend=Blend.prior(("fixed",)),
            item_facts=ItemFacts(
                np.full(n, 30, dtype=np.float32), np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int32)
            ),
            offset=0, trained_at=NOW, settings_hash=self.settings.ranking_hash(),
        )  # fmt: skip

    @property
    def state(self) -> State:
        return State(self.bundle, self.live, self.settings, NOW)

    def change(self, item: Item, **fields: Any) -> None:
        at = self.live.offset + 1
        self.live.apply(at, ItemChange(event_id=f"i{at}", timestamp=NOW - 90 * DAY + at, item=item, **fields))

    def did(self, kind: Any, item_id: str, days_ago: float = 1.0, user_key: int = 1) -> None:
        at = self.live.offset + 1
        self.live.apply(at, Interaction(event_id=f"e{at}", user_key=user_key, event_type=kind, item_id=item_id,
                                        timestamp=NOW - int(days_ago * DAY)))  # fmt: skip

    def show(
        self, *item_ids: str, times: int = 1, days_ago: float = 2.0, user_key: int = 1, apart: int = HOUR
    ) -> None:  # fmt: skip
        """Show items, each time in another visit unless `apart` is shorter than one."""
        for _ in range(times):
            at = self.live.offset + 1
            items = tuple(
                SlateItem(item_id=item_id, score=0.0, position=place, propensity=1.0, source="fixed",
                          reason=Reason(kind="", text=""))
                for place, item_id in enumerate(item_ids)
            )  # fmt: skip
            self.live.apply(at, Decision(
                event_id=f"d{at}", timestamp=NOW - int(days_ago * DAY) - at * apart,
                user_key=user_key, slot="home",
                policy="slate", model_version="v", settings_hash="", items=items, n_candidates=len(items),
            ))  # fmt: skip


def goods(names: str = "abcdef", **fields: Any) -> list[Item]:
    """Plain items, one a letter."""
    return [Item(item_id=name, title=name.upper(), **fields) for name in names]
