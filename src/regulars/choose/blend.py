"""Which models are worth a place beside each other: forward selection on what their lists say together.

Ensemble selection (Caruana et al. 2004) with the blend's own two numbers of a list: where a score lies between the
last and the best, and a discount of the rank (`rank/candidates`). It begins with the best model and takes the one,
with one of a few weights, that raises the NDCG of the summed lists most, as long as that is more than luck. The
product then fits the weights anew; what is decided here is who takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.choose.question import K, Wanted
from regulars.choose.trial import Lists
from regulars.core.arrays import Floats
from regulars.core.bootstrap import Interval, intervals
from regulars.core.topk import top_k

WEIGHTS = (1.0, 0.3)  # of a newcomer beside a sum whose models' weights add up to 1
LUCK = 0.05  # chance that a step takes a model which adds nothing, shared by all that were looked at (Bonferroni)
RESAMPLES = 4000  # enough for such far tails


@dataclass(frozen=True)
class Picked:
    """A model of the blend, and what it added when it was taken: NDCG@20, the same shoppers, with interval."""

    name: str
    added: Interval | None  # None: it was there first


@dataclass(frozen=True)
class Blended:
    """Who is in, in the order of being taken; what each of the others would have added; the NDCG of the sum."""

    picked: tuple[Picked, ...]
    others: Mapping[str, Interval]
    ndcg: NDArray[np.float64]  # (n,) of the summed lists

    @property
    def names(self) -> tuple[str, ...]:
        """Who is in."""
        return tuple(each.name for each in self.picked)


@dataclass(frozen=True)
class Places:
    """Who has a place: for all that was taken, and then for what was new to shoppers."""

    every: Blended
    new: Blended | None  # None: too few took anything new

    @property
    def names(self) -> tuple[str, ...]:
        """Who has a place, in the order of being taken."""
        return tuple(dict.fromkeys((*self.every.names, *(self.new.names if self.new else ()))))


class _Pool:
    """All items that any list names, shopper by shopper, and what each list says of them."""

    def __init__(self, lists: Mapping[str, Lists], wanted: Wanted) -> None:
        self.wanted, (n, self.n_items) = wanted, wanted.relevant.shape
        named = np.concatenate([each.ranked for each in lists.values()], axis=1)
        keys = np.unique(np.where(named >= 0, named + np.arange(n)[:, None] * self.n_items, -1))
        keys = keys[keys >= 0]
        row, item = keys // self.n_items, keys % self.n_items
        starts = np.searchsorted(row, np.arange(n))
        width = max(K, int(np.bincount(row, minlength=1).max(initial=0)))
        self.items = np.full((n, width), -1, dtype=np.int32)
        self.items[row, np.arange(len(row)) - starts[row]] = item
        self.says = {name: self._placed(each, keys, starts) for name, each in lists.items()}

    def _placed(self, lists: Lists, keys: NDArray[np.int64], starts: NDArray[np.int64]) -> Floats:
        row, place = np.nonzero(lists.ranked >= 0)
        found = np.searchsorted(keys, lists.ranked[row, place] + row.astype(np.int64) * self.n_items)
        says = np.zeros(self.items.shape, dtype=np.float32)
        says[row, found - starts[row]] = said(lists)[row, place]
        return says

    def ndcg(self, says: NDArray[Any]) -> NDArray[np.float64]:
        """NDCG@20 of each shopper `(n,)`, ranked by summed says; what no list speaks for is not ranked."""
        place = top_k(np.where((self.items >= 0) & (says > 0), says, -np.inf).astype(np.float32), K)[0]
        ranked = np.where(place >= 0, np.take_along_axis(self.items, np.maximum(place, 0).astype(np.intp), 1), -1)
        return self.wanted.ndcg(ranked.astype(np.int32))


def said(lists: Lists) -> Floats:
    """Half the place of each score between the last and the best, half the rank's discount; 0 where it says nothing.

    As in the product's blend a score of 0 or below says nothing.
    """
    heard = (lists.ranked >= 0) & (lists.scores > 0)
    scores = np.where(heard, lists.scores, 0)
    best = scores.max(axis=1, initial=0, keepdims=True)
    last = np.where(heard, scores, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    span = best - np.where(np.isfinite(last), last, best)
    place = np.divide(scores - last, span, out=np.zeros_like(scores), where=heard & (span > 0))
    discount = 1 / np.log2(2 + np.arange(scores.shape[1], dtype=np.float32))
    return np.asarray(np.where(heard, (place + discount) / 2, 0), dtype=np.float32)


def forward(
    lists: Mapping[str, Lists], wanted: Wanted, first: str, rng: np.random.Generator,
    afford: Callable[[Sequence[str]], bool] = lambda names: True, inside: Collection[str] = (),
) -> Blended:  # fmt: skip
    """Begin with `first` and take models while one adds more than luck does; `afford` has a say on each set.

    Those of `inside` are in anyhow: they are taken when they add anything.
    """
    pool = _Pool(lists, wanted)
    total, picked = pool.says[first], [Picked(first, None)]
    ndcg = pool.ndcg(total)
    others: dict[str, Interval] = {}
    while left := [name for name in lists if name not in {each.name for each in picked}]:
        sums = {name: _best_sum(pool, total, pool.says[name]) for name in left}
        gains = np.column_stack([values - ndcg for _, values in sums.values()])
        found = intervals(gains, rng, confidence=1 - LUCK / len(left), n_resamples=RESAMPLES)
        others = dict(zip(left, found, strict=True))
        names = [each.name for each in picked]
        able = [name for name in left if others[name].low > 0 and afford([*names, name])]
        able += [name for name in left if others[name].mean > 0 and name in inside]
        if not able:
            break
        taken = max(able, key=lambda name: others[name].mean)
        total, ndcg = sums[taken]
        picked.append(Picked(taken, others.pop(taken)))
    return Blended(tuple(picked), others, ndcg)


def _best_sum(pool: _Pool, total: Floats, more: Floats) -> tuple[Floats, NDArray[np.float64]]:
    """The sum with a newcomer at the weight that serves best, and its NDCG."""
    sums = [(total + np.float32(weight) * more) / np.float32(1 + weight) for weight in WEIGHTS]
    scored = [(np.asarray(each, dtype=np.float32), pool.ndcg(each)) for each in sums]
    return max(scored, key=lambda each: float(each[1].mean()))
