"""Learn how to rank from days that the models have not seen: what shoppers wanted after the cut is the target.

First the weights of the blends, then the trees of the second look (`boost`), grown on the blend's best candidates. A
share of the lists is cut down to the last few events of its shopper: so the trees learn what to make of newcomers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Mask, Matrix
from regulars.core.clock import DAY, Instant
from regulars.core.data import Histories
from regulars.core.rng import generator
from regulars.rank import boost, rules
from regulars.rank.blend import Blend, fit_blend
from regulars.rank.boost import Lists, joined
from regulars.rank.bundle import Bundle
from regulars.rank.candidates import Candidates
from regulars.rank.features import best_places, feature_names, features
from regulars.rank.hybrid import Hybrid
from regulars.rank.request import Filters, Request
from regulars.rank.slates import State, candidates_of, histories_of

MAX_LISTS = 1000  # more shoppers change the weights less than the days do
MAX_GROWN = 1500  # lists that trees are grown on
BATCH = 256
EVERYTHING = Filters(kind="", in_stock=False)  # what was wanted need not be in stock now
NEWCOMERS = 0.25  # share of the lists that are cut down
KNOWN = (0, 1, 2, 5)  # to so many last events


@dataclass(frozen=True)
class Asked:
    """Requests as if made at the cut, and what the same shoppers wanted after it."""

    user_keys: Sequence[int]
    wanted: Matrix  # (n, n_items) how much, 1 = bought; by the bundle's item index
    items: Sequence[str] = ()  # looked at when asked, one a request; () = none

    def __len__(self) -> int:
        return len(self.user_keys)

    def drawn(self, rows: NDArray[np.intp], most: int, rng: np.random.Generator) -> Asked:
        """Those of `rows`, `most` of them at most, drawn evenly."""
        chosen = rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
        return self[chosen]

    def __getitem__(self, rows: Any) -> Asked:
        """Some of the requests, by row number."""
        numbers = np.arange(len(self))[rows].tolist()
        items = [self.items[row] for row in numbers] if self.items else ()
        return Asked([self.user_keys[row] for row in numbers], self.wanted[rows], items)

    def batches(self) -> Iterator[tuple[Asked, list[Request]]]:
        """A few requests at a time."""
        for start in range(0, len(self), BATCH):
            part = self[start : start + BATCH]
            items = part.items or [""] * len(part)
            yield part, [
                Request(user_key=key, recommendation_id=str(start + row), filters=EVERYTHING, item=item)
                for row, (key, item) in enumerate(zip(part.user_keys, items, strict=True))
            ]  # fmt: skip

    @property
    def wanting(self) -> NDArray[np.intp]:
        """Rows in which anything was wanted."""
        return np.flatnonzero(np.diff(self.wanted.indptr) > 0)


@dataclass(frozen=True)
class Ranking:
    """How candidates are put in order, and how it was found."""

    blend: Blend
    hybrid: Hybrid | None = None
    beside: Blend | None = None
    report: dict[str, Any] = field(default_factory=dict)


def learn_ranking(state: State, everybody: Asked, beside: Asked, fatigue: float | None, until: Instant) -> Ranking:
    """The blend of `state.bundle`'s models, one more for slates beside an item, and the second look where it helps.

    `everybody` holds a request for each shopper, whether or not they wanted anything; `beside` those that name an
    item. `until` is how far `wanted` looks. The seed is that of the settings; `fatigue` as in `learn_blend`.
    """
    seed, bundle = state.settings.train.seed, state.bundle
    blend = learn_blend(state, everybody, fatigue, generator(seed, "blend"))
    if bundle is None or state.settings.rank.ranker == "blend":
        return Ranking(blend, report={"why": "the settings want the blend alone"})
    near, compared = learn_beside(state, beside, blend, seed)
    lists = _Lists(state, replace(bundle, blend=blend, beside=near, hybrid=None))
    asked = everybody.drawn(everybody.wanting, MAX_GROWN, generator(seed, "hybrid", "lists"))
    if len(asked) < boost.MIN_LISTS:
        told = {"lists": len(asked), "why": boost.TOO_FEW}
        return Ranking(blend, beside=near, report={"order": told, "beside": compared})
    names, threads = feature_names(tuple(bundle.models)), state.settings.train.threads
    limits = _limits(len(asked), generator(seed, "hybrid", "newcomers"))
    looking = beside.drawn(beside.wanting, MAX_GROWN // 3, generator(seed, "hybrid", "beside"))
    grown_on = joined([*lists.parts(asked, limits), *lists.parts(looking)])
    order, report = boost.grow_order(names, grown_on, seed, threads)
    anybody = everybody.drawn(np.arange(len(everybody)), MAX_GROWN, generator(seed, "hybrid", "anybody"))
    days = (until - state.now) / DAY
    purchases, told = boost.grow_purchases(joined(lists.parts(anybody)), days, seed, threads)
    hybrid = boost.hybrid_of(names, order, purchases)
    return Ranking(blend, hybrid, near, {"order": report, "purchases": told, "beside": compared})


def learn_blend(state: State, asked: Asked, fatigue: float | None, rng: np.random.Generator) -> Blend:
    """Fit the weights of `state.bundle`'s models on what was wanted.

    `fatigue` is the logit lost with each visit that showed an item in vain, None = not measured.
    """
    bundle = state.bundle
    if bundle is None:
        raise ValueError("a state with a bundle is needed")
    found = _gathered(state, bundle, asked.drawn(asked.wanting, MAX_LISTS, rng))
    sources = tuple(bundle.models)
    blend = fit_blend(sources, *found, rng) if found else Blend.prior(sources)
    return blend if fatigue is None else replace(blend, fatigue=fatigue)


def learn_beside(state: State, asked: Asked, blend: Blend, seed: int) -> tuple[Blend | None, dict[str, Any]]:
    """Weights of their own for requests that name an item; None where they are not clearly better than `blend`.

    Compared by NDCG@20 on lists that the weights were not fitted on.
    """
    bundle, rng = state.bundle, generator(seed, "beside")
    asked = asked.drawn(asked.wanting, MAX_LISTS, rng)
    found = _gathered(state, bundle, asked) if bundle is not None else None
    if found is None or len(found[0]) < boost.MIN_LISTS:
        return None, {"lists": 0 if found is None else len(found[0]), "why": boost.TOO_FEW}
    candidates, wishes = found
    there = candidates.item_idx >= 0
    nothing = np.zeros((*there.shape, 0), dtype=np.float32)
    shopper = np.array(asked.user_keys, dtype=np.int64)
    lists = Lists(nothing, there, blend.logits(candidates), wishes, np.zeros(len(there), dtype=np.float32), shopper)
    fold, own = boost.folds(shopper, seed), np.zeros(len(lists))
    for held in range(boost.FOLDS):
        learned = fit_blend(blend.sources, _some(candidates, fold != held), wishes[fold != held], rng)
        judged = fold == held
        own[judged] = boost.ndcg_of(lists[judged], learned.logits(_some(candidates, judged)))
    alone = boost.ndcg_of(lists, lists.score)
    gain = boost.gained(own - alone, shopper, seed)
    report = {"lists": len(lists), "ndcg_blend": float(alone.mean()), "ndcg_own": float(own.mean()),
              "gain_low": gain.low, "gain_high": gain.high}  # fmt: skip
    if gain.low <= 0:
        return None, {**report, "why": "no clear gain over the blend"}
    fitted = fit_blend(blend.sources, candidates, wishes, rng)
    return replace(fitted, fatigue=blend.fatigue), {**report, "why": "a clear gain over the blend"}


def _gathered(state: State, bundle: Bundle, asked: Asked) -> tuple[Candidates, Floats] | None:
    """Candidates of these requests and how much each was wanted; None without a request."""
    parts, wishes = [], []
    for part, requests in asked.batches():
        found = candidates_of(requests, state, bundle, histories_of(requests, state, bundle))
        parts.append(found)
        wishes.append(_wishes(found, part.wanted))
    return (_stack(parts), np.concatenate(wishes)) if parts else None


def _some(candidates: Candidates, rows: Mask) -> Candidates:
    return Candidates(**{name: getattr(candidates, name)[rows] for name in Candidates.__dataclass_fields__})


def _limits(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How many last events of each list are known, `(n,)`."""
    known = rng.choice(np.array(KNOWN), n)
    return np.where(rng.random(n) < NEWCOMERS, known, np.iinfo(np.int32).max)


@dataclass(frozen=True)
class _Lists:
    """Lists of a version's best candidates with their features."""

    state: State
    bundle: Bundle

    def parts(self, asked: Asked, limits: NDArray[np.int64] | None = None) -> list[Lists]:
        """A list a request, some at a time; `limits (n,)` cut the shoppers' histories down to so many last events."""
        parts, start = [], 0
        for part, requests in asked.batches():
            histories = histories_of(requests, self.state, self.bundle)
            if limits is not None:
                histories = histories.last(limits[start : start + len(part)])
            parts.append(self._part(part, requests, histories))
            start += len(part)
        return parts

    def _part(self, asked: Asked, requests: list[Request], histories: Histories) -> Lists:
        state, bundle = self.state, self.bundle
        found = candidates_of(requests, state, bundle, histories)
        logits = rules.score(found, bundle.blend_for(requests[0].item), state.settings.rank)
        places = best_places(logits)
        there, at = places >= 0, np.maximum(places, 0).astype(np.intp)
        wish = np.take_along_axis(_wishes(found, asked.wanted), at, axis=1) * there
        columns = state.live.catalogue.columns(bundle.items)
        return Lists(
            rows=features(found, places, logits, histories, bundle.item_facts, columns, state.now), there=there,
            score=np.where(there, np.take_along_axis(logits, at, axis=1), 0), wish=wish,
            missed=np.maximum(asked.wanted.sum(axis=1) - wish.sum(axis=1), 0).astype(np.float32),
            shopper=np.array(asked.user_keys, dtype=np.int64),
        )  # fmt: skip


def _wishes(found: Candidates, wanted: Matrix) -> Floats:
    """How much each candidate was wanted, `(n, width)`."""
    dense = wanted.toarray()
    wish = np.take_along_axis(dense, np.maximum(found.item_idx, 0).astype(np.intp), axis=1)
    return np.asarray(np.where(found.item_idx >= 0, wish, 0), dtype=np.float32)


def _stack(parts: Sequence[Candidates]) -> Candidates:
    return Candidates(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in Candidates.__dataclass_fields__}
    )
