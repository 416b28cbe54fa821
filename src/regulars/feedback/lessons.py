"""What slates and their outcomes teach the next version: how fast items tire, and what was clicked.

Fatigue is measured on slates whose windows have all closed. Clicks settle sooner, so they count as soon as the
click window has closed: a blend is fitted on the last days, whose purchases may still be open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Matrix
from regulars.core.clock import Instant
from regulars.core.data import Dataset
from regulars.core.settings import Settings
from regulars.feedback.attribution import Attribution
from regulars.feedback.showings import showings
from regulars.feedback.signals import ClickTargets, clicks_as_targets, fatigue

MIN_OUTCOMES = 500  # closed slates before fatigue is measured rather than assumed
CLICK = 0.15  # what a click on the first position says of being wanted, beside 1 for a purchase: as [clean] weighs it
MOST_OF_CLICKS = 0.5  # what clicks on one item say at most: positions few examine make them heavy


@dataclass(frozen=True)
class Lessons:
    """What the blend learns from slates beside purchases."""

    fatigue: float | None = (
        None  # logit lost with each visit that showed the item, untouched since, None = too few to measure
    )
    clicks: ClickTargets | None = None

    def wanted(self, relevant: Matrix, before: Dataset, until: Instant) -> Matrix:
        """Add clicks on slates made after `before.as_of` and up to `until` to what was bought, users x items.

        A click counts `CLICK` over the examination of its position (inverse propensity, as in Joachims et al. 2017),
        at most `MOST_OF_CLICKS` an item. `relevant` and the result have the indices of `before`.
        """
        if self.clicks is None:
            return relevant
        seen = self.clicks
        rows = np.flatnonzero(seen.clicked & (seen.at > before.as_of) & (seen.at <= until))
        user_idx = before.users.keys.index(seen.user_key[rows].tolist(), "skip")
        item_idx = before.items.ids.index([seen.item_id[row] for row in rows], "skip")
        known = (user_idx >= 0) & (item_idx >= 0)
        worth = CLICK / np.maximum(seen.examination[rows], 1e-3)
        clicks = sp.csr_array(
            sp.coo_array((worth[known], (user_idx[known], item_idx[known])), shape=before.shape, dtype=np.float32)
        )
        return sp.csr_array(relevant + clicks.minimum(MOST_OF_CLICKS), dtype=np.float32)


def lessons(found: Attribution, settings: Settings, now: Instant) -> Lessons:
    """What slates and what followed them teach, as known at `now`."""
    settled = found.slates.at + settings.feedback.click_window < now
    clicks = clicks_as_targets(showings(found, settled)) if settled.any() else None
    return Lessons(measured_fatigue(found, settings), clicks)


def measured_fatigue(found: Attribution, settings: Settings) -> float | None:
    """Logit lost with each visit that showed an item in vain, from closed slates; None where they are too few."""
    shown = showings(found)
    if len(np.unique(shown.slate_idx)) < MIN_OUTCOMES:
        return None
    return fatigue(shown, settings.rank.fatigue_window, settings.clean.session_gap).loss
