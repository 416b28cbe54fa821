"""Every model by name: a new one is one file and one line here."""

from __future__ import annotations

import difflib
import importlib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from regulars.core.errors import SettingError
from regulars.models.base import Model, check_names, read_manifest

MODELS = {
    "popular": "popular:Popular",
    "segment-popular": "segment_popular:SegmentPopular",
    "trending": "trending:Trending",
    "repeat": "repeat:Repeat",
    "item-knn": "item_knn:ItemKNN",
    "user-knn": "user_knn:UserKNN",
    "rp3beta": "rp3beta:RP3Beta",
    "ease": "ease:EASE",
    "transfer-ease": "transfer:TransferEASE",
    "slim": "slim:SLIM",
    "als": "als:ALS",
    "rlfm": "rlfm:RLFM",
    "bpr": "bpr:BPR",
    "mf-ccl": "contrastive_mf:ContrastiveMF",
    "pure-svd": "pure_svd:PureSVD",
    "graph-filter": "graph_filter:GraphFilter",
    "co-occurrence": "co_occurrence:CoOccurrence",
    "sequential-rules": "sequential_rules:SequentialRules",
    "session-knn": "session_knn:SessionKNN",
    "mf": "mf:MF",
    "neumf": "deep.ncf:NeuMF",
    "sasrec": "deep.sasrec:SASRec",
    "gru4rec": "deep.gru4rec:GRU4Rec",
    "mult-vae": "deep.mult_vae:MultVAE",
    "two-tower": "deep.two_tower:TwoTower",
    "dnn-ranker": "deep.dnn_ranker:DNNRanker",
    "content": "content:Content",
    "friends": "friends:Friends",
    "next-basket": "next_basket:NextBasket",
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


def needs_torch(name: str) -> bool:
    """Whether a fit of this model takes the extra `deep`."""
    return MODELS.get(name, "").startswith("deep.")


def make_model(name: str, params: Mapping[str, Any] | None = None) -> Model:
    """A model made with these of its settings, as `[models.NAME]` of a shop names them."""
    kind, given = model_class(name), dict(params or {})
    check_names(f"[models.{name}]", given, kind)
    return kind(**given)


def settings_of(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Settings of models out of texts such as `als.factors=128`; values are written as in TOML, or bare words."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, _, value = text.partition("=")
        name, _, setting = key.strip().partition(".")
        if not (name and setting and value):
            raise SettingError(
                "a model's setting", got=repr(text), wanted="MODEL.NAME=VALUE, such as als.factors=128"
            )
        try:
            found.setdefault(name, {})[setting] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found.setdefault(name, {})[setting] = value
    return found


def check_models(names: Iterable[str], params: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a misspelt model or setting before anything is read, where a training would leave the model out."""
    for name in [*names, *params]:
        make_model(name, params.get(name))


def load_model(folder: Path) -> Model:
    """Load a saved model of whatever kind its manifest names."""
    return model_class(read_manifest(folder)["model"]).load(folder)
