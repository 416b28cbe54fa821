"""Fit the blend on days that the models have not seen: what shoppers wanted after the cut is the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from regulars.core.arrays import Floats, Matrix
from regulars.rank.blend import Blend, fit_blend
from regulars.rank.candidates import Candidates
from regulars.rank.request import Filters, Request
from regulars.rank.slates import State, candidates_of

MAX_LISTS = 1000  # more shoppers change the weights less than the days do
BATCH = 256
EVERYTHING = Filters(kind="", in_stock=False)  # what was wanted need not be in stock now


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
    for start in range(0, len(rows), BATCH):
        chosen = rows[start : start + BATCH]
        requests = [
            Request(user_key=user_keys[row], recommendation_id=str(row), filters=EVERYTHING) for row in chosen
        ]
        _, found = candidates_of(requests, state, bundle)
        parts.append(found)
        wishes.append(_wishes(found, wanted[chosen]))
    sources = tuple(bundle.models)
    blend = fit_blend(sources, _stack(parts), np.concatenate(wishes), rng) if parts else Blend.prior(sources)
    return blend if fatigue is None else replace(blend, fatigue=fatigue)


def _wishes(found: Candidates, wanted: Matrix) -> Floats:
    """How much each candidate was wanted, `(n, width)`."""
    dense = wanted.toarray()
    wish = np.take_along_axis(dense, np.maximum(found.item_idx, 0).astype(np.intp), axis=1)
    return np.asarray(np.where(found.item_idx >= 0, wish, 0), dtype=np.float32)


def _stack(parts: Sequence[Candidates]) -> Candidates:
    return Candidates(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in Candidates.__dataclass_fields__}
    )
