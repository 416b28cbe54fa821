"""Shopper neighbours against their dense definition."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from regulars.core.data import EVENT_TYPES, PURCHASE, Histories
from regulars.models.history import places
from regulars.models.user_knn import UserKNN


def counts(n_users: int = 40, n_items: int = 18, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n_users, n_items)) < 0.3, rng.uniform(1, 5, (n_users, n_items)), 0.0)


def likeness(history: np.ndarray, rows: np.ndarray, shrink: float, asymmetry: float) -> np.ndarray:
    own, theirs = np.linalg.norm(history, axis=1), np.linalg.norm(rows, axis=1)
    below = np.multiply.outer(own ** (2 * asymmetry), theirs ** (2 - 2 * asymmetry)) + shrink
    return np.asarray(history @ rows.T / below)


def bm25(rows: np.ndarray, learned: np.ndarray, k1: float, b: float) -> np.ndarray:
    """Robertson & Zaragoza's equation 3.15, cell by cell."""
    out = np.zeros_like(rows)
    mean = learned.sum() / len(learned)
    for (row, column), tf in np.ndenumerate(rows):
        df = (learned[:, column] > 0).sum()
        told = np.log(1 + (len(learned) - df + 0.5) / (df + 0.5))
        out[row, column] = told * tf * (k1 + 1) / (tf + k1 * (1 - b + b * rows[row].sum() / mean)) if tf else 0.0
    return out


@pytest.mark.parametrize("weighting", ["none", "bm25"])
@pytest.mark.parametrize("asymmetry", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("k", [3, 1000])
def test_votes_of_the_definition(weighting: str, asymmetry: float, k: int) -> None:
    rows, history = counts(), counts(7, seed=1)
    told = [bm25(each, rows, 1.5, 0.6) if weighting == "bm25" else each for each in (history, rows)]
    like = likeness(told[0], told[1], 2.0, asymmetry)
    for row in like:
        row[np.argsort(-row, kind="stable")[k:]] = 0.0
    model = UserKNN(k=k, shrink=2.0, power=1.0, asymmetry=asymmetry, weighting=weighting, k1=1.5, b=0.6).fit(rows)
    np.testing.assert_allclose(model.score(Histories.from_matrix(history), 0), like @ rows, rtol=1e-4)


def test_sharper_votes_for_rarer_items() -> None:
    rows, history = counts(), counts(7, seed=1)
    like = likeness(history, rows, 2.0, 0.5)
    expected = like**3 @ (rows / (rows > 0).sum(axis=0) ** 0.4)
    model = UserKNN(k=100, shrink=2.0, power=1.0, sharpness=3.0, beta=0.4).fit(rows)
    np.testing.assert_allclose(model.score(Histories.from_matrix(history), 0), expected, rtol=1e-4)


def test_what_was_taken_last_tells_most_of_who_is_near() -> None:
    """Two shoppers share one item each with the history: the nearer is who shares the newer one."""
    rows = np.array([[1, 0, 1, 0], [0, 1, 0, 1]], dtype=float)
    for sequence, wanted in (([0, 1], 3), ([1, 0], 2)):
        history = Histories.from_sequences([sequence], 4)
        plain, recent = (UserKNN(history_decay=each).fit(rows).score(history, 0)[0] for each in (0.0, 1.0))
        assert plain[2] == plain[3]
        assert 2 + recent[2:].argmax() == wanted


def test_votes_of_a_decayed_history() -> None:
    rows = counts()
    sequences = [[3, 1, 7, 3, 9], [5], [], [2, 0, 11, 4]]
    wanted = np.zeros((4, 18))
    for row, sequence in enumerate(sequences):
        for place, item in enumerate(dict.fromkeys(reversed(sequence)), start=1):
            wanted[row, item] = sequence.count(item) ** 0.5 * place**-0.8
    expected = likeness(wanted, rows**0.5, 2.0, 0.5) @ rows**0.5
    scores = UserKNN(k=100, shrink=2.0, history_decay=0.8).fit(rows).score(Histories.from_sequences(sequences, 18), 0)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)


def test_items_of_one_instant_share_a_place() -> None:
    """A basket has no order in it, and a history without times none at all."""
    rows, given = counts(), counts(7, seed=1)
    plain, decayed = (UserKNN(history_decay=each).fit(rows).score(Histories.from_matrix(given), 0) for each in (0, 2))
    np.testing.assert_array_equal(plain, decayed)
    found = places(Histories.from_sequences([[4, 2, 0, 1, 4]], 5, at=[[1, 1, 2, 2, 2]]))
    np.testing.assert_array_equal(found, [1, 1, 4, 1])  # items 0, 1, 2 and 4, which was taken again


def test_an_item_without_an_event_stands_last() -> None:
    history = Histories.from_sequences([[0, 1]], 4)
    more = replace(history, user_items=sp.csr_array(np.array([[1.0, 1.0, 1.0, 0.0]], dtype=np.float32)))
    np.testing.assert_array_equal(places(more), [2, 1, 3])


def test_what_is_given_back_is_not_taken_again() -> None:
    history = Histories.from_sequences([[0, 1, 0]], 2)
    refunded = replace(history, kind=np.array([PURCHASE, PURCHASE, EVENT_TYPES.index("refund")], dtype=np.int8))
    np.testing.assert_array_equal(places(history), [1, 2])
    np.testing.assert_array_equal(places(refunded), [2, 1])


@given(st.lists(st.lists(st.integers(0, 8), max_size=12), min_size=1, max_size=4), st.randoms())
def test_places_whatever_the_order_of_the_cells(sequences: list[list[int]], random: Random) -> None:
    history = Histories.from_sequences(sequences, 9)
    cells = history.user_items
    mixed = np.concatenate([
        np.zeros(0, dtype=np.int64),
        *(random.sample(range(low, high), high - low) for low, high in pairwise(cells.indptr.tolist())),
    ]).astype(np.int64)  # fmt: skip
    shuffled = sp.csr_array((cells.data[mixed], cells.indices[mixed], cells.indptr), shape=cells.shape)
    np.testing.assert_array_equal(places(replace(history, user_items=shuffled)), places(history)[mixed])
    for row, sequence in enumerate(sequences):
        newest = list(dict.fromkeys(reversed(sequence)))
        mine = slice(cells.indptr[row], cells.indptr[row + 1])
        assert [newest.index(item) + 1 for item in cells.indices[mine]] == places(history)[mine].tolist()


def test_rare_items_tell_more() -> None:
    """Item 0 is everyone's, item 1 one other shopper's: the latter is the nearer one by tf-idf."""
    rows = np.array([[1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 1]], dtype=float)
    history = Histories.from_matrix(np.array([[1.0, 1.0, 0.0, 0.0]]))
    plain, told = (UserKNN(weighting=each, shrink=0.0).fit(rows).score(history, 0)[0] for each in ("none", "tf-idf"))
    assert plain[2] > plain[3]
    assert told[3] > told[2]


def test_own_row_votes_for_nothing_new() -> None:
    rows = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], dtype=float)
    scores = UserKNN().fit(rows).score(Histories.from_matrix(rows), 0)
    assert (scores[rows == 0] == 0).all()


@pytest.mark.parametrize("sharpness", [1.0, 2.0])
def test_because_is_the_largest_share(sharpness: float) -> None:
    rows, history = counts(seed=2), counts(1, seed=3)
    model = UserKNN(k=9, shrink=1.0, power=1.0, sharpness=sharpness).fit(rows)
    given = Histories.from_matrix(history)
    wanted = np.arange(18, dtype=np.int32)
    near, _, _ = model.neighbours(given)
    users = near.indices
    below = np.linalg.norm(history) * np.linalg.norm(rows[users], axis=1) + 1.0
    shares = (history[0][:, None] * rows[users].T * near.data ** (sharpness - 1) / below) @ rows[users]
    np.testing.assert_allclose(shares.sum(axis=0), model.score(given, 0)[0], rtol=1e-4)
    expected = np.where(shares.max(axis=0) > 0, shares.argmax(axis=0), -1)
    assert model.because(given, 0, wanted).tolist() == expected.tolist()


def test_explicit_zeros_bring_nobody() -> None:
    zeros = sp.csr_array((np.zeros(3, np.float32), np.array([0, 1, 2], np.int32), np.array([0, 3])), shape=(1, 3))
    scores = UserKNN(power=1.0).fit(np.ones((50, 3))).score(Histories.from_matrix(zeros), 0)
    assert scores.tolist() == [[0.0, 0.0, 0.0]]
