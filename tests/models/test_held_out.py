"""What is held out, how it is looked for, and that luck is not taken for help."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from regulars.models.held_out import choose, found, hold_out

logs = st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=10)


def matrix(baskets: list[set[int]]) -> sp.csr_array:
    dense = np.zeros((len(baskets), 6), dtype=np.float32)
    for row, items in enumerate(baskets):
        dense[row, sorted(items)] = 1
    return sp.csr_array(dense)


@given(logs, st.integers(1, 12), st.integers(0, 99))
def test_what_is_held_out_was_there_and_something_is_left(baskets: list[set[int]], most: int, seed: int) -> None:
    whole = matrix(baskets)
    held = hold_out(whole, most, np.random.default_rng(seed))
    out = np.zeros(whole.shape)
    out[held.users, held.wanted] = 1
    np.testing.assert_array_equal(held.rest.toarray() + out, whole.toarray())
    assert len(set(held.users.tolist())) == len(held.users) <= most
    assert held.rest[held.users].sum(axis=1).min(initial=1) >= 1  # the shopper keeps something
    assert held.rest[:, held.wanted].sum(axis=0).min(initial=1) >= 1  # and so does somebody of the item


def test_most_shoppers_are_asked() -> None:
    held = hold_out(sp.csr_array(np.ones((50, 6), dtype=np.float32)), 100, np.random.default_rng(0))
    assert sorted(held.users) == list(range(50))
    assert list(held.users) != list(range(50))
    assert set(held.wanted) == set(range(6))
    few = held.among(np.arange(50) < 5)
    assert sorted(few.users) == list(range(5))


def test_found_is_the_gain_of_the_rank_among_unseen_items() -> None:
    scores = np.array([[3, 2, 2, 1], [0, 0, 0, 0], [1, 9, 8, 5]], dtype=np.float32)
    seen = sp.csr_array(np.array([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]], dtype=np.float32))
    values = found(scores, seen, np.array([2, 1, 3], dtype=np.int32))
    np.testing.assert_allclose(values, [1 / np.log2(3), 1 / np.log2(3), 1 / np.log2(3)])
    np.testing.assert_allclose(found(scores[:1], seen[:1], np.array([1], np.int32)), [1.0])


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(12, 400))


def test_judges_who_did_not_choose_are_not_fooled() -> None:
    """Of noise their mean is as often high as chance has it: 25 in 1000 beyond 1.96 errors, within 2.5 of its own."""
    choices = [choose(noise(seed)) for seed in range(1000)]
    assert 0.013 < np.mean([choice.gain > 1.96 * choice.error for choice in choices]) < 0.037
    assert np.mean([choice.sure for choice in choices]) < 0.006


def test_a_control_that_judges_itself_is_fooled_often() -> None:
    def fooled(gains: np.ndarray) -> bool:
        best = gains[gains.mean(axis=1).argmax()]
        return bool(best.mean() > 1.96 * best.std(ddof=1) / np.sqrt(len(best)))

    assert np.mean([fooled(noise(seed)) for seed in range(300)]) > 0.15


def test_what_helps_is_taken_and_the_best_setting_chosen() -> None:
    gains = noise(1) + np.array([0.0] * 7 + [0.5] + [0.0] * 4)[:, None]
    choice = choose(gains)
    assert (choice.sure, choice.setting, choice.judges) == (True, 7, 200)
    assert abs(choice.gain - 0.5) < 3 * choice.error
    assert not choose(-gains[[7]]).sure


@pytest.mark.parametrize("n", [0, 1, 2, 40])
def test_few_shoppers_decide_nothing(n: int) -> None:
    assert not choose(np.ones((3, n))).sure


def test_the_same_help_for_everybody_is_beyond_doubt() -> None:
    assert choose(np.full((2, 80), 0.1)).sure
    assert not choose(np.zeros((2, 80))).sure
