"""What the base gives to every model, seen on the smallest one possible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from regulars.core.arrays import Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import InputError, SettingError, Unsupported
from regulars.models.base import Can, Model, all_cores, check_flag, check_range


class Twice(Model):
    """Scores are twice the history; keeps one value of every kind that can be saved."""

    name = "twice"

    def __init__(self, *, names: tuple[str, ...] = ("a",)) -> None:
        self.names = names

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        self.array_ = np.arange(3)
        self.matrix_ = sp.csr_array(np.eye(2, 3))
        self.number_ = np.float64(0.5)
        self.text_ = "kept"
        self.draw_ = float(rng.random())
        self.last_ = int(data.interactions.at.max(initial=0))

    def score(self, histories: Histories, now: Instant) -> Scores:
        return np.asarray(2 * histories.user_items.toarray(), dtype=np.float32)


def test_every_kind_of_state_is_saved_and_read(tmp_path: Path) -> None:
    model = Twice(names=("x", "y")).fit(np.ones((2, 3)))
    model.save(tmp_path / "deep" / "folder")
    back = Twice.load(tmp_path / "deep" / "folder")
    assert back.names == ("x", "y")
    np.testing.assert_array_equal(back.array_, model.array_)
    np.testing.assert_array_equal(back.matrix_.toarray(), np.eye(2, 3))
    assert (back.number_, back.text_, back.n_items_) == (0.5, "kept", 3)
    assert isinstance(back.array_.base, np.memmap)  # one copy in memory for all workers
    back.array_[0] = 9  # copy on write: the file stays as it is
    assert Twice.load(tmp_path / "deep" / "folder").array_[0] == 0


def test_a_second_save_replaces_the_first(tmp_path: Path) -> None:
    Twice().fit(np.ones((2, 3))).save(tmp_path)
    second = Twice(names=()).fit(np.ones((2, 5)))
    second.save(tmp_path)
    assert Twice.load(tmp_path).n_items_ == 5


def test_the_seed_is_zero_unless_given() -> None:
    wanted = np.random.default_rng(0).random()
    assert Twice().fit(np.eye(2)).draw_ == wanted
    assert Twice().fit(np.eye(2), np.random.default_rng(1)).draw_ != wanted


@pytest.mark.parametrize("form", [np.array, list, sp.csr_array, Histories.from_matrix])
def test_recommend_takes_any_form_of_history(form: Any) -> None:
    history = form([[0.0, 3.0, 1.0], [0.0, 0.0, 0.0]])
    model = Twice().fit(np.ones((2, 3)))
    items, scores = model.recommend(history, k=2, exclude_seen=False)
    assert items.tolist() == [[1, 2], [0, 1]]
    assert scores.tolist() == [[6, 2], [0, 0]]
    assert model.recommend(history, k=2)[0].tolist() == [[0, -1], [0, 1]]


def test_recommend_takes_one_row() -> None:
    assert Twice().fit(np.ones((2, 3))).recommend([0.0, 0.0, 1.0], k=1)[0].tolist() == [[0]]


def test_now_defaults_to_the_last_event() -> None:
    asked: list[Instant] = []

    class Asks(Twice):
        def score(self, histories: Histories, now: Instant) -> Scores:
            asked.append(now)
            return super().score(histories, now)

    model = Asks().fit(np.ones((1, 2)))
    row = Histories.from_matrix(np.ones((1, 2)))
    model.recommend(Histories(row.user_items, row.indptr, row.item_idx, row.kind, row.at + 7))
    model.recommend(row, now=3)
    model.recommend(np.zeros(2))
    assert asked == [7, 3, 0]


def test_batches_cover_every_shopper_within_the_bound() -> None:
    model = Twice().fit(np.ones((2, 10)))
    histories = Histories.from_matrix(np.arange(70.0).reshape(7, 10))
    parts = list(model.batches(histories, cells=25))
    assert [start for start, _ in parts] == [0, 2, 4, 6]
    rejoined = np.concatenate([part.user_items.toarray() for _, part in parts])
    np.testing.assert_array_equal(rejoined, histories.user_items.toarray())
    assert len(list(model.batches(histories, cells=1))) == 7


def test_abilities_say_what_they_can() -> None:
    model = Twice().fit(np.ones((2, 3)))
    with pytest.raises(Unsupported, match="twice: got a call for BECAUSE, wanted nothing beyond scores"):
        model.because(Histories.from_matrix(np.ones((1, 3))), 0, np.zeros(1, dtype=np.int32))
    assert model.can == frozenset()
    assert len(Can) == 5


@pytest.mark.parametrize("value", [0, 11, -1, "5", None, True, float("nan"), 5.0])
def test_whole_numbers(value: Any) -> None:
    with pytest.raises(SettingError, match=r"m: k: got .*, wanted a whole number in \[1, 10\]"):
        check_range("m: k", value, 1, 10, whole=True)
    check_range("m: k", 10, 1, 10, whole=True)


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan"), "x", False])
def test_numbers(value: Any) -> None:
    with pytest.raises(SettingError, match=r"m: x: got .*, wanted a number in \[0, inf\]"):
        check_range("m: x", value, 0)
    check_range("m: x", 1e9, 0)


def test_flags_and_cores() -> None:
    check_flag("m: on", False)
    with pytest.raises(SettingError, match="m: on: got 1, wanted True or False"):
        check_flag("m: on", 1)  # type: ignore[arg-type]
    assert all_cores() >= 1


def test_a_history_of_another_width() -> None:
    with pytest.raises(InputError, match="history: got 2 items, wanted 3"):
        Twice().fit(np.ones((2, 3))).recommend(np.ones(2))
