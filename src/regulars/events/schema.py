"""The nouns that cross borders between folders, as typed, frozen structs: what goes over the wire or to disk.

Times are `Instant`s (integer microseconds UTC), money is integer minor units of the shop's currency.
A `user_key` is random and stands for a shopper everywhere; raw user ids live in one table alone.

What comes in great numbers is not tracked by the garbage collector: plain values out of JSON hold no cycles.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from regulars.core.clock import Instant

EventType = Literal[
    "view", "click", "add_to_cart", "remove_from_cart", "purchase", "refund",
    "wishlist", "rating", "review", "search", "dislike", "impression",
]  # fmt: skip
ItemKind = Literal["product", "article", "ad"]
Source = str  # registry name of a model, or "explore", "pin"


class Interaction(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="interaction"):
    """A shopper did something."""

    event_id: str
    user_key: int
    event_type: EventType
    timestamp: Instant
    item_id: str = ""  # empty for searches only
    session_id: str = ""
    quantity: float = 1.0
    price: int | None = None  # minor units, of one piece
    currency: str = ""  # empty = the shop's
    order_id: str = ""
    value: float | None = None  # the rating given
    text: str = ""  # query or review
    recommendation_id: str = ""
    slot: str = ""
    position: int | None = None
    properties: dict[str, Any] = {}


class Item(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A product, article or ad."""

    item_id: str
    title: str = ""
    description: str = ""
    category: tuple[str, ...] = ()  # path from the root
    brand: str = ""
    price: int | None = None  # minor units
    currency: str = ""
    tags: tuple[str, ...] = ()
    image_url: str = ""
    available: bool = True
    released_at: Instant | None = None
    kind: ItemKind = "product"
    properties: dict[str, Any] = {}


class ItemChange(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="item"):
    """An item is, from this instant on, as given; `deleted` takes it out of the shop."""

    event_id: str
    timestamp: Instant
    item: Item
    deleted: bool = False


class UserChange(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="user"):
    """A shopper's attributes and links to others are, from this instant on, as given."""

    event_id: str
    timestamp: Instant
    user_key: int
    attributes: dict[str, Any] = {}
    links: tuple[int, ...] = ()


class Identify(Struct, frozen=True, kw_only=True, tag="identify"):
    """Two keys are one shopper: `other_key` (anonymous until now) is read as `user_key`."""

    event_id: str
    timestamp: Instant
    user_key: int
    other_key: int


class Tombstone(Struct, frozen=True, kw_only=True, tag="tombstone"):
    """The shopper asked to be forgotten: everything of this key up to now is no longer read."""

    event_id: str
    timestamp: Instant
    user_key: int


class Reason(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Why an item is shown: a sentence, and the evidence it stands on."""

    kind: str  # because, usual, popular, trending, similar, taste, explore, pin
    text: str
    item_id: str = ""  # the bought or viewed item it leans on
    category: str = ""
    days: float | None = None  # the shopper's own gap


class SlateItem(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One position of a slate."""

    item_id: str
    score: float
    position: int  # from 0
    propensity: float  # P(this item | items above, request); a pin has 1
    source: Source
    reason: Reason
    scores: dict[Source, float] = {}  # each model's own score
    probability: float | None = None  # P(bought within `probability_days`), where learned


class Slate(Struct, frozen=True, kw_only=True):
    """The answer to one request, possibly empty, then with `why`."""

    recommendation_id: str
    user_key: int
    slot: str
    policy: str
    model_version: str
    settings_hash: str
    timestamp: Instant
    items: tuple[SlateItem, ...]
    n_candidates: int
    candidate_ids: tuple[str, ...] = ()  # for a sampled share only
    why: str = ""
    probability_days: float | None = None  # what the probabilities of the items look ahead


class Decision(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="decision"):
    """A slate that was shown, as the journal keeps it; `event_id` is the recommendation's id."""

    event_id: str
    timestamp: Instant
    user_key: int
    slot: str
    policy: str
    model_version: str
    settings_hash: str
    items: tuple[SlateItem, ...]
    n_candidates: int
    variant: str = ""
    profile_offset: int = 0
    context: dict[str, Any] = {}
    candidate_ids: tuple[str, ...] = ()  # for a sampled share only


class Outcome(Struct, frozen=True, kw_only=True, gc=False):
    """A Decision joined with what followed inside the windows; `closed` when nothing more can follow."""

    decision: Decision
    clicked: tuple[str, ...] = ()  # item ids
    carted: tuple[str, ...] = ()
    purchased: tuple[str, ...] = ()
    viewed_through: tuple[str, ...] = ()  # bought, shown, never clicked
    revenue: int = 0  # minor units of `purchased`
    closed: bool = False
    impressed: tuple[str, ...] = ()  # item ids, where the shop sends impressions


class Habit(Struct, frozen=True, kw_only=True):
    """An item a shopper buys again and again."""

    item_id: str
    orders: int
    gap_days: float | None  # own mean gap; None after one order
    last_at: Instant
    due_at: Instant | None


class Profile(Struct, frozen=True, kw_only=True):
    """Who a shopper is, as of `as_of`."""

    user_key: int
    as_of: Instant
    n_events: int
    n_sessions: int
    n_orders: int
    first_at: Instant | None
    last_at: Instant | None
    last_order_at: Instant | None
    monetary: int  # minor units, net of refunds
    days_since_last_order: float | None
    tenure_days: float
    order_gap_days: float | None
    hours: tuple[float, ...]  # share of events by hour of the shop's day, 24
    weekdays: tuple[float, ...]  # share by weekday, Monday first, 7
    interests: dict[str, float]  # "category:tea", "brand:x", "tag:y", "price:2" -> decayed share
    exploring: float | None  # share of purchases that were first purchases of the item
    segment: str
    habits: tuple[Habit, ...]
    attributes: dict[str, Any]


Event = Interaction | ItemChange | UserChange | Identify | Tombstone | Decision

decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
interaction_decoder: msgspec.json.Decoder[Interaction] = msgspec.json.Decoder(Interaction)
encoder = msgspec.json.Encoder()
