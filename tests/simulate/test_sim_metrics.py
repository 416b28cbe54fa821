from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regulars.core.arrays import Mask
from regulars.simulate.metrics import Ledger, returned
from regulars.simulate.protocol import DayStats


def days(*visits: int, n_days: int = 60) -> Mask:
    row = np.zeros((1, n_days), dtype=np.bool_)
    row[0, list(visits)] = True
    return row


def test_returned_by_hand() -> None:
    assert returned(days())[0] == 0  # never came
    assert returned(days(10))[0] == 0  # the last visit of one who left
    assert returned(days(10, 17))[0] == pytest.approx(1 / 2)
    assert returned(days(10, 18))[0] == 0
    assert returned(days(50, 55))[0] == 1  # day 55 is only looked at for returns
    assert returned(days(52, 59))[0] == 1
    assert returned(days(0, 3, 20, 21, 22))[0] == pytest.approx(3 / 5)


@given(arrays(np.bool_, st.tuples(st.integers(1, 5), st.integers(1, 30))), st.integers(1, 9))
def test_returned_equals_the_plain_loop(visit: Mask, within: int) -> None:
    expected = []
    for row in visit:
        counted = [day for day in np.flatnonzero(row) if day < visit.shape[1] - within]
        back = [row[day + 1 : day + within + 1].any() for day in counted]
        expected.append(np.mean(back) if back else 0.0)
    assert returned(visit, within=within) == pytest.approx(np.array(expected))


def stats(day: int, shopper: list[int], lost: list[bool]) -> DayStats:
    n = len(shopper)
    ones = np.ones(n, dtype=np.int32)
    return DayStats(
        day=day, shopper=np.array(shopper, dtype=np.int32), slates=2 * ones, clicked_slates=ones, clicks=3 * ones,
        purchases=4 * ones, slate_purchases=ones, spending=np.full(n, 500), lost=np.array(lost, dtype=np.bool_),
        shown=np.arange(10) < day, item_changes=[],
    )  # fmt: skip


def test_the_ledger_adds_up_the_cohort_alone() -> None:
    ledger = Ledger(cohort=3, items=10)
    for day in range(10):
        ledger.add(stats(day, [0, 7], [False, False]) if day else stats(day, [0, 1], [False, True]))
    figures = ledger.figures()
    assert figures.visits.tolist() == [10, 1, 0]
    assert figures.spending.tolist() == [5000, 500, 0]
    assert figures.lost.tolist() == [False, True, False]
    means = figures.means()
    assert means["returned@7"] == pytest.approx(1 / 3)
    assert means["purchases"] == pytest.approx(44 / 3)
    assert means["click_rate"] == pytest.approx(1 / 2)
    assert means["coverage"] == pytest.approx(9 / 10)


def test_an_empty_ledger_has_figures() -> None:
    means = Ledger(cohort=2, items=5).figures().means()
    assert set(means.values()) == {0.0}
