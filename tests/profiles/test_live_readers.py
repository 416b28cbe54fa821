"""What readers of the live state get: histories, what was shown, interests, habits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from regulars.core.clock import DAY, HOUR
from regulars.core.data import IdMap
from regulars.core.errors import SettingError
from regulars.profiles.clockwork import ShopClock


def test_a_history_is_in_the_models_items_and_in_time_order(shop: Any) -> None:
    state = shop.live(shop.numbered([
        shop.act(1, "purchase", "a", 2 * DAY), shop.act(1, "view", "unknown to the model", DAY),
        shop.act(1, "view", "b", 0), shop.told(1, 0, city="x"),
    ]))  # fmt: skip
    items = IdMap(["b", "z", "a"])
    got = state.histories([7, 1], items, shop.T0 + 2 * DAY, ["z", ""])
    assert got.indptr.tolist() == [0, 0, 2]
    assert got.item_idx.tolist() == [0, 2]
    assert got.context_item is not None
    assert got.context_item.tolist() == [1, -1]
    assert list(got.attributes) == [{}, {"city": "x"}]
    halved = 0.15 * 0.5 ** (2 / 180)
    np.testing.assert_allclose(got.user_items.toarray(), [[0, 0, 0], [halved, 0, 1.0]], rtol=1e-5)
    items.add("unknown to the model")
    assert state.histories([1], items, shop.T0).item_idx.tolist() == [0, 3, 2]
    shop.live(shop.numbered([shop.act(1, "view", "z", 3 * DAY)], after=4), start=state)
    assert state.histories([1], items, shop.T0).item_idx.tolist() == [0, 3, 2, 1]


def test_what_friends_took_comes_along(shop: Any) -> None:
    """Of each friend once, whichever of their keys is named; not one's own, nor what the model does not know."""
    rows = shop.numbered([
        shop.act(1, "purchase", "d", 0), shop.act(2, "purchase", "a", 0), shop.act(2, "view", "b", 0),
        shop.act(3, "purchase", "a", 0), shop.act(3, "purchase", "unknown to the model", 0), shop.joined(2, 22, 0),
        shop.told(1, 0, [1, 2, 22, 3, 99]), shop.told(3, 0, [99]),
    ])  # fmt: skip
    items, now = IdMap(["b", "a", "d"]), shop.T0
    for state in (shop.live(rows), shop.batch(rows)):
        got = state.histories([7, 1, 3], items, now).friend_items
        np.testing.assert_allclose(got.toarray(), np.array([[0, 0, 0], [0.15, 2, 0], [0, 0, 0]]), rtol=1e-5)
        assert got.has_canonical_format
        assert state.histories([7, 2, 3], items, now).friend_items is None
        assert state.histories([], items, now).friend_items is None
    data = shop.clean(rows)
    known = data.users.keys.index([1])
    theirs = data.histories(known).friend_items.toarray()[0, data.items.ids.index(["b", "a", "d"])]
    np.testing.assert_allclose(theirs, [0.15, 2.0, 0], rtol=1e-5)
    state = shop.live(shop.numbered([shop.forgotten(3, 5)], after=len(rows)), start=shop.live(rows))
    np.testing.assert_allclose(state.histories([1], items, now).friend_items.toarray(), [[0.15, 1.0, 0]], rtol=1e-5)


def test_pieces_given_back_weigh_nothing(shop: Any) -> None:
    """The order that the refund names first, then the latest purchase before it."""
    bought = [
        shop.act(1, "purchase", "a", 0, quantity=2, order_id="o1"),
        shop.act(1, "purchase", "a", 0, quantity=2, order_id="o2"),
    ]  # fmt: skip
    now, items = shop.T0, IdMap(shop.ITEMS)

    def weight(*refunds: Any) -> float:
        state = shop.live(shop.numbered([*bought, *refunds]))
        return float(state.histories([1], items, now).user_items.sum())

    assert weight() == pytest.approx(2.0)
    assert weight(shop.act(1, "refund", "a", 0, quantity=1, order_id="o1")) == pytest.approx(1.5)
    assert weight(shop.act(1, "refund", "a", 0, quantity=2), shop.act(1, "refund", "a", 0)) == pytest.approx(0.5)
    assert weight(shop.act(1, "refund", "a", 0, quantity=9)) == 0
    assert weight(shop.act(1, "refund", "b", 0, quantity=9)) == pytest.approx(2.0)


def shown(state: Any, shop: Any, now: int) -> dict[str, int]:
    items = IdMap(shop.ITEMS)
    indptr, item_idx, times = state.shown([5, 1], items, shop.T0 + now)
    assert indptr.tolist() == [0, 0, len(item_idx)]
    return {items[idx]: n for idx, n in zip(item_idx.tolist(), times.tolist(), strict=True)}


def test_shown_counts_since_the_last_touch_within_the_window(shop: Any) -> None:
    rows = shop.numbered([
        shop.slate(1, ["a", "b"], 0), shop.slate(1, ["a", "c"], DAY), shop.slate(1, ["a", "not a model's"], 2 * DAY),
        shop.slate(2, ["d"], DAY), shop.act(1, "rating", "c", 3 * DAY),
        *[shop.changed(name, 0) for name in shop.ITEMS],
    ])  # fmt: skip
    state = shop.live(rows)
    assert shown(state, shop, 3 * DAY) == {"a": 3, "b": 1, "c": 1}
    assert shown(state, shop, 14 * DAY) == {"a": 2, "c": 1}  # the window is 14 days
    shop.live(shop.numbered([shop.act(1, "click", "a", DAY)], after=9), start=state)
    assert shown(state, shop, 3 * DAY) == {"a": 1, "b": 1, "c": 1}
    assert shown(shop.batch(rows), shop, 3 * DAY) == {"a": 3, "b": 1, "c": 1}


def test_where_impressions_are_sent_only_they_count(shop: Any) -> None:
    state = shop.live(shop.numbered([
        shop.slate(1, ["a", "b", "c"], 0, "r1"), shop.slate(1, ["a"], 0, "r2"),
        shop.act(1, "impression", "b", 1, recommendation_id="r1"),
        shop.act(1, "impression", "c", 1, recommendation_id="r1"),
        shop.act(8, "impression", "c", 1, recommendation_id="r1"),
    ]))  # fmt: skip
    assert shown(state, shop, DAY) == {"a": 1, "b": 1, "c": 1}


def test_what_is_older_than_the_window_makes_room(shop: Any) -> None:
    state = shop.live(shop.numbered([shop.slate(1, ["a", "b"], day * DAY) for day in range(2000)]))
    assert len(state._shown.rows) < 3000
    assert shown(state, shop, 1999 * DAY + HOUR) == {"a": 14, "b": 14}


def test_interests_are_shares_of_the_decayed_weight(shop: Any) -> None:
    rows = shop.numbered([
        shop.changed("a", 0, category=("tea", "green"), brand="x", tags=("bio",), price=100),
        shop.changed("b", 0, category=("tea",), price=900), shop.act(1, "purchase", "a", 0),
        shop.act(1, "purchase", "b", 30 * DAY),  # the half-life of interests is 30 days
    ])  # fmt: skip
    profile = shop.batch(rows).profile(1, shop.T0 + 30 * DAY)
    assert profile.interests == pytest.approx({
        "category:tea": 1.0, "category:tea > green": 1 / 3, "brand:x": 1 / 3, "tag:bio": 1 / 3, "price:0": 1 / 3,
        "price:2": 2 / 3,
    })  # fmt: skip


def test_habits_and_their_gap(shop: Any) -> None:
    state = shop.live(shop.numbered([
        *[shop.act(1, "purchase", "a", day * DAY, order_id=f"o{day}") for day in (0, 0, 20, 60)],
        shop.act(1, "purchase", "b", DAY, order_id="p"), shop.act(1, "purchase", "c", DAY, order_id="q"),
        shop.act(1, "refund", "c", 2 * DAY),
    ]))  # fmt: skip
    first, second = state.profile(1, shop.T0 + 61 * DAY).habits
    assert (first.item_id, first.orders, first.gap_days, first.due_at) == ("a", 3, 30.0, shop.T0 + 90 * DAY)
    assert (second.item_id, second.orders, second.gap_days, second.due_at) == ("b", 1, None, None)


def test_hours_follow_the_shops_clock_through_a_change_of_time() -> None:
    clock = ShopClock("Europe/Berlin")
    sunday = 1_711_846_800 * 1_000_000  # 2024-03-31 01:00 UTC, when 02:00 becomes 03:00
    assert [clock.hour_of_week(sunday + shift) for shift in (-1, 0)] == [6 * 24 + 1, 6 * 24 + 3]
    both = clock.hours_of_week(np.array([sunday - 1, sunday], dtype=np.int64))
    assert both.tolist() == [6 * 24 + 1, 6 * 24 + 3]
    with pytest.raises(SettingError, match="IANA zone"):
        ShopClock("Europe/Nowhere")
