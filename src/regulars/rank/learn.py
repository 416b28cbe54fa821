"""Learn how to rank from days that the models have not seen: what shoppers wanted after the cut is the target.

First the blend's weights, then the trees of the second look (`boost`), grown on the blend's best candidates. A share
of the lists is cut down to the last few events of its shopper, so that the trees know what to make of newcomers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Matrix
from regulars.core.clock import DAY, Instant
from regulars.core.rng import generator
from regulars.rank import boost, rules
from regulars.rank.blend import Blend, fit_blend
from regulars.rank.boost import Lists
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
class Ranking:
    """How candidates are put in order, and how it was found."""

    blend: Blend
    hybrid: Hybrid | None = None
    report: dict[str, Any] = field(default_factory=dict)


def learn_ranking(
    state: State, user_keys: Sequence[int], wanted: Matrix, fatigue: float | None, until: Instant
) -> Ranking:
    """The blend of `state.bundle`'s models, and the second look at it where that helps; as `learn_blend`.

    `until` is how far `wanted` looks. The seed is that of the settings.
    """
    seed, threads = state.settings.train.seed, state.settings.train.threads
    blend = learn_blend(state, user_keys, wanted, fatigue, generator(seed, "blend"))
    if state.bundle is None or state.settings.rank.ranker == "blend":
        return Ranking(blend, report={"why": "the settings want the blend alone"})
    bundle = replace(state.bundle, blend=blend, hybrid=None)
    names = feature_names(tuple(bundle.models))
    asked = _drawn(np.flatnonzero(np.diff(wanted.indptr) > 0), generator(seed, "hybrid", "lists"))
    if len(asked) < boost.MIN_LISTS:
        return Ranking(blend, report={"order": {"lists": len(asked), "why": boost.TOO_FEW}})
    limits = _limits(len(asked), generator(seed, "hybrid", "newcomers"))
    order, report = boost.grow_order(names, _lists(state, bundle, user_keys, wanted, asked, limits), seed, threads)
    anybody = _drawn(np.arange(wanted.shape[0]), generator(seed, "hybrid", "anybody"))
    lists = _lists(state, bundle, user_keys, wanted, anybody, None)
    purchases, told = boost.grow_purchases(lists, (until - state.now) / DAY, seed, threads)
    return Ranking(blend, boost.hybrid_of(names, order, purchases), {"order": report, "purchases": told})


def learn_blend(
    state: State, user_keys: Sequence[int], wanted: Matrix, fatigue: float | None, rng: np.random.Generator
) -> Blend:
    """Fit the weights of `state.bundle`'s models.

    `wanted (n_users, n_items)` holds how much each shopper of `user_keys` wanted each item after `state.now`,
    by the bundle's item index. `fatigue` is the logit lost with each visit that showed an item in
    vain, None = not measured.
    """
    bundle = state.bundle
    if bundle is None:
        raise ValueError("a state with a bundle is needed")
    rows = np.flatnonzero(np.diff(wanted.indptr) > 0)
    if len(rows) > MAX_LISTS:
        rows = np.sort(rng.choice(rows, MAX_LISTS, replace=False))
    parts, wishes = [], []
    for chosen, requests in _requests(user_keys, rows):
        found = candidates_of(requests, state, bundle, histories_of(requests, state, bundle))
        parts.append(found)
        wishes.append(_wishes(found, wanted[chosen]))
    sources = tuple(bundle.models)
    blend = fit_blend(sources, _stack(parts), np.concatenate(wishes), rng) if parts else Blend.prior(sources)
    return blend if fatigue is None else replace(blend, fatigue=fatigue)


def _drawn(rows: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    return rows if len(rows) <= MAX_GROWN else np.sort(rng.choice(rows, MAX_GROWN, replace=False))


def _limits(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How many last events of each list are known, `(n,)`."""
    known = rng.choice(np.array(KNOWN), n)
    return np.where(rng.random(n) < NEWCOMERS, known, np.iinfo(np.int32).max)


def _requests(
    user_keys: Sequence[int], rows: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], list[Request]]]:  # fmt: skip
    for start in range(0, len(rows), BATCH):
        chosen = rows[start : start + BATCH]
        yield (
            chosen,
            [Request(user_key=user_keys[row], recommendation_id=str(row), filters=EVERYTHING) for row in chosen],
        )


def _lists(
    state: State, bundle: Bundle, user_keys: Sequence[int], wanted: Matrix, rows: NDArray[np.intp],
    limits: NDArray[np.int64] | None,
) -> Lists:  # fmt: skip
    """The blend's best candidates of these shoppers, with their features; `limits` cut their histories down."""
    columns, parts = state.live.catalogue.columns(bundle.items), []
    for start, (chosen, requests) in zip(range(0, len(rows), BATCH), _requests(user_keys, rows), strict=True):
        histories = histories_of(requests, state, bundle)
        if limits is not None:
            histories = histories.last(limits[start : start + BATCH])
        found = candidates_of(requests, state, bundle, histories)
        logits = rules.score(found, bundle.blend, state.settings.rank)
        places = best_places(logits)
        wish = np.take_along_axis(_wishes(found, wanted[chosen]), np.maximum(places, 0).astype(np.intp), axis=1)
        there = places >= 0
        parts.append(Lists(
            rows=features(found, places, logits, histories, bundle.item_facts, columns, state.now), there=there,
            score=np.take_along_axis(logits, np.maximum(places, 0).astype(np.intp), axis=1), wish=wish * there,
            missed=np.maximum(wanted[chosen].sum(axis=1) - (wish * there).sum(axis=1), 0).astype(np.float32),
        ))  # fmt: skip
    return _joined(parts)


def _joined(parts: Sequence[Lists]) -> Lists:
    """Parts as one; narrower ones get empty columns."""
    width = max(part.there.shape[1] for part in parts)

    def wide(array: NDArray[Any]) -> NDArray[Any]:
        lack = [(0, 0), (0, width - array.shape[1]), *[(0, 0)] * (array.ndim - 2)] if array.ndim > 1 else [(0, 0)]
        return np.pad(array, lack)

    return Lists(**{
        name: np.concatenate([wide(getattr(part, name)) for part in parts]) for name in Lists.__dataclass_fields__
    })  # fmt: skip


def _wishes(found: Candidates, wanted: Matrix) -> Floats:
    """How much each candidate was wanted, `(n, width)`."""
    dense = wanted.toarray()
    wish = np.take_along_axis(dense, np.maximum(found.item_idx, 0).astype(np.intp), axis=1)
    return np.asarray(np.where(found.item_idx >= 0, wish, 0), dtype=np.float32)


def _stack(parts: Sequence[Candidates]) -> Candidates:
    return Candidates(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in Candidates.__dataclass_fields__}
    )
