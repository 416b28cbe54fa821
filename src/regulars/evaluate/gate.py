"""The gate: a new model replaces the live one unless it is shown to be worse than it, or than popularity.

Rejected when the 95 % interval of the mean difference lies wholly below 0, on `all` or on `organic`
(what no slate caused, so that a model is not praised for its own echo).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.bootstrap import paired
from regulars.core.errors import InputError

SUBSETS = ("all", "organic")
MIN_SHOPPERS = 30

ByShopper = Mapping[str, NDArray[Any]]  # subset -> one score a shopper; the same shoppers in all


@dataclass(frozen=True)
class Difference:
    """Mean of candidate - other over the shoppers of a subset, with its 95 % interval."""

    against: str  # live or popular
    subset: str
    users: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What the gate decided, why, and the differences it saw."""

    accepted: bool
    reasons: tuple[str, ...]
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


def judge(
    candidate: ByShopper,
    live: ByShopper | None,
    popular: ByShopper,
    rng: np.random.Generator,
    *,
    min_shoppers: int = MIN_SHOPPERS,
) -> Verdict:
    """Compare the candidate with the live model (None: there is none yet) and with popularity.

    Each mapping has `all` and, where the shop knows it, `organic`. A comparison over fewer than `min_shoppers`
    decides nothing: it is said, and passes.
    """
    others = {"popular": popular} if live is None else {"live": live, "popular": popular}
    reasons = ["no live model: only popularity counts"] if live is None else []
    differences, accepted = [], True
    for against, scores in others.items():
        for subset in SUBSETS:
            mine, theirs = _scores(candidate, subset), _scores(scores, subset)
            if mine.shape != theirs.shape:
                raise InputError(f"gate, {against} on {subset}", got=f"{mine.shape} and {theirs.shape} shoppers",
                                 wanted="the same shoppers")  # fmt: skip
            if len(mine) < min_shoppers:
                reasons.append(f"too few shoppers to judge against {against} on {subset}: "
                               f"{len(mine)}, needs {min_shoppers}")  # fmt: skip
                continue
            found = paired(mine, theirs, rng)
            differences.append(Difference(against, subset, len(mine), found.mean, found.low, found.high))
            accepted &= found.high >= 0
            reasons.append(_sentence(differences[-1]))
    return Verdict(accepted, tuple(reasons), tuple(differences))


def _scores(scores: ByShopper, subset: str) -> NDArray[np.float64]:
    return np.asarray(scores.get(subset, ()), dtype=np.float64)


def _sentence(found: Difference) -> str:
    word = "worse than" if found.high < 0 else "better than" if found.low > 0 else "level with"
    return (
        f"{word} {found.against} on {found.subset}: "
        f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}] over {found.users} shoppers"
    )
