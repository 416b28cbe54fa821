"""No look into the future: what comes after an instant changes nothing as of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regulars.core.clock import DAY
from regulars.core.data import Dataset
from regulars.events.lake import INTERACTIONS, table_of

Differences = Callable[[Dataset, Dataset], list[str]]
T = 100


def fill_past(shop: Any) -> None:
    shop.item("a", 0, title="Tea", description="green", price=450, available=True)
    shop.item("b", 0, title="Cup", price=900)
    shop.user(1, 0, attributes={"city": "Oslo"}, links=(2,))
    shop.did(1, "purchase", "a", 10, quantity=2, price=450, order_id="o1")
    shop.did(2, "view", "b", 20)
    shop.slate("r1", 1, ["a", "b"], 50)
    shop.did(1, "view", "c", T)


def fill_future(shop: Any) -> None:
    shop.item("a", T + 1, title="Coffee", description="black", price=999, available=False, released_at=T + 1)
    shop.item("b", T + 1, deleted=True)
    shop.item("new", T + 1, price=1)
    shop.user(1, T + 1, attributes={"city": "Bergen"})
    shop.user(3, T + 1, attributes={"city": "Rome"})
    shop.did(1, "refund", "a", T + 1, quantity=2, order_id="o1")
    shop.did(1, "click", "b", T + 1, recommendation_id="r1")
    shop.did(1, "impression", "b", T + 1, recommendation_id="r1")
    shop.did(4, "purchase", "new", T + 2)
    shop.slate("r2", 1, ["b"], T + 2)


def test_a_planted_future_is_not_used(shop: Any, differences: Differences) -> None:
    fill_past(shop)
    before = shop.dataset(as_of=T)
    fill_future(shop)
    after = shop.dataset(as_of=T)
    assert differences(before, after) == []
    assert after.items.price.tolist() == [450, 900, -1]
    assert list(after.items.title) == ["Tea", "Cup", ""]
    assert list(after.items.description) == ["green", "", ""]
    assert after.items.available.tolist() == [True, True, True]
    assert after.items.released_at.tolist() == [0, 0, 0]
    assert after.users.attributes == [{"city": "Oslo"}, {}]
    assert after.interactions.quantity.tolist() == [2, 1, 1]
    assert after.shown.clicked.tolist() == [False, False]
    assert after.as_of == shop.t0 + T
    # the control: the same future is seen once its time has come
    seen = differences(before, shop.dataset(as_of=T + 2))
    for name in ("items.price", "items.title", "items.description", "items.available", "items.released_at"):
        assert name in seen
    assert {"users.attributes", "interactions.quantity", "shown.clicked", "shown.position"} <= set(seen)


def test_the_past_survives_compaction_of_the_future(shop: Any, differences: Differences) -> None:
    fill_past(shop)
    before = shop.dataset(as_of=T)
    fill_future(shop)
    shop.journal.compact()
    assert differences(before, shop.dataset(as_of=T)) == []


def test_of_two_changes_the_later_counts_whatever_came_first(shop: Any) -> None:
    shop.item("a", 30, price=3)
    shop.item("a", 10, price=1)
    shop.item("a", 30, price=4)
    assert shop.dataset(as_of=20).items.price.tolist() == [1]
    assert shop.dataset().items.price.tolist() == [4]


def test_weights_age_until_the_instant(shop: Any) -> None:
    shop.did(1, "purchase", "a", 0)
    for days, share in ((0, 1.0), (180, 0.5), (360, 0.25)):
        np.testing.assert_allclose(shop.dataset(as_of=days * DAY).interactions.weight, [share], rtol=1e-5)


streams = st.lists(
    st.tuples(
        st.integers(1, 4), st.sampled_from(["view", "purchase", "refund", "search", "impression"]),
        st.sampled_from("abc"), st.integers(0, 200), st.integers(1, 3), st.sampled_from(["", "s1", "s2"]),
        st.sampled_from(["", "o1"]),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams, st.integers(0, 200), st.randoms(use_true_random=False))
def test_neither_the_order_of_files_and_rows_nor_the_future_matters(
    shop: Any, clean_from: Callable[..., Any], differences: Differences, tmp_path: Path,
    stream: list[tuple[Any, ...]], cut: int, random: Any,
) -> None:  # fmt: skip
    rows = [
        (offset, 0, shop.event(user, kind, "" if kind == "search" else item, minute * 60_000_000, quantity=pieces,
                               session_id=session, order_id=order))
        for offset, (user, kind, item, minute, pieces, session, order) in enumerate(stream, start=1)
    ]  # fmt: skip
    as_of = shop.t0 + cut * 60_000_000
    past = table_of([row for row in rows if row[2].timestamp <= as_of])
    alone = clean_from([], past).as_of(as_of)

    shuffled = random.sample(rows, len(rows))
    borders = sorted(random.randint(0, len(rows)) for _ in range(2))
    files = []
    for number, part in enumerate((shuffled[: borders[0]], shuffled[borders[0] : borders[1]])):
        files.append(tmp_path / f"{number}.parquet")
        pq.write_table(table_of(part), files[-1])
    cleaning = clean_from(files, table_of(shuffled[borders[1] :]))
    whole, _ = cleaning.whole()
    assert differences(alone, cleaning.as_of(as_of)) == []
    assert differences(whole, cleaning.whole()[0]) == []  # a cut takes nothing from the rows that were read
    assert differences(whole, cleaning.as_of(whole.as_of)) == []


def test_columns_in_another_order_are_read_by_name(shop: Any, clean_from: Callable[..., Any], tmp_path: Path) -> None:
    table = table_of([(1, 0, shop.event(7, "view", "a", 10))])
    backwards = table.select(INTERACTIONS.names[::-1])
    assert isinstance(backwards, pa.Table)
    pq.write_table(backwards, tmp_path / "x.parquet")
    data, _ = clean_from([tmp_path / "x.parquet"], INTERACTIONS.empty_table()).whole()
    assert list(data.users.keys.ids) == [7]
    assert data.interactions.at.tolist() == [shop.t0 + 10]
