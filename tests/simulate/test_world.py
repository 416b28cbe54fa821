from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from regulars.simulate import presets
from regulars.simulate.world import World, normals


def worlds_equal(left: World, right: World) -> bool:
    people = all(np.array_equal(getattr(left.shoppers, name), getattr(right.shoppers, name))
                 for name in left.shoppers.__dataclass_fields__)  # fmt: skip
    return people and left.item_changes() == right.item_changes()


def test_a_world_is_a_function_of_preset_and_seed() -> None:
    small = presets.preset(shoppers=50, items=60)
    assert worlds_equal(World(small, 4), World(small, 4))
    assert not worlds_equal(World(small, 4), World(small, 5))


def test_keyed_normals_are_normal() -> None:
    draws = normals(7, np.arange(20_000))
    assert stats.kstest(draws, "norm").pvalue > 1e-6
    assert np.array_equal(draws[5:9], normals(7, np.arange(5, 9)))


@pytest.mark.parametrize("law", ["gamma", "weibull"])
def test_use_up_has_the_households_mean_and_the_laws_spread(law: str) -> None:
    world = World(presets.preset(shoppers=5, items=40, use_up_law=law, use_up_shape=4.0), 0)
    days = np.arange(20_000)
    drawn = world.lasting(2, 0, days) / world.shoppers.use_up[2, 0]
    reference = stats.gamma(4, scale=1 / 4) if law == "gamma" else stats.weibull_min(4, scale=1 / 0.9064025)
    assert drawn.mean() == pytest.approx(1.0, abs=5 * reference.std() / np.sqrt(len(days)))
    assert stats.kstest(drawn, reference.cdf).pvalue > 1e-6


def test_a_periodic_household_keeps_its_rhythm() -> None:
    world = World(presets.preset(shoppers=5, items=40, use_up_law="periodic"), 0)
    beat = float(world.shoppers.use_up[1, 0])
    ends = np.array([day + world.lasting(1, 0, day) for day in range(200)])
    on_beat = np.abs(np.diff(np.unique(np.round(ends, 3))) / beat)
    assert np.allclose(on_beat, np.round(on_beat), atol=1e-2)


def test_taste_is_not_low_rank(world: World) -> None:
    people, items = np.arange(150)[:, None], np.arange(len(world.catalogue))[None, :]
    spectrum = np.linalg.svd(world.taste(people, items, 10), compute_uv=False) ** 2
    assert spectrum[:30].sum() / spectrum.sum() < 0.95


def test_taste_drifts_without_jumps(world: World) -> None:
    people, leaves = np.arange(100)[:, None], np.arange(40)[None, :]
    days = np.stack([world.leaf_taste(people, leaves, day) for day in range(61)])
    steps = np.abs(np.diff(days, axis=0)).max()
    assert steps <= np.sqrt(12) * world.preset.drift / world.preset.drift_days + 1e-5
    assert np.corrcoef(days[0].ravel() - days[30].ravel(), days[0].ravel())[0, 1] > 0.1


def test_topics_switch_at_once_and_stay_between() -> None:
    world = World(presets.preset("other-laws", shoppers=60, items=40), 0)
    people, leaves = np.arange(60)[:, None], np.arange(40)[None, :]
    days = np.stack([world.leaf_taste(people, leaves, day) for day in range(64)])
    changed = (np.diff(days, axis=0) != 0).all(axis=2)
    assert np.array_equal(changed, (np.diff(days, axis=0) != 0).any(axis=2))  # everything, or nothing
    assert 1 <= changed.sum(axis=0).mean() <= 3  # 63 days of about 21; the next topic may be the same


def test_everybody_shares_the_taste_of_the_null_world() -> None:
    world = World(presets.preset("null-taste", shoppers=40, items=60), 0)
    liking = world.taste(np.arange(40)[:, None], np.arange(60)[None, :], 5)
    assert np.allclose(liking, liking[0], atol=1e-6)
    assert not world.shoppers.uses.any()


def test_visits_come_at_the_hours_of_the_day(world: World) -> None:
    people = np.arange(len(world.shoppers), dtype=np.int32)
    hours = np.concatenate([(world.instants(people, day) - world.start) % 86_400_000_000 // 3_600_000_000
                            for day in range(30)])  # fmt: skip
    assert np.isin(hours, [19, 20]).mean() > 5 * np.isin(hours, [2, 3]).mean()
    assert ((world.instants(people, 9) - world.start) // 86_400_000_000 == 9).all()
