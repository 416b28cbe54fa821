"""The HTTP doors of version 1: thin handlers over `Service`, closed by default.

Slates are made on the event loop (a few milliseconds of work); whatever waits for the disk runs in a thread, so
that writers share one group commit and readers never wait for them. So does the first slate of a new shopper.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from inspect import signature
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, delete, get, post, put
from litestar.connection import ASGIConnection
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import Body, HeaderParameter, PathParameter, QueryParameter

from regulars.events.schema import ItemKind, Profile
from regulars.serve import examples, metrics
from regulars.serve.checks import known, read_ask, shopper
from regulars.serve.problems import NotFound, documented
from regulars.serve.security import Role
from regulars.serve.service import NOBODY, Service
from regulars.serve.wire import (
    Ask,
    Event,
    EventResults,
    Filter,
    Health,
    ItemAnswer,
    ItemBody,
    Language,
    Questions,
    Recommendation,
    UserAnswer,
    UserBody,
    answer,
    results,
)

Asked = Request[Any, Any, Any]
ItemId = Annotated[str, PathParameter(description="Your id of the item.")]
UserId = Annotated[str, PathParameter(description="Your id of the shopper.")]
NO_STORE = [ResponseHeader(name="Cache-Control", value="no-store")]
SECURITY: list[dict[str, list[str]]] = [{"key": []}]


def _role(connection: ASGIConnection[Any, Any, Any, Any]) -> Role:
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    role = connection.app.state.key_ring.role(key.strip()) if scheme.lower() == "bearer" else None
    if role is None:
        raise NotAuthorizedException("A key is needed.", headers={"WWW-Authenticate": "Bearer"})
    return role  # type: ignore[no-any-return]


async def any_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let both keys in."""
    connection.scope["state"]["role"] = _role(connection)


async def admin_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let the admin key in."""
    if _role(connection) is not Role.ADMIN:
        raise PermissionDeniedException("This key may send events and fetch slates of sessions only.")


def shown(name: str, value: Any) -> list[Example]:
    """One example."""
    return [Example(summary=name, value=value)]


def answers(kind: Any, description: str, value: Any) -> dict[int, ResponseSpec]:
    """The good answer of a route, with an example."""
    return {200: ResponseSpec(kind, description=description, examples=shown(description, value))}


Price = Annotated[float | None, QueryParameter(ge=0, le=1e12, description="In major units; both ends count.")]


def filters(
    category: Annotated[str, QueryParameter(description="Only this category: a name, or a path 'Food > Tea'.")] = "",
    price_min: Price = None,
    price_max: Price = None,
    kind: Annotated[ItemKind, QueryParameter(description="Only items of this kind.")] = "product",
    in_stock: Annotated[bool, QueryParameter(description="Only what is available.")] = True,
) -> Filter:
    """Read from the query which items may answer."""
    return Filter(category=category, price_min=price_min, price_max=price_max, kind=kind, in_stock=in_stock)


def ask(
    allowed: NamedDependency[Filter],
    slot: Annotated[str, QueryParameter(description="Where the slate is shown.")] = "home",
    limit: Annotated[int | None, QueryParameter(ge=1, le=200, description="How many items.")] = None,
    exclude: Annotated[list[str] | None, QueryParameter(description="Item ids that must not be shown.")] = None,
    item: Annotated[str, QueryParameter(description="The item looked at now.")] = "",
    language: Annotated[Language, QueryParameter(description="Language of the reasons; empty = the shop's.")] = "",
) -> Ask:
    """Read from the query what a slate is wanted for, as POST does from a body."""
    given = {"slot": slot, "limit": limit, "exclude": exclude or (), "item": item, "language": language}
    return read_ask("query", {**given, "filters": allowed})


WISHES = tuple(name for reader in (ask, filters) for name in signature(reader).parameters if name != "allowed")
WHO = ("session", "anonymous_id")


def takes(*names: str) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Coroutine[Any, Any, None]]:
    """Refuse query parameters other than these: a mistyped wish must not pass as none."""

    async def check(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        for name in connection.query_params:
            known("query", name, names)

    return check


async def make_slate(service: Service, external: str, ask: Ask) -> Recommendation:
    """Make a slate and say how long it took; only a shopper never seen waits for the disk."""
    started = time.perf_counter()
    key = service.known_key(external)
    if key == NOBODY:
        key = await asyncio.to_thread(service.key, external)
    return answer(service.slate(key, ask), (time.perf_counter() - started) * 1000)


@post(
    "/v1/events", guards=[any_key], status_code=200, tags=["Events"], security=SECURITY,
    summary="Record what shoppers did",
    description="One event or a list. Each row is accepted, a duplicate, or rejected with why; an accepted row is "
    "on disk. Name the shopper by `user_id`, `anonymous_id` or `session_id`. A row without `event_id` counts as "
    "new, unless the request repeats an `Idempotency-Key`.",
    responses=answers(EventResults, "What became of every row", examples.RESULTS) | documented(400, 401, 413, 503),
)  # fmt: skip
async def post_events(
    request: Asked,
    service: NamedDependency[Service],
    data: Annotated[
        Event | list[Event],
        Body(examples=[Example(summary="One", value=examples.PURCHASE),
                       Example(summary="A list", value=[examples.VIEW, examples.CLICK])]),
    ],
    idempotency_key: Annotated[
        str, HeaderParameter(name="Idempotency-Key", description="Repeating a request with it changes nothing.")
    ] = "",
) -> EventResults:  # fmt: skip
    """Record events."""
    rows = [data] if isinstance(data, dict) else data
    admin = request.scope["state"]["role"] is Role.ADMIN
    done = await asyncio.to_thread(service.record_events, rows, idempotency_key, interactions_only=not admin)
    return results(done)


_SLATE = answers(Recommendation, "The slate", examples.RECOMMENDATION)
_USER = Annotated[str, PathParameter(description="Your id of the shopper; one never seen gets an answer too.")]
_SESSION = Annotated[str | None, QueryParameter(
    min_length=1, max_length=256, description="A session of an unknown shopper: this or `anonymous_id`."
)]  # fmt: skip
_ANONYMOUS = Annotated[str | None, QueryParameter(
    min_length=1, max_length=256, description="Your id of a shopper without a user id: this or `session`."
)]  # fmt: skip
_ASK = Annotated[Ask, Body(examples=shown("Beside a product", examples.ASK))]
_ONE_OF = "Name the shopper by `session` or `anonymous_id`, as their events do by `session_id` or `anonymous_id`."


@get(
    "/v1/recommend/{user_id:str}", guards=[admin_key, takes(*WISHES)], tags=["Slates"], security=SECURITY,
    summary="A slate for a shopper", response_headers=NO_STORE,
    responses=_SLATE | documented(400, 401, 403, 404, 503),
)  # fmt: skip
async def get_recommend(
    service: NamedDependency[Service], user_id: _USER, asked: NamedDependency[Ask]
) -> Recommendation:
    """Make a slate."""
    return await make_slate(service, shopper("path", user_id=user_id), asked)


@get(
    "/v1/recommend", guards=[any_key, takes(*WHO, *WISHES)], tags=["Slates"], security=SECURITY, description=_ONE_OF,
    summary="A slate for a session", response_headers=NO_STORE, responses=_SLATE | documented(400, 401, 503),
)  # fmt: skip
async def get_recommend_session(
    service: NamedDependency[Service],
    asked: NamedDependency[Ask],
    session: _SESSION = None,
    anonymous_id: _ANONYMOUS = None,
) -> Recommendation:
    """Make a slate for who has no user id."""
    return await make_slate(service, shopper("query", session=session, anonymous_id=anonymous_id), asked)


@post(
    "/v1/recommend/{user_id:str}", guards=[admin_key, takes()], status_code=200, tags=["Slates"], security=SECURITY,
    summary="A slate for a shopper, asked for in a body", response_headers=NO_STORE,
    responses=_SLATE | documented(400, 401, 403, 404, 413, 503),
)  # fmt: skip
async def post_recommend(service: NamedDependency[Service], user_id: _USER, data: _ASK) -> Recommendation:
    """Make a slate."""
    return await make_slate(service, shopper("path", user_id=user_id), data)


@post(
    "/v1/recommend", guards=[admin_key, takes(*WHO)], status_code=200, tags=["Slates"], security=SECURITY,
    summary="A slate for a session, asked for in a body", response_headers=NO_STORE, description=_ONE_OF,
    responses=_SLATE | documented(400, 401, 403, 413, 503),
)  # fmt: skip
async def post_recommend_session(
    service: NamedDependency[Service], data: _ASK, session: _SESSION = None, anonymous_id: _ANONYMOUS = None
) -> Recommendation:
    """Make a slate for who has no user id."""
    return await make_slate(service, shopper("query", session=session, anonymous_id=anonymous_id), data)


@get(
    "/v1/questions", guards=[any_key, takes("n", *WHO)], tags=["Slates"], security=SECURITY,
    summary="Items to ask a new shopper about", response_headers=NO_STORE,
    description="The items whose answers say most of a shopper of whom little is known, the most telling first. Send "
    "the answers as events: `wishlist` for yes, `dislike` for no, nothing for what they do not know. Named by "
    "`session` or `anonymous_id`, a shopper is not asked twice, and what they said decides what is asked next.",
    responses=answers(Questions, "The items", examples.QUESTIONS) | documented(400, 401, 503),
)  # fmt: skip
async def get_questions(
    service: NamedDependency[Service],
    n: Annotated[int, QueryParameter(ge=1, le=50, description="How many items.")] = 5,
    session: _SESSION = None,
    anonymous_id: _ANONYMOUS = None,
) -> Questions:
    """Choose the questions."""
    named = session or anonymous_id
    who = shopper("query", session=session, anonymous_id=anonymous_id) if named else ""
    return await asyncio.to_thread(service.questions, n, who)


@get(
    "/v1/items/{item_id:str}", guards=[admin_key], sync_to_thread=False, tags=["Items"], security=SECURITY,
    summary="An item as it is now", responses=documented(401, 403, 404),
)  # fmt: skip
def get_item(service: NamedDependency[Service], item_id: ItemId) -> ItemAnswer:
    """Return an item."""
    return service.show(service.item(item_id))


@put(
    "/v1/items/{item_id:str}", guards=[admin_key], tags=["Items"], security=SECURITY,
    summary="From now on the item is as given", responses=documented(400, 401, 403, 404, 413, 503),
)  # fmt: skip
async def put_item(
    service: NamedDependency[Service],
    item_id: ItemId,
    data: Annotated[ItemBody, Body(examples=shown("A tea", examples.ITEM))],
) -> ItemAnswer:
    """Put an item."""
    return service.show(await asyncio.to_thread(service.put_item, item_id, data))


@delete(
    "/v1/items/{item_id:str}", guards=[admin_key], tags=["Items"], security=SECURITY,
    summary="Take an item out of the shop", responses=documented(401, 403, 404, 503),
)  # fmt: skip
async def delete_item(service: NamedDependency[Service], item_id: ItemId) -> None:
    """Delete an item."""
    await asyncio.to_thread(service.delete_item, item_id)


@get(
    "/v1/users/{user_id:str}", guards=[admin_key], tags=["Shoppers"], security=SECURITY,
    summary="A shopper's attributes and links", responses=documented(401, 403, 404),
)  # fmt: skip
async def get_user(service: NamedDependency[Service], user_id: UserId) -> UserAnswer:
    """Return a shopper; in a thread, since each of perhaps a thousand links is looked up."""
    return await asyncio.to_thread(service.user, user_id)


@put(
    "/v1/users/{user_id:str}", guards=[admin_key], tags=["Shoppers"], security=SECURITY,
    summary="From now on the shopper's attributes and links are as given",
    responses=documented(400, 401, 403, 404, 413, 503),
)  # fmt: skip
async def put_user(
    service: NamedDependency[Service],
    user_id: UserId,
    data: Annotated[UserBody, Body(examples=shown("A reader", examples.USER))],
) -> UserAnswer:
    """Put a shopper."""
    return await asyncio.to_thread(service.put_user, user_id, data)


@delete(
    "/v1/users/{user_id:str}", guards=[admin_key], tags=["Shoppers"], security=SECURITY,
    summary="Forget a shopper", responses=documented(401, 403, 404, 503),
    description="The mapping, the live profile and the attributes go at once; a tombstone keeps training away.",
)  # fmt: skip
async def delete_user(service: NamedDependency[Service], user_id: UserId) -> None:
    """Delete a shopper."""
    await asyncio.to_thread(service.delete_user, user_id)


@get(
    "/v1/users/{user_id:str}/profile", guards=[admin_key], sync_to_thread=False, tags=["Shoppers"],
    security=SECURITY, summary="Who a shopper is", responses=documented(401, 403, 404),
)  # fmt: skip
def get_profile(service: NamedDependency[Service], user_id: UserId) -> Profile:
    """Return a profile."""
    found = service.profile(user_id)
    if found is None:
        raise NotFound(f"user {user_id!r}", got="a shopper never seen", wanted="a known user id")
    return found


@get("/health/live", sync_to_thread=False, tags=["Health"], summary="Whether the process runs")
def health_live() -> Health:
    """Say that the process runs."""
    return Health(status="live")


@get(
    "/health/ready", sync_to_thread=False, tags=["Health"], summary="Whether the server can answer",
    responses={503: ResponseSpec(Health, description="Not yet", generate_examples=False)},
)  # fmt: skip
def health_ready(request: Asked, service: NamedDependency[Service]) -> Response[Health]:
    """Say whether the live state has been folded."""
    ready = bool(request.app.state.ready)
    body = Health(
        status="ready" if ready else "starting",
        model_version=service.bundle.version if service.bundle else "",
        offset=service.live.offset,
    )
    return Response(body, status_code=200 if ready else 503)


@get("/metrics", guards=[admin_key], sync_to_thread=False, media_type=MediaType.TEXT, tags=["Health"],
     security=SECURITY, summary="Prometheus metrics of this worker", responses=documented(401, 403))  # fmt: skip
def get_metrics(service: NamedDependency[Service]) -> Response[bytes]:
    """Return the metrics."""
    return Response(service.metrics.text(), media_type=metrics.MEDIA_TYPE)


@get("/openapi.json", sync_to_thread=False, include_in_schema=False)
def openapi(request: Asked) -> Response[bytes]:
    """Return the description of this API."""
    return Response(msgspec.json.encode(request.app.openapi_schema.to_schema()), media_type="application/json")


ROUTES: list[Any] = [
    post_events, get_recommend, get_recommend_session, post_recommend, post_recommend_session,
    get_questions, get_item, put_item, delete_item, get_user, put_user, delete_user, get_profile,
    health_live, health_ready, get_metrics, openapi,
]  # fmt: skip
