"""Item neighbours against brute force, and against `implicit`."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.nearest_neighbours import CosineRecommender

from regulars.core.data import Histories
from regulars.models.item_knn import ItemKNN
from regulars.models.nearest import nearest


def ratings(n_users: int = 60, n_items: int = 15, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n_users, n_items)) < 0.25, rng.integers(1, 6, (n_users, n_items)), 0).astype(
        np.float32
    )


def brute(x: np.ndarray, k: int, shrink: float) -> np.ndarray:
    """The dense definition: cosine with shrink, no self, the k best of each row, ties to the lower id."""
    x = x.astype(np.float64)
    norms = np.linalg.norm(x, axis=0)
    below = np.multiply.outer(norms, norms) + shrink
    cosine = np.divide(x.T @ x, below, out=np.zeros_like(below), where=below > 0)
    np.fill_diagonal(cosine, 0.0)
    kept = np.zeros_like(cosine)
    for row, values in enumerate(cosine):
        best = np.lexsort((np.arange(len(values)), -np.round(values, 6)))[:k]
        kept[row, best] = values[best]
    return np.asarray(kept)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, 14, 50]), st.sampled_from([0.0, 10.0]))
def test_neighbours_are_those_of_the_definition(seed: int, k: int, shrink: float) -> None:
    x = np.random.default_rng(seed).random((40, 15)).astype(np.float32)
    x[x < 0.7] = 0
    found = nearest(sp.csr_array(x), k, shrink)
    assert np.allclose(found.toarray(), brute(x, k, shrink), atol=1e-5)
    assert (np.diff(found.indptr) <= k).all()


def test_threads_change_nothing() -> None:
    x = sp.random_array((300, 700), density=0.02, rng=np.random.default_rng(2), dtype=np.float32).tocsr()
    one, two = nearest(x, 20, 1.0, threads=1), nearest(x, 20, 1.0, threads=2)
    assert (one != two).nnz == 0


def test_agrees_with_implicit() -> None:
    x = ratings()
    peer = CosineRecommender(K=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it converts its own transposed copy, and says so
        peer.fit(sp.csr_matrix(x), show_progress=False)
    theirs = peer.similarity.toarray()
    np.fill_diagonal(theirs, 0.0)
    assert np.allclose(nearest(sp.csr_array(x), 100, 0.0).toarray(), theirs, atol=1e-5)


def test_scores_are_sums_over_neighbours_in_the_history() -> None:
    x = ratings()
    model = ItemKNN(k=4, shrink=2.0, power=1.0, user_power=0.0).fit(x)
    history = ratings(3, seed=9)
    expected = history @ brute(x, 4, 2.0).T
    assert np.allclose(model.score(Histories.from_matrix(history), 0), expected, atol=1e-4)


def test_long_histories_count_less() -> None:
    x = np.array([[1, 1, 0, 0, 0, 0], [1, 0, 1, 1, 1, 1]], dtype=np.float32)
    history = Histories.from_matrix(np.eye(6)[:1])
    plain = ItemKNN(user_power=0.0, shrink=5.0).fit(x).score(history, 0)[0]
    damped = ItemKNN(user_power=1.0, shrink=5.0).fit(x).score(history, 0)[0]
    assert plain[1] == pytest.approx(plain[2])
    assert damped[1] > damped[2]


@pytest.mark.parametrize("asymmetry", [0.0, 0.3, 1.0])
def test_asymmetric_cosine(asymmetry: float) -> None:
    x = ratings()
    norms = np.linalg.norm(x, axis=0)
    likeness = x.T @ x / np.multiply.outer(norms ** (2 * asymmetry), norms ** (2 - 2 * asymmetry))
    np.fill_diagonal(likeness, 0.0)
    model = ItemKNN(shrink=0.0, power=1.0, user_power=0.0, asymmetry=asymmetry).fit(x)
    assert np.allclose(model.score(Histories.from_matrix(np.eye(15)), 0), likeness.T, atol=1e-4)


def test_weighting_by_what_a_shopper_tells() -> None:
    """Items 0 and 2 share the shopper of few items, 1 and 2 the one of many: tf-idf holds 0 nearer to 2."""
    x = np.array([[1, 0, 1, 0, 0], [0, 1, 1, 1, 1]], dtype=np.float32)
    history = Histories.from_matrix(np.eye(5)[[2]])
    plain, told = (
        ItemKNN(weighting=each, user_power=0.0, shrink=1.0).fit(x).score(history, 0)[0] for each in ("none", "tf-idf")
    )
    assert plain[0] == pytest.approx(plain[1])
    assert told[0] > told[1]


def test_because_is_the_nearest_of_the_history() -> None:
    x = np.array([[1, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0]], dtype=np.float32)
    model = ItemKNN(shrink=0.0).fit(x)
    history = Histories.from_matrix(np.array([[1.0, 1.0, 0.0, 0.0]]))
    wanted = np.array([2, 3], dtype=np.int32)
    assert model.because(history, 0, wanted).tolist() == [0, 1]
    alone = Histories.from_matrix(np.array([[1.0, 0.0, 0.0, 0.0]]))
    assert model.because(alone, 0, wanted).tolist() == [0, -1]
    assert model.because(Histories.from_matrix(np.zeros((1, 4))), 0, wanted).tolist() == [-1, -1]


def test_one_item_has_no_neighbour() -> None:
    scores = ItemKNN().fit(np.ones((3, 1))).score(Histories.from_matrix(np.ones((1, 1))), 0)
    assert scores.tolist() == [[0.0]]
