"""RetailRocket, the funnel: the next purchase after views, carts and purchases, among 99 other items.

One purchase of each shopper is held out and gone from all three behaviours; the 99 are drawn uniformly from the items
that the shopper has no training event with (seed 0). Everything else is fitted on, views and carts as purchases.

Settings and the weights of `blend` (a sum of z-scores among the 100) were chosen by NDCG@10 on a validation part:
of shoppers with two purchases or more, the last item bought in train is taken out in the same way, and 99 drawn for
it with another seed. `--preset validation` repeats the search over GRID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from measure import Row, apart, chosen, clocked
from regulars.core.data import Dataset
from regulars.models.registry import make_model

K = 10
NEGATIVES = 99
PROTOCOL = (
    "one held-out purchase a shopper against 99 items without a training event of theirs, drawn uniformly (seed 0), "
    "k 10, ties by item id, fitted on all other views, carts and purchases"
)
Settings = dict[str, Any]
SETTINGS: Mapping[str, Settings] = {
    "popular": {},
    "item-knn": {"shrink": 10.0, "user_power": 0.5, "power": 0.0, "k": 3000},
    "co-occurrence": {"window": 200, "decay": 1.0, "backward": 1.0, "history_decay": 0.5, "power": 0.0,
                      "source_power": 0.0, "k": 1000},
}  # fmt: skip
BLEND: Mapping[str, float] = {"co-occurrence": 1.0, "item-knn": 0.5, "popular": 0.2}
GRID: Mapping[str, Sequence[Settings]] = {
    "popular": [{}],
    "item-knn": [
        {"shrink": shrink, "user_power": power, "power": 0.0, "k": 3000}
        for shrink in (1.0, 10.0, 30.0) for power in (0.0, 0.5, 1.0)
    ],
    "co-occurrence": [
        {**SETTINGS["co-occurrence"], "window": window, "decay": decay, "history_decay": history}
        for window in (50, 200) for decay in (0.5, 1.0) for history in (0.0, 0.5, 1.0)
    ],
    "blend": [
        {"co-occurrence": 1.0, "item-knn": near, "popular": popular}
        for near in (0.0, 0.25, 0.5, 1.0) for popular in (0.0, 0.1, 0.2, 0.4)
    ],
}  # fmt: skip
# Counted on the same file and protocol, untuned
PUBLISHED: Sequence[Row] = [
    {"model": "popular", "hr@10": 0.246, "ndcg@10": 0.169},
    {"model": "item-knn", "hr@10": 0.504, "ndcg@10": 0.324},
]


@dataclass(frozen=True)
class Trial:
    """What to fit on, and for some shoppers the item to find (first) among 100."""

    before: Dataset
    shoppers: NDArray[np.int32]
    candidates: NDArray[np.int32]  # (n, 100)


def run(data: Path, models: Sequence[str] | None = None, preset: str = "test") -> Row:
    """A row a model; with `preset` validation a row a setting."""
    names = chosen(models, [*SETTINGS, "blend"])
    validation = preset == "validation"
    settings = {**{name: [each] for name, each in SETTINGS.items()}, "blend": [dict(BLEND)]}
    tries = [(name, each) for name in names for each in (GRID if validation else settings)[name]]
    rows = [apart(measure, data, name, each, validation) for name, each in tries]
    rows += [] if validation else [{"by": "published", "subset": "all", **row} for row in PUBLISHED]
    return {"protocol": f"{PROTOCOL}; the validation part" if validation else PROTOCOL, "rows": rows}


def measure(data: Path, name: str, settings: Settings, validation: bool) -> Row:
    """Fit and rank one model, or the blend of several."""
    trial = trial_of(data, validation)
    parts = {each: (weight, SETTINGS[each]) for each, weight in settings.items() if weight} if name == "blend" else {
        name: (1.0, settings)}  # fmt: skip
    for each, (_, params) in parts.items():  # compiles
        make_model(each, params).fit(trial.before.user_items[:50])
    row: Row = {"model": name, "by": "ours", "subset": "all", "users": len(trial.shoppers), "threads": 1}
    with clocked(row):
        fitted = {each: make_model(each, params).fit(trial.before) for each, (_, params) in parts.items()}
    with clocked(row, "score_"):
        scores = np.zeros(trial.candidates.shape)
        for each, model in fitted.items():
            histories = trial.before.histories(trial.shoppers)
            dense = np.concatenate([model.score(part, trial.before.as_of) for _, part in model.batches(histories)])
            mine = np.take_along_axis(dense, trial.candidates, axis=1).astype(np.float64)
            spread = mine.std(axis=1, keepdims=True)
            scores += parts[each][0] * (mine - mine.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    return {**row, **figures(scores, trial.candidates), "settings": settings}


def figures(scores: NDArray[np.float64], candidates: NDArray[np.int32]) -> Row:
    """HR@10 and NDCG@10 of the first candidate; ties go by item id."""
    equal = (scores[:, 1:] == scores[:, :1]) & (candidates[:, 1:] < candidates[:, :1])
    rank = ((scores[:, 1:] > scores[:, :1]) | equal).sum(axis=1)
    hit = rank < K
    return {
        f"hr@{K}": round(float(hit.mean()), 4), f"ndcg@{K}": round(float((hit / np.log2(rank + 2)).mean()), 4),
    }  # fmt: skip


def trial_of(data: Path, validation: bool) -> Trial:
    """The test trial, or the same made of train alone."""
    events = pq.read_table(data / "retailrocket_mb" / "events.parquet")
    test = pq.read_table(data / "retailrocket_mb" / "test_buy.parquet").sort_by("user_id")
    user, item, at = (events[name].to_numpy() for name in ("user_id", "item_id", "timestamp"))
    n_items = int(max(item.max(), test["item_id"].to_numpy().max())) + 1
    shoppers, wanted = test["user_id"].to_numpy(), test["item_id"].to_numpy()
    if validation:
        bought = np.array(events["event"].cast(pa.string()).to_pylist()) == "buy"
        shoppers, wanted = last_of_several(user[bought], item[bought], at[bought])
        kept = ~np.isin(user.astype(np.int64) * n_items + item, shoppers.astype(np.int64) * n_items + wanted)
        user, item, at = user[kept], item[kept], at[kept]
    before = Dataset.from_events(user, item, (len(test), n_items), at=at * 1_000_000)
    rng = np.random.default_rng(1 if validation else 0)
    known = before.user_items
    candidates = np.empty((len(shoppers), 1 + NEGATIVES), dtype=np.int32)
    for row, (shopper, positive) in enumerate(zip(shoppers, wanted, strict=True)):
        met = known.indices[known.indptr[shopper] : known.indptr[shopper + 1]]
        others = np.setdiff1d(np.arange(n_items), np.append(met, positive))
        candidates[row] = positive, *rng.choice(others, NEGATIVES, replace=False)
    return Trial(before, shoppers.astype(np.int32), candidates)


def last_of_several(
    user: NDArray[Any], item: NDArray[Any], at: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each shopper who bought several items, and the item bought last; of one instant the last in the file.

    Not the one with the highest id: ids count up with shoppers, so that among a shopper's items a high one is rare.
    """
    order = np.lexsort((at, user))
    user, item = user[order].astype(np.int64), item[order].astype(np.int64)
    last = np.append(user[1:] != user[:-1], True)
    several = np.bincount(user)[user[last]] > 1
    return user[last][several], item[last][several]
