"""Organic interactions: those that no slate caused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regulars.core.clock import DAY, HOUR
from regulars.core.data import CART, CLICK, KIND, PURCHASE, Dataset, IdMap, Interactions, Items, Shown, Users
from regulars.core.settings import FeedbackSettings
from regulars.feedback.organic import organic

WINDOWS = FeedbackSettings()
LATER = 30 * DAY


def dataset(rows: Sequence[tuple[int, int, int, int, bool]], shown: Sequence[tuple[int, int, int, bool]]) -> Dataset:
    """Rows (user, item, kind, at, from_slate) and showings (user, item, at, clicked)."""
    user, item, kind, at, from_slate = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    ones, none = np.ones(n, dtype=np.float32), np.full(n, -1, dtype=np.int32)
    seen = np.array(shown, dtype=np.int64).reshape(-1, 4)
    return Dataset(
        as_of=LATER,
        users=Users(IdMap(range(2)), [{}] * 2, [()] * 2),
        items=Items.bare("abc"),
        interactions=Interactions(
            user_idx=user.astype(np.int32), item_idx=item.astype(np.int32), kind=kind.astype(np.int8),
            at=at.astype(np.int64), weight=ones, quantity=ones, value=np.zeros(n, dtype=np.int64), rating=ones,
            session_idx=none, order_idx=none, from_slate=from_slate.astype(np.bool_),
        ),
        shown=Shown(
            seen[:, 0].astype(np.int32), seen[:, 1].astype(np.int32), seen[:, 2],
            np.zeros(len(seen), dtype=np.int16), seen[:, 3].astype(np.bool_),
        ),
    )  # fmt: skip


def test_organic_rows_are_those_no_slate_caused() -> None:
    rows = [
        (0, 0, PURCHASE, 2 * DAY, False),  # shown and clicked two days before
        (0, 0, PURCHASE, 9 * DAY, False),  # the same, nine days before
        (0, 0, CLICK, HOUR, False),  # clicked in the slate
        (0, 0, CLICK, 2 * DAY, False),  # a click has one day
        (0, 0, CART, 2 * DAY, False),
        (0, 1, PURCHASE, DAY, False),  # shown, never clicked
        (0, 2, PURCHASE, DAY, False),  # never shown
        (0, 2, PURCHASE, DAY, True),  # names a slate
        (1, 0, PURCHASE, DAY, False),  # shown to another shopper
        (0, 0, KIND["view"], 20 * DAY, False),
    ]
    found = organic(dataset(rows, [(0, 0, 0, True), (0, 1, 0, False)]), WINDOWS)
    assert found.tolist() == [False, True, False, True, False, True, True, False, True, True]


def test_a_click_that_names_no_slate_still_shows_what_a_slate_caused() -> None:
    rows = [
        (0, 0, CLICK, HOUR, False),  # on what was shown an hour before
        (0, 0, PURCHASE, 2 * HOUR, False),
        (0, 1, CLICK, 2 * DAY, False),  # shown two days before: found some other way
        (0, 1, PURCHASE, 2 * DAY + HOUR, False),
    ]
    found = organic(dataset(rows, [(0, 0, 0, False), (0, 1, 0, False)]), WINDOWS)
    assert found.tolist() == [False, False, True, True]


def test_without_slates_everything_is_organic_but_what_names_one() -> None:
    rows = [(0, 0, PURCHASE, 0, False), (1, 1, PURCHASE, 0, True)]
    assert organic(dataset(rows, []), WINDOWS).tolist() == [True, False]
