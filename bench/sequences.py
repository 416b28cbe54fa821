"""Next item of a sequence, the last of each shopper: ml1m-sasrec, amazon-beauty and amazon-sports.

Settings, and the weights of `blend`, were chosen by NDCG@10 on the last but one item of each shopper, the fit
leaving out one item more than it does in the test; `--preset validation` repeats the search over GRID. The test item
is looked at once a model. A new model is a line in `settings` of each bench.

Fitted on: ml1m-sasrec on all but the last item, as Petrov & Macdonald and RecTools do (subset `two-out`: on all but
the last two); the Amazon benches on all but the last two, as the table's models are (subset `refit`: with the
validation item). What a model looks back on when it is asked is everything but the last item, always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from measure import Row, apart, chosen, clocked, next_item, ranked
from parts import Kept, Parts, Settings, fitted, kept_fits, seeded, single
from regulars.core.data import Dataset, Histories

K = 10
AMAZON = (
    "the last item of each shopper, full ranking, items of the history masked, k 10, fitted on all but the last two "
    "(refit: all but the last), tuned on the last but one; Amazon's times are days, so within a day the order of the "
    "items is that of the file"
)
FILMS = (
    "the last film of each user, full ranking of 3,416, films of the history masked, k 10, fitted on all but the "
    "last (two-out: all but the last two), tuned on the last but one"
)


@dataclass(frozen=True)
class Bench:
    """One file of sequences, and what is tried on it."""

    file: str
    column: str
    protocol: str
    hit: str  # what the published table calls its hit rate
    fits: Mapping[str, int]  # subset -> how many last items are left out of the fit
    settings: Mapping[str, Settings]
    blend: Mapping[str, float]  # weights; settings as above
    attributes: str  # file of what items share, "" where there is none
    published: Mapping[str, tuple[float, float]]
    # models measured in every subset; the others in the first
    twice: Sequence[str] = ("popular", "co-occurrence")
    grid: Mapping[str, Sequence[Settings]] = field(default_factory=dict)


CO_OCCURRENCE: Sequence[Settings] = [
    {"window": window, "decay": decay, "backward": backward, "history_decay": history_decay, "power": power,
     "source_power": 0.3, "k": 2000}
    for window in (10, 20) for decay in (0.3, 0.5, 0.75) for backward in (0.1, 0.25) for history_decay in (1.0, 1.5)
    for power in (0.0, 0.2, 0.3)
]  # fmt: skip
SESSION_KNN: Sequence[Settings] = [
    {"gap_minutes": 0.0, "decay": decay, "nearness": nearness, "idf": idf}
    for decay in (0.5, 1.0, 1.5) for nearness in (0.25, 0.5, 1.0) for idf in (0.0, 1.0)
]  # fmt: skip
# Found on Beauty: all items as negatives .0536 (1024 of them .0561), with attributes .0592, with the filter beside
# them .0594 (1024 negatives .0580); both with co-occurrence in a blend .0717 (weight .05; .1 .0708; one of the two
# .0708). On MovieLens, with 75 epochs, .1817 (length 100 and a higher rate learned less in a quarter of the time),
# blended .1957; 45 epochs end within half an hour.
SASREC: Settings = {"dropout": 0.5, "batch": 128, "learning_rate": 0.001, "epochs": 60, "patience": 10}
SASRECS: Mapping[str, Settings] = {
    "sasrec": SASREC,
    "sasrec:attributes": {**SASREC, "features": 3000},
    "sasrec:frequency": {**SASREC, "features": 3000, "frequency": 0.5},
}
# Found on Beauty, by hand: .0486 (beta .1 .0481, with decay .7 .0471, with sharpness 1.5 .0475, with tf-idf .0470;
# sharpness 3 and beta .35 .0390, those without decay .0298). MovieLens has the settings of `ml1m-ncf`, of which
# others nearby were worse: .1232 (k 500 .1208, beta .2 .1146, decay 1.5 .1097, no decay .0396).
USER_KNN: Settings = {"k": 500, "shrink": 1.0, "beta": 0.2, "history_decay": 1.0}
GRU4REC: Settings = {"patience": 5}  # else its defaults, the official ones for RSC15: not searched
GRID = {"co-occurrence": CO_OCCURRENCE, "session-knn": SESSION_KNN}
BENCHES: Mapping[str, Bench] = {
    "ml1m-sasrec": Bench(
        file="ml1m/sequences.parquet", column="movie_ids", attributes="", protocol=FILMS, hit="recall",
        fits={"all": 1, "two-out": 2},
        settings={
            "popular": {},
            "item-knn": {"k": 50, "shrink": 0.0, "user_power": 0.3},
            "user-knn": {"k": 150, "shrink": 1.0, "sharpness": 3.0, "beta": 0.35, "history_decay": 1.0},
            "sequential-rules": {"k": 3500},
            "co-occurrence": {
                "window": 20, "decay": 0.75, "backward": 0.05, "history_decay": 1.0, "power": 0.3,
                "source_power": 0.7, "k": 3500,
            },
            "session-knn": {"gap_minutes": 0.0},
            "sasrec": {
                "length": 200, "batch": 32, "learning_rate": 0.001, "dropout": 0.2, "epochs": 45, "patience": 10,
                "threads": 2,
            },
            "gru4rec": {"length": 100, "negatives": 0, **GRU4REC},
        },
        blend={"sasrec": 1.0, "co-occurrence": 0.1, "item-knn": 0.1},
        # blondered/bert4rec_repro and asash/gSASRec-pytorch; counts on this file before this bench
        published={
            "mf-bpr": (0.0740, 0.0377), "sasrec (BCE)": (0.1993, 0.1078), "bert4rec (original)": (0.1518, 0.0806),
            "bert4rec (longer)": (0.2821, 0.1516), "bert4rec (RecTools)": (0.2921, 0.1618),
            "gsasrec": (0.3003, 0.1726), "sasrec (RecTools, softmax)": (0.3058, 0.1779),
        },
    ),
    "amazon-beauty": Bench(
        file="amazon_beauty_5core/sequences.parquet", column="items",
        attributes="amazon_beauty_5core/item_attributes.parquet", protocol=AMAZON, hit="hr",
        fits={"all": 2, "refit": 1},
        settings={
            "popular": {},
            "item-knn": {},
            "user-knn": USER_KNN,
            "sequential-rules": {},
            "co-occurrence": {
                "window": 10, "decay": 0.5, "backward": 0.25, "history_decay": 1.25, "power": 0.1,
                "source_power": 0.4, "k": 2000,
            },
            "session-knn": {"gap_minutes": 0.0},
            **SASRECS,
            "gru4rec": GRU4REC,
            "two-tower": {},
            "dnn-ranker": {},
        },
        blend={"sasrec:attributes": 0.5, "sasrec:frequency": 0.5, "co-occurrence": 0.05},
        # MTandHJ/RecBoard, mean of 5 seeds, best on validation; the last two as their papers say
        published={
            "mf-bpr": (0.0447, 0.0227), "lightgcn": (0.0480, 0.0242), "gru4rec": (0.0402, 0.0204),
            "caser": (0.0427, 0.0227), "sasrec (BCE)": (0.0668, 0.0354), "bert4rec": (0.0730, 0.0406),
            "fmlp-rec": (0.0722, 0.0407), "stosa": (0.0725, 0.0421), "tiger": (0.0704, 0.0388),
            "hstu": (0.0945, 0.0543), "bsarec": (0.1002, 0.0610),
            "sasrec (paper)": (0.0605, 0.0318), "tiger (paper)": (0.0648, 0.0384),
        },
    ),
    "amazon-sports": Bench(
        file="amazon_sports_5core/sequences.parquet", column="items",
        attributes="amazon_sports_5core/item_attributes.parquet", protocol=AMAZON, hit="hr",
        fits={"all": 2, "refit": 1},
        settings={
            "popular": {},
            "item-knn": {},
            "user-knn": USER_KNN,
            "sequential-rules": {},
            "co-occurrence": {
                "window": 20, "decay": 0.3, "backward": 0.25, "history_decay": 0.6, "power": 0.1,
                "source_power": 0.3, "k": 5000,
            },
            "session-knn": {"gap_minutes": 0.0},
            **SASRECS,
            "gru4rec": GRU4REC,
            "two-tower": {},
        },
        blend={"sasrec:attributes": 1.0, "co-occurrence": 0.05},  # Beauty's: not searched here
        published={
            "mf-bpr": (0.0298, 0.0152), "lightgcn": (0.0318, 0.0164), "gru4rec": (0.0187, 0.0094),
            "caser": (0.0240, 0.0124), "sasrec (BCE)": (0.0373, 0.0200), "bert4rec": (0.0397, 0.0214),
            "fmlp-rec": (0.0417, 0.0225), "stosa": (0.0408, 0.0234), "tiger": (0.0391, 0.0206),
            "hstu": (0.0587, 0.0332), "bsarec": (0.0603, 0.0348), "tiger (paper)": (0.0400, 0.0225),
        },
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """What to fit on, and for each shopper what they took before and the item after it."""

    before: Dataset
    histories: Histories
    target: NDArray[np.int32]


def run(
    name: str, data: Path, models: Sequence[str] | None = None, seeds: int = 1, preset: str = "test",
    keep: Path | None = None, jobs: int = 1,
) -> Row:  # fmt: skip
    """A row a model and fit; with `preset` validation a row for each setting of the models that have a grid."""
    bench = BENCHES[name]
    if preset == "validation":
        tried = [(each, settings) for each in chosen(models, list(GRID)) for settings in GRID[each]]
        left_out = 1 + next(iter(bench.fits.values()))
        rows = [apart(measure, None, data, name, "validation", left_out, single(*each), 0) for each in tried]
        return {"protocol": f"{bench.protocol}; here the last but one", "rows": rows}
    metrics = [f"{bench.hit}@{K}", f"ndcg@{K}", f"mrr@{K}"]
    rows = []
    with kept_fits(keep, jobs) as kept:
        for each in chosen(models, [*bench.settings, "blend"]):
            for subset, left_out in list(bench.fits.items())[: None if each in bench.twice else 1]:
                asked = kept.under(subset), data, name, subset, left_out
                rows.append(
                    seeded(parts_of(bench, each), seeds, metrics, measure, *asked, jobs=jobs) | {"model": each}
                )
    rows += [{"model": each, "by": "published", "subset": "all", f"{bench.hit}@{K}": found[0], f"ndcg@{K}": found[1]}
             for each, found in bench.published.items()]  # fmt: skip
    return {"protocol": bench.protocol, "rows": rows}


def parts_of(bench: Bench, name: str) -> Parts:
    """A model with its settings, or all that the blend holds."""
    if name == "blend":
        return {each: (weight, bench.settings[each]) for each, weight in bench.blend.items()}
    return single(name, bench.settings[name])


def measure(
    kept: Kept | None, data: Path, name: str, subset: str, left_out: int, parts: Parts, seed: int
) -> Row:  # fmt: skip
    """Fit and rank one model or blend; seconds are those of the fits."""
    bench = BENCHES[name]
    told = data / bench.attributes if bench.attributes else None
    trial = trial_of(data / bench.file, bench.column, left_out, validation=subset == "validation", attributes=told)
    row: Row = {"model": next(iter(parts)) if len(parts) == 1 else "blend", "by": "ours", "subset": subset}
    score = fitted(parts, trial.before, seed, row, kept)
    with clocked(row, "score_"):
        top = ranked(score, trial.histories, K, mask_seen=True)
    return row | next_item(top, trial.target, (K,), bench.hit)


def trial_of(
    file: Path, column: str, left_out: int, *, validation: bool, attributes: Path | None = None
) -> Trial:  # fmt: skip
    """The last item, or the last but one, from all before it; ids of items become rows in their order."""
    sequences = pq.read_table(file)[column].combine_chunks()
    items, ends = sequences.values.to_numpy(), sequences.offsets.to_numpy()
    ids, rows = np.unique(items, return_inverse=True)
    walks = np.split(rows.astype(np.int32), ends[1:-1])
    asked = 2 if validation else 1
    learned = [walk[:-left_out] for walk in walks]
    users = np.repeat(np.arange(len(walks)), [len(walk) for walk in learned])
    at = np.concatenate([np.arange(len(walk)) for walk in learned])
    before = Dataset.from_events(users, np.concatenate(learned), (len(walks), len(ids)), at=at)
    if attributes is not None:
        before = replace(before, items=replace(before.items, tags=tags_of(attributes, ids)))
    histories = Histories.from_sequences([walk[:-asked] for walk in walks], len(ids))
    return Trial(before, histories, np.array([walk[-asked] for walk in walks]))


def tags_of(file: Path, ids: NDArray[np.int32]) -> list[tuple[str, ...]]:
    """Categories and brand of each item, as words."""
    table = pq.read_table(file).to_pydict()
    known = dict(zip(table["item_id"], table["attribute_ids"], strict=True))
    return [tuple(f"attribute{number}" for number in known.get(each, ())) for each in ids.tolist()]
