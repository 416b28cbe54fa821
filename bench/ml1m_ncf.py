"""MovieLens-1M, NCF protocol: leave-one-out, the last film of each user against 99 published negatives.

Every model is fitted on all the other pairs, with the settings below. They were chosen by NDCG@10 on a validation
part: each user's last train film (by the order of the SASRec files) held out against 99 films drawn at random,
the rest to fit on. Those 99 were drawn among films that a user never has anywhere, the test film included, so in
that one way the search knew of the test pairs; no test score was read. `--preset validation` repeats such a search
over GRID with draws of its own (films without a train pair), so neighbouring settings may change places. Found:
item-knn .4137 (next .4135 with user_power .5), ease .4623 (l2 1500 .4610, 500 .4580), als .4635 with 128 factors
(alpha 10 .4634, 64 factors .4587; 192 factors .4661 and four times the time were left aside).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.data import Histories
from regulars.models.registry import model_class

K = 10
NEGATIVES = 99
PROTOCOL = (
    "leave-one-out, 1 positive and 99 published negatives (lists that repeat the positive collapsed), k 10, "
    "ties by film id, fitted on everything but the test pairs, tuned on a validation pair cut from train"
)
SETTINGS: Mapping[str, dict[str, Any]] = {
    "popular": {},
    "item-knn": {"k": 50, "shrink": 0.0, "user_power": 0.3},
    "ease": {"l2": 1000.0},
    "als": {"factors": 128, "alpha": 3.3, "reg": 0.01, "epochs": 12},
}
GRID: Mapping[str, Sequence[dict[str, Any]]] = {
    "popular": [{}],
    "item-knn": [
        {"k": k, "shrink": shrink, "user_power": power}
        for k in (25, 50, 75) for shrink in (0.0, 10.0, 30.0) for power in (0.0, 0.3, 0.5)
    ],
    "ease": [{"l2": l2} for l2 in (300.0, 500.0, 1000.0, 1500.0, 2000.0)],
    "als": [
        {"factors": factors, "alpha": alpha, "reg": reg, "epochs": 12}
        for factors in (64, 128) for alpha in (3.3, 10.0) for reg in (0.005, 0.01, 0.02)
    ],
}  # fmt: skip
# Ferrari Dacrema et al., TOIS 2021, additional material, tables 54 and 55; every baseline tuned
PUBLISHED: Mapping[str, tuple[float, float]] = {
    "random": (0.0985, 0.0454), "popular": (0.4533, 0.2542), "item-knn": (0.6694, 0.3979),
    "rp3beta": (0.6758, 0.4011), "als": (0.7109, 0.4382), "ease": (0.7192, 0.4494), "neumf": (0.7093, 0.4349),
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """What to fit on, and for each user one film to find among candidates."""

    train: sp.csr_array
    positive: NDArray[np.int64]
    negatives: NDArray[np.int64]  # (n_users, 99)


def run(data: Path, models: Sequence[str] | None = None, preset: str = "test") -> dict[str, Any]:
    """One row a model, each measured in a process of its own; or a row a setting with `preset` validation."""
    unknown = set(models or ()) - SETTINGS.keys()
    if unknown or preset not in ("test", "validation"):
        raise SystemExit(f"got {sorted(unknown) or preset!r}, wanted models of {list(SETTINGS)}, "
                         "preset test or validation")  # fmt: skip
    names = models or list(SETTINGS)
    tries = [(name, each) for name in names for each in (GRID[name] if preset == "validation" else [SETTINGS[name]])]
    rows = [_apart(data, name, params, preset) for name, params in tries]
    if preset == "test":
        rows += [{"model": name, "by": "published", "subset": "all", "hr@10": PUBLISHED[name][0],
                  "ndcg@10": PUBLISHED[name][1]} for name in PUBLISHED]  # fmt: skip
    return {"protocol": PROTOCOL if preset == "test" else f"{PROTOCOL}; the validation pairs", "rows": rows}


def _apart(data: Path, name: str, params: dict[str, Any], preset: str) -> dict[str, Any]:
    """`measure` in a fresh process, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, data, name, params, preset).result()


def measure(data: Path, name: str, params: dict[str, Any], preset: str) -> dict[str, Any]:
    """Fit and rank one model; seconds are those of the fit, with kernels compiled before."""
    trial = test_trial(data) if preset == "test" else validation_trial(data)
    model = model_class(name)(**params)
    few = trial.train[:50]
    model.fit(few).score(Histories.from_matrix(few), 0)
    start = time.perf_counter()
    model.fit(trial.train)
    fitted = time.perf_counter()
    figures = evaluate(model.score(Histories.from_matrix(trial.train), 0), trial)
    return {
        "model": name, "by": "ours", "subset": "all", "users": len(trial.positive), **figures,
        "seconds": round(fitted - start, 2), "score_seconds": round(time.perf_counter() - fitted, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), "threads": 1,
        "settings": params,
    }  # fmt: skip


def evaluate(scores: NDArray[np.float32], trial: Trial) -> dict[str, float]:
    """HR@10 and NDCG@10; a negative that is the positive itself does not count against it."""
    wanted = trial.positive[:, None]
    mine = np.take_along_axis(scores, wanted, axis=1)
    theirs = np.take_along_axis(scores, trial.negatives, axis=1)
    above = (theirs > mine) | ((theirs == mine) & (trial.negatives < wanted))
    rank = above.sum(axis=1)
    hit = rank < K
    return {
        "hr@10": round(float(hit.mean()), 4), "ndcg@10": round(float((hit / np.log2(rank + 2)).mean()), 4),
    }  # fmt: skip


def test_trial(data: Path) -> Trial:
    """Fit on all pairs but the test's; the positives and negatives of the NCF files."""
    users, films, known, held, _ = _pairs(data)
    test = pq.read_table(data / "ml1m" / "ncf_test.parquet")
    order = np.argsort(test["user_id"].to_numpy())
    positive = np.searchsorted(known, test["movie_id"].to_numpy()[order])
    lists: list[list[int]] = test["negatives"].to_pylist()
    negatives = np.searchsorted(known, _distinct([lists[row] for row in order], test["movie_id"].to_numpy()[order]))
    return Trial(_matrix(users[~held], films[~held], len(positive), len(known)), positive, negatives)


test_trial.__test__ = False  # type: ignore[attr-defined]  # a name for people, no test for pytest


def validation_trial(data: Path) -> Trial:
    """The same made of train alone: each user's last pair, and films the user has no train pair with."""
    users, films, known, held, position = _pairs(data)
    users, films, position = users[~held], films[~held], position[~held]
    order = np.lexsort((position, users))
    users, films = users[order], films[order]
    last = np.append(users[1:] != users[:-1], True)
    n_users = int(last.sum())
    seen = _matrix(users, films, n_users, len(known))
    rng = np.random.default_rng(7)
    negatives = np.empty((n_users, NEGATIVES), dtype=np.int64)
    for user in range(n_users):
        others = np.setdiff1d(np.arange(len(known)), seen.indices[seen.indptr[user] : seen.indptr[user + 1]])
        negatives[user] = rng.choice(others, NEGATIVES, replace=False)
    return Trial(_matrix(users[~last], films[~last], n_users, len(known)), films[last], negatives)


def _pairs(data: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], Any]:
    """User and film rows, all film ids, which pairs are the test's, and their order (-1: not in the order)."""
    table = pq.read_table(data / "ml1m" / "interactions.parquet")
    known, films = np.unique(table["movie_id"].to_numpy(), return_inverse=True)
    position = table["seq_pos"].to_numpy(zero_copy_only=False)
    return (
        table["user_id"].to_numpy().astype(np.int64) - 1, films.astype(np.int64), known.astype(np.int64),
        table["is_ncf_test"].to_numpy(zero_copy_only=False).astype(np.bool_), np.nan_to_num(position, nan=-1),
    )  # fmt: skip


def _distinct(lists: Iterable[Sequence[int]], positive: NDArray[Any]) -> NDArray[np.int64]:
    """The negatives as an array; one that is the positive itself stays, and never ranks above itself."""
    negatives = np.array(list(lists), dtype=np.int64)
    repeated = (negatives == positive[:, None]).any(axis=1).sum()
    if repeated != 156:  # as many as the files are known to hold
        raise SystemExit(f"ncf_test.parquet: got {repeated} lists with their positive, wanted 156")
    return negatives


def _matrix(users: NDArray[np.int64], films: NDArray[np.int64], n_users: int, n_films: int) -> sp.csr_array:
    cells = (np.ones(len(users), dtype=np.float32), (users, films))
    return sp.coo_array(cells, shape=(n_users, n_films)).tocsr()
