"""Fixtures: shops of real parts, and their open doors."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from serve.parts import Doors, Parts, open_parts, serving


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop's folder with a log and a first model version; tests work on copies."""
    home = tmp_path_factory.mktemp("filled")
    parts = open_parts(home)
    parts.publish("v1")
    parts.service.start()
    parts.service.stop()
    parts.journal.close()
    return home


@pytest.fixture
def shop(tmp_path: Path, filled_home: Path) -> Iterator[Parts]:
    """A filled shop with a first model version in place."""
    shutil.copytree(filled_home, tmp_path, dirs_exist_ok=True)
    parts = open_parts(tmp_path, filled=False)
    parts.service.start()
    yield parts
    parts.journal.close()


@pytest.fixture
def bare_shop(tmp_path: Path) -> Iterator[Parts]:
    """A shop in which nothing has happened yet."""
    parts = open_parts(tmp_path, filled=False)
    parts.service.start()
    yield parts
    parts.journal.close()


@pytest.fixture
def open_doors() -> Iterator[Callable[[Parts], Doors]]:
    """Open the doors of any shop for the time of a test."""
    with ExitStack() as stack:

        def run(parts: Parts) -> Doors:
            url = stack.enter_context(serving(parts))
            clients = [
                stack.enter_context(httpx.Client(base_url=url, headers=headers))
                for headers in (
                    {"Authorization": f"Bearer {parts.keys.admin}"},
                    {"Authorization": f"Bearer {parts.keys.browser}"},
                    {},
                )
            ]
            admin, browser, nobody = clients
            return Doors(parts, url, admin, browser, nobody, stack)

        yield run


@pytest.fixture
def doors(shop: Parts, open_doors: Callable[[Parts], Doors]) -> Doors:
    """The doors of the filled shop."""
    return open_doors(shop)
