from __future__ import annotations

import numpy as np
import pytest

from regulars.core.clock import DAY
from regulars.simulate import presets
from regulars.simulate.catalogue import LEAVES, build_catalogue
from regulars.simulate.world import World


def test_the_opening_catalogue_speaks_both_languages(world: World) -> None:
    changes = world.item_changes()
    assert len(changes) == int((world.catalogue.released <= 0).sum())
    for change in changes:
        item = change.item
        assert item.title.isascii()
        assert item.description.isascii()
        assert not item.properties["title_zh"].isascii()
        assert not item.properties["description_zh"].isascii()
        assert len(item.category) == len(item.properties["category_zh"]) == 2
        assert item.price is not None
        assert item.price > 0
        assert item.released_at is not None
        assert item.released_at <= world.start == change.timestamp


def test_titles_are_distinct() -> None:
    catalogue = World(presets.preset(shoppers=1, items=2500), 0)
    titles = [change.item.title for change in catalogue.item_changes()]
    assert len(set(titles)) == len(titles)


def test_replaying_the_changes_gives_the_stock_of_every_day(world: World) -> None:
    known = {change.item.item_id: change.item for change in world.item_changes()}
    n_changes = 0
    for day in range(1, 40):
        for change in world.item_changes_on(day):
            n_changes += 1
            assert change.timestamp // DAY == world.start // DAY + day
            known[change.item.item_id] = change.item
        stock = world.catalogue.in_stock(day)
        assert {name for name, item in known.items() if item.available} == {
            world.item_ids[idx] for idx in np.flatnonzero(stock).tolist()
        }
    assert n_changes > 20


def test_stock_runs_out_and_returns() -> None:
    preset = presets.preset(outages=0.05, items=120, shoppers=1)
    catalogue = build_catalogue(preset, 1)
    days = np.stack([catalogue.in_stock(day) for day in range(60)], axis=1)[catalogue.released <= 0]
    assert 0.75 < days.mean() < 0.95  # 5 % a day start an outage of 3.5 days on average
    gone = ~days
    assert gone.any()


def test_items_are_come_across_by_fame(world: World) -> None:
    catalogue, n = world.catalogue, 20_000
    draws = (np.arange(n) + 0.5) / n
    for leaf in (0, 17, len(LEAVES) - 1):
        met = catalogue.come_across(np.full(n, leaf, dtype=np.int32), draws)
        inside = slice(int(catalogue.first[leaf]), int(catalogue.first[leaf + 1]))
        share = np.bincount(met, minlength=len(catalogue))[inside] / n
        assert share.sum() == pytest.approx(1.0)
        assert share == pytest.approx(catalogue.fame[inside] / catalogue.fame[inside].sum(), abs=1e-3)
        assert (catalogue.leaf[met] == leaf).all()
