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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measure import Row, across_seeds, apart, clocked, peak_mb
from regulars.core.data import Dataset, Histories
from regulars.models.base import Model
from regulars.models.registry import load_model, make_model
from results import commit

SPENT = "spent.json"
Settings = dict[str, Any]
Parts = Mapping[str, tuple[float, Settings]]  # model, or model:form -> (weight in the blend, settings)
# another seed, other numbers: `--seeds` counts for these
RANDOM = {
    "random", "als", "bpr", "mf-ccl", "rlfm", "friends", "transfer-ease",
    "neumf", "sasrec", "gru4rec", "mult-vae", "two-tower", "dnn-ranker",
}  # fmt: skip


def single(name: str, settings: Settings) -> Parts:
    """A model alone."""
    return {name: (1.0, settings)}


def around(chosen: Settings, **others: Sequence[Any]) -> list[Settings]:
    """Settings to try: the chosen ones, and with each of the other values in the place of one of them."""
    return [chosen, *({**chosen, name: value} for name, values in others.items() for value in values)]


def model_of(part: str) -> str:
    """The registered model of a part: what stands before a colon."""
    return part.partition(":")[0]


def seeded(
    parts: Parts, seeds: int, metrics: Sequence[str], measure: Callable[..., Row], *args: Any, jobs: int = 1
) -> Row:
    """A row of `measure(*args, parts, seed)`, each run in a process of its own: over seeds where they matter.

    `jobs` of them run at a time, each fit on one thread; their wall seconds are those of a shared machine.
    """
    if jobs > 1:
        parts = {name: (weight, _on_one_thread(settings)) for name, (weight, settings) in parts.items()}
    repeats = seeds if RANDOM & {model_of(each) for each in parts} else 1
    with ThreadPoolExecutor(jobs) as pool:
        rows = list(pool.map(lambda seed: apart(measure, *args, parts, seed), range(repeats)))
    most = max(row.get("jobs", 1) for row in rows)
    return across_seeds(rows, metrics) | ({"jobs": most} if most > 1 else {})


def _on_one_thread(settings: Settings) -> Settings:
    return {**settings, "threads": 1} if "threads" in settings else settings


@dataclass(frozen=True)
class Kept:
    """A folder for fits that several rows share, and how many of them run at a time."""

    folder: Path
    jobs: int = 1

    def under(self, name: str) -> Kept:
        """A part of it."""
        return Kept(self.folder / name, self.jobs)


@contextmanager
def kept_fits(keep: Path | None, jobs: int = 1) -> Iterator[Kept]:
    """A passing folder for fits, or `keep`, so that an ended run can go on with the same code."""
    if keep is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Kept(Path(folder), jobs)
        return
    if not commit() or commit().endswith("+"):
        raise SystemExit(f"--keep: got code of commit {commit() or 'unknown'!r}, wanted it committed as it is")
    yield Kept(keep, jobs)


def fitted(
    parts: Parts, data: Dataset, seed: int, row: Row, kept: Kept | None = None
) -> Callable[[Histories], NDArray[np.float32]]:
    """Fit the parts, kernels compiled before, with the seconds in the row; what is returned scores histories.

    Of what is `kept`, a part that this commit fitted on this data with this seed is loaded, and its seconds
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
    row["peak_mb"], jobs = (max(each[key] for each in spent) for key in ("peak_mb", "jobs"))
    if jobs > 1:
        row["jobs"] = jobs
    row["threads"] = max(each["threads"] for each in spent)
    first = next(iter(models.values()))
    row["settings"] = first.get_params() if len(parts) == 1 else {name: list(each) for name, each in parts.items()}

    def score(histories: Histories) -> NDArray[np.float32]:
        if len(models) == 1:
            return first.score(histories, data.as_of)
        return sum_of(models, parts, histories, data.as_of)

    return score


def _fit_once(name: str, settings: Settings, data: Dataset, seed: int, kept: Kept | None) -> tuple[Model, Row]:
    folder = kept.folder / _digest(name, settings, seed, data) if kept else None
    if folder is not None and folder.exists():
        return load_model(folder), json.loads((folder / SPENT).read_text())
    model, spent = make_model(model_of(name), settings), Row()
    with clocked(spent):
        model.fit(data, np.random.default_rng(seed))
    spent |= {"peak_mb": peak_mb(), "jobs": kept.jobs if kept else 1, "threads": settings.get("threads", 1)}
    if folder is not None:
        unfinished = folder.with_suffix(".new")
        model.save(unfinished)
        (unfinished / SPENT).write_text(json.dumps(spent))
        unfinished.rename(folder)
    return model, spent


def _digest(name: str, settings: Settings, seed: int, data: Dataset) -> str:
    """What a fit depends on; the threads it ran on are not part of that."""
    settings = {key: value for key, value in settings.items() if key != "threads"}
    digest = hashlib.blake2b(json.dumps([name, settings, seed, commit()], sort_keys=True).encode(), digest_size=8)
    rows = data.interactions
    for array in (rows.user_idx, rows.item_idx, rows.at, np.array([repr(data.items.tags)])):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


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
