from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.core.clock import DAY
from regulars.core.errors import InputError
from regulars.simulate import presets
from regulars.simulate.realism import funnel, repeat_gaps, skew
from regulars.simulate.shop import Shop
from regulars.simulate.world import World


def codes(column: pa.ChunkedArray) -> Any:
    return column.combine_chunks().dictionary_encode().indices.to_numpy()


def test_gaps_by_hand() -> None:
    user = np.array([1, 1, 1, 1, 2, 2])
    item = np.array([5, 5, 5, 6, 5, 5])
    at = np.array([0, 0, 10, 3, 1, 5]) * DAY
    gaps = repeat_gaps(user, item, at)  # five purchases by day; repeats after 10 and 4 days
    assert gaps.repeat_share == pytest.approx(2 / 5)
    assert gaps.quartiles == pytest.approx((5.5, 7.0, 8.5))


def test_nobody_repeats() -> None:
    gaps = repeat_gaps(np.array([1, 2]), np.array([1, 1]), np.array([0, DAY]))
    assert gaps.repeat_share == 0
    assert np.isnan(gaps.quartiles).all()


def test_lengths_must_agree() -> None:
    with pytest.raises(InputError, match="wanted 2 rows"):
        repeat_gaps(np.array([1, 2]), np.array([1]), np.array([0, 1]))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_gini_equals_the_mean_difference(counts: list[int]) -> None:
    items = np.repeat(np.arange(len(counts)), counts)
    x = np.array(counts, dtype=float)
    direct = np.abs(x[:, None] - x[None, :]).mean() / (2 * x.mean())
    assert skew(items).gini == pytest.approx(direct, abs=1e-12)


def test_skew_by_hand() -> None:
    items = np.repeat(np.arange(20), [30, 10, *([1] * 18)])
    assert skew(items).top_tenth == pytest.approx(40 / 58)
    assert skew(np.zeros(0, dtype=np.int64)).top_tenth == 0


def test_funnel_counts_pairs_of_buyers() -> None:
    user = np.array([1, 1, 1, 1, 2, 2])
    item = np.array([5, 5, 5, 6, 5, 5])
    kind = np.array(["view", "click", "purchase", "view", "view", "add_to_cart"])
    buyers = funnel(user, item, kind)
    assert (buyers.views, buyers.carts, buyers.purchases) == (2, 0, 1)
    everybody = funnel(user, item, kind, buyers_only=False)
    assert (everybody.views, everybody.carts, everybody.purchases) == (3, 1, 1)
    assert everybody.carts_per_view == pytest.approx(1 / 3)
    assert everybody.purchases_per_cart == 1


@pytest.fixture(scope="module")
def log() -> pa.Table:
    """Three months of a shop without slates."""
    return pa.concat_tables(list(Shop(World(presets.preset(shoppers=250), 0)).history(90)))


def test_popularity_and_repeats_resemble_a_real_shop(log: pa.Table, data_folder: Path) -> None:
    table = pq.read_table(data_folder / "online_retail_0910" / "transactions.parquet")
    table = table.filter(pc.and_(pc.is_valid(table["customer_id"]), pc.greater(table["quantity"], 0)))
    real_skew = skew(codes(table["stock_code"]))
    at = table["invoice_time"].to_numpy().astype("datetime64[us]").astype(np.int64)
    real_gaps = repeat_gaps(table["customer_id"].to_numpy(), codes(table["stock_code"]), at)
    bought = log.filter(pc.equal(log["event_type"], "purchase"))
    user, item = codes(bought["user_id"]), codes(bought["item_id"])
    assert abs(skew(item).gini - real_skew.gini) < 0.15
    assert abs(skew(item).top_tenth - real_skew.top_tenth) < 0.15
    gaps = repeat_gaps(user, item, bought["timestamp"].to_numpy())
    assert abs(gaps.repeat_share - real_gaps.repeat_share) < 0.2


def test_the_funnel_narrows_as_in_a_real_shop(log: pa.Table, data_folder: Path) -> None:
    table = pq.read_table(data_folder / "retailrocket_mb" / "events.parquet")
    names = {"view": "view", "cart": "add_to_cart", "buy": "purchase"}
    kind = np.array([names[name] for name in table["event"].cast(pa.string()).to_pylist()])
    real = funnel(table["user_id"].to_numpy(), table["item_id"].to_numpy(), kind)
    ours = funnel(codes(log["user_id"]), codes(log["item_id"]), np.array(log["event_type"].to_pylist()))
    assert real.carts_per_view / 2.5 < ours.carts_per_view < real.carts_per_view * 2.5
    assert abs(ours.purchases_per_cart - real.purchases_per_cart) < 0.2
