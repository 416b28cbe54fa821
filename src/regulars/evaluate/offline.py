"""The offline table: every model against popularity, by subset, with bootstrap intervals over shoppers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Matrix
from regulars.core.bootstrap import Interval, intervals
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import InputError
from regulars.core.topk import NOTHING, top_k
from regulars.evaluate import metrics
from regulars.evaluate.split import Target, Targets
from regulars.models.base import Model

FLOOR = "popular"
Ranker: TypeAlias = Callable[[Indices, Matrix | None], Indices]
"""(users `(n,)`, what must not appear `(n, n_items)` or None) -> rankings `(n, k)`, best first, -1 pads."""
Row: TypeAlias = dict[str, Any]
Doubles: TypeAlias = NDArray[np.float64]


def model_ranker(model: Model, data: Dataset, now: Instant, k: int = 20) -> Ranker:
    """Rank everything a bare model scores, without a shop's rules."""

    def rank(user_idx: Indices, exclude: Matrix | None) -> Indices:
        return rank_histories(model, data.histories(user_idx), now, exclude, k)

    return rank


def rank_histories(model: Model, histories: Histories, now: Instant, exclude: Matrix | None, k: int) -> Indices:
    """Best items `(n, k)` of a bare model for some shoppers; `exclude (n, n_items)` must not appear."""
    ranked = np.full((len(histories), k), -1, dtype=np.int32)
    for start, batch in model.batches(histories):
        scores = model.score(batch, now)
        if exclude is not None:
            shut = exclude[start : start + len(batch)]
            scores[np.repeat(np.arange(len(batch)), np.diff(shut.indptr)), shut.indices] = NOTHING
        ranked[start : start + len(batch)] = top_k(scores, k)[0]
    return ranked


def table(
    rankers: Mapping[str, Ranker],
    targets: Targets,
    subsets: Sequence[str] | None = None,
    *,
    k: int = 20,
    rng: np.random.Generator,
) -> list[Row]:
    """One row a subset and model, keys as in the bench contract; subsets in which nobody is asked are left out.

    `recall` is capped (/ min(k, relevant)). Intervals are 95 % percentile bootstraps over shoppers, the same
    resamples for all models; `vs_popular` is the paired difference of NDCG, where a ranker `popular` is given.
    """
    chosen = list(targets.subsets) if subsets is None else list(subsets)
    unknown = [name for name in chosen if name not in targets.subsets]
    if unknown:
        raise InputError("subsets", got=", ".join(unknown), wanted=f"some of {', '.join(targets.subsets)}")
    asked = {name: targets.subsets[name] for name in chosen if len(targets.subsets[name].users)}
    measured: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in asked}
    for model, ranker in rankers.items():
        for subset, values in _measure(ranker, targets, asked, k).items():
            measured[subset][model] = values
    rows = []
    for subset, by_model in measured.items():
        rows += _rows(subset, by_model, k, rng)
    return rows


def score_by_shopper(
    ranker: Ranker, targets: Targets, subsets: Sequence[str] = ("all", "organic"), k: int = 20
) -> dict[str, Doubles]:
    """NDCG@k of each asked shopper by subset: what the gate compares."""
    asked = {name: targets.subsets[name] for name in subsets if name in targets.subsets}
    return {name: values[f"ndcg@{k}"] for name, values in _measure(ranker, targets, asked, k).items()}


def _measure(ranker: Ranker, targets: Targets, asked: Mapping[str, Target], k: int) -> dict[str, dict[str, Any]]:
    """Metric -> one number a shopper (one number in all for coverage), by subset; each shopper is ranked once."""
    found: dict[str, dict[str, Any]] = {}
    for names in _alike(asked):
        exclude = asked[names[0]].exclude
        users = np.unique(np.concatenate([asked[name].users for name in names]))
        ranked = ranker(users, None if exclude is None else exclude[users])
        if ranked.shape != (len(users), k):
            raise InputError("ranker", got=f"shape {ranked.shape}", wanted=f"({len(users)}, {k})")
        beyond = {
            f"novelty@{k}": metrics.novelty(ranked, targets.popularity),
            f"diversity@{k}": metrics.diversity(ranked, targets.levels),
            f"popularity@{k}": metrics.popularity_bias(ranked, targets.popularity),
        }
        for name in names:
            rows = np.searchsorted(users, asked[name].users)
            judged = metrics.judge(ranked[rows], asked[name].relevant[asked[name].users])
            found[name] = {
                f"ndcg@{k}": metrics.ndcg(judged, k),
                f"recall@{k}": metrics.recall(judged, k, capped=True),
                f"hr@{k}": metrics.hit_rate(judged, k),
                f"map@{k}": metrics.average_precision(judged, k),
                f"mrr@{k}": metrics.reciprocal_rank(judged, k),
                f"coverage@{k}": metrics.coverage(ranked[rows], targets.n_items),
                **{key: values[rows] for key, values in beyond.items()},
            }
    return found


def _alike(asked: Mapping[str, Target]) -> list[list[str]]:
    """Names of subsets that exclude the same: their rankings are the same."""
    groups: dict[int, list[str]] = {}
    for name, target in asked.items():
        groups.setdefault(id(target.exclude), []).append(name)
    return list(groups.values())


def _rows(subset: str, by_model: Mapping[str, Mapping[str, Any]], k: int, rng: np.random.Generator) -> list[Row]:
    key = f"ndcg@{k}"
    columns = [values[key] for values in by_model.values()]
    floor = by_model[FLOOR][key] if FLOOR in by_model else None
    if floor is not None:
        columns += [values[key] - floor for values in by_model.values()]
    found = intervals(np.column_stack(columns), rng)
    rows = []
    for place, (model, values) in enumerate(by_model.items()):
        row: Row = {"model": model, "subset": subset, "by": "ours", "users": len(values[key])}
        row |= _keyed(key, found[place])
        row |= {name: _mean(numbers) for name, numbers in values.items() if name != key}
        if floor is not None and model != FLOOR:
            row |= _keyed("vs_popular", found[len(by_model) + place])
        rows.append(row)
    return rows


def _keyed(key: str, found: Interval) -> Row:
    return {key: found.mean, f"{key}_low": found.low, f"{key}_high": found.high}


def _mean(values: Any) -> float | None:
    """Mean of what is defined; None where nothing is."""
    defined = np.asarray(values)[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None


def to_json(rows: Sequence[Row]) -> str:
    """The rows as strict JSON (no NaN, no infinity)."""
    return json.dumps(list(rows), indent=1, allow_nan=False)


def to_markdown(rows: Sequence[Row]) -> str:
    """The rows as one Markdown table; numbers to four places, `-` where a row lacks the column."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def for_people(rows: Sequence[Row], k: int = 20) -> str:
    """The table as one reads it: Markdown with aligned columns, intervals in brackets, seconds where known."""
    keys = {"recall": "recall", "hit rate": "hr", "coverage": "coverage"}
    timed = any("seconds" in row for row in rows)
    table = [("model", "subset", "users", f"NDCG@{k}", *(f"{name}@{k}" for name in keys), "NDCG against popular",
              *(["fit, s"] if timed else []))]  # fmt: skip
    table += [
        (
            row["model"], row["subset"], f"{row['users']:,}", _interval(row, f"ndcg@{k}"),
            *(f"{row[f'{key}@{k}']:.4f}" for key in keys.values()), _interval(row, "vs_popular", sign="+"),
            *([f"{row['seconds']:.1f}"] if timed else []),
        )
        for row in rows
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in table]  # fmt: skip
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _interval(row: Row, key: str, sign: str = "") -> str:
    if key not in row:
        return "-"
    return f"{row[key]:{sign}.4f} [{row[f'{key}_low']:{sign}.4f}, {row[f'{key}_high']:{sign}.4f}]"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value).replace("|", "\\|")
