"""Amazon, from one category to another with the same shoppers: among 999 sampled negatives, HR@10 and NDCG@10.

Two pairs of categories, the files of DisenCDR (Cao et al. 2022), in both directions. The target learns from its own
train file; of the source it has the statistics of its train file alone (`models/source.py`): nothing of its events.
The shoppers are the same under the same ids, no item is.

- `alone`: `ease` on the target, tuned.
- `transfer`: `transfer-ease` with the same settings, and the source's statistics with 128 factors.
- `noise`: the same again, but the source's shoppers are mixed up (seed 0): real factors under wrong names.
- `als`, `user-knn`, `item-knn`, `popular`: our other models on the target alone, tuned likewise.

Every row is compared with `alone` on the same shoppers: `gain_*` is the mean difference, with the 95 % interval of a
paired bootstrap, over the mean of each shopper where there are several seeds (of the fit; what is asked is the same).

Candidates are the target's items with a train pair (every test item has one). Negatives are drawn with seed 0, evenly
over the items a shopper has neither in train nor in test; all models rank the same lists.

Settings were chosen by NDCG@10 on a validation part: one random item of each shopper's train held out (of items that
somebody else has too), negatives among items without a train pair, the rest to fit on. `--preset validation` repeats
that search over GRID (half an hour); the settings of a target are shared by `alone`, `transfer` and `noise`.

Found, on cloth / sport / phone / electronic: ease .0647 / .0819 / .1579 / .1312 (dropout .3 .0646 / .0815 / .1574 /
.1309, none .0642 / .0810 / .1570 / .1305; a tenth of the items dense among each other is as good as all: phone .1586
and .1589 in an earlier search of other draws), als .1005 / .1192 / .1869 / .1503, user-knn .0610 / .0858 / .1646 /
.1390, item-knn .0581 / .0821 / .1613 / .1333. `transfer` with ease's dropout .3 found .1304 / .1419 / .2062 / .1607.
Its weight and ridge are no setting: the fit itself chooses them. 128 factors were not searched; in the earlier search
on phone, by hand, 64 found .198, 128 .203 and 256 .207. So was the weighting of the source's histories chosen.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
from numpy.typing import NDArray

from measure import Row, across_seeds, apart, chosen
from parts import RANDOM, Settings, fitted, single
from regulars.core.arrays import Matrix, as_csr
from regulars.core.bootstrap import paired
from regulars.core.data import Dataset, Items
from regulars.models.held_out import hold_out
from regulars.models.source import Source

K = 10
METRICS = ("hr@10", "ndcg@10")
NEGATIVES = 999
FACTORS = 128
CELLS = 16_000_000  # scores held at once
PROTOCOL = (
    "leave-one-out, 1 positive and 999 sampled negatives (seed 0), k 10, ties by item id, fitted on the train file, "
    "of the source only its statistics; gain = difference to alone, paired bootstrap over shoppers, 95 %"
)
PAIRS = {"cross_domain_sport_cloth": ("sport", "cloth"), "cross_domain_electronic_phone": ("electronic", "phone")}
DIRECTIONS = {f"{source}->{target}": (folder, source, target) for folder, pair in PAIRS.items()
              for source, target in (pair, pair[::-1])}  # fmt: skip
KINDS = {"alone": "ease", "transfer": "transfer-ease", "noise": "transfer-ease"}  # the others are registered names
L2 = {"cloth": 100.0, "sport": 300.0, "phone": 300.0, "electronic": 1000.0}
EASE: Mapping[str, Settings] = {
    target: {"l2": l2, "dropout": 0.5, "memory_mb": 64.0} for target, l2 in L2.items()
}  # fmt: skip
SETTINGS: Mapping[str, Mapping[str, Settings]] = {
    "alone": EASE,
    "transfer": EASE,
    "noise": EASE,
    "als": {
        target: {"factors": 64, "alpha": alpha, "reg": 0.05}
        for target, alpha in (("cloth", 300.0), ("sport", 300.0), ("phone", 100.0), ("electronic", 100.0))
    },
    "user-knn": {
        target: {"k": 500, "shrink": shrink}
        for target, shrink in (("cloth", 10.0), ("sport", 10.0), ("phone", 0.0), ("electronic", 0.0))
    },
    "item-knn": {target: {"k": 500, "shrink": 100.0} for target in EASE},
    "popular": {target: {} for target in EASE},
}
GRID: Mapping[str, Sequence[Settings]] = {
    "alone": [
        {"l2": l2, "dropout": dropout, "memory_mb": 64.0}
        for l2 in (100.0, 300.0, 1000.0) for dropout in (0.0, 0.3, 0.5)
    ],
    "als": [
        {"factors": 64, "alpha": alpha, "reg": reg}
        for alpha, reg in ((30.0, 0.02), (30.0, 0.03), (100.0, 0.01), (100.0, 0.02), (100.0, 0.05), (300.0, 0.02),
                           (300.0, 0.05))
    ],
    "user-knn": [{"k": 500, "shrink": shrink} for shrink in (0.0, 10.0, 50.0)],
    "item-knn": [{"k": 500, "shrink": shrink} for shrink in (0.0, 10.0, 50.0, 100.0)],
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """What to fit on, and for some shoppers one item to find among candidates."""

    train: Matrix
    users: NDArray[np.int64]  # (n,)
    positive: NDArray[np.int64]  # (n,)
    negatives: NDArray[np.int64]  # (n, NEGATIVES)


def run(data: Path, models: Sequence[str] | None = None, seeds: int = 1, preset: str = "test") -> dict[str, Any]:
    """A row for each model and direction, or for each setting of the grid and target with `preset` validation."""
    if preset not in ("test", "validation"):
        raise SystemExit(f"--preset: got {preset!r}, wanted test or validation")
    if preset == "validation":
        names = chosen(models, list(GRID))
        rows = [_plain(apart(measure, data, preset, direction, name, settings, 0))
                for direction in DIRECTIONS for name in names for settings in GRID[name]]  # fmt: skip
        return {"protocol": f"{PROTOCOL}; the validation pairs", "rows": rows}
    names = chosen(models, list(SETTINGS))
    rows = [row for direction in DIRECTIONS for row in compared(data, direction, names, seeds)]
    return {"protocol": PROTOCOL, "rows": rows}


def compared(data: Path, direction: str, names: Sequence[str], seeds: int = 1) -> list[Row]:
    """Rows of one direction, each beside `alone`."""
    target = DIRECTIONS[direction][2]
    measured: dict[str, Row] = {}
    for name in dict.fromkeys(["alone", *names]):
        repeats = range(seeds if KINDS.get(name, name) in RANDOM else 1)
        runs = [apart(measure, data, "test", direction, name, SETTINGS[name][target], seed) for seed in repeats]
        by_shopper = {each: np.mean([run["by_shopper"][each] for run in runs], axis=0) for each in METRICS}
        measured[name] = across_seeds(runs, METRICS) | {"by_shopper": by_shopper}
    return [_plain(row if name == "alone" else row | gains(row, measured["alone"]))
            for name, row in measured.items() if name in names]  # fmt: skip


def gains(row: Row, alone: Row) -> Row:
    """Differences to `alone` with their intervals, and what they say in words."""
    told: Row = {}
    for metric in METRICS:
        mine, theirs = (each["by_shopper"][metric] for each in (row, alone))
        gain = paired(mine, theirs, np.random.default_rng(0))
        for end, value in (("", gain.mean), ("_low", gain.low), ("_high", gain.high)):
            told[f"gain_{metric}{end}"] = round(value, 4)
    return told | {"note": in_words(row["subset"], told, row["by_shopper"]["ndcg@10"].mean())}


def in_words(subset: str, told: Row, mine: float) -> str:
    """The share that NDCG gained, and which gains may as well be nothing."""
    share = mine / (mine - told["gain_ndcg@10"]) - 1
    doubtful = [metric.upper() for metric in METRICS
                if told[f"gain_{metric}_low"] <= 0 <= told[f"gain_{metric}_high"]]  # fmt: skip
    doubt = f"; the interval of the gain in {' and '.join(doubtful)} contains 0" if doubtful else ""
    return f"{subset}: NDCG@10 {100 * share:+.1f} % against alone{doubt}"


def measure(data: Path, preset: str, direction: str, name: str, settings: Settings, seed: int) -> Row:
    """Fit and rank one model; `by_shopper` holds what each shopper has of each metric."""
    folder, source, target = DIRECTIONS[direction]
    train, users, positive = read(data / folder, target)
    trial = test_trial(train, users, positive) if preset == "test" else validation_trial(train)
    subset = direction if preset == "test" else target
    row: Row = {"model": name, "by": "ours", "subset": subset, "users": len(trial.users)}
    log = named(trial.train, target)
    with tempfile.TemporaryDirectory() as home:
        if name in ("transfer", "noise"):
            give_away(read(data / folder, source)[0], source, name == "noise", Path(home))
            settings = {**settings, "source": home}
        score = fitted(single(KINDS.get(name, name), settings), log, seed, row)
    row["settings"] = {key: value for key, value in row["settings"].items() if key != "source"}
    values = ranked(score, log, trial)
    return row | {metric: round(float(each.mean()), 4) for metric, each in values.items()} | {"by_shopper": values}


def give_away(taken: Matrix, name: str, mixed_up: bool, folder: Path) -> None:
    """Write the source's statistics; shoppers are shared under their ids, or under each other's."""
    n_users = taken.shape[0]
    keys = np.random.default_rng(0).permutation(n_users) if mixed_up else np.arange(n_users)
    Source.of(named(taken, name), keys, factors=FACTORS).save(folder)


def named(user_items: Matrix, category: str) -> Dataset:
    """A Dataset whose items are named by their category: no item of one is an item of another."""
    data = Dataset.from_matrix(user_items)
    return replace(data, items=Items.bare(f"{category}-{item}" for item in range(user_items.shape[1])))


def ranked(score: Any, log: Dataset, trial: Trial) -> dict[str, NDArray[np.float64]]:
    """HR@10 and NDCG@10 of each shopper, a batch of dense scores at a time."""
    histories = log.histories(trial.users.astype(np.int32))
    step = max(1, CELLS // len(log.items))
    ranks = [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(histories), step):
        rows = slice(start, min(start + step, len(histories)))
        wanted, others = trial.positive[rows, None], trial.negatives[rows]
        scores = score(histories.rows(rows.start, rows.stop))
        mine, theirs = (np.take_along_axis(scores, items, axis=1) for items in (wanted, others))
        ranks.append(((theirs > mine) | ((theirs == mine) & (others < wanted))).sum(axis=1))
    rank = np.concatenate(ranks)
    hit = rank < K
    return {"hr@10": hit.astype(np.float64), "ndcg@10": hit / np.log2(rank + 2.0)}


def test_trial(train: Matrix, users: NDArray[np.int64], positive: NDArray[np.int64]) -> Trial:
    """Fit on the train file, find the test file's item."""
    return Trial(train, users, positive, negatives_of(train, users, positive))


test_trial.__test__ = False  # type: ignore[attr-defined]  # a name for people, no test for pytest


def validation_trial(train: Matrix) -> Trial:
    """The same made of the train file alone: one item of each shopper held out."""
    held = hold_out(train, train.shape[0], np.random.default_rng(1))
    users, wanted = held.users.astype(np.int64), held.wanted.astype(np.int64)
    return Trial(held.rest, users, wanted, negatives_of(held.rest, users, wanted))


def negatives_of(train: Matrix, users: NDArray[np.int64], positive: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each shopper NEGATIVES distinct items, evenly among those neither in train nor to be found (seed 0)."""
    rng = np.random.default_rng(0)
    drawn = np.empty((len(users), NEGATIVES), dtype=np.int64)
    for row, (user, wanted) in enumerate(zip(users, positive, strict=True)):
        known = np.append(train.indices[train.indptr[user] : train.indptr[user + 1]], wanted)
        some = rng.choice(train.shape[1], NEGATIVES + len(known), replace=False)
        drawn[row] = some[~np.isin(some, known)][:NEGATIVES]
    return drawn


def read(folder: Path, category: str) -> tuple[Matrix, NDArray[np.int64], NDArray[np.int64]]:
    """Train as users x items, and the test pairs; items are those of train, in the order of their ids."""
    train, test = (pq.read_table(folder / f"{category}_{part}.parquet") for part in ("train", "test"))
    known, items = np.unique(train["item_id"].to_numpy(), return_inverse=True)
    users, wanted = train["user_id"].to_numpy(), test["item_id"].to_numpy()
    if not np.isin(wanted, known).all():
        raise SystemExit(f"{category}_test.parquet: got items without a train pair, wanted none")
    cells = (np.ones(len(users), dtype=np.float32), (users, items))
    matrix = as_csr(sp.coo_array(cells, shape=(int(users.max()) + 1, len(known))))
    return matrix, test["user_id"].to_numpy().astype(np.int64), np.searchsorted(known, wanted)


def _plain(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "by_shopper"}
