"""Grow the trees of a `Hybrid` with LightGBM; needed by a training alone, never by a request.

The order's trees begin at the blend's score (LightGBM's `init_score`), and are kept only where shoppers that they
have not met are better off: the 95 % interval of the gain in NDCG@20, cross-fitted, lies above 0. How many there are
depends on the lists alone, so that nothing is tuned on what judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.stats
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Mask
from regulars.core.bootstrap import Interval, intervals
from regulars.core.rng import generator
from regulars.rank.hybrid import Hybrid, Purchases
from regulars.rank.trees import Trees

K = 20
MIN_LISTS = 200
TOO_FEW = f"fewer than {MIN_LISTS} lists to learn from"
FOLDS = 3
LISTS_A_TREE, TREES_AT_LEAST_MOST = 10, (40, 120)
PURCHASE_TREES = 75
ASKED, CLICKED, BOUGHT = 0, 1, 2  # grades of a candidate
GROWN, FITTED, JUDGED = 0, 1, 2
SHARES = (0.6, 0.8)  # of the lists that probabilities are grown on, calibrated on and judged by: where these end
RARE = 20  # of candidates nobody bought, one in so many is kept at least, and weighs as much; and so many a purchase
MIN_BOUGHT = 50  # purchases from which on a probability is learned
TREES: dict[str, Any] = {
    "learning_rate": 0.06, "num_leaves": 15, "min_data_in_leaf": 100, "lambda_l2": 10.0, "feature_fraction": 0.7,
    "max_bin": 127, "deterministic": True, "force_row_wise": True, "verbosity": -1,
}  # fmt: skip


@dataclass(frozen=True)
class Lists:
    """Candidates of `n` shoppers after the blend, best first."""

    rows: Floats  # (n, m, n_features)
    there: Mask  # (n, m) whether there is a candidate
    score: Floats  # (n, m) the blend's
    wish: Floats  # (n, m) how much it was wanted, 1 = bought
    missed: Floats  # (n,) how much was wanted that is not among the candidates
    shopper: NDArray[np.int64]  # (n,) whose list it is: all lists of one are grown on, or judged, together

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, chosen: Any) -> Lists:
        """Some of the lists (a mask or row numbers)."""
        return Lists(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})


def joined(parts: Sequence[Lists]) -> Lists:
    """Parts as one; narrower ones get empty columns."""
    width = max(part.there.shape[1] for part in parts)

    def wide(array: NDArray[Any]) -> NDArray[Any]:
        lack = [(0, 0)] * array.ndim
        if array.ndim > 1:
            lack[1] = (0, width - array.shape[1])
        return np.pad(array, lack)

    return Lists(**{
        name: np.concatenate([wide(getattr(part, name)) for part in parts]) for name in Lists.__dataclass_fields__
    })  # fmt: skip


def grow_order(names: Sequence[str], lists: Lists, seed: int, threads: int) -> tuple[Trees | None, dict[str, Any]]:
    """Trees that add to the blend's score, None where they are of no help; and what was measured.

    Measured: `ndcg` of the blend alone and with trees, each list ranked by trees grown on others, the gain with its
    95 % interval, and for each feature its gain in the loss and its mean absolute share of the score (SHAP, Lundberg
    et al. 2018).
    """
    useful = lists[(lists.wish * lists.there).sum(axis=1) > 0]
    report: dict[str, Any] = {"lists": len(useful)}
    if len(useful) < MIN_LISTS:
        return None, report | {"why": TOO_FEW}
    n_trees = int(np.clip(len(useful) // LISTS_A_TREE, *TREES_AT_LEAST_MOST))
    alone = ndcg_of(useful, useful.score)
    both = np.zeros(len(useful))
    fold = folds(useful.shopper, seed)
    for held in range(FOLDS):
        judged = useful[fold == held]
        booster = _boost(useful[fold != held], n_trees, seed, threads)
        gains = Trees.of(booster.dump_model()).sum(judged.rows.reshape(-1, judged.rows.shape[2]))
        both[fold == held] = ndcg_of(judged, judged.score + gains.reshape(judged.score.shape).astype(np.float32))
    gain = gained(both - alone, useful.shopper, seed)
    booster = _boost(useful, n_trees, seed, threads)
    report |= {
        "trees": n_trees, "ndcg_blend": float(alone.mean()), "ndcg_trees": float(both.mean()),
        "gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high,
        "features": _explained(names, booster, useful),
    }  # fmt: skip
    if gain.low <= 0:
        return None, report | {"why": "no clear gain over the blend"}
    return Trees.of(booster.dump_model()), report | {"why": "a clear gain over the blend"}


def grow_purchases(lists: Lists, days: float, seed: int, threads: int) -> tuple[Purchases | None, dict[str, Any]]:
    """How likely each candidate is bought, learned from shoppers drawn evenly, whether or not they bought.

    None where that is no better than the mean rate on shoppers whom it has not met.

    Measured on shoppers that neither the trees nor the calibration have met: log loss beside that of the mean
    rate, area under the curve, and the mean distance of told and true rates over ten equal groups.
    """
    bought = (lists.wish >= 1.0) & lists.there
    report: dict[str, Any] = {"shoppers": len(lists), "bought": int(bought.sum()), "days": round(days, 2)}
    part = _parts(len(lists), seed)
    if min(int(bought[part == each].sum()) for each in (GROWN, FITTED, JUDGED)) < MIN_BOUGHT // 4 or (
        bought.sum() < MIN_BOUGHT
    ):
        return None, report | {"why": f"fewer than {MIN_BOUGHT} purchases to learn from"}
    trees = Trees.of(_boost_purchases(lists[part == GROWN], seed, threads).dump_model())
    scores = {each: trees.sum(lists.rows[part == each][lists.there[part == each]]) for each in (FITTED, JUDGED)}
    labels = {each: bought[part == each][lists.there[part == each]] for each in (FITTED, JUDGED)}
    found = Purchases(trees, *_isotonic(scores[FITTED], labels[FITTED]), days)
    told = np.interp(scores[JUDGED], found.scores, found.rates)
    report |= _calibration(told, labels[JUDGED], float(labels[FITTED].mean()))
    if report["logloss"] >= report["logloss_of_mean_rate"]:
        return None, report | {"why": "no better than the mean rate"}
    return found, report | {"why": "better than the mean rate"}


def hybrid_of(names: Sequence[str], order: Trees | None, purchases: Purchases | None) -> Hybrid | None:
    """A hybrid of what there is, None of nothing."""
    if order is None and purchases is None:
        return None
    return Hybrid(tuple(names), order if order is not None else Trees.of({"tree_info": []}), purchases)


def ndcg_of(lists: Lists, score: Floats, k: int = K) -> NDArray[np.float64]:
    """NDCG@k of each list with graded wishes; what was wanted beyond the candidates is one item more of the ideal."""
    ranked = np.argsort(np.where(lists.there, -score, np.inf), axis=1, kind="stable")[:, :k]
    discount = 1 / np.log2(np.arange(2, ranked.shape[1] + 2))
    gain = (np.take_along_axis(lists.wish * lists.there, ranked, axis=1) * discount).sum(axis=1)
    best = np.sort(np.column_stack((lists.wish * lists.there, lists.missed)), axis=1)[:, ::-1][:, :k]
    ideal = (best * (1 / np.log2(np.arange(2, best.shape[1] + 2)))).sum(axis=1)
    return np.asarray(gain / np.maximum(ideal, 1e-12), dtype=np.float64)


def folds(shopper: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Which of the folds each list is judged in, `(n,)`: the same for all lists of a shopper."""
    _, row = np.unique(shopper, return_inverse=True)
    return (generator(seed, "hybrid", "folds").permutation(int(row.max(initial=-1)) + 1) % FOLDS)[row]


def _parts(n: int, seed: int) -> NDArray[np.int8]:
    """Which of the three parts each list belongs to, `(n,)`."""
    place = generator(seed, "hybrid", "parts").permutation(n) / max(n, 1)
    return np.searchsorted(SHARES, place, side="right").astype(np.int8)


def gained(gain: NDArray[np.float64], shopper: NDArray[np.int64], seed: int) -> Interval:
    """95 % interval of what shoppers gain, each by the mean over their lists."""
    _, row = np.unique(shopper, return_inverse=True)
    means = np.bincount(row, weights=gain) / np.bincount(row)
    return intervals(means[:, None], generator(seed, "hybrid", "interval"))[0]


def _boost(lists: Lists, n_trees: int, seed: int, threads: int) -> Any:
    """LambdaMART from the blend's score."""
    import lightgbm

    params = {**TREES, "objective": "lambdarank", "label_gain": [0, 1, 3], "lambdarank_truncation_level": 30,
              "seed": seed, "num_threads": threads}  # fmt: skip
    there = lists.there
    wish = lists.wish[there]
    grade = np.where(wish >= 1.0, BOUGHT, np.where(wish > 0, CLICKED, ASKED))
    data = lightgbm.Dataset(
        lists.rows[there], label=grade, group=there.sum(axis=1), init_score=lists.score[there].astype(np.float64)
    )
    return lightgbm.train(params, data, n_trees)


def _boost_purchases(lists: Lists, seed: int, threads: int) -> Any:
    import lightgbm

    bought = (lists.wish >= 1.0)[lists.there]
    rare = float(np.clip((~bought).sum() / (RARE * max(int(bought.sum()), 1)), 1, RARE))
    kept = bought | (generator(seed, "hybrid", "rare").random(len(bought)) < 1 / rare)
    weight = np.where(bought, 1.0, rare)[kept]
    params = {**TREES, "objective": "binary", "seed": seed, "num_threads": threads}
    data = lightgbm.Dataset(lists.rows[lists.there][kept], label=bought[kept], weight=weight)
    return lightgbm.train(params, data, PURCHASE_TREES)


def _isotonic(
    scores: NDArray[np.float64], labels: Mask
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """The ends of the steps of the best rising fit of labels to scores: rising scores, and their rates."""
    rising, row, times = np.unique(scores, return_inverse=True, return_counts=True)
    rates = scipy.optimize.isotonic_regression(np.bincount(row, weights=labels) / times, weights=times).x
    change = np.flatnonzero(np.diff(rates)) + 1
    ends = np.unique(np.concatenate(([0], change - 1, change, [len(rates) - 1])))
    return rising[ends], rates[ends]


def _calibration(told: NDArray[np.float64], labels: Mask, mean_rate: float) -> dict[str, Any]:
    """How true told probabilities are."""
    order = np.argsort(told, kind="stable")
    groups = [group for group in np.array_split(order, 10) if len(group)]
    table = [{"told": float(told[group].mean()), "true": float(labels[group].mean())} for group in groups]
    rank = scipy.stats.rankdata(told)
    n_bought = int(labels.sum())
    auc = (rank[labels].sum() - n_bought * (n_bought + 1) / 2) / max(n_bought * (len(labels) - n_bought), 1)
    return {
        "logloss": _log_loss(told, labels), "logloss_of_mean_rate": _log_loss(np.full(len(told), mean_rate), labels),
        "auc": float(auc), "calibration_error": float(np.mean([abs(row["told"] - row["true"]) for row in table])),
        "calibration": table,
    }  # fmt: skip


def _log_loss(told: NDArray[np.float64], labels: Mask) -> float:
    clipped = np.clip(told, 1e-6, 1 - 1e-6)
    return float(-np.where(labels, np.log(clipped), np.log(1 - clipped)).mean())


def _explained(names: Sequence[str], booster: Any, lists: Lists) -> list[dict[str, Any]]:
    """Each feature's gain in the loss and its mean absolute share of the score, those that matter most first."""
    gains = booster.feature_importance("gain")
    rows = lists.rows[lists.there][:: max(1, int(lists.there.sum()) // 5000)]
    shares = np.abs(booster.predict(rows, pred_contrib=True)[:, :-1]).mean(axis=0)
    table = [{"feature": name, "gain": float(gain), "shap": float(share)}
             for name, gain, share in zip(names, gains, shares, strict=True)]  # fmt: skip
    return sorted(table, key=lambda row: -row["shap"])
