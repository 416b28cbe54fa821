"""Rules: what may not be shown is not shown, pins come first, the tired and the not due step back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank.conftest import NOW, Shop, goods
from regulars.core.clock import DAY, MINUTE
from regulars.events.schema import Item, Slate
from regulars.rank.rules import TIRED
from regulars.rank.slates import Filters, Request, slates


def slate(shop: Shop, **wishes: Any) -> Slate:
    [made] = slates([Request(user_key=1, recommendation_id="r", **wishes)], shop.state)
    return made


def names(shop: Shop, **wishes: Any) -> str:
    """The slate as a word: one letter an item."""
    return "".join(item.item_id for item in slate(shop, **wishes).items)


def test_without_any_rule_the_model_decides() -> None:
    assert names(Shop(goods())) == "abcdef"


def test_out_of_stock_deleted_and_unreleased_items_are_not_shown() -> None:
    shop = Shop(goods())
    shop.change(Item(item_id="a", available=False))
    shop.change(Item(item_id="b"), deleted=True)
    shop.change(Item(item_id="c", released_at=NOW + 1))
    shop.change(Item(item_id="d", released_at=NOW))
    assert names(shop) == "def"
    assert names(shop, filters=Filters(in_stock=False)) == "abdef"


def test_excluded_items_are_not_shown() -> None:
    assert names(Shop(goods(), exclude=("b", "unknown")), exclude=("d", "nobody")) == "acef"


def test_disliked_items_and_the_item_looked_at_are_not_shown() -> None:
    shop = Shop(goods())
    shop.did("dislike", "a")
    assert names(shop, item="c") == "bdef"
    [other] = slates([Request(user_key=2, recommendation_id="r")], shop.state)
    assert [item.item_id for item in other.items] == list("abcdef")


def test_pins_come_first_with_certainty() -> None:
    shop = Shop(goods(), pins=("e",), explore="epsilon", epsilon=1.0, explore_positions=10)
    made = slate(shop, pins=("c", "e", "nobody"))
    assert [item.item_id for item in made.items[:2]] == ["e", "c"]
    assert [(item.source, item.propensity) for item in made.items[:2]] == [("pin", 1.0)] * 2
    assert {item.source for item in made.items[2:]} <= {"fixed", "explore"}
    assert sorted(item.item_id for item in made.items) == list("abcdef")
    assert [item.reason.kind for item in made.items[:2]] == ["pin", "pin"]


def test_a_pin_needs_no_model_behind_it_but_is_no_way_round_the_rules() -> None:
    shop = Shop(goods(), candidates=2)
    assert names(shop) == "ab"
    assert names(shop, pins=("f",)) == "fab"
    assert names(shop, pins=("f", "e"), exclude=("f",)) == "eab"
    shop.change(Item(item_id="f", available=False))
    assert names(shop, pins=("f", "b")) == "ba"


def test_more_pins_than_positions() -> None:
    assert names(Shop(goods()), pins=("f", "e", "d"), limit=2) == "fe"


def test_price_band_holds_both_ends_and_unknown_prices_fit_no_band() -> None:
    items = [Item(item_id=name, price=price) for name, price in zip("abcd", (100, 200, 300, None), strict=True)]
    shop = Shop(items)
    assert names(shop, filters=Filters(price_min=200)) == "bc"
    assert names(shop, filters=Filters(price_max=200)) == "ab"
    assert names(shop, filters=Filters(price_min=200, price_max=200)) == "b"
    assert names(shop, filters=Filters(price_min=0)) == "abc"
    assert names(shop) == "abcd"


def test_category_by_name_and_by_path() -> None:
    paths = (("Food", "Tea", "Green"), ("Food", "Coffee"), ("Gifts", "Tea"), ("Teapots",), ())
    shop = Shop([Item(item_id=name, category=path) for name, path in zip("abcde", paths, strict=True)])
    assert names(shop, filters=Filters(category="Tea")) == "ac"
    assert names(shop, filters=Filters(category="Food")) == "ab"
    assert names(shop, filters=Filters(category="Food > Tea")) == "a"
    assert names(shop, filters=Filters(category="Nowhere")) == ""


def test_kind() -> None:
    shop = Shop([Item(item_id="a"), Item(item_id="b", kind="article"), Item(item_id="c", kind="ad")])
    assert names(shop) == "a"
    assert names(shop, filters=Filters(kind="article")) == "b"
    assert names(shop, filters=Filters(kind="")) == "abc"
    assert names(shop, filters=Filters(kind="song")) == ""


@pytest.mark.parametrize(("not_due", "order"), [("off", "abcdef"), ("demote", "bcadef"), ("hide", "bcdef")])
def test_bought_and_not_due_again(not_due: str, order: str) -> None:
    """Item a was bought two days ago and is usually bought every 30."""
    shop = Shop(goods(), not_due=not_due)
    shop.did("purchase", "a", days_ago=2)
    assert sorted(names(shop)) == sorted(order)
    assert (names(shop)[0] == "a") == (not_due == "off")
    assert names(shop).replace("a", "") == "bcdef"


def test_a_hidden_item_is_no_pin() -> None:
    shop = Shop(goods(), not_due="hide")
    shop.did("purchase", "a", days_ago=2)
    made = slate(shop, pins=("a",))
    assert [item.item_id for item in made.items] == list("bcdef")
    assert msgspec.json.decode(msgspec.json.encode(made), type=Slate) == made


def test_due_again_is_not_held_back() -> None:
    shop = Shop(goods(), not_due="hide")
    shop.did("purchase", "a", days_ago=16)  # more than half of 30 days
    assert names(shop) == "abcdef"


def test_shown_again_and_again_without_a_click_steps_back() -> None:
    shop = Shop(goods(), fatigue_after=4)
    shop.show("a", times=3)
    three = slate(shop).items
    scores = {item.item_id: item.score for item in three}
    fresh = {
        item.item_id: item.score for item in slates([Request(user_key=2, recommendation_id="r")], shop.state)[0].items
    }
    assert scores["a"] == pytest.approx(fresh["a"] - 3 * shop.bundle.blend.fatigue, abs=1e-6)
    assert scores["b"] == fresh["b"]
    shop.show("a")
    assert names(shop) == "bcdefa"


def test_a_visit_counts_once_however_often_its_pages_are_loaded() -> None:
    shop, twin = Shop(goods(), fatigue_after=4), Shop(goods(), fatigue_after=4)
    shop.show("a", times=6, apart=MINUTE)
    twin.show("a")
    assert names(shop) == names(twin) == "abcdef"
    shop.show("a", times=6)
    assert names(shop)[-1] == "a"


def test_a_click_and_time_refresh_an_item() -> None:
    shop = Shop(goods(), fatigue_after=4)
    shop.show("a", times=5, days_ago=3)
    assert names(shop)[-1] == "a"
    shop.did("click", "a", days_ago=2)
    assert names(shop) == "abcdef"
    shop.show("b", times=5, days_ago=20)  # beyond the window of 14 days
    assert names(shop) == "abcdef"


def test_the_step_back_can_be_switched_off_what_was_measured_stays() -> None:
    shop, mild = Shop(goods(), fatigue_after=0), Shop(goods(), fatigue_after=30)
    for each in (shop, mild):
        each.show("a", times=30)
    scores, tired = ({item.item_id: item.score for item in slate(each).items} for each in (shop, mild))
    assert scores["a"] == pytest.approx(tired["a"] + TIRED, abs=1e-5)
    assert scores["b"] == tired["b"]


prices = st.one_of(st.none(), st.integers(0, 500))
items = st.builds(
    Item, item_id=st.just("x"), price=prices, available=st.booleans(),
    kind=st.sampled_from(["product", "article", "ad"]),
    released_at=st.sampled_from([None, NOW - DAY, NOW + DAY]),
    category=st.sampled_from([(), ("Food",), ("Food", "Tea"), ("Tea",)]),
)  # fmt: skip


@given(
    catalogue=st.lists(items, min_size=1, max_size=8), low=prices, high=prices, in_stock=st.booleans(),
    kind=st.sampled_from(["", "product", "article"]), category=st.sampled_from(["", "Tea", "Food", "Food > Tea"]),
)  # fmt: skip
def test_filters_equal_a_plain_reading_of_them(
    catalogue: list[Item], low: int | None, high: int | None, in_stock: bool, kind: str, category: str
) -> None:
    named = [msgspec.structs.replace(item, item_id=f"i{place}") for place, item in enumerate(catalogue)]
    hoped = [
        item.item_id for item in named
        if (item.released_at or 0) <= NOW and (item.available or not in_stock) and kind in ("", item.kind)
        and (low is None or (item.price is not None and item.price >= low))
        and (high is None or (item.price is not None and item.price <= high))
        and (not category or category in item.category or " > ".join(item.category).startswith(category))
    ]  # fmt: skip
    filters = Filters(category=category, price_min=low, price_max=high, kind=kind, in_stock=in_stock)
    assert [item.item_id for item in slate(Shop(named), filters=filters).items] == hoped
