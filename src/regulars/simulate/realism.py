"""How like a real log a log is: repeat gaps, popularity skew and funnel, as figures to print side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Instants, expect
from regulars.core.clock import DAY

QUANTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class RepeatGaps:
    """How often, and how soon, a buyer takes the same item again."""

    repeat_share: float  # of purchases (one an item, buyer and day) that are repeats
    quartiles: tuple[float, ...]  # days between a repeat and the purchase before; NaN where nobody repeats


@dataclass(frozen=True)
class Skew:
    """How unevenly events fall on the items that have any."""

    top_tenth: float  # share of events on the most popular tenth of the items
    gini: float  # 0 = even, 1 = one item has all


@dataclass(frozen=True)
class Funnel:
    """Steps of a purchase, each pair of buyer and item counted once."""

    views: int
    carts: int
    purchases: int

    @property
    def carts_per_view(self) -> float:
        """Carts for each view."""
        return self.carts / max(self.views, 1)

    @property
    def purchases_per_cart(self) -> float:
        """Purchases for each cart."""
        return self.purchases / max(self.carts, 1)


def repeat_gaps(user: NDArray[np.integer], item: NDArray[np.integer], at: Instants) -> RepeatGaps:
    """Gaps between purchases of one item by one buyer; several on one day count once. Arrays `(n,)`."""
    expect(item, "item", ndim=1, length=len(user))
    expect(at, "at", ndim=1, length=len(user))
    days = np.unique(np.stack((user, item, at // DAY), axis=1).astype(np.int64), axis=0)
    same = (days[1:, :2] == days[:-1, :2]).all(axis=1)
    gaps = np.diff(days[:, 2])[same]
    quartiles = tuple(float(q) for q in np.quantile(gaps, QUANTILES)) if len(gaps) else (float("nan"),) * 3
    return RepeatGaps(len(gaps) / max(len(days), 1), quartiles)


def skew(item: NDArray[np.integer]) -> Skew:
    """Popularity skew of events `(n,)`, over the items that occur."""
    counts = np.sort(np.unique(item, return_counts=True)[1])[::-1].astype(np.float64)
    if not len(counts):
        return Skew(0.0, 0.0)
    top = max(1, round(len(counts) / 10))
    ranks = np.arange(len(counts), 0, -1)  # Gini by ranks of the ascending order
    n = len(counts)
    gini = 2 * (ranks * counts).sum() / (n * counts.sum()) - (n + 1) / n
    return Skew(float(counts[:top].sum() / counts.sum()), float(gini))


def funnel(
    user: NDArray[np.integer], item: NDArray[np.integer], kind: NDArray[np.str_], *, buyers_only: bool = True
) -> Funnel:
    """Distinct (user, item) pairs that were viewed (or clicked), put into the cart and bought; arrays `(n,)`.

    `buyers_only` keeps users with a purchase, as the public RetailRocket subset does.
    """
    expect(item, "item", ndim=1, length=len(user))
    expect(kind, "kind", ndim=1, length=len(user))
    keep = np.isin(user, user[kind == "purchase"]) if buyers_only else np.ones(len(user), dtype=np.bool_)

    def pairs(*kinds: str) -> int:
        rows = keep & np.isin(kind, kinds)
        return len(np.unique(np.stack((user[rows], item[rows]), axis=1).astype(np.int64), axis=0))

    return Funnel(pairs("view", "click"), pairs("add_to_cart"), pairs("purchase"))
