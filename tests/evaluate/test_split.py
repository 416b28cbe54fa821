"""Splits and targets on logs small enough to read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given as with_examples
from hypothesis import settings
from hypothesis import strategies as st

from evaluate.conftest import make_dataset
from regulars.core.data import PURCHASE, VIEW, IdMap, Shown
from regulars.core.errors import InputError
from regulars.core.settings import FeedbackSettings, Span
from regulars.evaluate import split

WINDOWS = FeedbackSettings(click_window=Span(2), purchase_window=Span(5))


def cells(matrix: sp.csr_array) -> set[tuple[int, int]]:
    rows, columns = matrix.nonzero()
    return set(zip(rows.tolist(), columns.tolist(), strict=True))


LOG = [(7, "a", 1), (7, "b", 2), (7, "a", 3), (8, "a", 1), (8, "c", 4), (9, "b", 2)]


def test_by_time() -> None:
    data = make_dataset(LOG, as_of=10)
    found = split.by_time(data, cut=2)
    assert found.train.tolist() == [True, True, False, True, False, True]
    assert cells(found.relevant) == {(0, 0), (1, 2)}
    training = found.training(data)
    assert len(training.interactions) == 4
    assert training.as_of == 2
    assert training.shape == data.shape


def test_leave_one_out_takes_the_last_and_nothing_that_follows_it() -> None:
    kind = np.array([PURCHASE] * 6, dtype=np.int8)
    kind[4] = VIEW  # shopper 8 looks at c after buying a; b is bought once by shopper 9
    data = make_dataset([*LOG[:4], (8, "c", 4), LOG[5]], as_of=10, kind=kind)
    found = split.leave_one_out(data)
    assert found.train.tolist() == [True, True, False, True, True, True]
    assert cells(found.relevant) == {(0, 0)}
    both = split.leave_one_out(data, kinds=(PURCHASE, VIEW))
    assert cells(both.relevant) == {(0, 0), (1, 2)}
    assert not both.train[4]


def test_leave_one_out_drops_what_happened_after_the_held_row() -> None:
    kind = np.array([PURCHASE, PURCHASE, VIEW], dtype=np.int8)
    found = split.leave_one_out(make_dataset([(1, "a", 1), (1, "b", 2), (1, "a", 3)], as_of=9, kind=kind))
    assert found.train.tolist() == [True, False, False]


@settings(deadline=None)
@with_examples(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.integers(0, 9)), min_size=1), st.integers(0, 9)
)
def test_every_row_is_learned_from_or_asked_for(rows: list[tuple[int, str, int]], cut: int) -> None:
    data = make_dataset(rows, as_of=10)
    found, events = split.by_time(data, cut), data.interactions
    asked = {
        (int(u), int(i)) for u, i in zip(events.user_idx[~found.train], events.item_idx[~found.train], strict=True)
    }
    assert cells(found.relevant) == asked
    assert (events.at[found.train] <= cut).all()
    last = split.leave_one_out(data)
    counts = np.bincount(events.user_idx, minlength=len(data.users))
    assert np.diff(last.relevant.indptr).tolist() == (counts > 1).astype(int).tolist()


def test_given_masks_and_pairs(tmp_path: Path) -> None:
    data = make_dataset(LOG, as_of=10)
    mask = np.array([True, False, True, True, True, True])
    assert cells(split.given(data, mask).relevant) == {(0, 1)}
    with pytest.raises(InputError, match="train"):
        split.given(data, mask[:2])
    lists = tmp_path / "test.txt"
    lists.write_text("u1 a b\nu2 c\nu3\n\n", encoding="utf-8")
    pairs = split.read_lists(lists)
    assert pairs == [("u1", "a"), ("u1", "b"), ("u2", "c")]
    users, items = IdMap(["u1", "u2"]), IdMap(["a", "b"])
    assert cells(split.from_pairs(users, items, pairs, on_unknown="skip")) == {(0, 0), (0, 1)}
    with pytest.raises(InputError, match="1 unknown"):
        split.from_pairs(users, items, pairs)


def test_given_rating_files(tmp_path: Path) -> None:
    file = tmp_path / "test.csv"
    file.write_text("u1\ta\t5\t99\nu2,b,1,98\n", encoding="utf-8")
    assert split.read_lists(file, n_items=1) == [("u1", "a"), ("u2", "b")]
    file.write_text("u1 a\nu2\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 2"):
        split.read_lists(file, n_items=1)


def test_targets_speak_the_indices_of_before() -> None:
    before = make_dataset([(1, "a", 1), (2, "b", 2), (1, "b", 3)], as_of=5)
    rows = [
        (3, "a", 6),  # a shopper unknown at the cut
        (2, "c", 6),  # an item unknown at the cut
        (2, "b", 5),  # at the cut: before
        (2, "a", 6), (2, "a", 7),  # twice is one
        (1, "b", 8), (1, "a", 9),
    ]  # fmt: skip
    quantity = np.ones(7, dtype=np.float32)
    quantity[5] = 0  # fully refunded
    asked = split.targets(make_dataset(rows, as_of=10, quantity=quantity), before, WINDOWS)
    assert cells(asked.subsets["all"].relevant) == {(1, 0), (0, 0)}
    assert asked.subsets["all"].users.tolist() == [0, 1]
    assert cells(asked.subsets["new"].relevant) == {(1, 0)}
    bought = asked.subsets["new"].exclude
    assert bought is not None
    assert cells(bought) == {(0, 0), (0, 1), (1, 1)}
    assert asked.subsets["all"].exclude is None
    assert asked.n_items == 2


def test_organic_targets_leave_out_what_a_slate_caused() -> None:
    before = make_dataset([(1, "a", 1), (2, "b", 2)], as_of=5)
    after = make_dataset([(1, "a", 6), (1, "b", 7), (2, "b", 8)], as_of=10,
                         from_slate=np.array([False, False, True]))  # fmt: skip
    shown = Shown(
        user_idx=np.array([0], np.int32), item_idx=np.array([1], np.int32), at=np.array([6]),
        position=np.array([0], np.int16), clicked=np.array([True]),
    )  # fmt: skip
    asked = split.targets(replace(after, shown=shown), before, WINDOWS)
    assert cells(asked.subsets["all"].relevant) == {(0, 0), (0, 1), (1, 1)}
    assert cells(asked.subsets["organic"].relevant) == {(0, 0)}


def test_cohorts_share_the_asked_shoppers_out() -> None:
    rows = [(1, "a", 1), (2, "a", 1), (2, "b", 2), (3, "a", 1), (3, "a", 2), (3, "b", 3), (3, "b", 3)]
    before = make_dataset(rows, as_of=5)
    assert split.orders_of(before).tolist() == [1, 2, 3]  # two lines of one instant are one order
    relevant = sp.csr_array(np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32))
    asked = split.targets_of(relevant, before)
    users = {name: asked.subsets[name].users.tolist() for name in split.COHORTS}
    assert users == {"shoppers-new": [0], "shoppers-light": [1], "shoppers-heavy": [2]}
    assert "organic" not in asked.subsets
    with pytest.raises(InputError, match="before the cut"):
        split.targets_of(relevant[:2], before)


def test_named_orders_count_once_whatever_their_times() -> None:
    order = np.array([4, 4, 5, -1], dtype=np.int32)
    rows = [(1, "a", 1), (1, "b", 2), (1, "a", 2), (1, "a", 3)]
    assert split.orders_of(make_dataset(rows, as_of=5, order_idx=order)).tolist() == [3]


def test_cohorts_without_regulars() -> None:
    new, light, heavy = split.cohorts(np.array([0, 1]))
    assert new.all()
    assert not (light | heavy).any()


def test_popularity_is_a_smoothed_share_of_shoppers() -> None:
    data = make_dataset([(1, "a", 1), (2, "a", 1), (2, "b", 2), (2, "b", 3)], as_of=5)
    assert split.popularity_of(data).tolist() == pytest.approx([(2 + 1) / (2 + 1), (1 + 1) / (2 + 1)])


def test_what_was_taken_beside_an_item() -> None:
    log = [(7, "a", 1), (8, "b", 1), (8, "c", 1), (7, "a", 5), (7, "b", 6), (7, "c", 7), (7, "a", 8), (8, "c", 5),
           (8, "b", 6), (8, "b", 9), (9, "a", 5), (9, "b", 6)]  # fmt: skip
    data = make_dataset(log, as_of=10)
    rows = data.interactions
    by = {
        (7, 5): (VIEW, 1),
        (7, 6): (PURCHASE, 1),
        (7, 7): (PURCHASE, 1),
        (7, 8): (PURCHASE, 1),
        (8, 5): (PURCHASE, 2),
        (8, 6): (VIEW, 2),
        (8, 9): (PURCHASE, 3),
        (9, 5): (VIEW, 4),
        (9, 6): (PURCHASE, 4),
    }
    users = [data.users.keys[int(user)] for user in rows.user_idx]
    told = [by.get((user, int(at)), (PURCHASE, 0)) for user, at in zip(users, rows.at, strict=True)]
    kinds, sessions = (np.array(column) for column in zip(*told, strict=True))
    after = replace(
        data, interactions=replace(rows, kind=kinds.astype(np.int8), session_idx=sessions.astype(np.int32))
    )
    kept = split.by_time(after, 1).training(after)
    before = replace(kept, users=replace(kept.users, keys=IdMap([7, 8])), as_of=1)
    found = split.beside(after, before)
    # shopper 8 took before looking, or without; shopper 9 is not known before; the item itself is not asked for
    assert [(before.users.keys[int(u)], before.items.ids[int(i)]) for u, i in
            zip(found.user_idx, found.item_idx, strict=True)] == [(7, "a")]  # fmt: skip
    assert {before.items.ids[column] for _, column in cells(found.wanted)} == {"b", "c"}
    nothing = split.beside(before, before)
    assert (len(nothing.user_idx), nothing.wanted.shape) == (0, (0, 3))
