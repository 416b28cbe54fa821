"""The fold against an Ibis query over the same events: a second way to every number."""

from __future__ import annotations

from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pytest

from regulars.core.clock import DAY, HOUR, MINUTE
from regulars.core.data import EVENT_TYPES, Dataset
from regulars.profiles.live import Live


def random_rows(shop: Any, n: int = 1500) -> Any:
    rng = np.random.default_rng(5)
    kinds = rng.choice(["view", "click", "purchase", "refund", "rating"], n, p=[0.5, 0.1, 0.25, 0.05, 0.1])
    return shop.numbered([
        shop.act(int(user), str(kind), str(item), int(at) * MINUTE, price=int(price), order_id=f"o{at // 600}",
                 quantity=float(pieces))
        for user, kind, item, at, price, pieces in zip(
            rng.integers(1, 40, n), kinds, rng.choice(shop.ITEMS, n), rng.integers(0, 90 * 24 * 60, n),
            rng.integers(1, 900, n), rng.integers(1, 4, n), strict=True,
        )
    ])  # fmt: skip


def by_query(data: Dataset, timezone: str) -> dict[int, dict[str, Any]]:
    events = data.interactions
    columns = {name: getattr(events, name) for name in ("at", "value", "order_idx", "session_idx", "item_idx")}
    table = ibis.memtable(pa.table({
        "user_key": [data.users.keys[idx] for idx in events.user_idx],
        "kind": [EVENT_TYPES[code] for code in events.kind], **columns,
    }))  # fmt: skip
    act, buys = table.kind != "refund", table.kind == "purchase"
    shift = 5 * HOUR + 30 * MINUTE  # Asia/Kolkata, which has no summer time
    assert timezone == "Asia/Kolkata"
    hour = ((table["at"] + shift) // HOUR) % 24
    weekday = ((table["at"] + shift) // DAY + 3) % 7
    sums = {f"h{each}": (act & (hour == each)).sum() for each in range(24)}
    sums |= {f"d{each}": (act & (weekday == each)).sum() for each in range(7)}
    query = table.group_by("user_key").aggregate(
        n_events=act.sum(), first_at=table["at"].min(where=act), last_at=table["at"].max(where=act),
        n_sessions=table.session_idx.nunique(where=act), n_orders=table.order_idx.nunique(where=buys),
        first_order_at=table["at"].min(where=buys), last_order_at=table["at"].max(where=buys),
        monetary=ibis.cases((buys, table.value), (table.kind == "refund", -table.value), else_=0).sum(),
        lines=buys.sum(), items=table.item_idx.nunique(where=buys), **sums,
    )  # fmt: skip
    return {row["user_key"]: row for row in ibis.duckdb.connect().to_pyarrow(query).to_pylist()}


def test_every_statistic_equals_the_query(shop: Any) -> None:
    rows = random_rows(shop)
    data = shop.clean(rows)
    now = data.as_of + DAY
    states = [Live.from_dataset(data, shop.SETTINGS), shop.live(rows)]
    table = by_query(data, shop.SETTINGS.shop.timezone)
    assert len(table) == 39
    for key, row in table.items():
        orders = row["n_orders"]
        gap = (row["last_order_at"] - row["first_order_at"]) / DAY / (orders - 1) if orders > 1 else None
        for state in states:
            profile = state.profile(key, now)
            for name in ("n_events", "n_sessions", "n_orders", "first_at", "last_at", "last_order_at", "monetary"):
                assert getattr(profile, name) == row[name], name
            assert profile.tenure_days == pytest.approx((now - row["first_at"]) / DAY)
            assert profile.days_since_last_order == pytest.approx((now - row["last_order_at"]) / DAY)
            assert profile.order_gap_days == pytest.approx(gap)
            assert profile.exploring == pytest.approx(row["items"] / row["lines"])
            assert profile.hours == pytest.approx([row[f"h{each}"] / row["n_events"] for each in range(24)])
            assert profile.weekdays == pytest.approx([row[f"d{each}"] / row["n_events"] for each in range(7)])


def test_histories_are_those_of_the_dataset(shop: Any) -> None:
    data = shop.clean(random_rows(shop))
    expected = data.histories()
    got = Live.from_dataset(data, shop.SETTINGS).histories(list(data.users.keys.ids), data.items.ids, data.as_of)
    for name in ("indptr", "item_idx", "kind", "at"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
    np.testing.assert_allclose(got.user_items.toarray(), expected.user_items.toarray(), rtol=1e-5)
    assert got.user_items.has_canonical_format
