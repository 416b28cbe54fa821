"""One trained street for all tests of the loop; those that change it work on copies of its folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loop.street import Street, open_street
from regulars.app import App
from regulars.core.clock import ManualClock
from regulars.pipeline import train_once
from regulars.serve.security import make_keys

OpenCopy = Callable[[], App]


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """A shop that has ingested its log and trained its first version; do not change it."""
    made = open_street(tmp_path_factory.mktemp("street"))
    train_once(made.app)
    make_keys(made.app.home)
    made.app.journal.flush()
    yield made
    made.app.close()


@pytest.fixture
def copy(street: Street, tmp_path: Path) -> Iterator[App]:
    """The trained shop in a folder of its own."""
    shutil.copytree(street.app.home, tmp_path / "home")
    with App.open(tmp_path / "home", clock=ManualClock(street.now)) as app:
        yield app
