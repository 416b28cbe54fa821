"""What slates earned: click rate, conversion and revenue, with 95 % intervals, by slot, policy, position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.errors import InputError
from regulars.events.schema import Outcome
from regulars.feedback.intervals import normal_quantile, wilson
from regulars.feedback.showings import Showings, by_impressions, seen_by

GROUPS = ("slot", "policy", "model_version", "variant", "settings_hash")


@dataclass(frozen=True)
class Rate:
    """What the seen slates of one group earned; intervals are 95 %."""

    group: dict[str, str]
    seen_by: str  # served, impressions or mixed
    slates: int  # seen slates of closed outcomes
    clicked: int  # slates with a click
    click_rate: float
    click_rate_low: float
    click_rate_high: float
    converted: int  # slates with an attributed purchase
    conversion: float
    conversion_low: float
    conversion_high: float
    viewed_through: int  # slates with an item that was bought, shown, never clicked
    revenue: int  # minor units, gross
    revenue_per_thousand: float  # minor units per thousand seen slates
    revenue_per_thousand_low: float
    revenue_per_thousand_high: float

    def row(self) -> dict[str, Any]:
        """One flat row: the group's names first."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "group"}
        return {**self.group, **values}


@dataclass(frozen=True)
class PositionRate:
    """Clicked items / seen items at one position (from 0); the interval is 95 %."""

    position: int
    seen_by: str
    seen: int
    clicked: int
    click_rate: float
    click_rate_low: float
    click_rate_high: float

    def row(self) -> dict[str, Any]:
        """One flat row."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def rates(outcomes: Sequence[Outcome], by: Sequence[str] = ("slot", "policy")) -> list[Rate]:
    """One rate for each combination of `by` (of `GROUPS`; none: one for all), sorted by it.

    Only closed outcomes of slates that were seen and not empty count.
    """
    unknown = [name for name in by if name not in GROUPS]
    if unknown:
        raise InputError("rates", got=f"by {', '.join(unknown)}", wanted=f"some of {', '.join(GROUPS)}")
    kept = [outcome for outcome in outcomes if outcome.closed and outcome.decision.items]
    impressed = np.array([bool(each.impressed) for each in kept], dtype=np.bool_)
    clicked = np.array([bool(each.clicked) for each in kept], dtype=np.bool_)
    at = np.array([each.decision.timestamp for each in kept], dtype=np.int64)
    watched = by_impressions([each.decision.slot for each in kept], at, impressed)
    groups: dict[tuple[str, ...], list[int]] = {}
    for idx in np.flatnonzero(~watched | impressed | clicked):  # a click proves that a slate was seen
        name = tuple(str(getattr(kept[idx].decision, key)) for key in by)
        groups.setdefault(name, []).append(int(idx))
    return [
        _rate(dict(zip(by, name, strict=True)), [kept[idx] for idx in rows], seen_by(watched[rows]))
        for name, rows in sorted(groups.items())
    ]


def rates_by_position(shown: Showings) -> list[PositionRate]:
    """Clicked items / seen items at each position of slates."""
    n = int(shown.position.max(initial=-1)) + 1
    seen = np.bincount(shown.position[shown.seen], minlength=n)
    clicked = np.bincount(shown.position[shown.clicked], minlength=n)
    low, high = wilson(clicked, seen)
    return [
        PositionRate(
            position=int(place),
            seen_by=seen_by(shown.watched[shown.position == place]),
            seen=int(seen[place]),
            clicked=int(clicked[place]),
            click_rate=float(clicked[place] / seen[place]),
            click_rate_low=float(low[place]),
            click_rate_high=float(high[place]),
        )
        for place in np.flatnonzero(seen)
    ]


def _rate(group: dict[str, str], outcomes: list[Outcome], seen: str) -> Rate:
    n = len(outcomes)
    clicked = sum(bool(each.clicked) for each in outcomes)
    converted = sum(bool(each.purchased) for each in outcomes)
    low, high = wilson([clicked, converted], [n, n])
    revenue = np.array([each.revenue for each in outcomes], dtype=np.float64)
    reach = _reach_of_mean(revenue)
    return Rate(
        group=group, seen_by=seen, slates=n,
        clicked=clicked, click_rate=clicked / n, click_rate_low=float(low[0]), click_rate_high=float(high[0]),
        converted=converted, conversion=converted / n, conversion_low=float(low[1]), conversion_high=float(high[1]),
        viewed_through=sum(bool(each.viewed_through) for each in outcomes),
        revenue=int(revenue.sum()),
        revenue_per_thousand=1000 * float(revenue.mean()),
        revenue_per_thousand_low=1000 * max(0.0, float(revenue.mean()) - reach),
        revenue_per_thousand_high=1000 * (float(revenue.mean()) + reach),
    )  # fmt: skip


def _reach_of_mean(values: NDArray[np.float64]) -> float:
    """Half-width of the normal 95 % interval of a mean; 0 for a single value, which has no spread."""
    if len(values) < 2:
        return 0.0
    return float(normal_quantile(0.95) * values.std(ddof=1) / np.sqrt(len(values)))
