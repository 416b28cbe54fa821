"""Random walks against products of transition probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from regulars.core.data import Histories
from regulars.models.rp3beta import RP3Beta


def counts(n_users: int = 40, n_items: int = 15, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n_users, n_items)) < 0.3, rng.integers(1, 5, (n_users, n_items)), 0).astype(float)


def walks(w: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """P(item -> shopper)^alpha P(shopper -> item)^alpha / popularity^beta, no way back to the start."""
    to_user = (w / w.sum(axis=0)).T ** alpha
    to_item = (w / np.maximum(w.sum(axis=1, keepdims=True), 1e-9)) ** alpha
    found = (to_user * (w.T > 0)) @ (to_item * (w > 0)) / w.sum(axis=0) ** beta
    np.fill_diagonal(found, 0.0)
    return np.asarray(found)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.6, 0.3), (1.4, 0.8)])
def test_all_walks(alpha: float, beta: float) -> None:
    w, history = counts(), counts(5, seed=1)
    expected = np.where(history > 0, history**alpha, 0.0) @ walks(w, alpha, beta)
    for k in (0, 14):
        model = RP3Beta(alpha=alpha, beta=beta, k=k).fit(w)
        np.testing.assert_allclose(model.score(Histories.from_matrix(history), 0), expected, rtol=1e-4)


def test_the_strongest_links_of_each_item() -> None:
    w = counts(seed=2)
    links = walks(w, 0.6, 0.3)
    for row in links:
        row[np.argsort(-row, kind="stable")[4:]] = 0.0
    model = RP3Beta(k=4).fit(w)
    np.testing.assert_allclose(model.score(Histories.from_matrix(np.eye(15)), 0), links, rtol=1e-4)


def test_one_step_each_way_is_a_distribution() -> None:
    """With alpha 1 and beta 0, the links and the way back are chances that add up to 1."""
    w = counts(seed=3)
    links = RP3Beta(alpha=1.0, beta=0.0, k=0).fit(w).score(Histories.from_matrix(np.eye(15)), 0)
    back = (w / w.sum(axis=0)).T @ (w / np.maximum(w.sum(axis=1, keepdims=True), 1e-9))
    np.testing.assert_allclose(links.sum(axis=1) + np.diag(back), 1.0, rtol=1e-5)


def test_beta_takes_from_the_popular() -> None:
    w = np.array([[1, 1, 1], [0, 0, 1], [0, 0, 1]], dtype=float)  # item 0 leads to 1 and, much had, to 2
    start = Histories.from_matrix(np.eye(3)[:1])
    even, damped = (RP3Beta(beta=beta).fit(w).score(start, 0)[0] for beta in (0.0, 0.5))
    assert even[1] == pytest.approx(even[2])
    assert damped[1] > damped[2]
