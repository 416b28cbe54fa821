"""Whether it works: splits, metrics, tables, the gate; `from regulars.evaluate import compare` for any log."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["Comparison", "compare"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'regulars.evaluate' has no attribute {name!r}")
    return getattr(importlib.import_module("regulars.evaluate.comparison"), name)
