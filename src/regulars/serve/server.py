"""The server: the app with its routes, and the processes that run it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from threadpoolctl import threadpool_limits

import regulars
from regulars.core.clock import SystemClock
from regulars.core.errors import RegularsError, StorageError
from regulars.core.settings import Settings
from regulars.serve import follow, http, problems
from regulars.serve.front import Front
from regulars.serve.pages import page_routes
from regulars.serve.pages.board import Board
from regulars.serve.pages.shelves import Shelves
from regulars.serve.security import KeyRing, Sessions, Tickets
from regulars.serve.service import Service

if TYPE_CHECKING:
    from litestar.types import ASGIApp

log = logging.getLogger(__name__)

GRACE_S = 10  # how long running requests may take after the signal to stop
SWITCH_S = 0.0001  # a request waits no longer than this for threads that load a model or write the journal

ServiceFactory = Callable[[Settings, Path], Service]


@dataclass(frozen=True)
class Opened:
    """Where the server listens, and the link that logs a person in once."""

    url: str
    login: str


def create_app(service: Service, secret: bytes) -> ASGIApp:
    """Put routes, doors and followers around a service; `secret` signs the sessions of this server."""
    settings, home = service.settings, service.home

    @contextlib.asynccontextmanager
    async def running(app: Litestar) -> AsyncIterator[None]:
        logging.getLogger("uvicorn.access").disabled = True  # its lines hold paths and queries: user ids, tickets
        await asyncio.to_thread(service.start)
        gc.collect()
        gc.freeze()  # what was loaded stays: collections look at the garbage of requests only
        app.state.ready = True
        tasks = [
            asyncio.create_task(follow.tail(service)),
            asyncio.create_task(follow.watch(service, home / "models" / "CURRENT")),
            asyncio.create_task(follow.compact(service)),
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gc.unfreeze()
        await asyncio.to_thread(service.stop)

    app = Litestar(
        route_handlers=[*http.ROUTES, *page_routes(settings)],
        dependencies={
            "service": Provide(lambda: service, sync_to_thread=False),
            "allowed": Provide(http.filters, sync_to_thread=False),
            "asked": Provide(http.ask, sync_to_thread=False),
        },
        exception_handlers={
            RegularsError: problems.on_own, HTTPException: problems.on_http, Exception: problems.on_any,
        },
        request_max_body_size=settings.serve.max_body_bytes,
        state=State({
            "key_ring": KeyRing.load(home), "sessions": Sessions(secret), "tickets": Tickets(home), "ready": False,
            "board": Board(service, home / "models"), "shelves": Shelves(service), "clock": service.clock,
        }),
        lifespan=[running],
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Regulars", version=regulars.__version__, path="/openapi", render_plugins=[],
            description="A personal slate in milliseconds, and what came of it.",
            components=Components(security_schemes={
                "key": SecurityScheme(type="http", scheme="bearer", description="A key made by `regulars init`."),
            }),
        ),
    )  # fmt: skip
    return Front(app, service.metrics)


def bind(host: str, port: int) -> socket.socket:
    """Take the port, or say that somebody has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        raise StorageError(f"{host}:{port}", got=str(error), wanted="a free port",
                           remedy="Stop what listens there, or set another [serve] port.") from error  # fmt: skip
    listener.set_inheritable(True)
    return listener


def run(service_factory: ServiceFactory, settings: Settings, home: Path, announce: Callable[[Opened], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is told where, once the port is taken.

    With several workers each process makes its own service, so the factory must be importable.
    """
    KeyRing.load(home)  # no keys: say so before anything starts
    listener = bind(settings.serve.host, settings.serve.port)
    host, port = listener.getsockname()[:2]
    url = f"http://{'[' + host + ']' if ':' in host else host}:{port}"
    ticket = Tickets(home).issue(SystemClock().now())
    secret = secrets.token_bytes(32)
    announce(Opened(url=url, login=f"{url}/login?token={ticket}"))
    with contextlib.closing(listener):
        if settings.serve.workers == 1:
            _work(service_factory, settings, home, secret, listener)
        else:
            _work_many(service_factory, settings, home, secret, listener)


def _work(
    service_factory: ServiceFactory, settings: Settings, home: Path, secret: bytes, listener: socket.socket
) -> None:
    """Serve in this process."""
    threadpool_limits(1)  # a request multiplies small matrices: more threads would only wait for each other
    sys.setswitchinterval(SWITCH_S)
    app = create_app(service_factory(settings, home), secret)
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", access_log=False, log_config=None, lifespan="on",
        server_header=False, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


def _work_as_one_of_many(service_factory: ServiceFactory, settings: Settings, *rest: Any) -> None:
    """Serve in a process that was started afresh, and so has no log yet."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group, and the parent passes it on
    log_to_stderr(as_json=settings.serve.log == "json")
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    _work(service_factory, settings, *rest)


def _stop_with_parent() -> None:
    """Stop as if asked when the parent has ended without asking: killed outright, it can tell nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _work_many(*args: Any) -> None:
    """Serve in several processes; when one ends unasked the others are stopped, so that nobody limps on unseen."""
    settings: Settings = args[1]
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_work_as_one_of_many, args=args, daemon=True) for _ in range(settings.serve.workers)
    ]
    for worker in workers:
        worker.start()
    asked: list[int] = []

    def stop(number: int, _: Any) -> None:
        asked.append(number)
        _terminate(workers)

    previous = {name: signal.signal(name, stop) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        over = multiprocessing.connection.wait([worker.sentinel for worker in workers])
        # not `is_alive`: a process closes its sentinel a moment before it can be seen to have ended
        ended = [] if asked else [worker.pid for worker in workers if worker.sentinel in over]
        _terminate(workers)
        for worker in workers:
            worker.join(GRACE_S + 5)
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
    if ended:
        raise StorageError("serve", got=f"worker {ended[0]} ended", wanted="running workers",
                           remedy="Its log says why.")  # fmt: skip


def _terminate(workers: Iterable[BaseProcess]) -> None:
    for worker in workers:
        if worker.is_alive():
            worker.terminate()


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"), "level": record.levelname.lower(),
            "logger": record.name, "message": record.getMessage(),
        }  # fmt: skip
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(*, as_json: bool, level: int = logging.INFO) -> None:
    """Send the log of this process to standard error, as text or as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
