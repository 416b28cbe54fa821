"""Every rule of cleaning over a real journal, with the counts that `doctor` shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regulars.core.clock import DAY, MINUTE
from regulars.core.data import CART, KIND, PURCHASE, REFUND, UNKNOWN_PRICE, VIEW, Dataset
from regulars.core.errors import SettingError, StorageError
from regulars.core.settings import Settings
from regulars.events.lake import INTERACTIONS


def rows(data: Dataset) -> list[tuple[int, str, int]]:
    events = data.interactions
    keys = [data.users.keys[idx] for idx in events.user_idx]
    names = [data.items.ids[idx] for idx in events.item_idx]
    return list(zip(keys, names, events.kind.tolist(), strict=True))


def test_an_empty_shop_is_an_empty_dataset(shop: Any) -> None:
    data, report = shop.build()
    assert data.shape == (0, 0)
    assert (data.as_of, len(data.interactions), len(data.shown)) == (0, 0, 0)
    assert (report.rows_in, report.rows_out) == (0, 0)
    assert data.user_items.shape == (0, 0)


def test_rows_stand_by_shopper_and_time_and_ids_in_a_fixed_order(shop: Any) -> None:
    shop.did(9, "view", "b", 30)
    shop.did(4, "purchase", "c", 20, quantity=2, price=150, order_id="o1")
    shop.did(9, "add_to_cart", "a", 10)
    data = shop.dataset()
    assert rows(data) == [(9, "a", CART), (9, "b", VIEW), (4, "c", PURCHASE)]
    assert list(data.users.keys.ids) == [9, 4]  # by first offset
    assert list(data.items.ids.ids) == ["a", "b", "c"]  # by id
    assert data.as_of == shop.t0 + 30
    assert data.interactions.at.tolist() == [shop.t0 + 10, shop.t0 + 30, shop.t0 + 20]
    assert data.interactions.value.tolist() == [0, 0, 2 * 150]
    assert data.interactions.quantity.tolist() == [1, 1, 2]
    assert data.interactions.order_idx.tolist() == [-1, -1, 0]
    np.testing.assert_allclose(data.interactions.weight, [0.4, 0.15, 1.0], rtol=1e-6)
    np.testing.assert_allclose(data.user_items.toarray(), [[0.4, 0.15, 0], [0, 0, 1.0]], rtol=1e-6)


def test_events_at_one_instant_keep_the_journals_order(shop: Any) -> None:
    for item in ("c", "a", "b"):
        shop.did(1, "view", item, 5)
    assert [name for _, name, _ in rows(shop.dataset())] == ["c", "a", "b"]


def test_large_money_is_exact(shop: Any) -> None:
    shop.did(1, "purchase", "a", 1, quantity=3, price=123_456_789_01)
    shop.did(1, "purchase", "a", 2, quantity=0.5, price=3)
    assert shop.dataset().interactions.value.tolist() == [3 * 123_456_789_01, 2]


def test_lake_and_tail_together_are_what_the_tail_alone_was(shop: Any, differences: Callable[..., list[str]]) -> None:
    for step in range(60):
        kind = ["view", "purchase", "refund", "search"][step % 4]
        shop.did(step % 7, kind, "" if kind == "search" else f"i{step % 5}", step * DAY // 4)
    before = shop.dataset()
    assert shop.journal.compact() > 0
    assert differences(before, shop.dataset()) == []
    shop.did(3, "purchase", "i9", 61 * DAY // 4)
    after = shop.dataset()
    assert len(after.interactions) == len(before.interactions) + 1
    assert (3, "i9", PURCHASE) in rows(after)


def test_a_shopper_who_logs_in_is_one_shopper(shop: Any) -> None:
    shop.did(77, "view", "a", 10, session_id="s")
    shop.did(5, "view", "b", 20, session_id="s")
    shop.did(77, "view", "c", 30, session_id="s")
    shop.joined(5, 77, 25)
    shop.user(77, 5, attributes={"city": "Oslo"}, links=(77, 8))
    data, report = shop.build()
    assert rows(data) == [(5, "a", VIEW), (5, "b", VIEW), (5, "c", VIEW)]
    assert data.interactions.session_idx.tolist() == [0, 0, 0]
    assert data.users.attributes == [{"city": "Oslo"}]
    assert data.users.links == [(5, 8)]
    assert report.rule("identities").touched == 2


def test_a_tombstone_takes_all_keys_of_the_shopper_up_to_its_instant(shop: Any) -> None:
    shop.did(1, "view", "a", 10)
    shop.did(77, "view", "b", 20)
    shop.did(1, "view", "c", 40)
    shop.did(2, "view", "d", 10)
    shop.user(1, 5, attributes={"city": "Oslo"})
    shop.slate("r1", 77, ["a"], 15)
    shop.joined(1, 77, 22)
    shop.forget(77, 30)
    data, report = shop.build()
    assert rows(data) == [(1, "c", VIEW), (2, "d", VIEW)]
    assert list(data.items.ids.ids) == ["c", "d"]
    assert data.users.attributes == [{}, {}]
    assert len(data.shown) == 0
    assert (report.rule("tombstones").touched, report.rule("tombstones").dropped) == (2, 2)
    # forgotten is forgotten at every instant
    assert [key for key, _, _ in rows(shop.dataset(as_of=15))] == [2]


def test_two_tombstones_of_one_shopper_reach_to_the_later(shop: Any) -> None:
    shop.did(1, "view", "a", 10)
    shop.did(1, "view", "b", 30)
    shop.forget(1, 40)
    shop.forget(1, 20)
    assert shop.dataset().shape == (0, 0)


def test_searches_and_impressions_are_counted_and_are_no_interactions(shop: Any) -> None:
    shop.did(1, "search", "", 10, text="tea")
    shop.did(1, "impression", "a", 20)
    shop.did(1, "view", "b", 30)
    shop.did(2, "search", "", 40, text="tea")
    data, report = shop.build()
    assert rows(data) == [(1, "b", VIEW)]
    assert list(data.items.ids.ids) == ["b"]
    assert (report.rule("searches").dropped, report.rule("impressions").dropped) == (2, 1)
    assert (report.rows_in, report.rows_out) == (4, 1)
    assert data.as_of == shop.t0 + 40


def test_equal_rows_stay_unless_a_setting_says_otherwise(shop: Any) -> None:
    for at in (10, 10, 10, 20):
        shop.did(1, "purchase", "a", at, quantity=2, order_id="o")
    shop.did(1, "purchase", "a", 10, quantity=2, order_id="o", text="not equal")
    kept, report = shop.build()
    assert len(kept.interactions) == 5
    assert report.rule("duplicates").touched == 0
    data, report = shop.build(drop_duplicates=True)
    assert len(data.interactions) == 3
    assert (report.rule("duplicates").dropped, report.rows_out) == (2, 3)


def test_refunds_take_pieces_and_weight_off_their_purchase(shop: Any) -> None:
    shop.did(1, "purchase", "a", 10, quantity=4, price=100, order_id="o1")
    shop.did(1, "purchase", "a", 20, quantity=1, price=100, order_id="o2")
    shop.did(1, "refund", "a", 30, quantity=2, price=100)
    shop.did(1, "refund", "z", 40)
    data, report = shop.build(half_life="0s")
    events = data.interactions
    assert events.kind.tolist() == [PURCHASE, PURCHASE, REFUND, REFUND]
    assert events.quantity.tolist() == [4 - 1, 0, 2, 1]
    np.testing.assert_allclose(events.weight, [3 / 4, 0, 0, 0], rtol=1e-6)
    assert events.value.tolist() == [400, 100, 200, 0]
    assert data.baskets().toarray().tolist() == [[3, 0]]
    assert data.user_items.toarray().tolist() == [[0.75, 0]]
    assert report.rule("refunds").touched == 2
    assert "1 of them without" in report.rule("refunds").text


def test_a_refund_finds_the_order_it_names(shop: Any) -> None:
    shop.did(1, "purchase", "a", 10, order_id="o1")
    shop.did(1, "purchase", "a", 20, order_id="o2")
    shop.did(1, "refund", "a", 30, order_id="o1")
    events = shop.dataset().interactions
    assert events.quantity.tolist() == [0, 1, 1]
    assert events.order_idx.tolist() == [0, 1, 0]


def test_baskets_are_orders_or_else_sessions(shop: Any) -> None:
    shop.did(1, "purchase", "a", 0, order_id="o1")
    shop.did(1, "purchase", "b", 2 * DAY, order_id="o1")
    shop.did(1, "purchase", "a", 3 * DAY)
    shop.did(1, "purchase", "c", 3 * DAY + MINUTE)
    shop.did(1, "purchase", "c", 3 * DAY + 60 * MINUTE)
    shop.did(2, "purchase", "a", 0, order_id="o1")
    data = shop.dataset()
    assert data.interactions.order_idx.tolist() == [0, 0, 1, 1, 2, 3]
    assert data.baskets().toarray().tolist() == [[1, 1, 0], [1, 0, 1], [0, 0, 1], [1, 0, 0]]


def test_sessions_follow_the_setting(shop: Any) -> None:
    for minute in (0, 20, 45, 80):
        shop.did(1, "view", "a", minute * MINUTE)
    assert shop.dataset().interactions.session_idx.tolist() == [0, 0, 0, 1]
    assert shop.dataset(session_gap="21m").interactions.session_idx.tolist() == [0, 0, 1, 2]


def test_ratings_prices_and_slates_cross_over(shop: Any) -> None:
    shop.did(1, "rating", "a", 10, value=4.5)
    shop.did(1, "click", "a", 20, recommendation_id="r1")
    shop.did(1, "purchase", "a", 30)
    data, report = shop.build()
    np.testing.assert_array_equal(data.interactions.rating, [4.5, np.nan, np.nan])
    assert data.interactions.from_slate.tolist() == [False, True, False]
    assert report.rule("money").touched == 1


def test_every_kind_has_its_code(shop: Any) -> None:
    kinds = [name for name in KIND if name not in ("search", "impression")]
    for at, name in enumerate(kinds):
        shop.did(1, name, "a", at)
    assert shop.dataset().interactions.kind.tolist() == [KIND[name] for name in kinds]


def test_items_have_their_features_and_deleted_ones_stay_only_with_their_events(shop: Any) -> None:
    shop.item("a", 0, title="Tea", description="Green", category=("drinks", "tea"), brand="Leaf", price=450,
              tags=("new",), released_at=shop.t0, kind="article")  # fmt: skip
    shop.item("b", 0, available=False)
    shop.item("c", 0, title="Cup", price=900)
    shop.item("d", 0)
    shop.did(1, "view", "c", 5)
    shop.did(1, "view", "e", 5)
    shop.item("c", 10, deleted=True, title="Cup", price=900)
    shop.item("d", 10, deleted=True)
    items = shop.dataset().items
    assert list(items.ids.ids) == ["a", "b", "c", "e"]
    assert items.available.tolist() == [True, False, False, True]
    assert items.price.tolist() == [450, UNKNOWN_PRICE, 900, UNKNOWN_PRICE]
    assert (items.title[0], items.description[0], items.brand[0]) == ("Tea", "Green", "Leaf")
    assert (items.category[0], items.tags[0], items.kind[0]) == (("drinks", "tea"), ("new",), "article")
    assert items.released_at.tolist() == [shop.t0, 0, 0, 0]
    assert items.title[2] == "Cup"


def test_what_was_served_was_seen_unless_the_shop_says_what_was(shop: Any) -> None:
    for name in "abcd":
        shop.item(name, 0)
    shop.slate("r2", 1, ["c", "b", "gone"], 20)
    shop.slate("r1", 1, ["a", "b", "c"], 10)
    shop.slate("r3", 2, ["d", "a"], 10)
    shop.did(1, "click", "b", 12, recommendation_id="r1")
    shop.did(1, "purchase", "a", 13, recommendation_id="r1")
    shop.did(1, "view", "c", 14)
    shop.did(1, "impression", "c", 21, recommendation_id="r2")
    shown = shop.dataset().shown
    assert shown.user_idx.tolist() == [0, 0, 0, 0, 1, 1]
    assert shown.at.tolist() == [shop.t0 + at for at in (10, 10, 10, 20, 10, 10)]
    assert shown.item_idx.tolist() == [0, 1, 2, 2, 3, 0]
    assert shown.position.tolist() == [0, 1, 2, 0, 0, 1]
    assert shown.clicked.tolist() == [False, True, False, False, False, False]
    assert shown.position.dtype == np.int16


def test_a_click_shows_that_an_item_was_seen(shop: Any) -> None:
    shop.slate("r1", 1, ["a", "b", "c"], 10)
    shop.did(1, "impression", "a", 11, recommendation_id="r1")
    shop.did(1, "view", "b", 12, recommendation_id="r1")
    for name in "abc":
        shop.item(name, 0)
    shown = shop.dataset().shown
    assert shown.position.tolist() == [0, 1]
    assert shown.clicked.tolist() == [False, True]


def test_shoppers_known_only_by_a_change_or_a_slate_have_a_row(shop: Any) -> None:
    shop.slate("r1", 3, ["a"], 10)
    shop.user(2, 5, attributes={"x": 1})
    shop.did(1, "view", "a", 7)
    data = shop.dataset()
    assert list(data.users.keys.ids) == [3, 2, 1]
    assert data.shape == (3, 1)


def test_without_interactions_the_last_record_tells_the_time(shop: Any) -> None:
    shop.item("a", 50)
    shop.user(2, 70)
    data = shop.dataset()
    assert data.as_of == shop.t0 + 70
    assert data.shape == (1, 1)


def test_the_report_adds_up(shop: Any) -> None:
    shop.did(1, "view", "a", 10)
    shop.did(1, "search", "", 20)
    shop.did(2, "view", "a", 30)
    shop.forget(2, 40)
    _, report = shop.build()
    assert report.rows_in - sum(rule.dropped for rule in report.rules) == report.rows_out == 1
    assert report.seconds > 0
    assert len({rule.name for rule in report.rules}) == len(report.rules)
    assert all(rule.text for rule in report.rules)


def test_memory_that_is_no_size_is_refused(shop: Any) -> None:
    with pytest.raises(SettingError, match="memory"):
        shop.build(memory="much")


def test_a_damaged_lake_is_refused_with_a_remedy(tmp_path: Path, clean_from: Callable[..., Any]) -> None:
    broken = tmp_path / "part.parquet"
    broken.write_bytes(b"PAR1 this is none PAR1")
    with pytest.raises(StorageError, match="backup"):
        clean_from([broken], INTERACTIONS.empty_table(), Settings()).whole()


def test_a_damaged_file_of_records_is_named(shop: Any) -> None:
    shop.item("a", at=0)
    shop.journal.compact()
    (file,) = (shop.journal.home / "lake").glob("records/**/*.parquet")
    file.write_bytes(b"PAR1 this is none PAR1")
    with pytest.raises(StorageError, match="Put this file back") as caught:
        shop.build()
    assert str(file) in str(caught.value)
