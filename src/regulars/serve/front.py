"""What every answer passes: security headers, one line of log without secrets, and the counters."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from regulars.serve.metrics import Metrics

log = logging.getLogger("regulars.access")

FAILED, SLOW_S = 400, 0.25  # such answers are worth a line; a line for each of the others costs more than it tells

HEADERS = {
    # plotly needs inline styles and no eval (measured); figures are fetched as JSON by our own scripts
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_LINES = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class Front:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if str(scope["type"]) != "http":  # the lifespan
            await self._app(scope, receive, send)
            return
        method, started, status = str(scope.get("method")), time.perf_counter(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = list(message["headers"])
                names = {name.lower() for name, _ in given}
                message["headers"] = given + [pair for pair in _LINES if pair[0] not in names]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            # the route's pattern, never the path: paths hold user ids, queries hold login tickets
            route = str(scope.get("path_template") or "unknown")
            self._metrics.answered(method, route, status, seconds)
            worth = logging.INFO if status >= FAILED or seconds >= SLOW_S else logging.DEBUG
            log.log(worth, "%s %s %d %.1fms", method, route, status, seconds * 1000)
