"""MovieLens-1M, NCF protocol: leave-one-out, the last film of each user against 99 published negatives.

Every model is fitted on all the other pairs, with the settings below. They were chosen by NDCG@10 on a validation
part made of train alone: each user's last train film (by the order of the SASRec files) held out against 99 films
drawn among those without a train pair, the rest to fit on. `--preset validation` repeats that search over GRID,
which for user-knn is the end of a longer one, a setting at a time. Found: ease .4600, als .4637 (alpha 3.3 and reg
.01 .4620, reg .007 .4609, reg .015 .4334; 128 factors an earlier search .4635 of other draws), slim .4476 (its
defaults), pure-svd .4394, bpr .4281 (rate .05 .4244), mf-ccl .4195 (heat .2 .4142; more epochs not tried), user-knn
.5861 (on the way there, history_decay 1 .5830, .85 .5815, 1.2 .5651, .7 .5618; `unordered`, where every film of a
history weighs the same as in the published row, .4180: asymmetry .45 with sharpness 4 .4169, without sharpness and
beta .4072, tf-idf .3869; a hundred settings more, with weights of items to another power, none above .4180), neumf
.4524 (all films as negatives), item-knn .4114 (asymmetry .4 .4097, .3 .4048), rp3beta .3883 (beta .5 .3862, without
top-k .3683). `blend` is a sum of z-scores; its weights were raised one at a time, three rounds, over 0 to 1.5 on
the same part: .4694. The peers have our settings where theirs mean the same, else their defaults.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
from numpy.typing import NDArray

from measure import Row, apart, chosen, clocked
from parts import Parts, Settings, around, fitted, seeded, single
from regulars.core.data import Dataset

K = 10
NEGATIVES = 99
PROTOCOL = (
    "leave-one-out, 1 positive and 99 published negatives (lists that repeat the positive collapsed), k 10, "
    "ties by film id, fitted on everything but the test pairs, tuned on a validation pair cut from train; `user-knn` "
    "alone ranks by the order of a history, which the published rows do not (`user-knn:unordered` is as theirs)"
)
NCF: Settings = {
    "factors": 128, "mlp_factors": 32, "negatives": 4000, "batch": 64, "learning_rate": 0.005, "epochs": 30,
}  # fmt: skip
PARTS = {"gmf": "neumf", "mlp": "neumf"}  # rows of one registered model with other settings
SETTINGS: Mapping[str, Settings] = {
    "popular": {},
    "item-knn": {"k": 50, "shrink": 0.0, "user_power": 0.3},
    "ease": {"l2": 1000.0},
    "als": {"factors": 192, "alpha": 5.0, "reg": 0.01, "epochs": 16},
    "slim": {},
    "pure-svd": {"factors": 50},
    "user-knn": {"k": 150, "shrink": 1.0, "sharpness": 3.0, "beta": 0.35, "history_decay": 1.0},
    "user-knn:unordered": {"k": 150, "shrink": 0.0, "asymmetry": 0.35, "sharpness": 3.0, "beta": 0.27},
    "rp3beta": {"k": 100, "alpha": 1.0, "beta": 0.7},
    "bpr": {"rate": 0.1, "reg": 0.01, "item_reg": 0.002, "epochs": 40},
    "mf-ccl": {"epochs": 3},
    "gmf": {"part": "gmf", **NCF},
    "mlp": {"part": "mlp", **NCF, "learning_rate": 0.01},
    "neumf": {"part": "neumf", **NCF},
    "mult-vae": {},  # the paper's, not searched
}
GRID: Mapping[str, Sequence[Settings]] = {
    "popular": [{}],
    "item-knn": [
        {"k": k, "shrink": shrink, "user_power": power}
        for k in (25, 50, 75) for shrink in (0.0, 10.0, 30.0) for power in (0.0, 0.3, 0.5)
    ] + [{"k": 50, "shrink": 0.0, "user_power": 0.3, "asymmetry": a} for a in (0.3, 0.4)],
    "ease": [{"l2": l2} for l2 in (300.0, 500.0, 1000.0, 1500.0, 2000.0)],
    "als": [
        {"factors": 192, "alpha": alpha, "reg": reg, "epochs": 16}
        for alpha in (2.0, 3.3, 5.0, 8.0) for reg in (0.007, 0.01, 0.015)
    ],
    "slim": [{}],
    "pure-svd": [{"factors": factors} for factors in (50, 100)],
    "user-knn": around(
        SETTINGS["user-knn"], history_decay=(0.7, 0.85, 1.2), k=(75, 100, 250, 400), shrink=(0.0, 3.0),
        asymmetry=(0.4, 0.45), sharpness=(1.0, 2.0, 4.0, 6.0), beta=(0.1, 0.2, 0.27, 0.45),
    ),
    "user-knn:unordered": around(
        SETTINGS["user-knn:unordered"], k=(100, 250, 400), shrink=(1.0, 10.0), asymmetry=(0.3, 0.4, 0.5),
        sharpness=(1.0, 2.0, 4.0), beta=(0.0, 0.2, 0.35), weighting=("tf-idf", "bm25"),
    ),
    "rp3beta": [
        {"k": k, "alpha": alpha, "beta": beta}
        for k in (0, 50, 100, 200) for alpha in (0.6, 1.0, 1.2) for beta in (0.3, 0.5, 0.7)
    ],
    "bpr": [
        {"rate": rate, "reg": reg, "item_reg": item_reg, "epochs": 40}
        for rate in (0.05, 0.1) for reg in (0.01, 0.02) for item_reg in (0.002, 0.01)
    ],
    "mf-ccl": [{"epochs": 3, "heat": heat} if heat != 0.1 else {"epochs": 3} for heat in (0.1, 0.2)],
    "gmf": [{"part": "gmf", **NCF, **more} for more in ({}, {"loss": "bce"}, {"negatives": 512})],
    "mlp": [{"part": "mlp", **NCF, "learning_rate": rate} for rate in (0.005, 0.01)],
    "neumf": [{"part": "neumf", **NCF, **more} for more in ({}, {"loss": "bce"}, {"pretrain": False})],
}  # fmt: skip
BLEND: Parts = {name: (weight, SETTINGS[name])
                for name, weight in (("ease", 1.0), ("als", 1.5), ("slim", 1.0), ("pure-svd", 1.0))}  # fmt: skip
# Ferrari Dacrema et al., TOIS 2021, additional material, tables 54 and 55; every baseline tuned
PUBLISHED: Mapping[str, tuple[float, float]] = {
    "random": (0.0985, 0.0454), "popular": (0.4533, 0.2542), "item-knn": (0.6694, 0.3979),
    "user-knn": (0.6768, 0.4100), "rp3beta": (0.6758, 0.4011), "slim": (0.7162, 0.4468), "ease": (0.7192, 0.4494),
    "pure-svd": (0.6937, 0.4303), "bpr": (0.6305, 0.3730), "als": (0.7109, 0.4382), "neumf": (0.7093, 0.4349),
}  # fmt: skip
PEERS: Mapping[str, Settings] = {
    "item-knn": {"K": 50}, "als": {"factors": 192, "regularization": 0.01, "alpha": 5.0, "iterations": 16},
    "bpr": {"factors": 64, "iterations": 100},
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """What to fit on, and for each user one film to find among candidates."""

    train: Dataset
    positive: NDArray[np.int64]
    negatives: NDArray[np.int64]  # (n_users, 99)


def run(data: Path, models: Sequence[str] | None = None, seeds: int = 1, preset: str = "test") -> dict[str, Any]:
    """One row a model, each measured in a process of its own; or a row a setting with `preset` validation."""
    if preset not in ("test", "validation"):
        raise SystemExit(f"--preset: got {preset!r}, wanted test or validation")
    names = chosen(models, [*SETTINGS, "blend"])
    if preset == "validation":
        rows = [apart(measure, data, preset, name, _parts(name, params), 0)
                for name in names for params in GRID.get(name, [SETTINGS.get(name, {})])]  # fmt: skip
        return {"protocol": f"{PROTOCOL}; the validation pairs", "rows": rows}
    rows = [seeded(_parts(name, SETTINGS.get(name, {})), seeds, ["hr@10", "ndcg@10"], measure, data, preset, name)
            for name in names]  # fmt: skip
    rows += [apart(measure_peer, data, name) for name in names if name in PEERS]
    rows += [{"model": name, "by": "published", "subset": "all", "hr@10": found[0], "ndcg@10": found[1]}
             for name, found in PUBLISHED.items()]  # fmt: skip
    return {"protocol": PROTOCOL, "rows": rows}


def _parts(name: str, params: Settings) -> Parts:
    return BLEND if name == "blend" else single(PARTS.get(name, name), params)


def measure(data: Path, preset: str, name: str, parts: Parts, seed: int) -> Row:
    """Fit and rank one model, or several as one blend; seconds are those of the fits, kernels compiled before."""
    trial = test_trial(data) if preset == "test" else validation_trial(data)
    row: Row = {"model": name, "by": "ours", "subset": "all", "users": len(trial.positive)}
    score = fitted(parts, trial.train, seed, row)
    with clocked(row, "score_"):
        row |= evaluate(score(trial.train.histories()), trial)
    return row


def measure_peer(data: Path, name: str) -> Row:
    """The same for a model of `implicit`, on one thread."""
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    from implicit.nearest_neighbours import CosineRecommender

    kinds = {"item-knn": CosineRecommender, "als": AlternatingLeastSquares, "bpr": BayesianPersonalizedRanking}
    seed = {} if name == "item-knn" else {"random_state": 0}
    trial = test_trial(data)
    train = sp.csr_matrix(trial.train.user_items)
    model = kinds[name](**PEERS[name], **seed, num_threads=1)
    row: Row = {"model": name, "by": "peer", "subset": "all", "users": len(trial.positive), "threads": 1}
    with clocked(row), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of matrices converted, and BLAS threads
        model.fit(train, show_progress=False)
    with clocked(row, "score_"):
        scores = (
            (train @ model.similarity).toarray() if name == "item-knn" else model.user_factors @ model.item_factors.T
        )
        row |= evaluate(np.asarray(scores, dtype=np.float32), trial)
    return row | {"settings": {"implicit": type(model).__name__, **PEERS[name]}}


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
    users, films, known, held, position = _pairs(data)
    test = pq.read_table(data / "ml1m" / "ncf_test.parquet")
    order = np.argsort(test["user_id"].to_numpy())
    positive = np.searchsorted(known, test["movie_id"].to_numpy()[order])
    lists: list[list[int]] = test["negatives"].to_pylist()
    negatives = np.searchsorted(known, _distinct([lists[row] for row in order], test["movie_id"].to_numpy()[order]))
    shape = len(positive), len(known)
    train = Dataset.from_events(users[~held], films[~held], shape, at=position[~held])
    return Trial(train, positive, negatives)


test_trial.__test__ = False  # type: ignore[attr-defined]  # a name for people, no test for pytest


def validation_trial(data: Path) -> Trial:
    """The same made of train alone: each user's last pair, and films the user has no train pair with."""
    users, films, known, held, position = _pairs(data)
    users, films, position = users[~held], films[~held], position[~held]
    order = np.lexsort((position, users))
    users, films = users[order], films[order]
    last = np.append(users[1:] != users[:-1], True)
    n_users = int(last.sum())
    shape = n_users, len(known)
    seen = Dataset.from_events(users, films, shape).user_items
    rng = np.random.default_rng(7)
    negatives = np.empty((n_users, NEGATIVES), dtype=np.int64)
    for user in range(n_users):
        others = np.setdiff1d(np.arange(len(known)), seen.indices[seen.indptr[user] : seen.indptr[user + 1]])
        negatives[user] = rng.choice(others, NEGATIVES, replace=False)
    train = Dataset.from_events(users[~last], films[~last], shape, at=position[~last])
    return Trial(train, films[last], negatives)


def _pairs(data: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], Any]:
    """User and film rows, all film ids, which pairs are the test's, and their place in the order of the SASRec files.

    What stands in no order there (290 films) comes before the rest.
    """
    table = pq.read_table(data / "ml1m" / "interactions.parquet")
    known, films = np.unique(table["movie_id"].to_numpy(), return_inverse=True)
    position = table["seq_pos"].to_numpy(zero_copy_only=False)
    return (
        table["user_id"].to_numpy().astype(np.int64) - 1, films.astype(np.int64), known.astype(np.int64),
        table["is_ncf_test"].to_numpy(zero_copy_only=False).astype(np.bool_),
        np.nan_to_num(position, nan=-1).astype(np.int64) + 1,
    )  # fmt: skip


def _distinct(lists: Iterable[Sequence[int]], positive: NDArray[Any]) -> NDArray[np.int64]:
    """The negatives as an array; one that is the positive itself stays, and never ranks above itself."""
    negatives = np.array(list(lists), dtype=np.int64)
    repeated = (negatives == positive[:, None]).any(axis=1).sum()
    if repeated != 156:  # as many as the files are known to hold
        raise SystemExit(f"ncf_test.parquet: got {repeated} lists with their positive, wanted 156")
    return negatives
