"""What slates teach: clicks become wishes by position, at their time, and only as far as one may look."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from feedback.conftest import attribution_of, showings_of
from regulars.core.clock import DAY, HOUR
from regulars.core.data import Dataset, IdMap, Items, Users
from regulars.core.settings import Settings
from regulars.events.schema import Decision, Outcome, Reason, SlateItem
from regulars.feedback.lessons import CLICK, MIN_OUTCOMES, MOST_OF_CLICKS, Lessons, lessons
from regulars.feedback.signals import ClickTargets, clicks_as_targets

CUT = 100 * DAY
ITEMS = ("a", "b", "c")


@pytest.fixture
def before() -> Dataset:
    """Shoppers 10, 11 and 12, items a, b and c, known at the cut."""
    plain = Dataset.from_matrix(np.ones((3, 3), dtype=np.float32))
    return replace(plain, as_of=CUT, users=Users(IdMap([10, 11, 12]), [{}] * 3, [()] * 3), items=Items.bare(ITEMS))


def outcome(at: int, clicked: tuple[str, ...] = (), *, user_key: int = 10, closed: bool = False) -> Outcome:
    items = tuple(
        SlateItem(item_id=name, score=0.0, position=place, propensity=1.0, source="ease",
                  reason=Reason(kind="", text=""))
        for place, name in enumerate(ITEMS)
    )  # fmt: skip
    return Outcome(decision=Decision(
        event_id=f"{user_key}-{at}", timestamp=at, user_key=user_key, slot="home", policy="slate", model_version="v",
        settings_hash="", items=items, n_candidates=3,
    ), clicked=clicked, closed=closed)  # fmt: skip


def clicks(*rows: tuple[int, str, int, float, bool]) -> ClickTargets:
    """Rows of (shopper, item, at, examination of the position, clicked)."""
    n = len(rows)
    user_key, item_id, at, examination, clicked = (list(column) for column in zip(*rows, strict=True))
    return ClickTargets(
        slate_idx=np.arange(n), user_key=np.array(user_key), at=np.array(at), item_id=item_id,
        position=np.zeros(n, dtype=np.int64), propensity=np.ones(n),
        examination=np.array(examination, dtype=np.float32), clicked=np.array(clicked),
    )  # fmt: skip


def nothing() -> sp.csr_array:
    return sp.csr_array((3, 3), dtype=np.float32)


def test_a_click_counts_by_how_much_its_position_is_looked_at(before: Dataset) -> None:
    seen = clicks((10, "a", CUT + 1, 1.0, True), (11, "b", CUT + 1, 0.5, True), (12, "c", CUT + 1, 0.01, True),
                  (12, "a", CUT + 1, 1.0, False))  # fmt: skip
    found = Lessons(clicks=seen).wanted(nothing(), before, CUT + DAY).toarray()
    assert found == pytest.approx(np.diag([CLICK, CLICK / 0.5, MOST_OF_CLICKS]))


def test_clicks_come_on_top_of_purchases_and_add_up(before: Dataset) -> None:
    bought = nothing().tolil()
    bought[0, 0] = 1
    seen = clicks((10, "a", CUT + 1, 1.0, True), (10, "a", CUT + 2, 1.0, True))
    assert Lessons(clicks=seen).wanted(sp.csr_array(bought), before, CUT + DAY)[0, 0] == pytest.approx(1 + 2 * CLICK)


def test_only_the_days_after_the_cut_and_what_is_known_there_count(before: Dataset) -> None:
    seen = clicks((10, "a", CUT, 1.0, True), (10, "b", CUT + DAY + 1, 1.0, True), (99, "a", CUT + 1, 1.0, True),
                  (10, "new", CUT + 1, 1.0, True))  # fmt: skip
    assert Lessons(clicks=seen).wanted(nothing(), before, CUT + DAY).nnz == 0
    assert Lessons(clicks=seen).wanted(nothing(), before, CUT + DAY + 1).nnz == 1


def test_without_slates_purchases_stay_as_they_are(before: Dataset) -> None:
    relevant = nothing()
    assert Lessons().wanted(relevant, before, CUT) is relevant
    assert lessons(attribution_of([]), Settings(), CUT) == Lessons()


def test_a_click_counts_once_its_window_has_closed() -> None:
    """A day for clicks, though the purchase window of a week is open."""
    now = CUT + 2 * DAY
    found = lessons(attribution_of([outcome(CUT, ("b",)), outcome(now - 23 * HOUR, ("c",))]), Settings(), now)
    assert found.clicks is not None
    assert [name for name, hit in zip(found.clicks.item_id, found.clicks.clicked, strict=True) if hit] == ["b"]
    assert found.fatigue is None
    assert len(clicks_as_targets(showings_of([outcome(CUT, ("b",))]))) == 0  # still open for purchases


def test_fatigue_is_measured_once_there_are_enough_closed_slates() -> None:
    few = [outcome(CUT + n, ("a",) if n % 3 else (), user_key=n, closed=True) for n in range(MIN_OUTCOMES - 1)]
    more = [*few, outcome(CUT, user_key=5000, closed=True)]
    now = CUT + 30 * DAY
    assert lessons(attribution_of(few), Settings(), now).fatigue is None
    assert lessons(attribution_of(more), Settings(), now).fatigue is not None
