"""Shopper neighbours against their dense definition."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from regulars.core.data import Histories
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
