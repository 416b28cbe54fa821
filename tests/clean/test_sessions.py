"""Sessions and baskets against plain Python, and sessions against an Ibis query of windows."""

from __future__ import annotations

from typing import Any

import duckdb
import ibis
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from regulars.clean.sessions import NO_CODE, number_orders, number_sessions
from regulars.core.data import CART, PURCHASE, REFUND

GAP = 30
Rows = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]

streams = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300), st.integers(0, 3)), max_size=60)


def columns(stream: list[tuple[int, int, int]]) -> Rows:
    rows = np.array(sorted(stream, key=lambda row: row[:2]), dtype=np.int64).reshape(-1, 3)
    return rows[:, 0].astype(np.int32), rows[:, 1].copy(), rows[:, 2].copy()


def plain_sessions(user: Any, at: Any, code: Any) -> list[int]:
    last: dict[tuple[int, int], tuple[int, int]] = {}
    numbers, n_sessions = [], 0
    for key, when in zip(zip(user.tolist(), code.tolist(), strict=True), at.tolist(), strict=True):
        if key not in last or when - last[key][0] > GAP:
            last[key] = (when, n_sessions)
            n_sessions += 1
        last[key] = (when, last[key][1])
        numbers.append(last[key][1])
    return numbers


@settings(deadline=None)  # the first example compiles the kernel
@given(streams)
def test_sessions_are_those_of_a_dictionary_of_last_events(stream: list[tuple[int, int, int]]) -> None:
    user, at, code = columns(stream)
    assert number_sessions(user, at, code, GAP).tolist() == plain_sessions(user, at, code)


@settings(max_examples=15, deadline=None)
@given(streams.filter(len))
def test_sessions_are_those_of_a_window_query(stream: list[tuple[int, int, int]]) -> None:
    user, at, code = columns(stream)
    events = pa.table({"user": user, "at": at, "code": code, "row": np.arange(len(at))})
    table = ibis.table(ibis.Schema.from_pyarrow(events.schema), name="events")
    by_id = ibis.window(group_by=["user", "code"], order_by=["at", "row"])
    pause = table.mutate(pause=table["at"] - table["at"].lag().over(by_id))
    starts = pause.mutate(start=(pause.pause.isnull() | (pause.pause > GAP)).cast("int64"))
    runs = starts.mutate(
        run=starts.start.sum().over(ibis.cumulative_window(group_by=["user", "code"], order_by=["at", "row"]))
    )
    query = ibis.to_sql(runs.order_by("row").select("user", "code", "run"), dialect="duckdb")
    with duckdb.connect() as connection:
        connection.register("events", events)
        found = connection.sql(str(query)).to_arrow_table()
    number = number_sessions(user, at, code, GAP)
    triples = [tuple(row.values()) for row in found.to_pylist()]
    assert len(set(zip(triples, number.tolist(), strict=True))) == len(set(triples)) == number.max() + 1


def test_a_given_id_is_kept_through_overlap_and_split_by_a_longer_pause() -> None:
    user = np.zeros(6, dtype=np.int32)
    at = np.array([0, 10, 20, 30, 61, 92], dtype=np.int64)
    code = np.array([7, 8, 7, 8, 8, 7], dtype=np.int64)
    # 7 and 8 overlap; 8 pauses 31 > 30 before 61; 7 pauses 72 before 92
    assert number_sessions(user, at, code, GAP).tolist() == [0, 1, 0, 1, 2, 3]


def test_a_pause_as_long_as_the_gap_does_not_split() -> None:
    user, code = np.zeros(2, dtype=np.int32), np.zeros(2, dtype=np.int64)
    assert number_sessions(user, np.array([0, GAP]), code, GAP).tolist() == [0, 0]
    assert number_sessions(user, np.array([0, GAP + 1]), code, GAP).tolist() == [0, 1]


def test_many_sessions_may_be_open_at_once() -> None:
    n = 50
    user, at = np.zeros(2 * n, dtype=np.int32), np.zeros(2 * n, dtype=np.int64)
    code = np.tile(np.arange(n, dtype=np.int64), 2)
    assert number_sessions(user, at, code, GAP).tolist() == [*range(n), *range(n)]


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([PURCHASE, REFUND, CART]), st.integers(0, 3),
                          st.integers(0, 3)), max_size=40))  # fmt: skip
def test_baskets_are_those_of_a_dictionary(stream: list[tuple[int, int, int, int]]) -> None:
    stream = sorted(stream, key=lambda row: row[0])
    user, kind, code, session = np.array(stream, dtype=np.int64).reshape(-1, 4).T
    known: dict[tuple[int, str, int], int] = {}
    expected = []
    for u, k, c, s in stream:
        basket = (u, "order", c) if c != NO_CODE else (u, "session", s)
        if k == CART or (k == REFUND and c == NO_CODE):
            expected.append(-1)
        else:
            expected.append(known.setdefault(basket, len(known)))
    # order codes are hashes and so never session numbers: keep them apart here too
    codes = np.where(code == NO_CODE, NO_CODE, code + 2**40)
    found = number_orders(user.astype(np.int32), kind.astype(np.int8), codes, session.astype(np.int32))
    assert found.tolist() == expected
