"""One model or a blend of several, fitted and ranked alike: what benches of the next item share.

A blend is the weighted sum of its models' scores, each brought to mean 0 and deviation 1 over a shopper's items.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measure import Row, across_seeds, apart, clocked, peak_mb
from regulars.core.data import Dataset, Histories
from regulars.models.base import Model
from regulars.models.registry import load_model, make_model
from results import commit

Settings = dict[str, Any]
Parts = Mapping[str, tuple[float, Settings]]  # model, or model:form -> (weight in the blend, settings)
# another seed, other numbers: `--seeds` counts for these
RANDOM = {"als", "bpr", "mf-ccl", "rlfm", "neumf", "sasrec", "gru4rec", "mult-vae", "two-tower", "dnn-ranker"}


def single(name: str, settings: Settings) -> Parts:
    """A model alone."""
    return {name: (1.0, settings)}


def model_of(part: str) -> str:
    """The registered model of a part: what stands before a colon."""
    return part.partition(":")[0]


def seeded(
    parts: Parts, seeds: int, metrics: Sequence[str], measure: Callable[..., Row], *args: Any, jobs: int = 1
) -> Row:
    """A row of `measure(*args, parts, seed)`, each run in a process of its own: over seeds where they matter.

    `jobs` of them run at a time, and their wall seconds are those of a shared machine.
    """
    repeats = seeds if RANDOM & {model_of(each) for each in parts} else 1
    with ThreadPoolExecutor(jobs) as pool:
        rows = list(pool.map(lambda seed: apart(measure, *args, parts, seed), range(repeats)))
    return across_seeds(rows, metrics)


@contextmanager
def kept_fits(keep: Path | None) -> Iterator[Path]:
    """A folder for fits that several rows share: a passing one, or in `keep`, so that an ended run can go on."""
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def fitted(
    parts: Parts, data: Dataset, seed: int, row: Row, kept: Path | None = None
) -> Callable[[Histories], NDArray[np.float32]]:
    """Fit the parts, kernels compiled before, with the seconds in the row; what is returned scores histories.

    With a folder `kept` for this data, a part that this commit fitted there with this seed is loaded, and its seconds
    count as they were, and its peak memory: so a blend does not train again what has a row of its own.
    """
    tiny = Dataset.from_events([0, 0, 0, 1, 1, 1], [0, 1, 2, 1, 2, 3], (2, 4), at=[1, 2, 3, 4, 5, 6])
    for name, (_, settings) in parts.items():
        make_model(model_of(name), settings).fit(tiny).score(tiny.histories(), 7)
    models: dict[str, Model] = {}
    spent: list[Row] = []
    for name, (_, settings) in parts.items():
        models[name], seconds = _fit_once(name, settings, data, seed, kept)
        spent.append(seconds)
    row |= {key: round(sum(each[key] for each in spent), 2) for key in ("seconds", "cpu_seconds")}
    row["peak_mb"] = max(each["peak_mb"] for each in spent)
    row["threads"] = max(settings.get("threads", 1) for _, settings in parts.values())
    first = next(iter(models.values()))
    row["settings"] = first.get_params() if len(parts) == 1 else {name: list(each) for name, each in parts.items()}

    def score(histories: Histories) -> NDArray[np.float32]:
        if len(models) == 1:
            return first.score(histories, data.as_of)
        return sum_of(models, parts, histories, data.as_of)

    return score


def _fit_once(name: str, settings: Settings, data: Dataset, seed: int, kept: Path | None) -> tuple[Model, Row]:
    what = json.dumps([name, settings, seed, data.user_items.shape, data.user_items.nnz, commit()], sort_keys=True)
    folder = kept / hashlib.blake2b(what.encode(), digest_size=8).hexdigest() if kept else None
    if folder is not None and (folder / "spent.json").exists():
        return load_model(folder), json.loads((folder / "spent.json").read_text())
    model, spent = make_model(model_of(name), settings), Row()
    with clocked(spent):
        model.fit(data, np.random.default_rng(seed))
    spent["peak_mb"] = peak_mb()
    if folder is not None:
        model.save(folder)
        (folder / "spent.json").write_text(json.dumps(spent))
    return model, spent


def sum_of(models: Mapping[str, Model], parts: Parts, histories: Histories, now: int) -> NDArray[np.float32]:
    """The blend `(n, n_items)`."""
    total = np.zeros((len(histories), histories.user_items.shape[1]), dtype=np.float32)
    for name, model in models.items():
        scores = standard(model.score(histories, now))
        scores *= np.float32(parts[name][0])
        total += scores
    return total


def standard(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row with mean 0 and deviation 1, in its place; equal scores become 0."""
    scores -= scores.mean(axis=1, keepdims=True)
    scores /= np.maximum(scores.std(axis=1, keepdims=True), np.float32(1e-12))
    return scores
