"""Containers: ids stay, matrices and histories hold exactly what the events say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from regulars.core.data import (
    CART,
    EVENT_TYPES,
    KIND,
    PIECE,
    PURCHASE,
    VIEW,
    Dataset,
    Histories,
    IdMap,
    Interactions,
    Items,
)
from regulars.core.errors import InputError

N_USERS, N_ITEMS = 4, 5
MATRICES = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 5), st.integers(1, 6)), elements=st.sampled_from([0.0, 0.0, 0.5, 1.0, 4.0])
)
# (user, item, kind, order, quantity, instant)
EVENTS = st.lists(
    st.tuples(
        st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1), st.sampled_from([VIEW, CART, PURCHASE]),
        st.integers(-1, 6), st.sampled_from([0.0, 1.0, 2.5]), st.integers(0, 100),
    ),
    max_size=30,
)  # fmt: skip
Event = tuple[int, int, int, int, float, int]


def dataset_of(events: list[Event]) -> Dataset:
    """A view weighs nothing, a cart 0.5, a purchase 1."""
    events.sort(key=lambda event: (event[0], event[5]))
    columns = list(zip(*events, strict=True)) if events else [()] * 6
    user, item, kind, order = (np.array(column, dtype=np.int32) for column in columns[:4])
    n = len(events)
    rows = Interactions(
        user_idx=user, item_idx=item, kind=kind.astype(np.int8), at=np.array(columns[5], dtype=np.int64),
        weight=np.where(kind == VIEW, 0, np.where(kind == CART, 0.5, 1)).astype(np.float32),
        quantity=np.array(columns[4], dtype=np.float32), value=np.zeros(n, dtype=np.int64),
        rating=np.full(n, np.nan, dtype=np.float32), session_idx=order, order_idx=order,
        from_slate=np.zeros(n, dtype=np.bool_),
    )  # fmt: skip
    return replace(Dataset.from_matrix(np.zeros((N_USERS, N_ITEMS))), interactions=rows)


@given(st.lists(st.text(max_size=3)))
def test_ids_keep_their_index(names: list[str]) -> None:
    ids: IdMap[str] = IdMap()
    given_out = [ids.add(name) for name in names]
    distinct = list(dict.fromkeys(names))
    assert list(ids.ids) == distinct
    assert len(ids) == len(distinct)
    assert given_out == [distinct.index(name) for name in names]
    assert all(ids[ids.get(name)] == name and name in ids for name in names)


def test_unknown_ids() -> None:
    ids = IdMap(["a", "b"])
    assert ids.index(["b", "x", "a"], on_unknown="skip").tolist() == [1, -1, 0]
    assert ids.index([]).dtype == np.int32
    assert (ids.get("x"), ids.get("x", 7), "x" in ids) == (-1, 7, False)
    with pytest.raises(InputError, match="IdMap: got 2 unknown ids"):
        ids.index(["x", "a", "y"])
    with pytest.raises(InputError, match="an id twice"):
        IdMap(["a", "b", "a"])


@pytest.mark.parametrize("n", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE])
def test_ids_in_pieces(n: int) -> None:
    ids = IdMap(range(10, n + 10))
    assert ids.index(iter(range(n + 9, 8, -1)), on_unknown="skip").tolist() == list(range(n - 1, -2, -1))
    with pytest.raises(InputError, match="an id twice"):
        IdMap([*range(n), 0])


def test_kinds_are_stored_by_number_so_their_order_is_for_ever() -> None:
    assert EVENT_TYPES[:6] == ("view", "click", "add_to_cart", "remove_from_cart", "purchase", "refund")
    assert [KIND[name] for name in EVENT_TYPES] == list(range(len(EVENT_TYPES)))


@given(EVENTS)
def test_matrix_by_a_plain_loop(events: list[Event]) -> None:
    data = dataset_of(events)
    weights, purchases = np.zeros((2, N_USERS, N_ITEMS))
    for user, item, kind, *_ in events:
        weights[user, item] += {VIEW: 0.0, CART: 0.5, PURCHASE: 1.0}[kind]
        purchases[user, item] += kind == PURCHASE
    np.testing.assert_allclose(data.user_items.toarray(), weights)
    np.testing.assert_array_equal(data.matrix(PURCHASE, count=True).toarray(), purchases)
    assert data.matrix(VIEW).nnz == 0  # weight 0 is no sign of liking
    assert data.user_items.has_canonical_format


@given(EVENTS)
def test_baskets_by_a_plain_loop(events: list[Event]) -> None:
    wanted: dict[int, NDArray[np.float64]] = {}
    for _, item, kind, order, quantity, _ in events:
        if kind == PURCHASE and order >= 0 and quantity > 0:
            wanted.setdefault(order, np.zeros(N_ITEMS))[item] += quantity
    found = dataset_of(events).baskets()
    assert found.shape == (len(wanted), N_ITEMS)
    np.testing.assert_allclose(found.toarray(), [wanted[order] for order in sorted(wanted)] or np.zeros((0, N_ITEMS)))


@given(EVENTS, st.lists(st.integers(0, N_USERS - 1), max_size=6))
def test_histories_are_each_users_own_events(events: list[Event], users: list[int]) -> None:
    data = dataset_of(events)
    histories = data.histories(np.array(users, dtype=np.int32))
    assert len(histories) == len(users)
    for row, user in enumerate(users):
        mine = slice(histories.indptr[row], histories.indptr[row + 1])
        got = list(zip(histories.item_idx[mine], histories.kind[mine], histories.at[mine], strict=True))
        assert got == [(item, kind, at) for u, item, kind, _, _, at in events if u == user]
        np.testing.assert_array_equal(histories.user_items.toarray()[row], data.user_items.toarray()[user])
    everyone = data.histories()
    assert len(everyone) == N_USERS
    assert everyone.indptr[-1] == len(events)


@given(EVENTS, st.integers(0, N_USERS), st.integers(0, N_USERS))
def test_rows_of_histories(events: list[Event], start: int, stop: int) -> None:
    start, stop = min(start, stop), max(start, stop)
    data = dataset_of(events)
    whole = replace(
        data.histories(), context_item=np.arange(N_USERS, dtype=np.int32), attributes=[{"n": 1}] * N_USERS
    )
    part, wanted = whole.rows(start, stop), data.histories(np.arange(start, stop, dtype=np.int32))
    assert len(part) == stop - start == len(part.attributes)
    for field in ("indptr", "item_idx", "kind", "at"):
        np.testing.assert_array_equal(getattr(part, field), getattr(wanted, field))
    np.testing.assert_array_equal(part.user_items.toarray(), wanted.user_items.toarray())
    assert part.context_item is not None
    assert part.context_item.tolist() == list(range(start, stop))
    assert data.histories().rows(start, stop).context_item is None


LINKS = st.lists(st.lists(st.sampled_from((*range(N_USERS), 99)), max_size=4), min_size=N_USERS, max_size=N_USERS)


@given(EVENTS, LINKS, st.lists(st.integers(0, N_USERS - 1), max_size=6))
def test_what_friends_took_by_a_plain_loop(events: list[Event], links: list[list[int]], users: list[int]) -> None:
    """A link counts once; one to oneself, or to somebody who is not here, counts nothing."""
    data = dataset_of(events)
    linked = replace(data, users=replace(data.users, links=[tuple(mine) for mine in links]))
    weights = data.user_items.toarray()
    wanted = np.zeros((len(users), N_ITEMS))
    for row, user in enumerate(users):
        for friend in set(links[user]) - {user, 99}:
            wanted[row] += weights[friend]
    found = linked.histories(np.array(users, dtype=np.int32))
    assert (found.friend_items is None) == (not wanted.any())
    if found.friend_items is not None:
        np.testing.assert_allclose(found.friend_items.toarray(), wanted, rtol=1e-6)
        assert found.friend_items.has_canonical_format
        part = found.rows(1, len(users)).friend_items
        assert part is not None
        np.testing.assert_allclose(part.toarray(), wanted[1:], rtol=1e-6)
    assert data.histories().friend_items is None


def test_histories_carry_attributes() -> None:
    data = dataset_of([])
    told = [{"n": user} for user in range(N_USERS)]
    named = replace(data, users=replace(data.users, attributes=told))
    assert list(named.histories().attributes) == told
    assert list(named.histories(np.array([2, 0], dtype=np.int32)).attributes) == [told[2], told[0]]


@given(MATRICES)
def test_a_plain_matrix_is_a_dataset(matrix: NDArray[np.float32]) -> None:
    data = Dataset.from_matrix(matrix)
    assert data.shape == matrix.shape
    np.testing.assert_array_equal(data.user_items.toarray(), matrix)
    assert (data.interactions.kind == PURCHASE).all()
    assert data.as_of == 0
    ours, direct = data.histories(), Histories.from_matrix(matrix)
    for field in ("indptr", "item_idx", "kind", "at"):
        np.testing.assert_array_equal(getattr(ours, field), getattr(direct, field))
        assert getattr(ours, field).dtype == getattr(direct, field).dtype
    np.testing.assert_array_equal(ours.user_items.toarray(), direct.user_items.toarray())


def test_the_wrapped_matrix_is_not_changed_later() -> None:
    matrix = np.eye(3, dtype=np.float32)
    data = Dataset.from_matrix(matrix)
    matrix[:] = 9
    np.testing.assert_array_equal(data.user_items.toarray(), np.eye(3))


@given(EVENTS)
def test_some_interactions(events: list[Event]) -> None:
    rows = dataset_of(events).interactions
    bought = rows[rows.kind == PURCHASE]
    assert len(bought) == sum(event[2] == PURCHASE for event in events)
    assert bought.at.tolist() == [event[5] for event in events if event[2] == PURCHASE]
    assert len(rows[:2]) == min(2, len(events))


def test_bare_items_know_their_ids_only() -> None:
    items = Items.bare(["a", "b"])
    assert len(items) == 2
    assert items.ids.index(["b"]).tolist() == [1]
    assert all(len(getattr(items, field)) == 2 for field in items.__dataclass_fields__)


# ---- plain columns and sequences -----------------------------------------------------------------------------


@given(events=EVENTS)
def test_plain_columns_become_the_dataset_that_they_say(events: list[tuple[int, int, int, int, float, int]]) -> None:
    user, item, kind, order, _, at = (np.array(column) for column in zip(*events, strict=True)) if events else (
        np.zeros(0, dtype=np.int64),) * 6  # fmt: skip
    data = Dataset.from_events(user, item, (N_USERS, N_ITEMS), at=at, kind=kind, order_idx=order)
    counted = np.zeros((N_USERS, N_ITEMS))
    np.add.at(counted, (user, item), 1)
    np.testing.assert_array_equal(data.user_items.toarray(), counted)
    rows = data.interactions
    told = sorted(zip(user, at, item, kind, order, strict=True), key=lambda row: row[:2])  # stable
    assert [tuple(row) for row in told] == list(
        zip(rows.user_idx, rows.at, rows.item_idx, rows.kind, rows.order_idx, strict=True)
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0], [7]), "item_idx.*got 7 to 7.*rows in"),
        (([-1], [0]), "user_idx.*got -1 to -1.*rows in"),
        (([0, 1], [0]), "item_idx.*got 1 rows.*wanted 2 rows"),
        (([[0]], [0]), "user_idx.*got 2 axes"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns: tuple[list[int], list[int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Dataset.from_events(*columns, (N_USERS, N_ITEMS))
    with pytest.raises(InputError, match=r"at.*got 2 rows"):
        Dataset.from_events([0], [0], (N_USERS, N_ITEMS), at=[1, 2])


def test_bare_sequences_keep_their_order() -> None:
    histories = Histories.from_sequences([[3, 1, 3], [], [0]], 5)
    assert histories.indptr.tolist() == [0, 3, 3, 4]
    assert histories.item_idx.tolist() == [3, 1, 3, 0]
    assert histories.at.tolist() == [0, 1, 2, 0]
    assert histories.user_items.toarray()[0].tolist() == [0, 1, 0, 2, 0]
    late = Histories.from_sequences([[3, 1], [2]], 5, at=[[50, 20], [7]])
    assert late.item_idx.tolist() == [1, 3, 2]
    assert late.at.tolist() == [20, 50, 7]


def test_the_last_events_alone() -> None:
    histories = Histories.from_sequences([[3, 1, 3], [2], [], [0, 1]], 4)
    cut = histories.last(np.array([2, 5, 1, 0]))
    assert cut.indptr.tolist() == [0, 2, 3, 3, 3]
    assert cut.item_idx.tolist() == [1, 3, 2]
    assert cut.user_items.toarray().tolist() == [[0, 1, 0, 2], [0, 0, 1, 0], [0] * 4, [0] * 4]
    whole = histories.last(np.full(4, 99))
    np.testing.assert_array_equal(whole.at, histories.at)
    np.testing.assert_array_equal(whole.user_items.toarray(), histories.user_items.toarray())
