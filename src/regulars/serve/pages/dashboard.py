"""The dashboard: the loop as one picture, and what came of the slates."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from regulars.serve.http import NO_STORE
from regulars.serve.pages.door import closed, logged_in, session_of
from regulars.serve.pages.render import page
from regulars.serve.service import Service

Asked = Request[Any, Any, Any]


@get("/dashboard", sync_to_thread=False, include_in_schema=False)
def dashboard(request: Asked, service: NamedDependency[Service]) -> Response[str]:
    """Show the dashboard; its numbers are fetched by its script."""
    session = session_of(request)
    if session is None:
        return closed()
    shop = service.settings.shop
    return page("dashboard.html", shop=shop.name, currency=shop.currency, practice=shop.practice,
                csrf=request.app.state.sessions.csrf(session))  # fmt: skip


@get("/dashboard/data", guards=[logged_in], include_in_schema=False, response_headers=NO_STORE)
async def data(request: Asked) -> dict[str, Any]:
    """Return everything that the dashboard shows."""
    found: dict[str, Any] = await asyncio.to_thread(request.app.state.board.data)
    return found


ROUTES: list[Any] = [dashboard, data]
