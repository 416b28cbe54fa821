"""The live catalogue: latest change wins, columns in a model's order, patched in place."""

from __future__ import annotations

from typing import Any

import pytest

from regulars.core.data import UNKNOWN_PRICE, IdMap
from regulars.profiles.catalogue import KEPT_VIEWS, Catalogue


def test_columns_are_in_the_models_order_and_follow_changes(shop: Any) -> None:
    catalogue = Catalogue()
    catalogue.apply(shop.changed("a", 0, price=5, category=("tea", "green"), brand="x", kind="ad", released_at=7))
    catalogue.add("bare")
    items = IdMap(["not here", "bare", "a"])
    columns = catalogue.columns(items)
    assert columns.price.tolist() == [UNKNOWN_PRICE, UNKNOWN_PRICE, 5]
    assert columns.available.tolist() == [True, True, True]
    assert columns.released_at.tolist() == [0, 0, 7]
    assert columns.kind.tolist() == [0, 0, catalogue.kind_code("ad")]
    assert [catalogue.categories[idx] for idx in (columns.category_idx[2], columns.top_category_idx[2])] == [
        "tea > green", "tea",
    ]  # fmt: skip
    assert (columns.brand_idx.tolist(), catalogue.brands[0]) == ([-1, -1, 0], "x")
    version = catalogue.version
    catalogue.apply(shop.changed("bare", 1, available=False))
    catalogue.apply(shop.changed("a", 1, deleted=True))
    assert catalogue.version > version
    assert catalogue.columns(items) is columns
    assert columns.available.tolist() == [True, False, False]
    assert catalogue.get("a") is None
    assert catalogue.get("never seen") is None
    assert catalogue.kind_code("robot") == -1


def test_a_late_change_changes_nothing(shop: Any) -> None:
    catalogue = Catalogue()
    catalogue.apply(shop.changed("a", 10, price=5))
    catalogue.apply(shop.changed("a", 9, price=6))
    item = catalogue.get("a")
    assert item is not None
    assert item.price == 5
    catalogue.apply(shop.changed("a", 10, price=7))
    assert catalogue.columns(IdMap(["a"])).price.tolist() == [7]


def test_what_is_out_follows_time_and_changes(shop: Any) -> None:
    catalogue, items = Catalogue(), IdMap(["old", "soon", "later", "never heard of"])
    for item_id, released_at in (("old", 5), ("soon", 20), ("later", 30)):
        catalogue.apply(shop.changed(item_id, 0, released_at=released_at))

    def out(now: int) -> list[bool]:
        found: list[bool] = catalogue.released(items, now).tolist()
        assert found == (catalogue.columns(items).released_at <= now).tolist()
        return found

    assert [sum(out(now)) for now in (10, 19, 20, 29, 30, 10, 4)] == [2, 2, 3, 3, 4, 2, 1]  # and when clocks go back
    assert out(25) == [True, True, False, True]
    catalogue.apply(shop.changed("soon", 1, released_at=40))
    catalogue.apply(shop.changed("later", 1, released_at=21))
    assert out(25) == [True, False, True, True]


def test_views_of_old_models_go(shop: Any) -> None:
    catalogue, maps = Catalogue(), [IdMap(["a"]) for _ in range(KEPT_VIEWS + 2)]
    for items in maps:
        catalogue.columns(items)
    assert len(catalogue._views) == KEPT_VIEWS


def test_a_dataset_and_a_snapshot_keep_everything(shop: Any) -> None:
    rows = shop.numbered([
        shop.changed("a", 0, title="A", price=5, properties={"title_zh": "甲"}),
        shop.changed("b", 0, available=False),
        shop.act(1, "view", "c", 0), shop.act(1, "view", "b", 1), shop.changed("b", 2, deleted=True),
    ])  # fmt: skip
    batch, live = shop.batch(rows).catalogue, shop.live(rows).catalogue
    for catalogue in (batch, live, Catalogue.restore(batch.dump()), Catalogue.restore(live.dump())):
        item = catalogue.get("a")
        assert item is not None
        assert (item.title, item.properties) == ("A", {"title_zh": "甲"})
        assert catalogue.get("b") is None
        bare = catalogue.get("c")
        assert bare is not None
        assert bare.title == ""
        assert catalogue.columns(IdMap(["a", "b", "c"])).available.tolist() == [True, False, True]


def test_price_bands_part_the_catalogue_evenly(shop: Any) -> None:
    catalogue = Catalogue()
    assert catalogue.price_cuts().tolist() == []
    for price in range(1, 101):
        catalogue.apply(shop.changed(f"i{price}", 0, price=price))
    assert catalogue.price_cuts() == pytest.approx([20, 40, 60, 80])
