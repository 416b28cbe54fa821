"""Graph filters against their formulas in dense float64, and the published coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from regulars.core.data import Histories
from regulars.core.errors import SettingError
from regulars.models.graph_filter import GraphFilter, exponential_steps, plateau

PUBLISHED = [0.5, -0.4927, 0.0, -0.0323, 0.0, 0.0211, 0.0, -0.0011, 0.0]  # Gowalla's, as ChebyCF's code has them


def clicks(n_users: int = 60, n_items: int = 25, seed: int = 0) -> NDArray[np.float32]:
    taken = (np.random.default_rng(seed).random((n_users, n_items)) < 0.2).astype(np.float32)
    taken[:, -1] = 0  # nobody has the last item,
    taken[-1] = 0  # and the last shopper nothing
    return taken


def by_formula(kind: str, x: NDArray[np.float32], k: int, w: float, r: NDArray[np.float32]) -> Any:
    """Scores as the papers write them, with matrices of all items."""
    du, di = np.maximum(x.sum(axis=1), 1.0), np.maximum(x.sum(axis=0), 1.0).astype(np.float64)
    n = x / np.sqrt(du)[:, None] / np.sqrt(di)
    p = n.T @ n
    v = np.linalg.svd(n)[2][:k].T
    if kind == "chebyshev":
        values, vectors = np.linalg.eigh(p)
        t = np.clip(1 - 2 * values, -1, 1)
        response = np.polynomial.chebyshev.chebval(t, plateau(8, 1.5))
        h = vectors @ np.diag(response) @ vectors.T
        return (r * di**-0.4) @ (h + w * v @ v.T) * di**0.4
    y = r @ p + w * (r * di**-0.5) @ v @ v.T * di**0.5
    if kind == "gf-cf":
        return y
    s = 2.5 * p
    return y @ (np.eye(len(p)) - s + s @ s / 2 - s @ s @ s / 6 + s @ s @ s @ s / 24)


@pytest.mark.parametrize("kind", ["chebyshev", "bspm", "gf-cf"])
def test_each_kind_is_its_formula(kind: str) -> None:
    x = clicks()
    fresh = clicks(110, seed=1)  # shoppers not seen at the fit, more than one batch of them
    model = GraphFilter(kind=kind, factors=7, low_pass=0.3).fit(x)
    scores = model.score(Histories.from_matrix(fresh), 0)
    np.testing.assert_allclose(scores[:, :-1], by_formula(kind, x, 7, 0.3, fresh)[:, :-1], atol=1e-4)
    assert not scores[:, -1].any()
    other = GraphFilter(kind=kind, factors=7, low_pass=0.6).fit(x).score(Histories.from_matrix(fresh), 0)
    assert not np.allclose(scores, other, atol=1e-2)


def test_the_coefficients_are_the_published_ones() -> None:
    np.testing.assert_allclose(plateau(8, 1.5), PUBLISHED, atol=4e-4)  # which rounds its nodes to three places
    assert not np.allclose(plateau(8, 2.0), PUBLISHED, atol=4e-4)


@pytest.mark.parametrize("degree", [1, 2, 5, 8])
def test_a_plateau_lets_smooth_patterns_pass_and_stops_noise(degree: int) -> None:
    response = np.polynomial.chebyshev.chebval(np.linspace(-1, 1, 50), plateau(degree, 1.5))
    assert response[0] > 0.8  # t = -1: eigenvalue 1
    assert response[-1] < 0.2
    assert (np.diff(response) <= 1e-9).all()


def test_sharpening_is_a_short_exponential_series() -> None:
    term, total = 1.0, 1.0
    for _, push, _, _ in exponential_steps(0.1):
        term *= push
        total += term
    assert total == pytest.approx(np.exp(-0.1), abs=1e-7)


def test_scores_are_linear_in_the_history() -> None:
    model = GraphFilter(factors=5, power=1.0).fit(clicks())
    a, b = np.eye(25, dtype=np.float32)[[3]], np.eye(25, dtype=np.float32)[[8]]
    both, one, other = (model.score(Histories.from_matrix(each), 0) for each in (2 * a + b, a, b))
    np.testing.assert_allclose(both, 2 * one + other, atol=1e-5)


def test_because_names_the_largest_share() -> None:
    x = np.zeros((40, 4), dtype=np.float32)
    x[:20, [0, 2]] = 1
    x[20:, [1, 3]] = 1
    model = GraphFilter().fit(x)
    history = Histories.from_matrix(np.array([[1.0, 1.0, 0.0, 0.0]]))
    assert model.because(history, 0, np.array([2, 3], dtype=np.int32)).tolist() == [0, 1]


def test_settings_out_of_range() -> None:
    with pytest.raises(SettingError, match=r"kind: got 'ideal', wanted chebyshev or bspm or gf-cf"):
        GraphFilter(kind="ideal")
    with pytest.raises(SettingError, match="flatness"):
        GraphFilter(flatness=0.0)
