from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from regulars.core.data import EVENT_TYPES
from regulars.simulate import presets
from regulars.simulate.log import SCHEMA
from regulars.simulate.policies import Random
from regulars.simulate.presets import PRESETS
from regulars.simulate.protocol import PolicyAnswer, PolicyRequest
from regulars.simulate.shop import Shop
from regulars.simulate.world import World

Runs = Callable[..., Any]
BEHAVIOUR = ("user_id", "event_type", "item_id", "timestamp", "quantity", "order_id")


def only(log: pa.Table, *kinds: str) -> pa.Table:
    return log.filter(pc.is_in(log["event_type"], pa.array(kinds)))


def organic(log: pa.Table) -> pa.Table:
    """What shoppers did, clicks on slates apart."""
    return log.filter(pc.not_equal(log["event_type"], "click")).select(list(BEHAVIOUR))


def played(shop: Shop, days: int) -> pa.Table:
    return pa.concat_tables(list(shop.history(days, Random(shop.world))))


def test_the_same_seed_gives_the_same_log() -> None:
    small = presets.preset(shoppers=80, items=60)
    first, again, other = (played(Shop(World(small, seed)), 12) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_fork_goes_on_alike_and_apart() -> None:
    shop = Shop(World(presets.preset(shoppers=80, items=60), 1))
    played(shop, 5)
    twin = shop.fork()
    assert played(shop, 8).equals(played(twin, 8))
    third = shop.fork()
    before = third.state.due.copy()
    played(shop, 5)
    assert np.array_equal(third.state.due, before)
    assert (third.day, shop.day) == (13, 18)


def test_the_log_is_in_our_own_layout(runs: Runs) -> None:
    log = runs("random").log
    assert log.schema == SCHEMA
    assert set(log["event_type"].unique().to_pylist()) <= set(EVENT_TYPES)
    assert pc.count_distinct(log["event_id"]).as_py() == len(log)
    bought = only(log, "purchase")
    assert bought["price"].null_count == 0
    assert "" not in bought["order_id"].to_pylist()
    assert only(log, "rating")["value"].null_count == 0
    assert set(only(log, "refund")["order_id"].to_pylist()) <= set(bought["order_id"].to_pylist())
    clicks = only(log, "click")
    assert clicks["position"].null_count == 0
    assert set(clicks["slot"].to_pylist()) == {"home", "product"}


def test_without_a_policy_nobody_sees_a_slate(runs: Runs) -> None:
    run = runs("none")
    assert sum(int(day.slates.sum()) for day in run.stats) == 0
    assert len(only(run.log, "click")) == 0
    assert len(only(run.log, "purchase")) > 500


@pytest.mark.parametrize("name", PRESETS)
def test_nothing_is_seen_that_is_not_there(name: str) -> None:
    shop = Shop(World(presets.preset(name, shoppers=60, items=60, outages=0.05, late_items=0.5), 2))
    stamp = shop.world.start
    for day, table in enumerate(shop.history(15, Random(shop.world))):
        stock = shop.world.catalogue.in_stock(day)
        seen = only(table, "view", "click", "add_to_cart", "purchase")
        assert stock[shop.world.catalogue.ids.index(seen["item_id"].to_pylist())].all()
        times = table["timestamp"].to_numpy()
        assert ((times - stamp) // 86_400_000_000 - day <= 1).all()  # a visit may run past midnight
        assert (times >= stamp + day * 86_400_000_000).all()


def test_policies_meet_the_same_shoppers(runs: Runs) -> None:
    """On the first day, before any slate had a consequence, all do the same by themselves up to the slate."""
    left, right = (organic(only(runs(policy).log, "view")) for policy in ("random", "popular"))
    first_day = World(presets.preset(), 0).start + 86_400_000_000

    def searches(views: pa.Table) -> pa.Table:
        return views.filter(pc.less(views["timestamp"], first_day))

    assert searches(left).equals(searches(right))
    assert len(searches(left)) > 100
    assert not left.equals(right)


def test_visitors_see_their_home_slate_first_and_the_shop_tells_before_it_asks_again() -> None:
    shop = Shop(World(presets.preset(shoppers=80, items=60), 1))
    policy = Random(shop.world)
    order: list[tuple[str, int]] = []

    def ask(request: PolicyRequest) -> PolicyAnswer:
        order.append((request.slot, len(request)))
        assert ((request.context_item >= 0) == (request.slot == "product")).all()
        return policy(request)

    shop.step(ask, lambda table: order.append(("record", len(table))))
    assert [name for name, _ in order] == ["home", "record", "product", "record"]
    assert order[2][1] <= order[0][1]


def test_recommendation_ids_come_back_with_what_followed() -> None:
    shop = Shop(World(presets.preset(shoppers=200, items=60), 1))
    policy, shown = Random(shop.world), {}

    def ask(request: PolicyRequest) -> PolicyAnswer:
        slates = policy(request).items
        names = [f"{request.slot}-{request.day}-{shopper}" for shopper in request.shopper]
        for name, items, shopper in zip(names, slates, request.shopper, strict=True):
            shown[name] = (shop.world.shopper_ids[shopper], [shop.world.item_ids[item] for item in items])
        return PolicyAnswer(slates, names)

    tables: list[pa.Table] = []
    for _ in range(10):
        shop.step(ask, tables.append)
    rows = [row for row in pa.concat_tables(tables).to_pylist() if row["recommendation_id"]]
    assert {row["event_type"] for row in rows} == {"click", "add_to_cart", "purchase"}
    for row in rows:
        user, items = shown[row["recommendation_id"]]
        assert row["user_id"] == user
        assert items[row["position"]] == row["item_id"]
        assert row["recommendation_id"].startswith(row["slot"])


def test_an_empty_slate_is_no_slate() -> None:
    shop = Shop(World(presets.preset(shoppers=60, items=60), 1))

    def nothing(request: PolicyRequest) -> PolicyAnswer:
        return PolicyAnswer(np.full((len(request), request.limit), -1, dtype=np.int32), [""] * len(request))

    silent = shop.fork()
    for _ in range(10):
        told: list[pa.Table] = []
        day = shop.step(nothing, told.append)
        assert day.slates.sum() == 0
        assert not day.shown.any()
        assert pa.concat_tables(told).equals(next(silent.history(1)))


@pytest.mark.parametrize("policy", ["random", "popular", "oracle"])
def test_slates_change_nothing_where_they_have_no_effect(runs: Runs, policy: str) -> None:
    silent, run = runs("none", "null-effect"), runs(policy, "null-effect")
    assert run.figures.clicked_slates.sum() > 100  # clicks there are
    assert np.array_equal(silent.figures.returned_at_7, run.figures.returned_at_7)
    assert np.array_equal(silent.figures.spending, run.figures.spending)
    assert organic(silent.log).equals(organic(run.log))


def test_the_same_slates_matter_in_the_default_world(runs: Runs) -> None:
    """The negative control of the test above."""
    assert not np.array_equal(runs("none").figures.returned_at_7, runs("random").figures.returned_at_7)
    assert not organic(runs("none").log).equals(organic(runs("random").log))


def gap(runs: Runs, name: str, better: str, worse: str) -> tuple[float, float]:
    """Mean and standard error of a paired difference in returned@7 over shoppers."""
    difference = runs(better, name).figures.returned_at_7 - runs(worse, name).figures.returned_at_7
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))


def test_nobody_wins_where_all_share_one_taste(runs: Runs) -> None:
    mean, error = gap(runs, "null-taste", "whim", "popular")
    assert abs(mean) < 3.5 * error
    assert error < 0.03
    lost, error = gap(runs, "default", "whim", "popular")  # the negative control: here a whim is worse
    assert lost < -3.5 * error


def test_more_truth_brings_more_shoppers_back(runs: Runs) -> None:
    def back(policy: str, noise: float = 0.0) -> float:
        return float(runs(policy, noise=noise).figures.returned_at_7.mean())

    ladder = [back("random"), back("popular"), back("oracle", 2.5), back("oracle")]
    assert ladder == sorted(ladder)
    assert ladder[-1] - ladder[1] > 0.1
    assert ladder[1] - ladder[0] > 0.02


@pytest.mark.parametrize(
    "name", ["default", *(pytest.param(name, marks=pytest.mark.slow) for name in PRESETS if name != "default")]
)
def test_at_least_half_of_the_purchases_need_no_slate(runs: Runs, name: str) -> None:
    """Even under the oracle, which sells most from slates."""
    days = runs("oracle", name).stats
    bought = sum(int(day.purchases.sum()) for day in days)
    assert sum(int(day.slate_purchases.sum()) for day in days) <= bought / 2


def test_the_books_agree_with_the_log(runs: Runs) -> None:
    run = runs("popular")
    bought = only(run.log, "purchase")
    spending = bought["price"].to_numpy() * bought["quantity"].to_numpy()
    assert sum(int(day.spending.sum()) for day in run.stats) == spending.sum()
    assert sum(int(day.purchases.sum()) for day in run.stats) == len(bought)
    assert sum(int(day.clicks.sum()) for day in run.stats) == len(only(run.log, "click"))


def test_who_is_lost_never_comes_back(runs: Runs) -> None:
    gone: set[int] = set()
    for day in runs("random").stats:
        assert not gone & set(day.shopper.tolist())
        gone |= set(day.shopper[day.lost].tolist())
    assert gone


def test_new_shoppers_arrive(runs: Runs) -> None:
    days = runs("random").stats
    assert (days[0].shopper < 250).all()
    assert len({shopper for day in days for shopper in day.shopper.tolist() if shopper >= 250}) > 12


def test_the_hidden_truth_is_in_no_column(runs: Runs) -> None:
    """No hidden number is a column of log or catalogue, nor an exact function of the means of one."""
    run = runs("random")
    world, log = run.shop.world, run.log
    hidden = {
        "quality",
        "fame",
        "use_up",
        "uses",
        "due",
        "mood",
        "patience",
        "loyalty",
        "novelty",
        "price_sense",
        "gap",
    }
    record = {name for change in world.item_changes() for name in change.item.properties}
    assert not hidden & (set(SCHEMA.names) | record)
    assert record == {"title_zh", "description_zh", "category_zh", "brand_zh"}
    people = np.array([int(name[1:]) for name in log["user_id"].to_pylist()])
    items = world.catalogue.ids.index(log["item_id"].to_pylist())
    columns = [log[name].to_numpy() for name in ("quantity", "price", "value", "position", "timestamp")]
    for truth in ("quality", "fame"):
        for column in [*columns, np.ones(len(log))]:
            assert exactness(items, column, getattr(world.catalogue, truth)) < 0.999
    for truth in ("price_sense", "novelty", "gap", "patience", "loyalty"):
        for column in [*columns, np.ones(len(log))]:
            assert exactness(people, column, getattr(world.shoppers, truth)) < 0.999
    assert exactness(items, columns[1], world.catalogue.price) > 0.999  # the control: what is public is found


def exactness(owner: Any, column: Any, truth: Any) -> float:
    """Absolute rank correlation of a truth with the sum and the mean of a column by owner, the higher one."""
    known = ~np.isnan(column.astype(np.float64))
    sums = np.bincount(owner[known], column[known], minlength=len(truth))
    counts = np.bincount(owner[known], minlength=len(truth))
    there = counts > 0

    def ranks(values: Any) -> Any:
        return np.unique(values[there], return_inverse=True)[1]

    pairs = [np.corrcoef(ranks(value), ranks(truth))[0, 1] for value in (sums, sums / np.maximum(counts, 1))
             if np.ptp(value[there]) > 0]  # fmt: skip
    return float(np.max(np.abs(pairs), initial=0.0))
