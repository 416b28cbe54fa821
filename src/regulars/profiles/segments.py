"""RFM segments: recency, frequency and monetary value in fifths of the buyers, told in plain names.

Cut points need all shoppers at once, so they come from the last batch (Hughes 1994, "Strategic Database
Marketing": quintiles of each of the three, 5 = best).
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from regulars.core.clock import DAY, Instant
from regulars.profiles.fold import States

SEGMENTS = ("champions", "loyal", "promising", "new", "at risk", "sleeping", "lost", "visitor")
FIFTHS = (0.2, 0.4, 0.6, 0.8)


class CutPoints(msgspec.Struct, frozen=True):
    """Values that part buyers into fifths; the defaults serve a shop that has not trained yet."""

    days_since_last_order: tuple[float, ...] = (7.0, 30.0, 60.0, 120.0)
    orders: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    monetary: tuple[float, ...] = ()  # minor units; () = money is not asked


def cut_points(states: States, now: Instant) -> CutPoints:
    """Cut points from all shoppers with an order; the defaults where nobody has one."""
    buyers = states[states["n_orders"] > 0]
    if not len(buyers):
        return CutPoints()
    return CutPoints(
        _fifths((now - buyers["last_order_at"]) / DAY), _fifths(buyers["n_orders"]), _fifths(buyers["monetary"])
    )


def _fifths(values: NDArray[np.number]) -> tuple[float, ...]:
    return tuple(float(cut) for cut in np.quantile(values, FIFTHS, method="inverted_cdf"))


def segment(days_since_last_order: float | None, orders: int, monetary: int, cuts: CutPoints) -> str:
    """The name of a shopper's segment.

    Recency 5 = bought within the shortest fifth of times. Value is the mean of the fifths of orders and money.
    """
    if days_since_last_order is None:
        return "visitor"
    recency = 5 - _above(days_since_last_order, cuts.days_since_last_order)
    frequency = 1 + _above(orders, cuts.orders)
    value = (frequency + 1 + _above(monetary, cuts.monetary)) / 2 if cuts.monetary else frequency
    if recency <= 2 and value >= 3:
        return "at risk"
    if recency == 1:
        return "lost"
    if recency == 2 or (recency == 3 and value < 3):
        return "sleeping"
    return _recent(recency, value, orders)


def _recent(recency: int, value: float, orders: int) -> str:
    """The segments of those who bought not long ago."""
    if recency >= 4 and value >= 4:
        return "champions"
    if value >= 3 and orders > 1:
        return "loyal"
    return "new" if orders == 1 else "promising"


def _above(value: float, cuts: tuple[float, ...]) -> int:
    """How many cut points lie below a value."""
    return sum(value > cut for cut in cuts)
