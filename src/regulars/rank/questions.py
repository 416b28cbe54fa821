"""Which items to ask a new shopper about: those whose answers are expected to say most of all others.

A shopper's factors x have a spread S before anything is known. An answer about item i is y_i'x with noise, and comes
only where the shopper knows the item, with chance p_i. What is left to know is the variance of all predictions, of
each item as often as it is met: sum_j p_j y_j' S y_j = tr(S M), M = sum_j p_j y_j y_j'. The A-optimal design takes,
one after another, the item that lowers it most,

    p_i (S y_i)' M (S y_i) / (noise + y_i' S y_i),

and lowers S by what is expected of its answer (Anava et al. 2015, who choose shoppers for a new item likewise; the
trees of Golbandi et al. 2011 let the next question depend on the last answer, here `asked` does). An item near to
one that was asked has little left to say, a rare one is seldom known: both are passed over.
S is the covariance of shoppers' factors around what is expected of a new one: what all have in common is not asked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Mask, expect
from regulars.core.errors import InputError
from regulars.models.base import Can
from regulars.rank import rules
from regulars.rank.bundle import Bundle
from regulars.rank.request import Filters
from regulars.rank.slates import State

SHORTLIST = 2000  # items looked at: rarer ones are hardly known to anybody
NOISE = 0.1  # of an answer, in mean variances of what is asked about: chosen beside .01 and 1 on MovieLens
Square = NDArray[np.float64]


def questions(
    item_vectors: Floats, chance: Floats, k: int, *, spread: Square | None = None, allowed: Mask | None = None,
    asked: Indices | None = None,
) -> Indices:  # fmt: skip
    """At most `k` items to ask about, the most telling first.

    `item_vectors (n_items, d)`, `chance (n_items,)` that a shopper knows each; `spread (d, d)` is that of shoppers'
    factors, left out: in proportion to the items' own Gram, which is where factors regularised alike on both sides
    end up. Only `allowed (n_items,)` are asked about, of them the `SHORTLIST` likeliest to be known; `asked` were
    answered already, and are not asked again.
    O(n_items d^2 + k SHORTLIST d^2).
    """
    expect(chance, "chance", ndim=1, length=len(item_vectors))
    if k < 0:
        raise InputError("k", got=str(k), wanted="a whole number, 0 or more")
    y, p = item_vectors.astype(np.float64), chance.astype(np.float64)
    s, m = y.T @ y / max(len(y), 1) if spread is None else spread, (y * p[:, None]).T @ y
    noise = max(NOISE * float((s * m).sum()) / max(float(p.sum()), 1e-300), 1e-300)
    free = np.ones(len(y), dtype=np.bool_) if allowed is None else allowed.copy()
    for idx in [] if asked is None else np.unique(asked).tolist():
        s = _less(s, y[idx], 1.0, noise)
        free[idx] = False
    left = np.flatnonzero(free)
    left = left[np.argsort(-p[left], kind="stable")[:SHORTLIST]]
    chosen = np.zeros(min(k, len(left)), dtype=np.int32)
    for place in range(len(chosen)):
        through = y[left] @ s
        gain = p[left] * ((through @ m) * through).sum(axis=1) / (noise + (through * y[left]).sum(axis=1))
        best = int(np.argmax(gain))
        chosen[place] = left[best]
        s = _less(s, y[left[best]], float(p[left[best]]), noise)
        left = np.delete(left, best)
    return chosen


def _less(s: Square, vector: NDArray[np.float64], chance: float, noise: float) -> Square:
    """What is expected to be left of the spread after one more answer."""
    through = s @ vector
    left: Square = s - chance * np.outer(through, through) / (noise + float(vector @ through))
    return left


def may_ask(user_key: int, state: State, bundle: Bundle) -> tuple[Mask, Indices]:
    """Which items a shopper may be asked about, and those that they had to do with already."""
    history = state.live.histories([user_key], bundle.items, state.now)
    return rules.allowed(state.live.catalogue, bundle.items, Filters(), state.now), np.unique(history.item_idx)


def ask(bundle: Bundle, n_shoppers: int, allowed: Mask, asked: Indices, k: int) -> Indices:
    """At most `k` items to ask about, by the first model with factors; without one, what most have bought."""
    known = (bundle.item_facts.buyers + 1.0) / (max(n_shoppers, int(bundle.item_facts.buyers.max(initial=0))) + 1.0)
    with_factors = (model for model in bundle.models.values() if Can.FACTORS in model.can)
    model = next(with_factors, None)
    if model is None:
        vectors, spread = np.ones((len(bundle.items), 1), dtype=np.float32), None
    else:
        vectors, spread = model.item_vectors, model.spread
    return questions(vectors, known.astype(np.float32), k, spread=spread, allowed=allowed, asked=asked)
