"""Which interactions no slate caused."""

from __future__ import annotations

import numpy as np

from regulars.core.arrays import Mask
from regulars.core.data import CART, CLICK, PURCHASE, Dataset
from regulars.core.settings import FeedbackSettings
from regulars.feedback.joins import Codes, LatestBefore, pair_codes, within


def organic(dataset: Dataset, feedback: FeedbackSettings) -> Mask:
    """Rows of `dataset.interactions` that no slate caused, `(n_rows,)`.

    A slate caused a row that names a recommendation, and one whose item the shopper was shown, and clicked there,
    within the window before it (purchase window for carts and purchases, click window for the rest). A purchase
    between showing and click counts as caused, so what is called organic really is.
    """
    rows, shown = dataset.interactions, dataset.shown
    pairs = pair_codes(rows.user_idx, rows.item_idx, len(dataset.items))
    clicked = _clicked_showings(dataset, pairs, feedback)
    shown_pairs = pair_codes(shown.user_idx, shown.item_idx, len(dataset.items))
    last = LatestBefore(shown_pairs[clicked], shown.at[clicked]).rows(pairs, rows.at)
    window = np.where(np.isin(rows.kind, (CART, PURCHASE)), feedback.purchase_window, feedback.click_window)
    caused = within(last, shown.at[clicked], rows.at, window) >= 0
    return np.asarray(~(rows.from_slate | caused), dtype=np.bool_)


def _clicked_showings(dataset: Dataset, pairs: Codes, feedback: FeedbackSettings) -> Mask:
    """Showings known to be clicked, and the latest ones before clicks that name no recommendation."""
    rows, shown = dataset.interactions, dataset.shown
    clicks = (rows.kind == CLICK) & ~rows.from_slate
    index = LatestBefore(pair_codes(shown.user_idx, shown.item_idx, len(dataset.items)), shown.at)
    window = np.full(int(clicks.sum()), feedback.click_window, dtype=np.int64)
    found = within(index.rows(pairs[clicks], rows.at[clicks]), shown.at, rows.at[clicks], window)
    clicked = shown.clicked.copy()
    clicked[found[found >= 0]] = True
    return clicked
