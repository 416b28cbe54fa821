"""Rates by hand arithmetic."""

from __future__ import annotations

import math

import pytest

from feedback.conftest import make_decision, make_outcome, showings_of
from regulars.core.errors import InputError
from regulars.events.schema import Outcome
from regulars.feedback.intervals import wilson
from regulars.feedback.reward import rates, rates_by_position


def four_slates() -> list[Outcome]:
    """Slot home: one click and purchase of 300, one view-through, one nothing; slot cart: one click."""
    return [
        make_outcome(make_decision("r1", 1, 1, ["a", "b"]), clicked=("b", "a"), purchased=("b",), revenue=300),
        make_outcome(make_decision("r2", 1, 2, ["a", "b"]), viewed_through=("a",)),
        make_outcome(make_decision("r3", 2, 3, ["b", "a"])),
        make_outcome(make_decision("r4", 2, 4, ["a"], slot="cart", policy="popular"), clicked=("a",)),
    ]


def test_rates_of_each_group() -> None:
    cart, home = rates(four_slates(), by=("slot", "policy"))
    assert cart.group == {"slot": "cart", "policy": "popular"}
    assert (home.slates, home.clicked, home.converted, home.viewed_through) == (3, 1, 1, 1)
    assert home.click_rate == pytest.approx(1 / 3)
    assert home.conversion == pytest.approx(1 / 3)
    assert (home.click_rate_low, home.click_rate_high) == tuple(float(end) for end in wilson(1, 3))
    assert home.revenue == 300
    assert home.revenue_per_thousand == pytest.approx(1000 * 300 / 3)
    # 300, 0, 0: variance ((200)^2 + 2 (100)^2) / 2 = 30,000
    reach = 1000 * 1.959964 * math.sqrt(30_000 / 3)
    assert home.revenue_per_thousand_high == pytest.approx(100_000 + reach, rel=1e-6)
    assert home.revenue_per_thousand_low == 0.0
    assert cart.revenue_per_thousand_high == 0.0
    assert home.row()["slot"] == "home"
    assert "group" not in home.row()


def test_all_together_and_no_outcomes() -> None:
    (only,) = rates(four_slates(), by=())
    assert (only.group, only.slates, only.clicked) == ({}, 4, 2)
    assert rates([]) == []
    assert rates_by_position(showings_of([])) == []


def test_open_and_empty_slates_do_not_count() -> None:
    still_open = make_outcome(make_decision("r5", 1, 5, ["a"]), closed=False, clicked=("a",))
    empty = make_outcome(make_decision("r6", 1, 6, []))
    assert rates([*four_slates(), still_open, empty], by=()) == rates(four_slates(), by=())
    assert rates_by_position(showings_of([*four_slates(), still_open, empty])) == rates_by_position(
        showings_of(four_slates())
    )


def test_rates_by_position() -> None:
    first, second = rates_by_position(showings_of(four_slates()))
    assert (first.position, first.seen, first.clicked) == (0, 4, 2)  # a in r1, a in r4
    assert (second.position, second.seen, second.clicked) == (1, 3, 1)  # b in r1
    assert first.click_rate == 2 / 4
    assert second.row()["click_rate"] == pytest.approx(1 / 3)
    assert (second.click_rate_low, second.click_rate_high) == tuple(float(end) for end in wilson(1, 3))


def test_where_impressions_exist_seen_means_impressed() -> None:
    slates = [
        make_outcome(make_decision("r1", 1, 1, ["a", "b"]), impressed=("a",)),
        make_outcome(make_decision("r2", 1, 2, ["a", "b"])),  # served, never on a screen
        make_outcome(make_decision("r3", 1, 3, ["a", "b"]), clicked=("b",)),  # a click proves it was seen
    ]
    (only,) = rates(slates, by=())
    assert (only.seen_by, only.slates, only.click_rate) == ("impressions", 2, 1 / 2)
    places = rates_by_position(showings_of(slates))
    assert [(each.seen, each.clicked, each.seen_by) for each in places] == [
        (1, 0, "impressions"),
        (1, 1, "impressions"),
    ]


def test_slates_from_before_the_first_impression_count_as_served() -> None:
    before = make_outcome(make_decision("r0", 1, 0, ["a"]))
    after = make_outcome(make_decision("r1", 1, 1, ["a"]), impressed=("a",))
    other_slot = make_outcome(make_decision("r2", 1, 2, ["a"], slot="cart"))
    (only,) = rates([before, after, other_slot], by=())
    assert (only.seen_by, only.slates) == ("mixed", 3)
    assert [each.seen_by for each in rates([before, after, other_slot], by=("slot",))] == ["served", "mixed"]
    assert rates([before])[0].seen_by == "served"


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(InputError, match="by colour"):
        rates([], by=("colour",))
