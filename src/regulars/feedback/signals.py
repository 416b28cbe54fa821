"""What outcomes teach the next fit: position bias, fatigue, and clicks as targets of the blend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Mask
from regulars.core.clock import DAY, MINUTE, Duration
from regulars.feedback.intervals import normal_quantile
from regulars.feedback.showings import Showings, earlier_untouched

ITEM_PRIOR = 1.0  # pseudo clicks that pull an item's click rate to the mean
POSITION_PRIOR = 10.0  # pseudo clicks that pull a position to "examined like the first"
FATIGUE_PRIOR = 0.1  # log of the click rate lost with each such visit, before anything was seen
FATIGUE_SPREAD = 0.1  # standard deviation of that prior
MAX_LOSS = 5.0
MAX_STEPS = 500
TOLERANCE = 1e-8

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class FatigueFit:
    """How the click rate of an item falls with earlier visits that showed it, untouched since: `exp(-loss n)`.

    Part of the fall is that the shopper never liked the item, not that they are tired of it; for the question
    "show it once more?" both count alike. The interval is 95 %.
    """

    loss: float  # log of the click rate lost with each visit, >= 0
    loss_low: float
    loss_high: float
    seen: tuple[int, ...]  # items seen, by number of earlier visits that showed them
    clicked: tuple[int, ...]
    expected: tuple[float, ...]  # clicks expected there without fatigue, from first showings alone

    @property
    def decay(self) -> float:
        """Factor on the click rate for each such visit, in (0, 1]."""
        return float(np.exp(-self.loss))

    def factor(self, n_shown: Any) -> Floats:
        """Factor on the click rate after `n_shown` visits, elementwise."""
        return np.exp(-self.loss * np.asarray(n_shown)).astype(np.float32)


@dataclass(frozen=True)
class ClickTargets:
    """Seen items of slates with what became of them, `(n,)` a column, in order of the slates."""

    slate_idx: NDArray[np.int64]  # the same number = one slate
    user_key: NDArray[np.int64]
    at: NDArray[np.int64]
    item_id: list[str]
    position: NDArray[np.int64]
    propensity: Doubles  # P(item | items above, request)
    examination: Floats  # of the position, relative to the first
    clicked: Mask

    def __len__(self) -> int:
        return len(self.slate_idx)


def position_bias(shown: Showings) -> Floats:
    """How much each position is examined relative to the first, `(n_positions,)`.

    The position-based model, P(click) = examined[position] x liked[item] (Craswell et al. 2008), fitted on items
    that stood at several positions, so that good items on top do not pass for a good position. Few clicks at a
    position pull it towards 1.
    """
    examined, _ = _examination(shown, shown.seen)
    return examined.astype(np.float32)


def fatigue(shown: Showings, window: Duration = 14 * DAY, gap: Duration = 30 * MINUTE) -> FatigueFit:
    """Fit how the click rate falls with the visits of the last `window` that showed the item, untouched since.

    Clicks ~ Poisson(rate x position x item x exp(-loss n)); position and item come from first showings alone, the
    rate is profiled out, and `loss` has a Gaussian prior: the posterior mode, at or above 0.
    """
    times = earlier_untouched(shown, window, gap)
    examined, liked = _examination(shown, shown.seen & (times == 0))
    seen = shown.seen
    n = int(times[seen].max(initial=0)) + 1
    expected = np.bincount(times[seen], (examined[shown.position] * liked[shown.item_idx])[seen], minlength=n)
    clicked = np.bincount(times[shown.clicked], minlength=n)
    loss, deviation = _decay(clicked.astype(np.float64), expected.astype(np.float64))
    reach = normal_quantile(0.95) * deviation
    return FatigueFit(
        loss=loss,
        loss_low=max(0.0, loss - reach),
        loss_high=loss + reach,
        seen=tuple(np.bincount(times[seen], minlength=n).tolist()),
        clicked=tuple(clicked.tolist()),
        expected=tuple(expected.tolist()),
    )


def clicks_as_targets(shown: Showings) -> ClickTargets:
    """Lay out what was seen and clicked for fitting weights: inverse `examination` undoes the position."""
    examined, _ = _examination(shown, shown.seen)
    seen = shown.seen
    return ClickTargets(
        slate_idx=shown.slate_idx[seen],
        user_key=shown.user_key[seen],
        at=shown.at[seen],
        item_id=[shown.items[int(idx)] for idx in shown.item_idx[seen]],
        position=shown.position[seen],
        propensity=shown.propensity[seen],
        examination=examined[shown.position[seen]].astype(np.float32),
        clicked=shown.clicked[seen],
    )


def _examination(shown: Showings, rows: Mask) -> tuple[Doubles, Doubles]:
    """Examination by position (first = 1) and click rate by item at the first position, from some rows.

    Alternating closed-form updates of a Poisson likelihood with gamma priors; each raises the posterior.
    """
    n_items, n_positions = len(shown.items), int(shown.position.max(initial=-1)) + 1
    item, position, clicked = shown.item_idx[rows], shown.position[rows], shown.clicked[rows]
    cell, times = np.unique(item * max(n_positions, 1) + position, return_counts=True)
    cell_item, cell_position = np.divmod(cell, max(n_positions, 1))
    item_clicks = np.bincount(item[clicked], minlength=n_items)
    position_clicks = np.bincount(position[clicked], minlength=n_positions)
    examined, mean = np.ones(n_positions), clicked.sum() / max(len(item), 1)
    liked = np.full(n_items, mean)
    if mean == 0:
        return examined, liked
    for _ in range(MAX_STEPS):
        exposure = np.bincount(cell_item, times * examined[cell_position], minlength=n_items)
        liked = (item_clicks + ITEM_PRIOR) / (exposure + ITEM_PRIOR / mean)
        hoped = np.bincount(cell_position, times * liked[cell_item], minlength=n_positions)
        updated = (position_clicks + POSITION_PRIOR) / (hoped + POSITION_PRIOR)
        updated[0], mean = 1.0, float(item_clicks.sum() / exposure.sum())
        moved = np.abs(updated - examined).max()
        examined = updated
        if moved < TOLERANCE:
            break
    return examined, liked


def _decay(clicked: Doubles, expected: Doubles) -> tuple[float, float]:
    """Posterior mode of the loss and its standard deviation; the slope is monotone, so bisection finds it."""
    n = np.arange(len(clicked))
    total = clicked.sum() if expected.sum() > 0 else 0.0

    def moments(loss: float) -> tuple[float, float]:
        share = np.maximum(expected, 1e-300) * np.exp(-loss * n)
        mean = float((share * n).sum() / share.sum())
        return mean, float((share * n * n).sum() / share.sum()) - mean**2

    low, high = 0.0, MAX_LOSS
    for _ in range(60):
        loss = (low + high) / 2
        slope = total * moments(loss)[0] - (clicked * n).sum() + (FATIGUE_PRIOR - loss) / FATIGUE_SPREAD**2
        low, high = (loss, high) if slope > 0 else (low, loss)
    precision = total * moments(low)[1] + 1 / FATIGUE_SPREAD**2
    return low, float(precision**-0.5)
