"""What a model is: `fit` on data, then scores for any history; saved as plain arrays.

A model knows no ids, candidates, rules or other models. Learned state is in attributes that end in `_`
(arrays, CSR matrices, numbers or texts), which is also what `save` writes.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Self, overload

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Cells, Floats, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import InputError, ModelError, NotFitted, RegularsError, SettingError, Unsupported
from regulars.core.topk import NOTHING, top_k
from regulars.models.known import NAMES, Known, dataset_from

log = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"


class Can(Enum):
    """Abilities that a model declares in `can`; asking for another raises `Unsupported`."""

    FACTORS = "user_vectors and item_vectors, whose inner product is the score"
    BECAUSE = "names the history item that an item's score leans on most"
    RATINGS = "scores are predicted ratings"
    LINKS = "linked: weights of items and links from them, whose product is the score"
    SPARSE = "sparse_scores: it says something of few items, and names them"


def check_range(where: str, value: float, low: float, high: float = float("inf"), *, whole: bool = False) -> None:
    """Refuse a constructor's number outside [low, high], not a number, or not whole where it must be."""
    kind = "a whole number" if whole else "a number"
    right_type = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not (right_type and low <= value <= high and value != float("inf")):
        raise SettingError(where, got=repr(value), wanted=f"{kind} in [{low:g}, {high:g}]")


def check_flag(where: str, value: bool) -> None:
    """Refuse a constructor's switch that is neither true nor false."""
    if not isinstance(value, bool):
        raise SettingError(where, got=repr(value), wanted="True or False")


def check_names(where: str, given: Iterable[str], kind: type[Model]) -> None:
    """Refuse settings that the constructor of a model does not take; the error names the nearest it does."""
    known = inspect.signature(kind).parameters
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0)
            wanted = repr(near[0]) if near else "nothing"
            raise SettingError(where, got=f"unknown name {key!r}", wanted=wanted, remedy="Correct the name.")


def all_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def dense(cells: Cells, n_items: int, elsewhere: float) -> Scores:
    """Scores `(n, n_items)` out of those of few items; `elsewhere` is that of the others."""
    indptr, items, numbers = cells
    scores = np.full((len(indptr) - 1, n_items), elsewhere, dtype=np.float32)
    scores[np.repeat(np.arange(len(scores)), np.diff(indptr)), items] = numbers
    return scores


@dataclass(frozen=True)
class Warm:
    """A model that was fitted before, and where each item of the data to come stands in it."""

    model: Model
    places: Indices  # (n_items,) rows of the last model, -1 = it did not know the item

    def suits(self, model: Model, n_items: int) -> bool:
        """Whether this is a fitted model of the same kind and settings, that knew some of the items."""
        last = self.model
        if type(last) is not type(model) or last.get_params() != model.get_params() or not hasattr(last, "n_items_"):
            return False
        known = self.places[self.places >= 0]
        return len(self.places) == n_items and len(known) > 0 and int(known.max()) < last.n_items_

    def rows(self, name: str, fresh: Floats) -> Floats:
        """`fresh (n_items, ...)` with the last model's array `name` in the rows of items that it knew."""
        known = self.places >= 0
        fresh[known] = getattr(self.model, name)[self.places[known]]
        return fresh


class Model(ABC):
    """Base of every model: `_fit` and `score` are all that one has to write."""

    can: ClassVar[frozenset[Can]] = frozenset()
    name: ClassVar[str]  # the registry's name, exactly
    revision: ClassVar[int] = 1  # of what it learns: one more whenever its saved attributes change their meaning
    known: Known | None = None  # ids and log of a table, where the fit was on one
    warm: Warm | None = None  # what the next fit may begin from; no part of the settings, and never saved

    def fit(self, data: Dataset | Any, rng: np.random.Generator | None = None) -> Self:
        """Learn from a Dataset, a table of shopper, item and time, or a users x items matrix; rng None = seed 0.

        It starts afresh. `regulars.frames.dataset_of` says what is a table, and names columns of other words.
        """
        dataset = dataset_from(data)
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        if self.warm is not None and not self.warm.suits(self, len(dataset.items)):
            log.info("%s: begins afresh: the last model is of another kind, settings or items", self.name)
            del self.warm
        self._fit(dataset, rng if rng is not None else np.random.default_rng(0))
        self.n_items_, self.n_users_ = len(dataset.items), len(dataset.users)
        self.n_events_ = len(dataset.interactions)
        self.known = Known.of(dataset)
        vars(self).pop("warm", None)  # one fit uses it up: two generations of models are not held
        return self

    @abstractmethod
    def _fit(self, data: Dataset, rng: np.random.Generator) -> None: ...

    @abstractmethod
    def score(self, histories: Histories, now: Instant) -> Scores:
        """Scores `(n, n_items)` float32, a fresh array, higher is better; -inf = this model cannot say."""

    @property
    def impersonal(self) -> bool:
        """Whether every shopper has the same scores at any time, so that one ranking serves all."""
        return False

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """Factors of these shoppers `(n, d)`, folded in from their histories."""
        raise self._cannot(Can.FACTORS)

    @property
    def item_vectors(self) -> Floats:
        """Factors of the items `(n_items, d)`."""
        raise self._cannot(Can.FACTORS)

    @property
    def spread(self) -> NDArray[np.float64] | None:
        """Covariance `(d, d)` of shoppers' factors around what is expected of a new one; None = not known."""
        return None

    def linked(self, histories: Histories, now: Instant) -> tuple[Cells, Matrix]:
        """Weights of items, one row a shopper, and links `(n_items, n_items)` from them, columns sorted."""
        raise self._cannot(Can.LINKS)

    def sparse_scores(self, histories: Histories, now: Instant) -> Cells:
        """The scores of those items only that it says something of, each once a row, in any order."""
        raise self._cannot(Can.SPARSE)

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """For one shopper: the item, of the history or looked at now, each of `item_idx` leans on most, else -1."""
        raise self._cannot(Can.BECAUSE)

    @overload
    def recommend(
        self, history: Any, k: int = 10, *, exclude_seen: bool = True, now: Instant | None = None
    ) -> tuple[Indices, Scores]: ...

    @overload
    def recommend(
        self, history: None = None, k: int = 10, *, users: Any = None, histories: Any = None,
        exclude_seen: bool = True, now: Instant | None = None,
    ) -> Any: ...  # fmt: skip

    def recommend(
        self, history: Any = None, k: int = 10, *, users: Any = None, histories: Any = None,
        exclude_seen: bool = True, now: Instant | None = None,
    ) -> Any:  # fmt: skip
        """The best items, for people who use the library without a shop.

        `history`, `Histories`, a users x items matrix or one row of it: indices and scores `(n, k)`, padding is -1.
        After a fit on a table, its ids go in and come out: an Arrow table, the columns called as in the fit, of
        shopper, item, score and rank (from 1), best first, at the end of the log unless `now` says otherwise.
        `users` are ids of shoppers of the fit; `histories` say what others took: a table like that of the fit, or
        a list of item ids for each, oldest first (shoppers are then 0, 1, ...).
        """
        self._check_fitted()
        if sum(each is not None for each in (history, users, histories)) != 1:
            raise InputError("recommend", got="none or several of them", wanted="history, users or histories")
        if history is None:
            if self.known is None:
                raise InputError("recommend", got="a fit without ids", wanted="a fit on a table with ids")
            return self.known.recommend(self, users, histories, k, exclude_seen=exclude_seen, now=now)
        given = history if isinstance(history, Histories) else Histories.from_matrix(np.atleast_2d(history)
                if isinstance(history, (np.ndarray, list)) else history)  # fmt: skip
        self._check_width(given)
        at = now if now is not None else int(given.at.max(initial=0))
        scores = self.score(given, at)
        if exclude_seen:
            rows = np.repeat(np.arange(len(given)), np.diff(given.user_items.indptr))
            scores[rows, given.user_items.indices] = NOTHING
        return top_k(scores, k)

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Megabytes that a fit on a matrix of this shape and so many cells needs at most, beside the data."""
        return (64 * sum(shape) + 48 * nnz) / 1e6

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's settings; `deep` is there for scikit-learn, and changes nothing."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Change some settings, all of them checked first; they count for the next `fit`, which this is not."""
        check_names(self.name, params, type(self))
        checked = type(self)(**{**self.get_params(), **params})
        for name in params:
            setattr(self, name, getattr(checked, name))
        return self

    def __repr__(self) -> str:
        """The settings that are not the default ones."""
        usual = inspect.signature(type(self)).parameters
        told = [f"{name}={value!r}" for name, value in self.get_params().items() if value != usual[name].default]
        return f"{type(self).__name__}({', '.join(told)})"

    def __str__(self) -> str:
        """Settings, and what it has learned from."""
        if not hasattr(self, "n_events_"):
            return f"{self!r}, {'fitted' if hasattr(self, 'n_items_') else 'not fitted'}"
        return (
            f"{self!r}, fitted on {self.n_events_:,} events of {self.n_users_:,} shoppers and {self.n_items_:,} items"
        )

    def save(self, folder: Path) -> None:
        """Write the fitted model as a folder of `.npy` arrays and a JSON manifest."""
        self._check_fitted()
        folder.mkdir(parents=True, exist_ok=True)
        values, kinds = {}, {}
        for name, value in vars(self).items():
            if name.endswith("_"):
                kinds[name], plain = _write(folder, name, value)
                if plain is not None:
                    values[name] = plain
        if self.known is not None:
            self.known.save(folder)
        files = [*sorted(folder.glob("*.npy")), *([folder / NAMES] if self.known is not None else [])]
        sums = {path.name: _digest(path) for path in files}
        manifest = {
            "format": FORMAT, "model": self.name, "revision": self.revision, "params": self.get_params(),
            "kinds": kinds, "values": values, "sums": sums,
        }  # fmt: skip
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, memory-mapped; a damaged or foreign folder is refused with the reason."""
        manifest = read_manifest(folder)
        if manifest["model"] != cls.name:
            raise ModelError(str(folder), got=f"a {manifest['model']!r} model", wanted=f"{cls.name!r}")
        if (revision := manifest.get("revision", 1)) != cls.revision:
            raise ModelError(str(folder), got=f"revision {revision} of {cls.name!r}", wanted=f"{cls.revision}",
                             remedy="Another version of Regulars saved it: train again.")  # fmt: skip
        for file, digest in manifest["sums"].items():
            if not (folder / file).exists() or _digest(folder / file) != digest:
                raise ModelError(f"{folder / file}", got="a missing or changed array", wanted="the saved one",
                                 remedy="Train again, or roll back to another version.")  # fmt: skip
        try:
            model = cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in manifest["params"].items()})
            for name, kind in manifest["kinds"].items():
                setattr(model, name, _read(folder, name, kind, manifest["values"]))
            model._check_fitted()
            model.known = Known.load(folder) if NAMES in manifest["sums"] else None
        except (TypeError, KeyError, ValueError, AttributeError, OSError, RegularsError) as error:
            raise ModelError(str(folder), got=str(error), wanted=f"a saved {cls.name!r} model",
                             remedy="Train again, or roll back to another version.") from error  # fmt: skip
        return model

    def _cannot(self, ability: Can) -> Unsupported:
        able = ", ".join(sorted(each.name for each in self.can)) or "nothing beyond scores"
        return Unsupported(self.name, got=f"a call for {ability.name}", wanted=able)

    def _check_fitted(self) -> None:
        if not hasattr(self, "n_items_"):
            raise NotFitted(self.name, got="no fit", wanted="a fitted model", remedy="Call fit first.")

    def _check_width(self, histories: Histories) -> None:
        width = histories.user_items.shape[1]
        if width != self.n_items_:
            raise InputError("history", got=f"{width} items", wanted=f"{self.n_items_}, as at the fit")

    def batches(self, histories: Histories, cells: int = 16_000_000) -> Iterator[tuple[int, Histories]]:
        """Cut histories so that one batch of dense scores holds at most `cells` numbers."""
        step = max(1, cells // max(1, self.n_items_))
        for start in range(0, len(histories), step):
            yield start, histories.rows(start, min(start + step, len(histories)))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a saved model, checked for form and version."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(str(folder), got=str(error), wanted=f"a model folder with {MANIFEST}") from error
    wanted = {"format", "model", "params", "kinds", "values", "sums"}
    if not isinstance(manifest, dict) or not wanted <= manifest.keys():
        raise ModelError(str(folder / MANIFEST), got="another form", wanted=f"the keys {sorted(wanted)}")
    if manifest["format"] != FORMAT:
        raise ModelError(str(folder), got=f"format {manifest['format']}", wanted=f"format {FORMAT}",
                         remedy="Run `regulars train`.")  # fmt: skip
    return manifest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def _write(folder: Path, name: str, value: Any) -> tuple[str, Any]:
    """Write one learned attribute; return its kind, and the value where it fits the manifest."""
    if isinstance(value, np.ndarray):
        np.save(folder / f"{name}.npy", value, allow_pickle=False)
        return "array", None
    if sp.issparse(value):
        for part in ("data", "indices", "indptr"):
            np.save(folder / f"{name}.{part}.npy", getattr(value, part), allow_pickle=False)
        return "csr", list(value.shape)
    if isinstance(value, np.generic):
        value = value.item()
    return "value", value


def _read(folder: Path, name: str, kind: str, values: dict[str, Any]) -> Any:
    def array(file: str) -> NDArray[Any]:
        # copy on write: pages are shared by all workers, yet kernels see the type they were compiled for
        return np.asarray(np.load(folder / file, mmap_mode="c", allow_pickle=False))

    if kind == "array":
        return array(f"{name}.npy")
    if kind == "csr":
        parts = tuple(array(f"{name}.{part}.npy") for part in ("data", "indices", "indptr"))
        matrix: Matrix = sp.csr_array(parts, shape=tuple(values[name]))
        return matrix
    return values[name]
