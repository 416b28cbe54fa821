"""The storefront of a practice shop: what a shopper sees, and what the shop learns while they look.

It does what a real shop would do through /v1: every slate's `recommendation_id`, slot and position come back with
the shopper's next step.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromQuery, JSONBody, QueryParameter
from litestar.response import Redirect
from msgspec import Meta, Struct

from regulars.events.schema import Decision, Interaction, Profile
from regulars.serve.http import NO_STORE, make_slate
from regulars.serve.pages.door import Form, check_csrf, closed, cookie, csrf_header, logged_in, session_of
from regulars.serve.pages.render import page
from regulars.serve.service import Service
from regulars.serve.wire import Ask, Id, ItemAnswer, Recommendation, Slot

SHOPPER_COOKIE = "regulars_shopper"
PAGE_SIZE = 24
SAMPLE, MOST_PEOPLE = 150, 12  # shoppers looked at, shown
Asked = Request[Any, Any, Any]


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing the shopper did, as the page reports it."""

    event_type: Literal["view", "click", "add_to_cart", "remove_from_cart", "purchase", "rating", "dislike"]
    item_id: Id
    quantity: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    value: Annotated[float, Meta(ge=1, le=5)] | None = None
    recommendation_id: str = ""
    slot: str = ""
    position: int | None = None
    order_id: str = ""


class SlateView(Struct, frozen=True, kw_only=True):
    """A slate with what the page needs to draw it."""

    slate: Recommendation
    items: dict[str, ItemAnswer]


class Person(Struct, frozen=True, kw_only=True):
    """A shopper to choose."""

    user_id: str
    segment: str
    orders: int
    interest: str


class Moment(Struct, frozen=True, kw_only=True):
    """An event as the panel shows it."""

    offset: int
    kind: str
    item: str
    at: int
    from_slate: bool = False


class Me(Struct, frozen=True, kw_only=True):
    """Who the shop thinks it is talking to, and what happened since an offset."""

    profile: Profile
    names: dict[str, str]  # titles of the items that the profile names
    moments: tuple[Moment, ...]
    offset: int
    model_version: str


class Shelf(Struct, frozen=True, kw_only=True):
    """A page of items of one category."""

    items: tuple[ItemAnswer, ...]
    more: bool


def _shopper(request: Asked) -> str:
    """The user id of the shopper this session plays."""
    session = session_of(request) or ""
    found = request.app.state.sessions.unseal(session, request.cookies.get(SHOPPER_COOKIE, ""))
    if not found:
        raise NotFoundException(
            "Choose a shopper first.",
            extra={"got": "no shopper", "wanted": "a chosen shopper", "remedy": "Choose one on /shop/shoppers."},
        )
    return str(found)


def _people(service: Service) -> list[Person]:
    """Some shoppers as unlike each other as a sample offers: one of every segment, then a second, busiest first."""
    sample = [(user_id, profile) for user_id, profile in service.some_profiles(SAMPLE) if profile.n_events]
    sample.sort(key=lambda pair: -pair[1].n_orders)
    taken: Counter[str] = Counter()
    ranked = []
    for user_id, profile in sample:
        taken[profile.segment] += 1
        ranked.append((taken[profile.segment], user_id, profile))
    ranked.sort(key=lambda entry: entry[0])
    return [
        Person(user_id=user_id, segment=profile.segment, orders=profile.n_orders, interest=_likes(profile))
        for _, user_id, profile in ranked[:MOST_PEOPLE]
    ]


def _likes(profile: Profile) -> str:
    liked = [(share, name) for name, share in profile.interests.items() if name.startswith("category:")]
    return ", ".join(name.partition(":")[2] for _, name in sorted(liked, reverse=True)[:2])


@get("/shop", sync_to_thread=False, include_in_schema=False)
def shop(request: Asked, service: NamedDependency[Service]) -> Response[Any]:
    """Show the shop, or first the choice of a shopper."""
    session = session_of(request)
    if session is None:
        return closed()
    try:
        name = _shopper(request)
    except NotFoundException:
        return Redirect("/shop/shoppers", status_code=303)
    settings = service.settings.shop
    return page("shop.html", shop=settings.name, currency=settings.currency, language=settings.language,
                shopper=name, csrf=request.app.state.sessions.csrf(session))  # fmt: skip


@get("/shop/shoppers", sync_to_thread=False, include_in_schema=False)
def shoppers(request: Asked, service: NamedDependency[Service]) -> Response[Any]:
    """Show some shoppers to choose from."""
    session = session_of(request)
    if session is None:
        return closed()
    return page("shoppers.html", shop=service.settings.shop.name, people=_people(service),
                csrf=request.app.state.sessions.csrf(session))  # fmt: skip


@post("/shop/shopper", sync_to_thread=False, include_in_schema=False)
def choose(request: Asked, data: Form) -> Redirect:
    """Play this shopper, or a new one when the form names none."""
    session = check_csrf(request, data.get("csrf", ""))
    name = (data.get("user_id") or f"visitor-{secrets.token_hex(3)}")[:256]
    sealed = request.app.state.sessions.seal(session, name)
    return Redirect("/shop", status_code=303, cookies=[cookie(SHOPPER_COOKIE, sealed)])


@get("/shop/data/slate", guards=[logged_in], include_in_schema=False, response_headers=NO_STORE)
async def slate(
    request: Asked, service: NamedDependency[Service], slot: FromQuery[Slot] = "home", item: FromQuery[str] = ""
) -> SlateView:
    """Make a slate for the shopper."""
    limit = 8 if slot == "home" else 4
    made = await make_slate(service, f"u:{_shopper(request)}", Ask(slot=slot, item=item, limit=limit))
    return SlateView(
        slate=made, items={each.item_id: service.show(service.item(each.item_id)) for each in made.items}
    )


@get("/shop/data/categories", guards=[logged_in], sync_to_thread=False, include_in_schema=False)
def categories(request: Asked) -> dict[str, int]:
    """Top categories with how many items they hold."""
    found: dict[str, int] = request.app.state.shelves.categories()
    return found


@get("/shop/data/shelf", guards=[logged_in], sync_to_thread=False, include_in_schema=False)
def shelf(
    request: Asked,
    service: NamedDependency[Service],
    category: FromQuery[str] = "",
    start: Annotated[int, QueryParameter(ge=0)] = 0,
) -> Shelf:
    """Some items of a category."""
    found = request.app.state.shelves.shelf(category, start, PAGE_SIZE + 1)
    return Shelf(items=tuple(map(service.show, found[:PAGE_SIZE])), more=len(found) > PAGE_SIZE)


@get("/shop/data/items", guards=[logged_in], sync_to_thread=False, include_in_schema=False)
def item(service: NamedDependency[Service], item_id: FromQuery[str]) -> ItemAnswer:
    """One item."""
    return service.show(service.item(item_id))


@get("/shop/data/me", guards=[logged_in], sync_to_thread=False, include_in_schema=False, response_headers=NO_STORE)
def me(request: Asked, service: NamedDependency[Service], after: Annotated[int, QueryParameter(ge=0)] = 0) -> Me:
    """The shopper's profile, and their events after an offset."""
    key = service.known_key(f"u:{_shopper(request)}")
    recent = list(service.recent)
    mine = [(offset, event) for offset, event in recent if offset > after and getattr(event, "user_key", None) == key]
    profile = service.profile_of(key)
    return Me(
        profile=profile,
        names={habit.item_id: _title(service, habit.item_id) for habit in profile.habits},
        moments=tuple(
            _moment(service, at, event) for at, event in mine if isinstance(event, (Interaction, Decision))
        ),
        offset=recent[-1][0] if recent else after,
        model_version=service.bundle.version if service.bundle else "",
    )  # fmt: skip


def _title(service: Service, item_id: str) -> str:
    found = service.live.catalogue.get(item_id)
    return found.title or item_id if found else item_id


def _moment(service: Service, offset: int, event: Interaction | Decision) -> Moment:
    if isinstance(event, Decision):
        return Moment(
            offset=offset, kind="slate", item=f"{len(event.items)} items ({event.slot})", at=event.timestamp
        )
    return Moment(offset=offset, kind=event.event_type, item=_title(service, event.item_id), at=event.timestamp,
                  from_slate=bool(event.recommendation_id))  # fmt: skip


@post("/shop/act", guards=[csrf_header], status_code=200, include_in_schema=False)
async def act(request: Asked, service: NamedDependency[Service], data: JSONBody[list[Step]]) -> dict[str, int]:
    """Record what the shopper did."""
    user_id = _shopper(request)
    session = session_of(request) or ""
    rows = [_row(service, step, user_id, session) for step in data]
    statuses = [result.status for result in await asyncio.to_thread(service.record_events, rows)]
    return {"accepted": statuses.count("accepted"), "rejected": statuses.count("rejected")}


def _row(service: Service, step: Step, user_id: str, session: str) -> dict[str, Any]:
    price = service.show(service.item(step.item_id)).price if step.event_type == "purchase" else None
    return {
        "user_id": user_id, "session_id": session, "event_type": step.event_type, "item_id": step.item_id,
        "quantity": step.quantity, "price": price, "value": step.value, "order_id": step.order_id,
        "recommendation_id": step.recommendation_id, "slot": step.slot, "position": step.position,
    }  # fmt: skip


ROUTES: list[Any] = [shop, shoppers, choose, slate, categories, shelf, item, me, act]
