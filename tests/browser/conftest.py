"""A headless Chromium, and a served practice shop to walk through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from regulars.core.clock import SystemClock
from regulars.serve.security import Tickets
from serve.parts import Parts, open_parts, serving

ARGS = [
    "--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


class Walk:
    """A browser in a shop; it keeps every console message and every request to another host."""

    def __init__(self, chromium: Any, parts: Parts, url: str) -> None:
        self._chromium, self.parts, self.url = chromium, parts, url
        self.complaints: list[str] = []

    def page(self, width: int, height: int) -> Any:
        """A logged-in page of this size."""
        page = self._chromium.new_context(viewport={"width": width, "height": height}).new_page()
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._look(request.url))
        ticket = Tickets(self.parts.home).issue(SystemClock().now())
        page.goto(f"{self.url}/login?token={ticket}")
        return page

    def _look(self, address: str) -> None:
        if not address.startswith((self.url, "data:")):
            self.complaints.append(f"foreign request: {address}")


@contextmanager
def walking(home: Path) -> Iterator[Walk]:
    parts = open_parts(home)
    parts.publish("v1")
    with serving(parts) as url, sync_playwright() as tools:
        chromium = tools.chromium.launch(executable_path="/usr/bin/chromium", args=ARGS)
        yield Walk(chromium, parts, url)
        chromium.close()
    parts.journal.close()


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """A shop to walk through."""
    with walking(tmp_path) as made:
        yield made
