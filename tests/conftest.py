"""What every test shares: properties are tried on the same examples everywhere, however slow the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("regulars", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("regulars")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Where the public data sets are; tests that need them are skipped where they are not."""
    folder = os.environ.get("REGULARS_DATA", "")
    if not folder:
        pytest.skip("REGULARS_DATA names no folder of public data sets")
    return Path(folder)
