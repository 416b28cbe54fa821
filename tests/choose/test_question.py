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
    assert {(int(asked.users[r]), int(i)) for r, i in zip(row, item, strict=True)} == wanted
    assert asked.before.interactions.at.max() < CUT * DAY
    assert asked.about == "bought"


def as_views(data: Dataset) -> Dataset:
    kinds = np.full(len(data.interactions), VIEW, dtype=np.int8)
    return replace(data, interactions=replace(data.interactions, kind=kinds))


def test_a_log_without_purchases_is_asked_for_what_was_looked_at() -> None:
    before, whole = blocks()
    asked = asked_of((as_views(before), as_views(whole)))
    assert asked.about == "took or looked at"
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
    np.testing.assert_array_equal(asked.wanted.ndcg(perfect[asked.users]), 1.0)
