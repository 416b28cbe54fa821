"""One score out of what all the models say: a linear blend, fitted on days the models have not seen.

The score of a candidate is a logit: `w_new . says` for items new to the shopper, `w_again . says + bias` for
items bought before, less what a purchase too short ago and showings without a click take away. The weights
maximise the listwise likelihood (Cao et al. 2007, ListNet top-one) of what was bought, with a Gaussian prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Mask
from regulars.core.errors import ModelError
from regulars.rank.candidates import Candidates

# What a shop gets before it has days to fit on: (score place, rank discount) by source.
PRIOR = {
    "repeat": (2.0, 1.0), "item-knn": (1.0, 1.0), "ease": (1.0, 1.0), "als": (1.0, 1.0),
    "content": (0.5, 0.5), "popular": (0.5, 0.5), "trending": (0.2, 0.2),
}  # fmt: skip
PRIOR_OTHER = (1.0, 1.0)
PRIOR_NOT_DUE = -2.0
PRIOR_FATIGUE = 0.1  # logit lost with each visit that showed it in vain
PRIOR_STRENGTH = 20.0  # how many lists the prior is worth
MIN_LISTS = 20
UNWANTED = 120  # candidates that were not wanted, kept of each list: ten times faster, the same weights within noise


@dataclass(frozen=True)
class Blend:
    """Weights over sources; row 0 of `weights` is for new items, row 1 for items bought before."""

    sources: tuple[str, ...]
    weights: Floats  # (2, 2 * n_sources)
    again: float  # added to items bought before
    not_due: float  # added to items bought too short ago, at most 0
    fatigue: float  # taken off for each visit that showed it in vain, at least 0
    n_lists: int = 0  # shoppers it was fitted on

    @classmethod
    def prior(cls, sources: Sequence[str]) -> Self:
        """The blend of a shop without days to fit on."""
        row = np.array([PRIOR.get(source, PRIOR_OTHER) for source in sources], dtype=np.float32).ravel()
        return cls(tuple(sources), np.stack([row, row]), 0.0, PRIOR_NOT_DUE, PRIOR_FATIGUE)

    def logits(self, candidates: Candidates) -> NDArray[np.float32]:
        """Scores `(n, width)`; -inf where padded. Showings are taken off by `rules`."""
        new, again = (candidates.says @ row for row in self.weights)
        logits = np.where(candidates.bought > 0, again + np.float32(self.again), new)
        logits += np.float32(self.not_due) * candidates.not_due
        logits[candidates.item_idx < 0] = -np.inf
        return np.asarray(logits, dtype=np.float32)

    def leading(self, says: Floats, bought: Mask) -> NDArray[np.intp]:
        """The source that adds most to each candidate's score, for `says (..., 2S)` and `bought (...)`."""
        parts = says * self.weights[bought.astype(np.intp)]
        by_source = parts.reshape(*parts.shape[:-1], len(self.sources), 2).sum(axis=-1)
        by_source[says[..., 1::2] <= 0] = -np.inf  # it says nothing of the item
        return np.asarray(by_source.argmax(axis=-1))

    def to_json(self) -> dict[str, Any]:
        """Plain values, the whole of it."""
        return {
            "sources": list(self.sources), "weights": self.weights.tolist(), "again": self.again,
            "not_due": self.not_due, "fatigue": self.fatigue, "n_lists": self.n_lists,
        }  # fmt: skip

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        try:
            weights = np.array(values["weights"], dtype=np.float32).reshape(2, 2 * len(values["sources"]))
            rest = {name: values[name] for name in ("again", "not_due", "fatigue", "n_lists")}
            return cls(sources=tuple(values["sources"]), weights=weights, **rest)
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError("blend", got=str(error), wanted="the values of a saved blend") from error


@dataclass(frozen=True)
class _Lists:
    """Lists one after the other, cut down to what was wanted and a sample of the rest."""

    design: Floats  # (total, 2S + 1) says, and whether bought too short ago
    again: Mask  # (total,) bought before
    wish: Floats  # (total,) sums to at most 1 in each list: what the list weighs
    shift: Floats  # (total,) log of how many unwanted candidates each sampled one stands for
    starts: NDArray[np.intp]  # (n_lists,)


def fit_blend(sources: Sequence[str], candidates: Candidates, wanted: Floats, rng: np.random.Generator) -> Blend:
    """Fit the weights so that what shoppers went on to want stands on top.

    `wanted (n, width)` is at or above 0: how much each candidate was wanted in the days after, 1 = bought. A list
    weighs as much as was wanted in it, at most 1; rows in which nothing was wanted say nothing. Fewer than 20
    lists: the prior stays. Of unwanted candidates each list keeps a sample, weighted back up (sampled softmax,
    Bengio & Senecal 2008).
    """
    prior = Blend.prior(sources)
    rows = np.flatnonzero((wanted.sum(axis=1) > 0) & (candidates.n > 1))
    if len(rows) < MIN_LISTS:
        return replace(prior, n_lists=len(rows))
    lists = _stack(candidates, wanted, rows, rng)
    start = np.concatenate([prior.weights.ravel(), [prior.again, prior.not_due]]).astype(np.float64)
    bounds = [(None, None)] * (len(start) - 1) + [(None, 0.0)]
    found = scipy.optimize.minimize(
        _loss, start, args=(lists, start), jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": 50, "ftol": 1e-6},
    )  # fmt: skip
    weights = found.x[:-2].reshape(prior.weights.shape).astype(np.float32)
    return replace(prior, weights=weights, again=float(found.x[-2]), not_due=float(found.x[-1]), n_lists=len(rows))


def _stack(candidates: Candidates, wanted: Floats, rows: NDArray[np.intp], rng: np.random.Generator) -> _Lists:
    item_idx, wish = candidates.item_idx[rows], wanted[rows]
    rest = (item_idx >= 0) & (wish <= 0)
    luck = np.where(rest, rng.random(item_idx.shape, dtype=np.float32), np.inf)
    if luck.shape[1] > UNWANTED:
        bar = np.partition(luck, UNWANTED - 1, axis=1)[:, UNWANTED - 1 : UNWANTED]
        kept = rest & (luck <= bar)
    else:
        kept = rest
    stands_for = np.log(np.maximum(rest.sum(axis=1), 1) / np.maximum(kept.sum(axis=1), 1))
    keep = kept | (wish > 0)
    sizes = keep.sum(axis=1)
    return _Lists(
        design=np.column_stack([candidates.says[rows][keep], candidates.not_due[rows][keep]]).astype(np.float32),
        again=candidates.bought[rows][keep] > 0,
        wish=(wish / np.maximum(wish.sum(axis=1, keepdims=True), 1))[keep].astype(np.float32),
        shift=np.where(kept, stands_for[:, None], 0.0)[keep].astype(np.float32),
        starts=np.concatenate(([0], np.cumsum(sizes)[:-1])),
    )


def _loss(theta: NDArray[np.float64], lists: _Lists, prior: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Mean listwise cross entropy and its gradient; the prior pulls as `PRIOR_STRENGTH` lists would."""
    design, starts = lists.design, lists.starts
    n_lists, n_says = len(starts), design.shape[1] - 1
    low = theta.astype(design.dtype)
    both = design[:, :n_says] @ low[: 2 * n_says].reshape(2, n_says).T
    logits = np.where(lists.again, both[:, 1] + low[-2], both[:, 0]) + design[:, -1] * low[-1] + lists.shift
    sizes = np.diff(np.append(starts, len(logits)))
    logits -= np.repeat(np.maximum.reduceat(logits, starts), sizes)
    norms = np.log(np.add.reduceat(np.exp(logits), starts))
    worth = np.add.reduceat(lists.wish, starts)
    share = np.exp(logits - np.repeat(norms, sizes)) * np.repeat(worth, sizes)
    slope = (share - lists.wish) / n_lists
    on_new, on_again = np.where(lists.again, 0, slope), np.where(lists.again, slope, 0)
    gradient = np.concatenate([
        on_new @ design[:, :n_says], on_again @ design[:, :n_says], [on_again.sum(), slope @ design[:, -1]],
    ]).astype(np.float64)  # fmt: skip
    pull = PRIOR_STRENGTH / n_lists * 0.1
    value = float((worth @ norms - lists.wish @ logits) / n_lists) + 0.5 * pull * float(((theta - prior) ** 2).sum())
    return value, gradient + pull * (theta - prior)
