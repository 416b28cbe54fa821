"""Personal repeat purchase: how likely a shopper is to buy again, now, what was bought before.

A discrete-time hazard: the log-odds of buying a known item within the next `horizon_days` are linear in the
shopper's frequency with it, the time since, and above all that time in units of the expected gap, so that an
item scores high when it is due. Gaps are shrunk from the shopper's own to the item's to the shop's (gamma
prior, as in Fader & Hardie's models of buying). The coefficients come from earlier cuts through the same log
(Allison 1982, "Discrete-time methods for the analysis of event histories"; ridge, Newton's method).
Fit O(cuts x events log events), score O(history log history).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Cells, Scores
from regulars.core.clock import DAY, Instant
from regulars.core.data import PURCHASE, Dataset, Histories
from regulars.core.topk import NOTHING
from regulars.models.base import Can, Model, check_range, dense

Vector = NDArray[np.float64]

PRIOR_GAPS = 5.0  # an item's mean gap starts from this many gaps of the shop's length
PRIOR_OWN = 2.0  # and a shopper's own from this many of the item's
DEFAULT_GAP_DAYS = 30.0  # what the shop's mean gap starts from, before anything was seen twice
RIDGE = 1.0
NEWTON_STEPS = 25
PIECE = 1 << 14  # rows that are multiplied at once
FEATURES = 9  # columns of Repeat._features


@dataclass(frozen=True)
class _Pairs:
    """One entry for each (shopper, item bought), sorted: on how many occasions, the first and the last."""

    row: NDArray[np.int64]
    item: NDArray[np.int64]
    count: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    weight: Vector  # the shopper's summed weight on the item; 0 where refunds left nothing
    orders: NDArray[np.int64]  # the shopper's occasions of buying anything
    since: NDArray[np.int64]  # and the first of them


def _runs(keys: NDArray[np.int64], at: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any], Any, Any]:
    """Distinct keys, and for each the number of distinct instants, the first and the last.

    Of one key, instants come in their order.
    """
    order = np.argsort(keys, kind="stable")
    keys, at = keys[order], at[order]
    fresh = np.ones(len(keys), dtype=np.bool_)
    fresh[1:] = (keys[1:] != keys[:-1]) | (at[1:] != at[:-1])  # lines of one order are one occasion
    keys, at = keys[fresh], at[fresh]
    start = np.flatnonzero(np.concatenate((np.ones(min(1, len(keys)), dtype=np.bool_), keys[1:] != keys[:-1])))
    count = np.diff(np.append(start, len(keys)))
    return keys[start], count, at[start], at[start + count - 1]


def _purchases(histories: Histories) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, item and instant of every purchase."""
    rows = np.repeat(np.arange(len(histories)), np.diff(histories.indptr))
    bought = histories.kind == PURCHASE
    return rows[bought], histories.item_idx[bought].astype(np.int64), histories.at[bought]


def _pairs(histories: Histories) -> _Pairs:
    rows, items, at = _purchases(histories)
    n_items = histories.user_items.shape[1]
    keys, count, first, last = _runs(rows * n_items + items, at)
    row, item = np.divmod(keys, n_items)
    shoppers, orders, since, _ = _runs(rows, at)
    mine = np.searchsorted(shoppers, row)
    return _Pairs(row, item, count, first, last, _weights(histories, keys), orders[mine], since[mine])


def _weights(histories: Histories, keys: NDArray[np.int64]) -> Vector:
    """Summed weights of cells, each named by row x n_items + column; 0 where nothing is stored."""
    matrix = histories.user_items
    cells = np.repeat(np.arange(len(histories)), np.diff(matrix.indptr)) * matrix.shape[1] + matrix.indices
    if not len(cells):
        return np.zeros(len(keys))
    found = np.minimum(np.searchsorted(cells, keys), len(cells) - 1)
    return np.where(cells[found] == keys, matrix.data[found], 0.0).astype(np.float64)


def _logistic(features: Vector, bought: NDArray[np.bool_]) -> Vector:
    """Ridge logistic regression by Newton steps, halved until the loss falls; intercept first, not penalised."""
    design = np.column_stack((np.ones(len(features)), features))
    penalty = np.full(design.shape[1], RIDGE)
    penalty[0] = 0.0
    share = (bought.sum() + 0.5) / (len(bought) + 1.0)
    coefficients = np.zeros(design.shape[1])
    coefficients[0] = np.log(share / (1 - share))

    def loss(at: Vector) -> float:
        log_odds = design @ at
        return float(np.logaddexp(0.0, log_odds).sum() - log_odds[bought].sum() + 0.5 * penalty @ at**2)

    now = loss(coefficients)
    for _ in range(NEWTON_STEPS):
        chance = _chance(design @ coefficients)
        slope = design.T @ (bought - chance) - penalty * coefficients
        curvature = _weighted_gram(design, chance * (1 - chance)) + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, slope)
        before = now
        while (now := loss(coefficients + step)) > before and np.abs(step).max() > 1e-9:
            step /= 2
        coefficients += step
        if before - now <= 1e-9 * before:
            break
    return coefficients


def _weighted_gram(design: Vector, weight: Vector) -> Vector:
    """The sum of w x x' over rows x, a piece at a time: what is multiplied stays in the cache."""
    gram = np.zeros((design.shape[1], design.shape[1]))
    for start in range(0, len(design), PIECE):
        part = design[start : start + PIECE]
        gram += (part * weight[start : start + PIECE, None]).T @ part
    return gram


def _chance(log_odds: Vector) -> Vector:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -30.0, 30.0))))


class Repeat(Model):
    """P(buys again within the horizon) for everything the shopper bought; -inf for what they never bought."""

    name = "repeat"
    can = frozenset({Can.SPARSE})

    def __init__(self, *, horizon_days: float = 30.0, cuts: int = 3, recent_days: float = 14.0) -> None:
        check_range("repeat: horizon_days", horizon_days, 0.01, 3650)
        check_range("repeat: cuts", cuts, 1, 100, whole=True)
        check_range("repeat: recent_days", recent_days, 0.01, 3650)
        self.horizon_days, self.cuts, self.recent_days = horizon_days, cuts, recent_days

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """A pair of every row with its covariates, at each cut, and the design that they make together."""
        return (16 * sum(shape) + (220 + 200 * self.cuts) * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        rows, labels = [], []
        span = data.as_of - int(data.interactions.at.min(initial=data.as_of))
        horizon = int(min(self.horizon_days * DAY, span / (self.cuts + 1)))  # a young shop: shorter steps
        for back in range(self.cuts, 0, -1) if horizon else ():
            cut = data.as_of - back * horizon
            past = replace(data, as_of=cut, interactions=data.interactions[data.interactions.at < cut])
            pairs, features = self._learn_items(past)
            rows.append(features)
            labels.append(_bought_within(data, pairs, cut, cut + horizon))
        self._learn_items(data)
        # frequency, then weight: what is left when there are no times, as with a plain matrix
        coefficients = np.concatenate(([-3.0, 1.0, 1.0], np.zeros(FEATURES - 2)))
        if rows and np.concatenate(labels).any():
            coefficients = _logistic(np.concatenate(rows), np.concatenate(labels))
        self.coefficients_ = coefficients

    def _learn_items(self, data: Dataset) -> tuple[_Pairs, Vector]:
        """Set the items' gaps, repeat rates and recent rates as of the data's instant."""
        histories, n_items = data.histories(), len(data.items)
        pairs = _pairs(histories)
        again = pairs.count - 1.0

        def by_item(values: Any) -> Vector:
            return np.bincount(pairs.item, weights=values, minlength=n_items).astype(np.float64)

        returns, gaps = by_item(again), by_item((pairs.last - pairs.first) / DAY)
        exposure = by_item((data.as_of - pairs.first) / DAY)
        shop_gap = (gaps.sum() + DEFAULT_GAP_DAYS) / (returns.sum() + 1.0)
        self.gap_days_ = (gaps + PRIOR_GAPS * shop_gap) / (returns + PRIOR_GAPS)
        shop_rate = (returns.sum() + 1.0) / (exposure.sum() + DEFAULT_GAP_DAYS)
        self.log_rate_ = np.log((returns + 1.0) / (exposure + 1.0 / shop_rate))
        _, items, at = _purchases(histories)
        recent = np.bincount(items[at >= data.as_of - self.recent_days * DAY], minlength=n_items)
        self.log_recent_ = np.log(recent / self.recent_days + 0.5 / self.recent_days)
        return pairs, self._features(pairs, data.as_of)

    def _features(self, pairs: _Pairs, now: Instant) -> Vector:
        """The covariates of each pair, `(n_pairs, FEATURES)`."""
        own_gap = ((pairs.last - pairs.first) / DAY + PRIOR_OWN * self.gap_days_[pairs.item]) / (
            pairs.count - 1 + PRIOR_OWN
        )
        days_since = np.maximum((now - pairs.last) / DAY, 0.0) + 0.5
        due = np.clip(np.log(days_since / own_gap), -5.0, 5.0)
        order_rate = pairs.orders / (np.maximum((now - pairs.since) / DAY, 0.0) + DEFAULT_GAP_DAYS)
        return np.column_stack((
            np.log(pairs.count), np.log(np.maximum(pairs.weight, 1e-6)), np.log(days_since),
            due, due**2, np.maximum(due, 0.0), np.log(order_rate),
            self.log_rate_[pairs.item], self.log_recent_[pairs.item],
        ))  # fmt: skip

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Chance of buying again `(n, n_items)`; -inf for items never bought, or given back entirely."""
        return dense(self.sparse_scores(histories, now), self.n_items_, -np.inf)

    def sparse_scores(self, histories: Histories, now: Instant) -> Cells:
        """The chances of what was bought before."""
        self._check_fitted()
        self._check_width(histories)
        pairs = _pairs(histories)
        chance = _chance(self.coefficients_[0] + self._features(pairs, now) @ self.coefficients_[1:])
        scores = np.where(pairs.weight > 0, chance, NOTHING).astype(np.float32)
        return np.searchsorted(pairs.row, np.arange(len(histories) + 1)), pairs.item.astype(np.int32), scores


def _bought_within(data: Dataset, pairs: _Pairs, start: Instant, stop: Instant) -> NDArray[np.bool_]:
    events = data.interactions
    inside = (events.kind == PURCHASE) & (events.at >= start) & (events.at < stop)
    n_items = len(data.items)
    bought = events.user_idx[inside].astype(np.int64) * n_items + events.item_idx[inside]
    return np.isin(pairs.row * n_items + pairs.item, bought)
