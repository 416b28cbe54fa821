"""Sequences as windows: every event but the first a target once, time gaps, what is held out, what is looked at."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.core.clock import DAY, SECOND
from regulars.core.data import KIND, PURCHASE, REFUND, Dataset, Histories
from regulars.models.deep.windows import hold_out, last_places, liked, seen, training_windows


def shop(sequences: list[list[int]], n_items: int = 50) -> Dataset:
    users = np.repeat(np.arange(len(sequences)), [len(each) for each in sequences])
    items = np.array([item for each in sequences for item in each], dtype=np.int32)
    return Dataset.from_events(users, items, (len(sequences), n_items))


def test_windows_are_cut_from_the_newest_back() -> None:
    windows = training_windows(liked(shop([[1, 2, 3, 4, 5, 6], [7], [], [8, 9]])), 2)
    assert windows.items.tolist() == [[4, 5], [2, 3], [1, 0], [8, 0]]
    assert windows.targets.tolist() == [[5, 6], [3, 4], [2, -1], [9, -1]]
    assert windows.sizes.tolist() == [2, 2, 1, 1]


@given(st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=6), st.integers(1, 5))
def test_each_pair_of_neighbours_is_learned_once(sequences: list[list[int]], length: int) -> None:
    windows = training_windows(liked(shop(sequences)), length)
    real = windows.targets >= 0
    assert (real.sum(axis=1) == windows.sizes).all()
    learned = sorted(zip(windows.items[real].tolist(), windows.targets[real].tolist(), strict=True))
    assert learned == sorted(pair for each in sequences for pair in itertools.pairwise(each))


def test_only_signs_of_liking_count() -> None:
    data = Dataset.from_events([0, 0, 0], [1, 2, 3], (1, 4), at=[1, 2, 3], kind=[PURCHASE, REFUND, KIND["view"]])
    assert liked(data).item_idx.tolist() == [1, 3]
    assert seen(data.histories(), 4).item_idx.tolist() == [1, 3]


def test_gaps_are_powers_of_two_of_a_second() -> None:
    at = np.cumsum([DAY, 0, SECOND, 3 * SECOND, 7 * SECOND, 10**6 * DAY])
    data = Dataset.from_events([0] * 6 + [1], np.arange(7), (2, 7), at=[*at, DAY])
    assert liked(data).gap.tolist() == [0, 1, 2, 3, 4, 31, 0]


def test_the_item_looked_at_now_is_the_last() -> None:
    histories = replace(Histories.from_sequences([[1, 2], [], [3]], 9), context_item=np.array([7, 8, -1], np.int32))
    events = seen(histories, 8 * SECOND)
    assert events.indptr.tolist() == [0, 3, 4, 5]
    assert events.item_idx.tolist() == [1, 2, 7, 8, 3]
    assert events.gap.tolist() == [0, 1, 4, 0, 0]


def test_the_last_places_are_left_justified() -> None:
    items, gaps, sizes = last_places(liked(shop([[1, 2, 3], [4], []])), 2)
    assert items.tolist() == [[2, 3], [4, 0], [0, 0]]
    assert gaps.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert sizes.tolist() == [2, 1, 0]


def test_the_last_event_of_the_chosen_is_held_out() -> None:
    rest, asked, wanted = hold_out(liked(shop([[1, 2, 3], [4, 5, 6], [7, 8]])), np.array([True, False, True]))
    assert rest.indptr.tolist() == [0, 2, 5, 6]
    assert rest.item_idx.tolist() == [1, 2, 4, 5, 6, 7]
    assert asked.indptr.tolist() == [0, 2, 3]
    assert asked.item_idx.tolist() == [1, 2, 7]
    assert wanted.tolist() == [3, 8]


@pytest.mark.parametrize("length", [1, 3])
def test_nobody_has_no_windows(length: int) -> None:
    assert len(training_windows(liked(shop([])), length)) == 0
    assert last_places(liked(shop([])), length)[0].shape == (0, 1)
