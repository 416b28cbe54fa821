"""What goes over HTTP, as typed structs: they check what comes in and describe themselves in openapi.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from regulars.events.intake import RowResult
from regulars.events.schema import ItemKind, Reason, Slate

Id = Annotated[str, Meta(min_length=1, max_length=256)]
Slot = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Limit = Annotated[int, Meta(ge=1, le=200)]
Language = Literal["", "en", "zh"]  # of the reasons; empty = the shop's
Amount = Annotated[float, Meta(ge=0, le=1e12)]  # money in major units of the shop's currency: 4.9
Event = dict[str, Any]  # a row of POST /v1/events: checked row by row, so that one bad row stops no other


class Filter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which items may answer; prices in major units, both ends included."""

    category: str = ""  # a name anywhere on the path, or a path "Food > Tea"
    price_min: Amount | None = None
    price_max: Amount | None = None
    kind: ItemKind = "product"
    in_stock: bool = True


class Ask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a slate is wanted for."""

    slot: Slot = "home"
    limit: Limit | None = None
    exclude: Annotated[tuple[Id, ...], Meta(max_length=10_000)] = ()
    filters: Filter = Filter()
    item: str = ""  # the item looked at now
    language: Language = ""


class RecommendedItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One position of a slate."""

    item_id: str
    score: float
    position: int  # from 0
    propensity: float  # P(this item | the items above it, request)
    source: str
    reason: Reason
    probability: float | None = None  # P(bought within `probability_days`), once learned


class Recommendation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A slate, possibly empty, then with `why`; send `recommendation_id` back with what the shopper does."""

    recommendation_id: str
    model_version: str
    policy: str
    items: tuple[RecommendedItem, ...]
    took_ms: float
    why: str = ""
    probability_days: float | None = None  # what the probabilities of the items look ahead


def answer(slate: Slate, took_ms: float) -> Recommendation:
    """A slate as it goes over the wire."""
    return Recommendation(
        recommendation_id=slate.recommendation_id, model_version=slate.model_version, policy=slate.policy,
        items=tuple(
            RecommendedItem(item_id=item.item_id, score=item.score, position=item.position,
                            propensity=item.propensity, source=item.source, reason=item.reason,
                            probability=item.probability)
            for item in slate.items
        ),
        took_ms=round(took_ms, 3), why=slate.why, probability_days=slate.probability_days,
    )  # fmt: skip


class Questions(Struct, frozen=True, kw_only=True):
    """Items to ask a new shopper about, the most telling first; the answers are events: wishlist, dislike, view."""

    item_ids: tuple[str, ...]
    model_version: str = ""


class EventResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one row: accepted, duplicate, or rejected with why."""

    status: str
    event_id: str = ""
    why: tuple[str, ...] = ()  # every fault of a rejected row


class EventResults(Struct, frozen=True, kw_only=True):
    """What became of every row, in the order sent; accepted rows are on disk."""

    accepted: int
    duplicates: int
    rejected: int
    results: tuple[EventResult, ...]


def results(rows: Sequence[RowResult]) -> EventResults:
    """What became of every row, as it goes over the wire."""
    statuses = [row.status for row in rows]
    return EventResults(
        accepted=statuses.count("accepted"), duplicates=statuses.count("duplicate"),
        rejected=statuses.count("rejected"),
        results=tuple(EventResult(status=row.status, event_id=row.event_id, why=row.why) for row in rows),
    )  # fmt: skip


class ItemBody(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An item as it is from now on; `price` in major units, `released_at` as ISO 8601."""

    title: str = ""
    description: str = ""
    category: tuple[str, ...] = ()  # path from the root
    brand: str = ""
    price: Amount | None = None
    currency: str = ""  # empty = the shop's
    tags: tuple[str, ...] = ()
    image_url: str = ""
    available: bool = True
    released_at: str | None = None
    kind: ItemKind = "product"
    properties: dict[str, Any] = {}


class ItemAnswer(ItemBody, frozen=True, kw_only=True, omit_defaults=True):
    """An item as it is now, in the form in which it is put."""

    item_id: str


class UserBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A shopper's attributes and links to other shoppers (their user ids), as they are from now on."""

    attributes: dict[str, Any] = {}
    links: Annotated[tuple[Id, ...], Meta(max_length=1000)] = ()


class UserAnswer(Struct, frozen=True, kw_only=True):
    """What is kept of a shopper beyond events."""

    user_id: str
    attributes: dict[str, Any]
    links: tuple[str, ...] = ()  # user ids


class Health(Struct, frozen=True, kw_only=True):
    """How the server is."""

    status: str
    model_version: str = ""
    offset: int = 0
