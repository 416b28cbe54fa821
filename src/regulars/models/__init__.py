"""What shoppers may want: `from regulars.models import ALS` imports that one file."""

from __future__ import annotations

from typing import Any

from regulars.models.registry import MODELS

_BY_CLASS = {path.partition(":")[2]: name for name, path in MODELS.items()}

__all__ = sorted(_BY_CLASS)


def __getattr__(name: str) -> Any:
    from regulars.models.registry import model_class

    if name not in _BY_CLASS:
        raise AttributeError(f"module 'regulars.models' has no attribute {name!r}")
    return model_class(_BY_CLASS[name])


def __dir__() -> list[str]:
    return __all__
