"""What every test shares: properties are tried on the same examples everywhere, however slow the machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("regulars", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("regulars")
