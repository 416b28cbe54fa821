"""Sequences out of a log, and what a shopper took last."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.conftest import AS_OF, from_events
from regulars.core.clock import MINUTE
from regulars.core.data import PURCHASE, REFUND, VIEW, Dataset, Histories
from regulars.models.sequences import recent_cells, taken_last, training_sequences


def as_lists(data: Dataset, *, by_session: bool) -> list[list[int]]:
    found = training_sequences(data, by_session=by_session)
    assert len(found) == len(found.ended_at)
    return [found.item_idx[low:high].tolist() for low, high in zip(found.indptr[:-1], found.indptr[1:], strict=True)]


def test_sessions_that_overlap_are_told_apart_and_sorted_by_their_ends() -> None:
    data = Dataset.from_events(
        [0, 0, 0, 0, 1], [5, 6, 7, 8, 9], (2, 10), at=[1, 2, 3, 9, 5], session_idx=[1, 0, 1, 0, 2]
    )
    assert as_lists(data, by_session=True) == [[5, 7], [9], [6, 8]]
    assert as_lists(data, by_session=False) == [[9], [5, 6, 7, 8]]
    assert training_sequences(data, by_session=True).ended_at.tolist() == [3, 5, 9]


def test_without_sessions_a_shopper_is_one_sequence() -> None:
    data = Dataset.from_events([0, 0, 1], [1, 1, 2], (3, 4), at=[3, 2, 1])
    assert as_lists(data, by_session=True) == as_lists(data, by_session=False) == [[2], [1, 1]]


def test_nothing_at_all() -> None:
    assert as_lists(Dataset.from_matrix(np.zeros((2, 3))), by_session=True) == []


def test_signs_of_no_liking_are_left_out() -> None:
    rows = [(0, 1, VIEW, 1), (0, 2, REFUND, 2), (0, 3, PURCHASE, 3)]
    data = from_events(rows, (1, 4))
    assert as_lists(data, by_session=False) == [[1, 3]]
    assert taken_last(data.histories(), 3).tolist() == [[3, 1, -1]]


def test_the_newest_distinct_items_and_the_item_looked_at() -> None:
    histories = Histories.from_sequences([[1, 2, 1, 3], [], [4]], 6)
    assert taken_last(histories, 3).tolist() == [[3, 1, 2], [-1, -1, -1], [4, -1, -1]]
    looking = replace(histories, context_item=np.array([2, 5, -1], dtype=np.int32))
    assert taken_last(looking, 3).tolist() == [[2, 3, 1], [5, -1, -1], [4, -1, -1]]


def test_a_pause_ends_the_session() -> None:
    ages = [90, 59, 29, 0]  # the first pause is 31 minutes, the next 30
    data = from_events([(0, item, VIEW, AS_OF - age * MINUTE) for item, age in enumerate(ages)], (1, 4))
    assert taken_last(data.histories(), 9, 30.0)[0, :4].tolist() == [3, 2, 1, -1]
    assert taken_last(data.histories(), 9, 0.0)[0, :5].tolist() == [3, 2, 1, 0, -1]
    assert taken_last(data.histories(), 9, 1e-7)[0, :2].tolist() == [3, -1]


def test_cells_of_what_was_taken_last() -> None:
    indptr, items, weights = recent_cells(np.array([[7, 3], [-1, -1], [2, -1]]), np.array([1.0, 0.5], np.float32))
    assert indptr.tolist() == [0, 2, 2, 3]
    assert items.tolist() == [7, 3, 2]
    assert weights.tolist() == [1.0, 0.5, 1.0]
