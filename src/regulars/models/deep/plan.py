"""How a training goes, and what a caller may hang on to it; nothing here needs torch."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.errors import ModelError, TrainingError
from regulars.models.base import Warm


@dataclass(frozen=True)
class Plan:
    """Settings that every training has."""

    name: str  # of the model, for errors and logs
    epochs: int  # at most
    patience: int  # epochs without a better validation before it stops; all there are where nothing is held out
    learning_rate: float
    weight_decay: float = 0.0
    threads: int = 1
    clip: float = 1.0  # the longest step's gradient, as a Euclidean norm
    warm_up: int = 50  # steps over which the learning rate rises to its value


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training: its mean loss and the validation figure after it (higher is better)."""

    number: int
    loss: float
    validation: float


@dataclass(frozen=True)
class Progress:
    """What a watcher is told after each epoch; `seconds_left` is an upper bound, as training may stop early."""

    epoch: Epoch
    epochs: int
    seconds_left: float


@dataclass(frozen=True)
class Hooks:
    """What a caller hangs on to the next fits; no part of a model's settings, and never saved with it.

    `checkpoints`: a folder where each epoch's state is kept, and from where a killed training goes on.
    `warm` is the model's own doing: `model.warm` is where a caller hangs it.
    """

    checkpoints: Path | None = None
    watch: Callable[[Progress], None] | None = None
    warm: Warm | None = None  # what a net begins from, as `Model.fit` found it to suit


NO_HOOKS = Hooks()


def require_torch(name: str) -> None:
    """Stop with the remedy where torch is not installed."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("safetensors") is None:
        raise TrainingError(f"{name}: fit", got="no torch", wanted="the extra 'deep'",
                            remedy="Run pip install 'regulars[deep]'.")  # fmt: skip


def fingerprint(settings: Mapping[str, Any], *arrays: NDArray[Any]) -> str:
    """What a checkpoint belongs to: settings and training data."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def check_shapes(folder: Path, model: object, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a loaded model whose arrays are not those that its settings speak of.

    An empty one may be missing: the model was saved before there was such a part.
    """
    for name, shape in wanted.items():
        if 0 in shape and not hasattr(model, name):
            setattr(model, name, np.zeros(shape, dtype=np.float32))
        array = getattr(model, name, None)
        got = "no such array" if array is None else f"the shape {array.shape}"
        if array is None or array.shape != shape:
            raise ModelError(f"{folder}: {name}", got=got, wanted=f"the shape {shape}",
                             remedy="Train again, or roll back to another version.")  # fmt: skip
