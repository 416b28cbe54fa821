"""Next item of an anonymous session: diginetica and retailrocket-sessions, the files of SR-GNN and CGENet.

Fitted on the whole training sessions, asked about every test prefix; full ranking of all items, and as items come
back within a session none are masked. Sessions carry no times: they stand in order, and one is taken to begin each
minute, which makes `half_life_days` a count of sessions (1,440 a day).

Settings, and the weights of `blend`, were chosen by MRR@20 on a validation part: the last twentieth of the training
sessions, from the others, 10,000 random prefixes whose next item was seen before (as all test items are);
`--preset validation` repeats the search over GRID. A new model is a line in SETTINGS. The test part of diginetica was
looked at twice for `session-knn` and three times for `blend`: before `repeats` added to the scores of returning items
it multiplied them (p@20 .5140, mrr@20 .1809), and before it held `sasrec` it held `co-occurrence` (.5344 and .1915);
each change was found, and its size chosen, on the validation part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from measure import Row, apart, chosen, clocked, next_item, ranked
from parts import Kept, Parts, Settings, fitted, kept_fits, seeded, single
from regulars.core.clock import MINUTE
from regulars.core.data import Dataset, Histories

K = 20
HELD_OUT = 0.05  # of the training sessions, the last
ASKED = 10_000  # prefixes of them
PROTOCOL = (
    "next item of each test prefix, full ranking, nothing masked, p@20 = recall@20, mrr@20, fitted on the whole "
    "training sessions, tuned on the last twentieth of them"
)
FOLDERS = {"diginetica": "diginetica_sr", "retailrocket-sessions": "retailrocket_sr"}
PREFIX: Settings = {"window": 20, "decay": 0.75, "backward": 0.5, "history_decay": 1.25, "power": 0.3}
NEAR: Settings = {"decay": 1.5, "nearness": 0.4, "half_life_days": 70.0, "idf": 2.0, "repeats": 1.1}
# hidasib/GRU4Rec_PyTorch_Official, its parameters for these data (other splits of them): not searched
GRU4REC: Settings = {"loss": "bpr-max", "embedding_dropout": 0.5, "batch": 128, "length": 20, "threads": 2}
# The first that was tried: p@20 .5190, mrr@20 .1760 on validation; with a tenth of session-knn .5495 and .1936
SASREC: Settings = {
    "length": 20, "batch": 512, "negatives": 2048, "dropout": 0.3, "learning_rate": 0.002, "epochs": 20,
    "patience": 3,
}  # fmt: skip
SETTINGS: Mapping[str, Mapping[str, Settings]] = {
    "diginetica": {
        "popular": {},
        "item-knn": {},
        "sequential-rules": {},
        "co-occurrence": PREFIX,
        "session-knn": NEAR,
        "sasrec": SASREC,
        "gru4rec": GRU4REC | {"factors": 512, "dropout": 0.3, "sample_power": 0.3, "penalty": 0.9, "elu": 1.0},
    },
    "retailrocket-sessions": {
        "popular": {},
        "item-knn": {},
        "sequential-rules": {},
        "co-occurrence": PREFIX,
        "session-knn": NEAR,
        "gru4rec": GRU4REC | {"factors": 224, "dropout": 0.05, "sample_power": 0.4, "penalty": 1.95, "elu": 0.5},
    },
}
BLEND: Mapping[str, Mapping[str, float]] = {
    "diginetica": {"sasrec": 1.0, "session-knn": 0.1},
    "retailrocket-sessions": {"session-knn": 1.0, "co-occurrence": 0.05},
}
GRID: Mapping[str, Sequence[Settings]] = {
    "session-knn": [
        {"decay": decay, "nearness": nearness, "half_life_days": half_life, "idf": idf, "repeats": repeats}
        for decay in (1.0, 1.5) for nearness in (0.4, 0.8) for half_life in (0.0, 70.0)
        for idf in (1.0, 2.0) for repeats in (0.0, 0.8, 1.1)
    ],
    "co-occurrence": [
        {**PREFIX, "backward": backward, "history_decay": history_decay, "power": power}
        for backward in (0.25, 0.5, 1.0) for history_decay in (0.75, 1.25) for power in (0.1, 0.3, 0.5)
    ],
}  # fmt: skip
# Papers of SR-GNN (Wu et al. 2019) and GCE-GNN (Wang et al. 2020), in percent there; simple counts on these files
PUBLISHED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "diginetica": {
        "pop": (0.0089, 0.0020), "item-knn": (0.3575, 0.1157), "gru4rec (2016)": (0.2945, 0.0833),
        "narm": (0.4970, 0.1617), "stamp": (0.4564, 0.1432), "sr-gnn": (0.5073, 0.1759),
        "gce-gnn": (0.5422, 0.1904),
    },
    "retailrocket-sessions": {},
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """Sessions to fit on, and prefixes with the item after each."""

    before: Dataset
    histories: Histories
    target: NDArray[np.int32]


def run(
    name: str, data: Path, models: Sequence[str] | None = None, seeds: int = 1, preset: str = "test",
    keep: Path | None = None, jobs: int = 1,
) -> Row:  # fmt: skip
    """A row a model; with `preset` validation a row for each setting of the models that have a grid."""
    if preset == "validation":
        tried = [(each, settings) for each in chosen(models, list(GRID)) for settings in GRID[each]]
        rows = [apart(measure, None, data, name, True, single(*each), 0) for each in tried]
        return {"protocol": f"{PROTOCOL}; here that twentieth, {ASKED:,} prefixes", "rows": rows}
    names = chosen(models, [*SETTINGS[name], "blend"])
    with kept_fits(keep, jobs) as kept:
        asked = kept, data, name, False
        rows = [seeded(parts_of(name, each), seeds, ["p@20", "mrr@20"], measure, *asked, jobs=jobs)
                for each in names]  # fmt: skip
    rows += [{"model": each, "by": "published", "subset": "all", "p@20": found[0], "mrr@20": found[1]}
             for each, found in PUBLISHED[name].items()]  # fmt: skip
    return {"protocol": PROTOCOL, "rows": rows}


def parts_of(name: str, model: str) -> Parts:
    """A model with its settings, or all that the blend holds."""
    if model == "blend":
        return {each: (weight, SETTINGS[name][each]) for each, weight in BLEND[name].items()}
    return single(model, SETTINGS[name][model])


def measure(kept: Kept | None, data: Path, name: str, validation: bool, parts: Parts, seed: int) -> Row:
    """Fit and rank one model or blend; seconds are those of the fits."""
    folder = data / FOLDERS[name]
    trial = validation_trial(folder) if validation else test_trial(folder)
    row: Row = {"model": next(iter(parts)) if len(parts) == 1 else "blend", "by": "ours", "subset": "all"}
    score = fitted(parts, trial.before, seed, row, kept)
    with clocked(row, "score_"):
        top = ranked(score, trial.histories, K, mask_seen=False)
    figures = next_item(top, trial.target, (K,), "p")
    return row | {key: figures[key] for key in ("users", "p@20", "mrr@20")}


def test_trial(folder: Path) -> Trial:
    """All training sessions, all test prefixes."""
    sessions, test = _sessions(folder), pq.read_table(folder / "test.parquet")
    prefixes: list[list[int]] = test["prefix"].to_pylist()
    target = test["target"].to_numpy()
    n_items = 1 + max(int(max(each.max() for each in sessions)), int(target.max()), *map(max, prefixes))
    return Trial(_dataset(sessions, n_items), Histories.from_sequences(prefixes, n_items), target)


test_trial.__test__ = False  # type: ignore[attr-defined]  # a name for people, no test for pytest


def validation_trial(folder: Path) -> Trial:
    """The same made of the training sessions alone."""
    return held_out(_sessions(folder), ASKED, np.random.default_rng(0))


def held_out(sessions: Sequence[NDArray[np.int32]], asked: int, rng: np.random.Generator) -> Trial:
    """The last sessions against those before: `asked` random prefixes whose next item was seen there."""
    cut = len(sessions) - int(np.ceil(HELD_OUT * len(sessions)))
    n_items = 1 + int(max(each.max() for each in sessions))
    known = np.bincount(np.concatenate(sessions[:cut]), minlength=n_items) > 0
    pairs = [(each[:end], each[end]) for each in sessions[cut:] for end in range(1, len(each)) if known[each[end]]]
    drawn = np.sort(rng.permutation(len(pairs))[:asked])
    histories = Histories.from_sequences([pairs[row][0] for row in drawn], n_items)
    return Trial(_dataset(sessions[:cut], n_items), histories, np.array([pairs[row][1] for row in drawn]))


def _sessions(folder: Path) -> list[NDArray[np.int32]]:
    column = pq.read_table(folder / "train_sessions.parquet")["items"].combine_chunks()
    return np.split(column.values.to_numpy().astype(np.int32), column.offsets.to_numpy()[1:-1])


def _dataset(sessions: Sequence[NDArray[np.int32]], n_items: int) -> Dataset:
    """A shopper a session, a session a minute."""
    users = np.repeat(np.arange(len(sessions)), [len(each) for each in sessions])
    return Dataset.from_events(users, np.concatenate(sessions), (len(sessions), n_items), at=users * MINUTE)
