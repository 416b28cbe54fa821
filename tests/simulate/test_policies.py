from __future__ import annotations

import numpy as np

from regulars.core.arrays import Indices
from regulars.simulate import presets
from regulars.simulate.policies import Oracle, Random, looks
from regulars.simulate.protocol import PolicyRequest
from regulars.simulate.shop import Shop
from regulars.simulate.world import World


def request(shop: Shop, shopper: Indices, context: int = -1) -> PolicyRequest:
    return PolicyRequest(
        day=shop.day, slot="home" if context < 0 else "product", limit=10, at=np.zeros(len(shopper), dtype=np.int64),
        shopper=shopper, context_item=np.full(len(shopper), context, dtype=np.int32),
    )  # fmt: skip


def lived_in(days: int = 12) -> Shop:
    shop = Shop(World(presets.preset(shoppers=60, items=80, late_items=0.4), 1))
    for _ in shop.history(days, Random(shop.world)):
        pass
    return shop


def test_the_oracles_liking_is_the_shoppers() -> None:
    shop = lived_in()
    shopper, items = np.arange(60, dtype=np.int32), np.arange(80, dtype=np.int32)
    wanting = shop.state.wanting(shopper[:, None], items[None, :])
    assert np.allclose(Oracle(shop).liking(shopper), wanting, atol=1e-5)
    assert not np.allclose(Oracle(shop, noise=0.5).liking(shopper), wanting, atol=0.1)


def test_looks_are_counted_alike_both_ways() -> None:
    shop = lived_in()
    shopper, items = np.arange(60, dtype=np.int32), np.arange(80, dtype=np.int32)
    counts = looks(shop, shopper)
    assert counts.sum() > 10
    assert np.allclose(counts, shop.state.looks_at(shopper, np.tile(items, (60, 1))), atol=1e-5)


def test_slates_hold_distinct_items_in_stock() -> None:
    shop = lived_in()
    shopper = np.arange(60, dtype=np.int32)
    stock = shop.world.catalogue.in_stock(shop.day)
    for policy in (Random(shop.world), Oracle(shop)):
        slates = policy(request(shop, shopper)).items
        assert slates.shape == (60, 10)
        assert stock[slates].all()
        assert all(len(set(slate)) == 10 for slate in slates.tolist())
        assert policy(request(shop, shopper[:0])).items.shape == (0, 10)


def test_the_oracle_answers_what_is_looked_at() -> None:
    shop = lived_in()
    shopper = np.arange(60, dtype=np.int32)
    goods = shop.world.catalogue
    context = int(np.flatnonzero(goods.released <= 0)[0])
    kin = {int(goods.leaf[context]), int(goods.complement[goods.leaf[context]])}

    def related(slates: Indices) -> float:
        return float(np.isin(goods.leaf[slates], list(kin)).mean())

    oracle = Oracle(shop)
    assert related(oracle(request(shop, shopper, context)).items) > related(oracle(request(shop, shopper)).items)
