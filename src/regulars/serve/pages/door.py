"""The door of the pages: the one-time login link, the session it opens, and the check of forms.

The cookie is HttpOnly and SameSite=Strict; whatever changes something carries the session's CSRF token, as the
field `csrf` of a form or the header `X-CSRF-Token`.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.params import Body, FromQuery
from litestar.response import Redirect

from regulars.serve.pages.render import page
from regulars.serve.security import SESSION_LIFETIME
from regulars.serve.service import Service

COOKIE = "regulars_session"
Asked = Request[Any, Any, Any]
Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]


def cookie(key: str, value: str, max_age: int = SESSION_LIFETIME // 1_000_000) -> Cookie:
    """A cookie that scripts cannot read and other sites cannot send."""
    return Cookie(key=key, value=value, path="/", httponly=True, samesite="strict", max_age=max_age)


def session_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """The session of a request, None without a valid cookie."""
    given = connection.cookies.get(COOKIE, "")
    found: str | None = connection.app.state.sessions.open(given, connection.app.state.clock.now())
    return found


async def logged_in(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let in who has a session."""
    if session_of(connection) is None:
        remedy = "Open the login link that `regulars serve` printed."
        raise NotAuthorizedException(remedy, extra={"got": "no session", "wanted": "a session", "remedy": remedy})


def check_csrf(request: Asked, token: str) -> str:
    """Return the session of a request whose token fits it; refuse any other."""
    session = session_of(request)
    if session is None or not request.app.state.sessions.csrf_fits(session, token):
        raise PermissionDeniedException(
            "This form does not belong to your session. Load the page again.",
            extra={"got": "another token", "wanted": "the page's token", "remedy": "Load the page again."},
        )
    return session


async def csrf_header(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let in what a page of the same session sent by script."""
    await logged_in(connection, _)
    check_csrf(connection, connection.headers.get("x-csrf-token", ""))  # type: ignore[arg-type]


def closed() -> Response[str]:
    """The page shown to who has no session."""
    return page("closed.html", status_code=401)


@get("/login", sync_to_thread=False, include_in_schema=False)
def login(request: Asked, service: NamedDependency[Service], token: FromQuery[str] = "") -> Response[Any]:
    """Open a session for a ticket that was not used yet."""
    now = request.app.state.clock.now()
    if not request.app.state.tickets.redeem(token, now):
        return closed()
    target = "/shop" if service.settings.shop.practice else "/dashboard"
    return Redirect(target, status_code=303, cookies=[cookie(COOKIE, request.app.state.sessions.start(now))])


@post("/logout", sync_to_thread=False, include_in_schema=False)
def logout(request: Asked, data: Form) -> Redirect:
    """End the session in this browser."""
    check_csrf(request, data.get("csrf", ""))
    return Redirect("/", status_code=303, cookies=[cookie(COOKIE, "", max_age=0)])


@get("/", sync_to_thread=False, include_in_schema=False)
def home(request: Asked, service: NamedDependency[Service]) -> Response[Any]:
    """Show the way to the first page."""
    if session_of(request) is None:
        return closed()
    return Redirect("/shop" if service.settings.shop.practice else "/dashboard", status_code=303)


ROUTES: list[Any] = [login, logout, home]
