"""What a policy is worth: figures per shopper of the starting cohort, gathered day by day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices
from regulars.simulate.protocol import DayStats

WITHIN = 7  # days in which a shopper must be back


def returned(visit: NDArray[np.bool_], *, within: int = WITHIN) -> Floats:
    """Share of each shopper's visits that were followed by another within some days, `(n,)`.

    `visit` is `(n, n_days)`. The last `within` days are only looked at for returns; the last visit of a shopper who
    left counts as no; a shopper without a visit counts 0.
    """
    n_days = visit.shape[1]
    counted = max(n_days - within, 0)
    padded = np.concatenate((visit, np.zeros((len(visit), within), dtype=np.bool_)), axis=1)
    ahead = np.zeros((len(visit), counted), dtype=np.bool_)
    for days in range(1, within + 1):
        ahead |= padded[:, days : days + counted]
    chances = visit[:, :counted]
    share = (chances & ahead).sum(axis=1) / np.maximum(chances.sum(axis=1), 1)
    return np.asarray(share, dtype=np.float32)


@dataclass(frozen=True)
class Figures:
    """What a policy brought, one entry a shopper of the cohort unless said otherwise."""

    returned_at_7: Floats
    visits: Indices
    purchases: Indices
    slate_purchases: Indices
    spending: NDArray[np.int64]  # minor units
    lost: NDArray[np.bool_]
    slates: Indices
    clicked_slates: Indices
    coverage: float  # share of the catalogue that was in some slate

    def means(self) -> dict[str, float]:
        """The figures of the whole cohort, under the names that tables use."""
        slates = int(self.slates.sum())
        return {
            "returned@7": float(self.returned_at_7.mean()),
            "visits": float(self.visits.mean()),
            "purchases": float(self.purchases.mean()),
            "slate_purchases": float(self.slate_purchases.mean()),
            "spending": float(self.spending.mean()),
            "lost_shoppers": float(self.lost.mean()),
            "click_rate": int(self.clicked_slates.sum()) / max(slates, 1),
            "coverage": self.coverage,
        }


class Ledger:
    """Adds up the days of one policy over a fixed cohort: shoppers `0 .. cohort - 1`."""

    def __init__(self, cohort: int, items: int) -> None:
        self.cohort = cohort
        self._days: list[NDArray[np.bool_]] = []
        self._sums = {name: np.zeros(cohort, dtype=np.int64) for name in
                      ("purchases", "slate_purchases", "spending", "slates", "clicked_slates", "lost")}  # fmt: skip
        self._shown = np.zeros(items, dtype=np.bool_)

    def add(self, stats: DayStats) -> None:
        """Book one day; shoppers who arrived later than the cohort are left out."""
        inside = stats.shopper < self.cohort
        shopper = stats.shopper[inside]
        day = np.zeros(self.cohort, dtype=np.bool_)
        day[shopper] = True
        self._days.append(day)
        for name, total in self._sums.items():
            total[shopper] += getattr(stats, name)[inside]
        self._shown |= stats.shown

    def figures(self) -> Figures:
        """Everything booked so far."""
        visit = np.stack(self._days, axis=1) if self._days else np.zeros((self.cohort, 0), dtype=np.bool_)
        sums = self._sums
        return Figures(
            returned_at_7=returned(visit),
            visits=visit.sum(axis=1).astype(np.int32),
            purchases=sums["purchases"].astype(np.int32),
            slate_purchases=sums["slate_purchases"].astype(np.int32),
            spending=sums["spending"].copy(),
            lost=sums["lost"] > 0,
            slates=sums["slates"].astype(np.int32),
            clicked_slates=sums["clicked_slates"].astype(np.int32),
            coverage=float(self._shown.mean()),
        )
