"""Ranking metrics as one number a shopper; the mean comes after, so that intervals are over shoppers.

Rankings are item indices `(n_users, k)`, best first, -1 = padding; what is relevant is a users x items CSR with
the same rows. Relevance is binary. A shopper with nothing relevant has no ranking metric: NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Mask, Matrix, Scores, expect
from regulars.core.errors import InputError

Doubles = NDArray[np.float64]
_ROWS_AT_ONCE = 16_384  # rankings whose items are compared with each other at once


@dataclass(frozen=True)
class Judged:
    """Rankings held against what was relevant: `hits (n_users, k)` and `n_relevant (n_users,)`."""

    hits: Mask
    n_relevant: NDArray[np.int64]

    def top(self, k: int) -> Mask:
        """The first `k` columns of hits."""
        if not 1 <= k <= self.hits.shape[1]:
            raise InputError("k", got=str(k), wanted=f"an integer in [1, {self.hits.shape[1]}]")
        return self.hits[:, :k]

    def per_relevant(self, values: Any, at_most: int | None = None) -> Doubles:
        """Divide by the number relevant (cut at `at_most`); NaN where nothing is."""
        n = self.n_relevant if at_most is None else np.minimum(self.n_relevant, at_most)
        return np.where(n > 0, values / np.maximum(n, 1), np.nan)


def judge(ranked: Indices, relevant: Matrix) -> Judged:
    """Look up which ranked items are relevant; an item twice in a ranking is refused."""
    expect(ranked, "ranked", ndim=2, length=relevant.shape[0])
    in_order = np.sort(ranked, axis=1)
    if ((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0)).any():
        raise InputError("ranked", got="an item twice in one ranking", wanted="distinct items")
    if ranked.max(initial=-1) >= relevant.shape[1]:
        raise InputError("ranked", got=f"item {ranked.max()}", wanted=f"items below {relevant.shape[1]}")
    rows = np.arange(len(ranked), dtype=np.int64)
    n_relevant = np.diff(relevant.indptr).astype(np.int64)
    wanted = np.sort(np.repeat(rows, n_relevant) * relevant.shape[1] + relevant.indices)
    keys = rows[:, None] * relevant.shape[1] + ranked
    place = np.searchsorted(wanted, keys)
    hits = np.zeros(ranked.shape, dtype=np.bool_)
    inside = (place < len(wanted)) & (ranked >= 0)
    hits[inside] = wanted[place[inside]] == keys[inside]
    return Judged(hits, n_relevant)


def precision(judged: Judged, k: int) -> Doubles:
    """Hits / k (a short ranking is not excused)."""
    return np.asarray(judged.top(k).sum(axis=1) / k)


def recall(judged: Judged, k: int, *, capped: bool = False) -> Doubles:
    """Hits / relevant; `capped`: / min(k, relevant), so that a perfect ranking has 1."""
    return judged.per_relevant(judged.top(k).sum(axis=1), k if capped else None)


def hit_rate(judged: Judged, k: int) -> Doubles:
    """1 where at least one relevant item is among the first k (HR; PHR in next-basket work is its mean)."""
    return np.where(judged.n_relevant > 0, judged.top(k).any(axis=1), np.nan).astype(np.float64)


phr = hit_rate  # "personalised hit ratio" (Yu et al. 2016 and after): the same number under its other name


def ndcg(judged: Judged, k: int) -> Doubles:
    """DCG / ideal DCG, gains 1/log2(rank + 1), min(k, relevant) hits in the ideal (Jarvelin & Kekalainen 2002)."""
    gains = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate(([np.nan], np.cumsum(gains)))[np.minimum(judged.n_relevant, k)]
    return np.asarray((judged.top(k) @ gains) / ideal)


def average_precision(judged: Judged, k: int) -> Doubles:
    """Sum of precision at each hit / min(k, relevant); its mean is MAP@k."""
    hits = judged.top(k)
    at_hits = np.where(hits, np.cumsum(hits, axis=1) / np.arange(1, k + 1), 0.0)
    return judged.per_relevant(at_hits.sum(axis=1), k)


def reciprocal_rank(judged: Judged, k: int) -> Doubles:
    """1 / rank of the first hit, 0 without one; its mean is MRR@k."""
    hits = judged.top(k)
    first = np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1), 0.0)
    return np.where(judged.n_relevant > 0, first, np.nan)


def auc(scores: Scores, relevant: Matrix) -> Doubles:
    """P(a relevant item scores above another one), ties half; `(n_users,)`.

    Items with -inf are not candidates. NaN where all or no candidates are relevant. Mann-Whitney's U.
    """
    expect(scores, "scores", ndim=2, length=relevant.shape[0])
    result = np.full(len(scores), np.nan)
    for row, line in enumerate(scores):
        wanted = np.zeros(len(line), dtype=np.bool_)
        wanted[relevant.indices[relevant.indptr[row] : relevant.indptr[row + 1]]] = True
        candidate = line > -np.inf
        good, rest = line[candidate & wanted], np.sort(line[candidate & ~wanted])
        if len(good) and len(rest):
            below = np.searchsorted(rest, good, side="left") + np.searchsorted(rest, good, side="right")
            result[row] = below.sum() / (2 * len(good) * len(rest))
    return result


def rmse(predicted: Any, actual: Any) -> float:
    """Root of the mean squared error of predicted ratings."""
    return float(np.sqrt(np.mean(np.square(_errors(predicted, actual)))))


def mae(predicted: Any, actual: Any) -> float:
    """Mean absolute error of predicted ratings."""
    return float(np.mean(np.abs(_errors(predicted, actual))))


def _errors(predicted: Any, actual: Any) -> Doubles:
    left, right = np.asarray(predicted, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if left.shape != right.shape or left.size == 0:
        raise InputError("ratings", got=f"{left.shape} and {right.shape}", wanted="two equal shapes, not empty")
    return left - right


def coverage(ranked: Indices, n_items: int) -> float:
    """Share of the catalogue that stands in at least one ranking."""
    return len(np.unique(ranked[ranked >= 0])) / max(n_items, 1)


def mean_over_items(ranked: Indices, values: Any) -> Doubles:
    """Mean of an item's value over each ranking, `(n_users,)`; NaN for an empty ranking."""
    filled = ranked >= 0
    total = np.where(filled, np.asarray(values, dtype=np.float64)[np.maximum(ranked, 0)], 0.0).sum(axis=1)
    n = filled.sum(axis=1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def novelty(ranked: Indices, popularity: Any) -> Doubles:
    """Mean surprise in bits, -log2(share of shoppers who know the item) (Zhou et al. 2010); `popularity (n_items,)`.

    A share of 0 has no finite surprise: give smoothed shares, such as `split.popularity_of`.
    """
    return mean_over_items(ranked, -np.log2(np.asarray(popularity, dtype=np.float64)))


def popularity_bias(ranked: Indices, popularity: Any) -> Doubles:
    """Mean share of shoppers who know the item: 0 deep in the tail, high for bestseller lists only."""
    return mean_over_items(ranked, popularity)


def category_levels(categories: Sequence[tuple[str, ...]]) -> Indices:
    """Code of every prefix of each item's category path, `(n_items, depth)`, -1 below its end."""
    depth = max((len(path) for path in categories), default=0)
    codes: dict[tuple[str, ...], int] = {}
    levels = np.full((len(categories), max(depth, 1)), -1, dtype=np.int32)
    for row, path in enumerate(categories):
        for level in range(len(path)):
            levels[row, level] = codes.setdefault(path[: level + 1], len(codes))
    return levels


def diversity(ranked: Indices, levels: Indices) -> Doubles:
    """1 - mean similarity over all pairs of a ranking, `(n_users,)`  (intra-list, Ziegler et al. 2005).

    Similarity of two items = common part of their category paths / the longer path; pairs with an item of unknown
    category are left out, NaN where no pair remains. `levels` as `category_levels` gives them.
    """
    result = np.full(len(ranked), np.nan)
    for start in range(0, len(ranked), _ROWS_AT_ONCE):
        chosen = slice(start, start + _ROWS_AT_ONCE)
        result[chosen] = _mean_distance(ranked[chosen], levels)
    return result


def _mean_distance(ranked: Indices, levels: Indices) -> Doubles:
    items = ranked.T  # (k, n_users), so that the items `gap` places apart are two whole blocks
    paths = [np.where(items >= 0, level[np.maximum(items, 0)], -1) for level in levels.T]
    lengths = np.asarray(np.sum([path >= 0 for path in paths], axis=0, dtype=np.float32))
    shared, pairs = np.zeros(len(ranked)), np.zeros(len(ranked))
    for gap in range(1, len(items)):  # every pair once
        common = np.zeros(lengths[gap:].shape, dtype=np.float32)
        for path in paths:
            common += (path[gap:] == path[:-gap]) & (path[gap:] >= 0)
        shared += (common / np.maximum(np.maximum(lengths[gap:], lengths[:-gap]), 1)).sum(axis=0)
        pairs += (np.minimum(lengths[gap:], lengths[:-gap]) > 0).sum(axis=0)
    return np.where(pairs > 0, 1.0 - shared / np.maximum(pairs, 1), np.nan)
