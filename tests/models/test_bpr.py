"""BPR: its gradient and fold-in against other ways to the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from regulars.core.arrays import as_csr
from regulars.core.data import Histories
from regulars.core.errors import ModelError
from regulars.models.bpr import BPR, _epoch


def two_tastes(n_users: int = 120, n_items: int = 40, seed: int = 0) -> np.ndarray:
    """Shoppers take items of their own half four times as often."""
    rng = np.random.default_rng(seed)
    own = (np.arange(n_users)[:, None] < n_users // 2) == (np.arange(n_items)[None, :] < n_items // 2)
    return (rng.random((n_users, n_items)) < np.where(own, 0.4, 0.1)).astype(np.float32)


def test_a_step_follows_the_gradient_of_the_loss() -> None:
    """One pair and one draw, against central differences of -ln s(..) + penalties in float64."""
    rng = np.random.default_rng(1)
    x, y, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((1, 3), (2, 3), 2))
    rate, reg, item_reg = 1e-3, 0.3, 0.2

    def loss(flat: np.ndarray) -> float:
        u, i, j, bi, bj = flat[:3], flat[3:6], flat[6:9], flat[9], flat[10]
        penalty = reg * u @ u + item_reg * (i @ i + j @ j + bi**2 + bj**2)
        return float(np.log1p(np.exp(-(u @ (i - j) + bi - bj))) + penalty / 2)

    at = np.concatenate((x[0], y[0], y[1], bias)).astype(np.float64)
    slope = [(loss(at + 1e-5 * e) - loss(at - 1e-5 * e)) / 2e-5 for e in np.eye(11)]
    zero, one = np.zeros(1, np.int32), np.ones(1, np.int32)
    steps = np.array([rate, reg, item_reg], dtype=np.float32)
    assert _epoch(zero, zero, (np.array([0, 1]), zero), one, (x, y, bias), steps) == -1
    moved = (np.concatenate((x[0], y[0], y[1], bias)) - at) / -rate
    np.testing.assert_allclose(moved, slope, atol=2e-3)


def test_a_draw_that_the_shopper_has_is_left_out() -> None:
    x, y, bias = np.ones((1, 2), np.float32), np.ones((2, 2), np.float32), np.zeros(2, np.float32)
    cells = np.array([0, 1], dtype=np.int32)
    users, steps = np.zeros(2, np.int32), np.array([0.1, 0.1, 0.1], dtype=np.float32)
    assert _epoch(cells, users, (np.array([0, 2]), cells), cells[::-1].copy(), (x, y, bias), steps) == -1
    assert (x == 1).all()
    assert (y == 1).all()


def test_fold_in_is_the_least_of_its_loss() -> None:
    taken = two_tastes()
    model = BPR(factors=6, epochs=20).fit(taken)
    mine = np.flatnonzero(taken[0]).astype(np.int32)
    others = model.against_[~np.isin(model.against_, mine)]
    high, low = model.item_vectors[mine].astype(float), model.item_vectors[others].astype(float)

    def loss(x: np.ndarray) -> float:
        full = np.append(x, 1.0)
        ahead = (high @ full)[:, None] - (low @ full)[None, :]
        return float(np.log1p(np.exp(-ahead)).mean(axis=1).sum() + model.reg * len(mine) * x @ x / 2)

    best = minimize(loss, np.zeros(6), tol=1e-10).x
    found = model.user_vectors(Histories.from_matrix(taken[:1]), 0)[0]
    np.testing.assert_allclose(found, np.append(best, 1.0), atol=2e-3)


def test_fold_in_ranks_as_the_trained_vector_does() -> None:
    taken = two_tastes(200)
    model = BPR(factors=8, epochs=80, reg=0.05).fit(taken)
    x, y, bias = model.learn(as_csr(taken), np.random.default_rng(0))
    trained, folded = x @ y.T + bias, model.score(Histories.from_matrix(taken), 0)
    alike = [np.corrcoef(one, two)[0, 1] for one, two in zip(trained, folded, strict=True)]
    assert np.mean(alike) > 0.9
    strangers = [np.corrcoef(one, two)[0, 1] for one, two in zip(trained, folded[::-1], strict=True)]
    assert np.mean(strangers) < np.mean(alike) - 0.2  # and not as anybody else's


def test_own_half_first_and_nothing_on_shuffled_data() -> None:
    taken = two_tastes()
    auc = []
    for data in (taken, np.random.default_rng(2).permuted(taken, axis=1)):
        scores = BPR(factors=8, epochs=40).fit(data).score(Histories.from_matrix(data), 0)
        own = (np.arange(120)[:, None] < 60) == (np.arange(40)[None, :] < 20)
        hidden = data == 0
        auc.append(float((scores[own & hidden][:, None] > scores[~own & hidden][None, :1000]).mean()))
    assert auc[0] > 0.8
    assert 0.35 < auc[1] < 0.65


def test_a_rate_far_too_high_stops_with_the_step() -> None:
    with pytest.raises(ModelError, match=r"not finite in step \d+.*Lower the rate"):
        BPR(rate=1e6, reg=1e-6, epochs=50).fit(two_tastes())
