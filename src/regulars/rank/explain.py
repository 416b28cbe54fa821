"""Reasons that stand on evidence: what the shopper did, or what others bought, never a bare claim."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property

from regulars.core.arrays import Indices
from regulars.core.clock import DAY, Instant
from regulars.core.data import CLICK, PURCHASE, VIEW, Histories
from regulars.events.schema import Reason
from regulars.models.base import Can
from regulars.profiles.live import Live
from regulars.rank.bundle import Bundle

TOP_OF_CATEGORY = 10  # "popular in tea" is said of a category's first ten
FRESH = 3 * DAY  # "this week" is said while most of the counted week lies in the last seven days

TEXTS = {
    "en": {
        "because-bought": "because you bought {item}",
        "because-viewed": "because you looked at {item}",
        "because-noticed": "because you showed interest in {item}",
        "looked": "you looked at this before",
        "similar": "goes with {item}",
        "usual": "you usually buy this every {days:.0f} days",
        "again": "you bought this before",
        "popular-week": "popular in {label} this week",
        "popular-category": "popular in {label}",
        "popular": "popular in this shop",
        "trending": "more wanted than usual these days",
        "explore": "something new for you to discover",
        "pin": "chosen by the shop",
        "taste": "fits what you have shown interest in",
    },
    "zh": {
        "because-bought": "因为您买过{item}",
        "because-viewed": "因为您看过{item}",
        "because-noticed": "因为您关注过{item}",
        "looked": "您以前看过",
        "similar": "与{item}相配",
        "usual": "您通常每{days:.0f}天购买一次",
        "again": "您以前买过",
        "popular-week": "本周{label}热销",
        "popular-category": "{label}类热销",
        "popular": "本店热销",
        "trending": "近来需求上升",
        "explore": "为您推荐的新发现",
        "pin": "店铺精选",
        "taste": "符合您的喜好",
    },
}


@dataclass(frozen=True)
class Shopper:
    """One shopper's side of the evidence: a one-row history, and what language to speak."""

    history: Histories
    context: str  # the item looked at now
    language: str
    told: dict[int, Reason] = field(default_factory=dict)  # by evidence: many items of a slate lean on the same one

    @cached_property
    def bought(self) -> dict[int, list[Instant]]:
        """Distinct instants, in order, at which each item was bought."""
        history, found = self.history, defaultdict(set)
        mine = history.kind == PURCHASE
        for idx, at in zip(history.item_idx[mine].tolist(), history.at[mine].tolist(), strict=True):
            found[idx].add(at)
        return {idx: sorted(instants) for idx, instants in found.items()}

    @cached_property
    def looked(self) -> set[int]:
        """Items looked at."""
        kind = self.history.kind
        return set(self.history.item_idx[(kind == VIEW) | (kind == CLICK)].tolist())

    @cached_property
    def met(self) -> set[int]:
        """Items of the history, whatever was done with them."""
        return set(self.history.item_idx.tolist())


class Explainer:
    """Writes the reasons of the slates of one state."""

    def __init__(self, bundle: Bundle, live: Live, now: Instant) -> None:
        self.bundle, self.live, self.now = bundle, live, now
        columns = live.catalogue.columns(bundle.items)
        self._category = columns.category_idx
        self._fresh = now - bundle.trained_at < FRESH

    def reasons(self, shopper: Shopper, item_idx: Indices, sources: list[str]) -> list[Reason]:
        """A reason for each shown item, given the source it came from (a model's name, "explore" or "pin")."""
        leaning = self._because(shopper, item_idx, sources)
        return [
            self._reason(shopper, idx, source, leaning.get(position, -1))
            for position, (idx, source) in enumerate(zip(item_idx.tolist(), sources, strict=True))
        ]

    def _because(self, shopper: Shopper, item_idx: Indices, sources: list[str]) -> dict[int, int]:
        """Position -> the history item it leans on, asking each model once."""
        positions_of = defaultdict(list)
        for position, source in enumerate(sources):
            model = self.bundle.models.get(source)
            if model is not None and Can.BECAUSE in model.can:
                positions_of[source].append(position)
        leaning: dict[int, int] = {}
        for source, positions in positions_of.items():
            found = self.bundle.models[source].because(shopper.history, self.now, item_idx[positions])
            leaning.update(zip(positions, found.tolist(), strict=True))
        return leaning

    def _reason(self, shopper: Shopper, idx: int, source: str, evidence: int) -> Reason:
        if source == "pin":
            return self._say(shopper, "pin", "pin")
        if source == "repeat":
            return self._repeat(shopper, idx)
        if source == "trending" and self._fresh:
            return self._say(shopper, "trending", "trending")
        if evidence >= 0 and evidence != idx:
            if evidence not in shopper.told:
                shopper.told[evidence] = self._leans_on(shopper, evidence)
            return shopper.told[evidence]
        if source == "explore":
            return self._explored(shopper, idx)
        return self._popular(shopper, idx)

    def _explored(self, shopper: Shopper, idx: int) -> Reason:
        """New, unless the shopper has met it before."""
        if idx not in shopper.met:
            return self._say(shopper, "explore", "explore")
        if idx in shopper.bought:
            return self._repeat(shopper, idx)
        return self._say(shopper, "taste", "looked" if idx in shopper.looked else "taste")

    def _say(self, shopper: Shopper, kind: str, text: str, **facts: float | str) -> Reason:
        """A sentence in the shopper's language; `facts` are also fields of the reason."""
        words = TEXTS[shopper.language][text]
        evidence = {name: facts[name] for name in ("item_id", "category", "days") if name in facts}
        return Reason(kind=kind, text=words.format(**facts), **evidence)  # type: ignore[arg-type]

    def _title(self, idx: int, language: str) -> str:
        item = self.live.catalogue.get(self.bundle.items[idx])
        if item is None:
            return self.bundle.items[idx]
        return str(item.properties.get(f"title_{language}") or item.title or item.item_id)

    def _label(self, idx: int, language: str) -> str:
        """An item's category in a language, "" where the shop does not say (property `category_zh`, path or name)."""
        item = self.live.catalogue.get(self.bundle.items[idx])
        told = item.properties.get(f"category_{language}") if item else None
        names = told if isinstance(told, list | tuple) else [told]
        return str(names[-1]) if names and names[-1] else ""

    def _repeat(self, shopper: Shopper, idx: int) -> Reason:
        bought = shopper.bought.get(idx, [])
        item_id = self.bundle.items[idx]
        days = (bought[-1] - bought[0]) / DAY / (len(bought) - 1) if len(bought) > 1 else 0.0
        if days >= 1:
            return self._say(shopper, "usual", "usual", days=days, item_id=item_id)
        if bought:
            return self._say(shopper, "usual", "again", item_id=item_id)
        return self._popular(shopper, idx)

    def _leans_on(self, shopper: Shopper, evidence: int) -> Reason:
        item_id, title = self.bundle.items[evidence], self._title(evidence, shopper.language)
        if item_id == shopper.context:
            return self._say(shopper, "similar", "similar", item=title, item_id=item_id)
        looked = "because-viewed" if evidence in shopper.looked else "because-noticed"
        text = "because-bought" if evidence in shopper.bought else looked
        return self._say(shopper, "because", text, item=title, item_id=item_id)

    def _popular(self, shopper: Shopper, idx: int) -> Reason:
        facts, category = self.bundle.item_facts, int(self._category[idx])
        if category >= 0 and facts.buyers[idx] > 0 and self._place(category, idx) < TOP_OF_CATEGORY:
            name = self.live.catalogue.categories[category].rpartition(" > ")[2]
            text = "popular-week" if self._fresh and facts.week_buyers[idx] > 0 else "popular-category"
            label = self._label(idx, shopper.language) or name
            return self._say(shopper, "popular", text, category=name, label=label)
        if facts.buyers[idx] >= facts.buyers_of_popular:
            return self._say(shopper, "popular", "popular")
        if len(shopper.history.item_idx):
            return self._say(shopper, "taste", "taste")
        return self._say(shopper, "explore", "explore")

    def _place(self, category: int, idx: int) -> int:
        """Rank of an item among its category by buyers of the last week, then of all time."""
        in_demand, rank = self.bundle.item_facts.in_demand
        return int((self._category[in_demand[: rank[idx]]] == category).sum())
