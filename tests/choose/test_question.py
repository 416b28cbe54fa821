"""Who is asked for what, and what a share of the shoppers holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from choose.conftest import CUT, asked_of, blocks, log_of
from regulars.choose import question as questions
from regulars.choose.question import Question, some_shoppers
from regulars.core.clock import DAY
from regulars.core.data import VIEW, Dataset


def test_what_came_after_the_cut_is_asked_and_nothing_of_it_is_learned_from() -> None:
    before, whole = blocks()
    asked = asked_of((before, whole))
    rows = whole.interactions
    late = rows.at >= CUT * DAY
    wanted = {(int(u), int(i)) for u, i in zip(rows.user_idx[late], rows.item_idx[late], strict=True)}
    row, item = asked.relevant.nonzero()
    users = np.unique(rows.user_idx[late])
    assert {(int(users[r]), int(i)) for r, i in zip(row, item, strict=True)} == wanted
    np.testing.assert_array_equal(asked.histories.item_idx, before.histories(users.astype(np.int32)).item_idx)
    assert asked.before.interactions.at.max() < CUT * DAY
    assert asked.about == "bought in the days after"


def as_views(data: Dataset) -> Dataset:
    kinds = np.full(len(data.interactions), VIEW, dtype=np.int8)
    return replace(data, interactions=replace(data.interactions, kind=kinds))


def test_a_log_without_purchases_is_asked_for_what_was_looked_at() -> None:
    before, whole = blocks()
    asked = asked_of((as_views(before), as_views(whole)))
    assert asked.about == "took or looked at later"
    assert (asked.relevant != asked_of((before, whole)).relevant).nnz == 0


def test_shares_lie_within_each_other_and_keep_whole_shoppers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "LEAST_ROWS", 10)
    asked = asked_of(blocks())
    assert asked.shares == (1 / 9, 1 / 3, 1.0)
    ninth, third, whole = (asked.learned_from(share) for share in asked.shares)
    assert set(ninth.users.keys.ids) < set(third.users.keys.ids) < set(whole.users.keys.ids)
    assert len(ninth.users) == round(len(np.unique(whole.interactions.user_idx)) / 9)
    assert whole is asked.before
    for key in ninth.users.keys.ids:
        small = ninth.interactions.item_idx[ninth.interactions.user_idx == ninth.users.keys.get(key)]
        large = whole.interactions.item_idx[whole.interactions.user_idx == whole.users.keys.get(key)]
        np.testing.assert_array_equal(small, large)
    assert ninth.user_items.shape == (len(ninth.users), len(whole.items))


def test_a_small_log_is_learned_from_whole() -> None:
    assert asked_of(blocks()).shares == (1.0,)


def test_no_shopper_left_is_an_empty_dataset() -> None:
    before, _ = blocks()
    nobody = some_shoppers(before, np.zeros(len(before.users), dtype=np.bool_))
    assert nobody.shape == (0, len(before.items))
    assert len(nobody.interactions) == 0


def test_a_catalogue_of_fewer_items_than_places() -> None:
    asked = asked_of(log_of([[(item, 10), (1 - item, 55)] for item in (0, 1) for _ in range(40)]))
    assert isinstance(asked, Question)
    perfect = np.array([[1 - int(item)] for item in asked.before.interactions.item_idx], dtype=np.int32)
    np.testing.assert_array_equal(asked.wanted.ndcg(perfect), 1.0)


def test_visitors_who_never_come_back_are_asked_for_the_last_thing_of_their_visit() -> None:
    early = [[(user % 7, day), (user % 5, day), (user % 3, day)] for day in range(40) for user in range(3)]
    late = [[(user % 7, 55), (user % 5, 55), (user % 3, 56)] for user in range(40)]
    before, whole = log_of([*early, *late, [(1, 57)]])  # the last one did one thing only: nothing can be asked
    then = np.unique(before.interactions.user_idx)
    known = some_shoppers(before, np.isin(np.arange(len(before.users)), then))
    asked = asked_of((known, whole))
    assert len(asked) == 40
    assert "visits" in asked.about
    assert asked.now == whole.as_of
    assert np.diff(asked.histories.indptr).tolist() == [2] * 40
    row, item = asked.relevant.nonzero()
    np.testing.assert_array_equal(row, np.arange(40))
    ids = sorted(asked.before.items.ids[int(each)] for each in item)
    assert ids == sorted(f"i{user % 3:03d}" for user in range(40))


def test_what_is_new_was_never_bought_before() -> None:
    asked = asked_of(log_of([[(0, 1), (1, 2), (0, 50), (2 + user % 3, 51)] for user in range(40)]))
    assert len(asked.new.rows) == 40
    assert (asked.wanted.relevant[:, [0]].sum(), asked.new.relevant[:, [0]].sum()) == (40, 0)
    assert asked.new.relevant.sum() == 40
