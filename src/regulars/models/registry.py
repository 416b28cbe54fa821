"""Every model by name: a new one is one file and one line here."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path

from regulars.core.errors import SettingError
from regulars.models.base import Model, read_manifest

MODELS = {
    "popular": "popular:Popular",
    "trending": "trending:Trending",
    "repeat": "repeat:Repeat",
    "item-knn": "item_knn:ItemKNN",
    "ease": "ease:EASE",
    "als": "als:ALS",
    "mf": "mf:MF",
    "content": "content:Content",
    "random": "random:Random",
}


def model_class(name: str) -> type[Model]:
    """The class registered under a name; imported only now."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1, cutoff=0)[0]
        raise SettingError("model", got=repr(name), wanted=f"one of {', '.join(MODELS)}", remedy=f"Try {near!r}.")
    module, _, attribute = MODELS[name].partition(":")
    found: type[Model] = getattr(importlib.import_module(f"regulars.models.{module}"), attribute)
    return found


def load_model(folder: Path) -> Model:
    """Load a saved model of whatever kind its manifest names."""
    return model_class(read_manifest(folder)["model"]).load(folder)
