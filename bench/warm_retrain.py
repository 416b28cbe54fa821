"""A retrain that goes on from the last model beside one that begins afresh: what it saves, and what it costs.

The last model was fitted without the newest events of every shopper, and without one shopper in twenty; the retrain
has all but each shopper's last item, which is to be found among all items not seen. `als` on MovieLens-1M, the films
of the last 20 but one; `sasrec` and `gru4rec` on 6,000 shoppers of Amazon Beauty, the last item but one. Settings are
the product's defaults, for the networks a patience long enough that a cold fit ends by itself. The difference is
paired over shoppers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from measure import Row, apart, chosen, clocked, peak_mb, ranked
from regulars.core.bootstrap import paired
from regulars.core.data import Dataset
from regulars.models.als import ALS
from regulars.models.base import Model, Warm
from regulars.models.deep.plan import Hooks
from regulars.models.registry import make_model

K = 10
NEW_SHOPPERS = 0.05
PROTOCOL = (
    "retrains on the same days, afresh and from a model fitted before the newest events; next item among all not "
    "seen, k 10, `vs_cold` is the paired difference over shoppers with its 95 % interval"
)
Settings = dict[str, Any]
SETTINGS: Mapping[str, tuple[str, Settings]] = {
    "als": ("films", {}),
    "als-128": ("films", {"factors": 128, "alpha": 5.0}),
    "als-hardly-regularised": ("films", {"alpha": 33.0, "reg": 0.001}),
    "sasrec": ("beauty", {"factors": 32, "dropout": 0.3, "length": 20, "patience": 8, "epochs": 80}),
    "gru4rec": ("beauty", {"factors": 32, "length": 20, "patience": 6, "epochs": 60}),
}
# file, column, shoppers (0 = all), newest events that the last model did not know
LOGS = {
    "films": ("ml1m/sequences.parquet", "movie_ids", 0, 20),
    "beauty": ("amazon_beauty_5core/sequences.parquet", "items", 6000, 2),
}


@dataclass(frozen=True)
class Days:
    """What the last model knew, what the retrain knows, and what came next."""

    before: Dataset
    now: Dataset
    wanted: NDArray[np.int64]


def run(data: Path, models: Sequence[str] | None = None) -> dict[str, Any]:
    """Two rows a model, each fitted in one process of its own."""
    rows: list[Row] = []
    for name in chosen(models, list(SETTINGS)):
        rows += apart(measure, data, name)["rows"]
    return {"protocol": PROTOCOL, "rows": rows}


def measure(data: Path, name: str) -> Row:
    """Fit the last model, then the retrain both ways."""
    log, settings = SETTINGS[name]
    days, kind = days_of(data, log), name.partition("-")[0]
    last, _ = fitted(kind, settings, days.before, None)
    rows: list[Row] = []
    scores: list[NDArray[np.float64]] = []
    for start in ("afresh", "from the last"):
        places = np.arange(days.now.shape[1], dtype=np.int32)
        model, row = fitted(kind, settings, days.now, Warm(last, places) if rows else None)
        found = gains(model, days)
        scores.append(found)
        rows.append({"model": f"{name}, {start}", "by": "ours", "subset": "all", "users": len(found),
                     f"ndcg@{K}": round(float(found.mean()), 4), **row, "threads": 1, "peak_mb": peak_mb(),
                     "settings": settings})  # fmt: skip
    difference = paired(scores[1], scores[0], np.random.default_rng(0))
    rows[1] |= {"vs_cold": difference.mean, "vs_cold_low": difference.low, "vs_cold_high": difference.high}
    return {"rows": rows}


def fitted(kind: str, settings: Settings, data: Dataset, warm: Warm | None) -> tuple[Model, Row]:
    """A model, and how many epochs and seconds its fit took; kernels are compiled before."""
    make_model(kind, settings | {"epochs": 1}).fit(data)
    model, epochs = make_model(kind, settings), [0]
    counted(model, epochs)
    row: Row = {}
    model.warm = warm
    with clocked(row):
        model.fit(data, np.random.default_rng(0))
    return model, {"epochs": epochs[0], **row}


def counted(model: Model, epochs: list[int]) -> None:
    """Count the epochs of the next fit."""

    def count(*_: Any) -> None:
        epochs[0] += 1

    if isinstance(model, ALS):
        passes: Callable[..., Any] = model.passes

        def watched(*given: Any) -> Any:
            for each in passes(*given):
                count()
                yield each

        model.passes = watched  # type: ignore[method-assign, assignment]
    else:
        model.hooks = Hooks(watch=count)  # type: ignore[attr-defined]


def gains(model: Model, days: Days) -> NDArray[np.float64]:
    """NDCG@10 of each shopper, whose one item is to be found."""
    top = ranked(lambda part: model.score(part, days.now.as_of), days.now.histories(), K, mask_seen=True)
    hit = top == days.wanted[:, None]
    rank = np.where(hit.any(axis=1), hit.argmax(axis=1), K)
    return np.where(rank < K, 1 / np.log2(rank + 2.0), 0.0)


def days_of(data: Path, log: str) -> Days:
    """Cut a log of sequences; items are numbered anew."""
    file, column, shoppers, newest = LOGS[log]
    sequences = [np.asarray(each) for each in pq.read_table(data / file)[column].to_pylist()]
    rng = np.random.default_rng(1)
    if shoppers:
        sequences = [sequences[row] for row in np.sort(rng.permutation(len(sequences))[:shoppers])]
    ids = np.unique(np.concatenate(sequences))
    sequences = [np.searchsorted(ids, each) for each in sequences]
    known = rng.random(len(sequences)) >= NEW_SHOPPERS
    before = [each[:-newest] if old else each[:0] for each, old in zip(sequences, known, strict=True)]
    now = [each[:-1] for each in sequences]
    return Days(_dataset(before, len(ids)), _dataset(now, len(ids)), np.array([each[-1] for each in sequences]))


def _dataset(sequences: Sequence[NDArray[Any]], n_items: int) -> Dataset:
    sizes = [len(each) for each in sequences]
    users, place = np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(size) for size in sizes])
    return Dataset.from_events(users, np.concatenate(sequences), (len(sizes), n_items), at=place * 1_000_000)
