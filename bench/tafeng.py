"""Ta-Feng, next basket: the last basket of every shopper, from those before (the files of Li et al. 2023).

Fitted on all but the last baskets, full ranking, bought items stay in it. Settings were chosen by NDCG@10 with each
shopper's last but one basket held out and what came before to fit on; `--preset validation` repeats the search over
GRID. `repeat-only` and `explore-only` are the same model asked for one part; its figures are over all shoppers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp

from measure import Row, apart, chosen, clocked, ranked
from regulars.core.arrays import as_csr
from regulars.core.data import Dataset
from regulars.evaluate.metrics import hit_rate, judge, ndcg, recall
from regulars.models.registry import make_model

K = (10, 20)
PROTOCOL = (
    "last basket of all 13,858 shoppers, fitted on the baskets before, full ranking with bought items in it, "
    "recall over all items of the basket, phr = share of shoppers with at least one hit"
)
Settings = dict[str, Any]
SETTINGS: Mapping[str, tuple[str, Settings]] = {
    "popular": ("popular", {}),
    "item-knn": ("item-knn", {}),
    "next-basket": ("next-basket", {}),
    "repeat-only": ("next-basket", {"part": "repeat"}),
    "explore-only": ("next-basket", {"part": "explore"}),
}
GRID: Sequence[Settings] = [
    {"decay": decay, "group": 7, "group_decay": group_decay, "neighbours": neighbours, "neighbour_weight": near,
     "popularity_weight": popular}
    for decay, group_decay in ((1.0, 1.0), (0.95, 0.9), (0.9, 0.8))
    for neighbours, near in ((0, 0.0), (300, 1.0), (300, 3.0))
    for popular in (3.0, 5.0, 8.0)
]  # fmt: skip
# Hu et al. 2020 give 0.1301 for Recall@10, a re-run 0.1277, both after other cleaning; simple counts on this file:
PUBLISHED: Sequence[Row] = [
    {"model": "global top", "recall@10": 0.0803, "ndcg@10": 0.0875, "phr@10": 0.249},
    {"model": "personal top", "recall@10": 0.1217, "ndcg@10": 0.1182, "phr@10": 0.400},
    {"model": "personal, then global top", "recall@10": 0.1350, "ndcg@10": 0.1236, "phr@10": 0.420,
     "recall@20": 0.1833, "ndcg@20": 0.1371, "phr@20": 0.519},
    {"model": "tifu-knn (other cleaning)", "recall@10": 0.1301},
]  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """Baskets to fit on, and for each shopper the basket after them."""

    before: Dataset
    wanted: sp.csr_array


def run(data: Path, models: Sequence[str] | None = None, preset: str = "test") -> Row:
    """A row a model; with `preset` validation one for each settings of next-basket."""
    if preset == "validation":
        rows = [apart(measure, data, "next-basket", "next-basket", settings, 2) for settings in GRID]
        return {"protocol": f"{PROTOCOL}; the last but one basket, from those before it", "rows": rows}
    names = chosen(models, list(SETTINGS))
    rows = [apart(measure, data, name, *SETTINGS[name], 1) for name in names]
    rows += [{"by": "published", "subset": "all", **row} for row in PUBLISHED]
    return {"protocol": PROTOCOL, "rows": rows}


def measure(data: Path, label: str, name: str, settings: Settings, last: int) -> Row:
    """Fit and rank one model, the `last` basket from the end being wanted."""
    trial = trial_of(data, last)
    make_model(name, settings).fit(trial.before.user_items[:50])  # compiles
    row: Row = {"model": label, "by": "ours", "subset": "all", "users": len(trial.before.users), "threads": 1}
    with clocked(row):
        model = make_model(name, settings).fit(trial.before)
    with clocked(row, "score_"):
        top = ranked(lambda part: model.score(part, trial.before.as_of), trial.before.histories(), max(K),
                     mask_seen=False)  # fmt: skip
    found = judge(top, trial.wanted)
    for k in K:
        for key, values in (("recall", recall(found, k)), ("ndcg", ndcg(found, k)), ("phr", hit_rate(found, k))):
            row[f"{key}@{k}"] = round(float(np.nanmean(values)), 4)
    return {**row, "settings": settings}


def trial_of(data: Path, last: int) -> Trial:
    """Cut each shopper's baskets before the `last` one from the end; a basket an instant."""
    baskets: list[list[list[int]]] = pq.read_table(data / "tafeng_nbr" / "baskets.parquet")["baskets"].to_pylist()
    n_items = 1 + max(item for mine in baskets for basket in mine for item in basket)
    told = [
        (user, item, at) for user, mine in enumerate(baskets) for at, basket in enumerate(mine[:-last])
        for item in dict.fromkeys(basket)
    ]  # fmt: skip
    wish = [(user, item) for user, mine in enumerate(baskets) for item in dict.fromkeys(mine[-last])]
    user, item, at = (np.array(column) for column in zip(*told, strict=True))
    rows, columns = (np.array(column) for column in zip(*wish, strict=True))
    cells = sp.coo_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(len(baskets), n_items))
    return Trial(Dataset.from_events(user, item, (len(baskets), n_items), at=at), as_csr(cells))
