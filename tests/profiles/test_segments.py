"""Segments by fifths of the buyers, and the profile in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.core.clock import DAY, HOUR
from regulars.core.settings import ShopSettings
from regulars.profiles.describe import describe
from regulars.profiles.fold import STATE
from regulars.profiles.segments import SEGMENTS, CutPoints, cut_points, segment


@pytest.mark.parametrize(
    ("days", "orders", "name"),
    [(1, 9, "champions"), (40, 9, "loyal"), (3, 3, "loyal"), (3, 2, "promising"), (3, 1, "new"), (100, 9, "at risk"),
     (200, 9, "at risk"), (50, 1, "sleeping"), (100, 1, "sleeping"), (200, 1, "lost"), (None, 0, "visitor")],
)  # fmt: skip
def test_plain_names(days: float | None, orders: int, name: str) -> None:
    assert segment(days, orders, 0, CutPoints()) == name


@given(st.none() | st.floats(0, 1e4), st.integers(1, 100), st.integers(-100, 10**6))
def test_everybody_has_one_of_the_names(days: float | None, orders: int, monetary: int) -> None:
    cuts = CutPoints(monetary=(1.0, 10.0, 100.0, 1000.0))
    assert segment(days, orders, monetary, cuts) in SEGMENTS


def test_cut_points_part_the_buyers_into_fifths() -> None:
    states = np.zeros(150, dtype=STATE)
    states["n_orders"][:100] = np.arange(1, 101)
    states["last_order_at"] = -np.arange(150) * DAY
    states["monetary"] = np.arange(150) * 10
    cuts = cut_points(states, 0)
    assert list(cuts.orders) == [20, 40, 60, 80]
    assert list(cuts.days_since_last_order) == [19, 39, 59, 79]
    assert list(cuts.monetary) == [190, 390, 590, 790]
    assert cut_points(states[100:], 0) == CutPoints()


GOLDEN = """\
segment    promising
known for  21 days, since 2024-10-04
last seen  2024-10-24, 1 day ago
visits     3, with 4 actions
comes      mostly in the afternoon (100%), most on Thursday (50%)
orders     2, one every 20 days, the last 1 day ago
spent      EUR 23.50
style      mixes new and known things (67% of purchases were first ones of the item)
interests  tea 60%, tea > green 60%
brands     x 60%
buys       Green tea: 2 times, every 20 days, due again 2024-11-13
           b: 1 time
city       Xi'an
"""


def test_a_profile_in_words(shop: Any) -> None:
    state = shop.live(shop.numbered([
        shop.changed("a", 0, title="Green tea", category=("tea", "green"), brand="x"),
        shop.act(1, "purchase", "a", 0, price=1000, order_id="o1"), shop.act(1, "view", "b", 3 * HOUR),
        *[shop.act(1, "purchase", item, 20 * DAY, price=675, order_id="o2") for item in "ab"],
        shop.told(1, 0, city="Xi'an"),
    ]))  # fmt: skip
    settings = ShopSettings(currency="EUR", timezone="Asia/Kolkata")
    text = describe(state.profile(1, shop.T0 + 21 * DAY), state.catalogue, settings)
    assert text == GOLDEN
    nobody = describe(state.profile(5, shop.T0), state.catalogue, settings)
    assert nobody == "segment    visitor: nothing is known yet\n"
