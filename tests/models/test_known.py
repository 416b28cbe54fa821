"""Answers in ids: whoever is asked for, in whatever form, and what is said where nobody can be."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from models.conftest import checkerboard
from regulars.core.data import Histories
from regulars.core.errors import InputError, NotFitted, RowsLeftOut
from regulars.frames import dataset_of
from regulars.models import ALS, CoOccurrence, ItemKNN, Popular
from regulars.models.registry import load_model

LOG = {
    "who": ["ann", "ann", "bob", "bob", "bob", "cat", "cat"],
    "what": [7, 8, 7, 8, 9, 8, 9],
    "when": [1, 2, 3, 4, 5, 6, 7],
}


def fitted() -> Any:
    return CoOccurrence().fit(dataset_of(LOG, user="who", item="what", time="when"))


def test_five_lines_find_the_hidden_item() -> None:
    taken, hidden = checkerboard()
    users, items = np.nonzero(taken)
    frame = pd.DataFrame({"user": [f"u{user}" for user in users], "item": [f"商品{item}" for item in items]})
    found = ItemKNN().fit(frame).recommend(users=["u0", "u13"], k=1).to_pandas()
    assert found["item"].tolist() == [f"商品{hidden[0]}", f"商品{hidden[13]}"]
    assert found["user"].tolist() == ["u0", "u13"]


@pytest.mark.parametrize(
    "users", [["bob", "ann"], np.array(["bob", "ann"]), pd.Series(["bob", "ann"]), pl.Series(["bob", "ann"]),
              pa.array(["bob", "ann"]), pa.chunked_array([["bob"], ["ann"]]), iter(("bob", "ann"))],
)  # fmt: skip
def test_users_in_any_column(users: Any) -> None:
    found = fitted().recommend(users=users, k=1, exclude_seen=False)
    assert found["who"].to_pylist() == ["bob", "ann"]


def test_one_user_alone() -> None:
    assert fitted().recommend(users="ann").to_pydict()["what"] == [9]


def test_seen_items_come_only_when_asked_for() -> None:
    model = fitted()
    assert set(model.recommend(users=["ann"])["what"].to_pylist()) == {9}
    both = model.recommend(users=["ann"], exclude_seen=False)
    assert set(both["what"].to_pylist()) == {7, 8, 9}
    assert both["rank"].to_pylist() == [1, 2, 3]
    assert (np.diff(both["score"].to_numpy()) <= 0).all()


def test_histories_are_item_ids_or_a_table() -> None:
    model = fitted()
    lists = model.recommend(histories=[[7], [7, 8], []], k=2)
    assert lists["who"].to_pylist() == [0, 0, 1, 2, 2]
    assert lists["what"].to_pylist()[:3] == [8, 9, 9]
    again = model.recommend(histories={"who": ["zoe", "yan", "yan"], "what": [7, 8, 7], "when": [10, 12, 11]}, k=2)
    assert again["who"].to_pylist() == ["zoe", "zoe", "yan"]
    assert again["what"].to_pylist() == lists["what"].to_pylist()[:3]  # by time, not by place in the table
    assert again["score"].to_pylist() == lists["score"].to_pylist()[:3]


def test_what_was_known_of_a_shopper_is_a_history_like_any() -> None:
    model = fitted()
    known = model.recommend(users=["ann", "bob", "cat"], exclude_seen=False)
    assert model.recommend(histories=LOG, exclude_seen=False).equals(known)


def test_items_that_are_new_are_left_out_and_said() -> None:
    with pytest.warns(RowsLeftOut, match="1 of 2 items left out, unknown at the fit"):
        found = fitted().recommend(histories=[[7, 1000]])
    assert found.equals(fitted().recommend(histories=[[7]]))
    with pytest.raises(InputError, match="got 2 items, none of them known, wanted ids of the fit, such as 7"):
        fitted().recommend(histories=[["7"], ["8"]])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"users": ["ann", "dan", "eve"]}, "users: got 2 unknown ids, the first 'dan'.*histories="),
        ({"users": [["ann"]]}, "users: got unhashable.*wanted ids"),
        ({"histories": "7"}, "wanted a list of item ids for each shopper"),
        ({}, "wanted history, users or histories"),
        ({"users": ["ann"], "histories": [[7]]}, "wanted history, users or histories"),
    ],
)
def test_wrong_questions(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        fitted().recommend(**asked)


def test_a_fit_on_a_matrix_has_no_ids() -> None:
    model = Popular().fit(np.eye(3))
    with pytest.raises(InputError, match="got a fit without ids, wanted a fit on a table with ids"):
        model.recommend(users=["ann"])
    with pytest.raises(NotFitted, match="popular"):
        Popular().recommend(users=["ann"])


def test_a_matrix_after_a_table_forgets_the_ids() -> None:
    model = fitted().fit(np.eye(3))
    assert model.known is None
    assert str(model) == "CoOccurrence(), fitted on 3 events of 3 shoppers and 3 items"


def test_indices_in_arrays_out_as_ever() -> None:
    items, scores = fitted().recommend(Histories.from_sequences([[0]], 3), k=2)
    assert items.tolist() == [[1, 2]]
    assert scores.dtype == np.float32


def test_more_shoppers_than_one_batch() -> None:
    """Scores of all shoppers at once would not fit: they come in parts, and ranks begin with each shopper."""
    users, items = np.nonzero(np.random.default_rng(0).random((40, 7)) < 0.4)
    model = Popular().fit({"user": users, "item": items})
    whole = model.recommend(users=np.unique(users), k=3)
    batches = model.batches
    model.batches = lambda histories, cells=0: batches(histories, 21)
    assert model.recommend(users=np.unique(users), k=3).equals(whole)


def test_saved_and_loaded_it_knows_the_same(tmp_path: Path) -> None:
    model = fitted()
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    assert str(loaded) == str(model)
    both: list[Any] = [loaded, model]
    for asked in ({"users": ["cat", "ann"]}, {"histories": [[8]]}):
        answers = [each.recommend(**asked, exclude_seen=False).to_pylist() for each in both]
        assert answers[0] == answers[1] != []
    model.fit(np.eye(3)).save(tmp_path)  # the same folder: the ids of before are not its own
    assert load_model(tmp_path).known is None


def test_settings_changed_after_a_fit_leave_it() -> None:
    model = ALS(factors=2).fit(np.eye(4))
    learned = model.item_vectors.copy()
    np.testing.assert_array_equal(model.set_params(reg=5.0).item_vectors, learned)
    assert repr(model) == "ALS(factors=2, reg=5.0)"
    assert repr(model.fit(np.eye(4))) == repr(model)


def test_rows_left_out_of_a_fit_are_said() -> None:
    with pytest.warns(RowsLeftOut, match="1 of 3 rows left out"):
        model = Popular().fit({"user": ["a", None, "b"], "item": [1, 1, 2]})
    assert model.n_events_ == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Popular().fit({"user": ["a", "b"], "item": [1, 2]})
