"""The chain of ratings' factors: each of its steps draws from the distribution that it says it draws from."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge

from regulars.models.mf_chain import Given, Prior, draw_weights, ending, solved, wishart

PRECISION = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 2.0]])


def no_features(n: int) -> list[sp.csr_array]:
    return [sp.csr_array((n, 0), dtype=np.float32)]


def test_wishart_has_its_mean_and_variance() -> None:
    """E W = n S, Var W_ij = n (S_ij^2 + S_ii S_jj)."""
    rng = np.random.default_rng(0)
    scale = np.linalg.inv(PRECISION)
    drawn = np.array([wishart(PRECISION, 7, rng) for _ in range(20_000)])
    np.testing.assert_allclose(drawn.mean(axis=0), 7 * scale, atol=0.05)
    variance = 7 * (scale**2 + np.outer(np.diag(scale), np.diag(scale)))
    np.testing.assert_allclose(drawn.var(axis=0), variance, rtol=0.1, atol=0.01)


def test_a_perturbed_solution_is_a_draw_of_the_posterior() -> None:
    """20,000 shoppers with the same three ratings: mean and covariance are those of Bayesian regression."""
    n, noise = 20_000, 2.5
    rng = np.random.default_rng(0)
    items = rng.normal(size=(3, 3)).astype(np.float32)
    rated = np.array([1.0, -0.5, 2.0])
    prior = Prior(no_features(n), 3)
    prior.mean, prior.precision = np.array([0.3, -0.2, 0.1]), PRECISION
    shaken = np.tile(rated, (n, 1)) + rng.normal(size=(n, 3)) / np.sqrt(noise)
    given = Given(PRECISION, np.zeros(n, np.float32), noise)
    drawn = solved(sp.csr_array(shaken.astype(np.float32)), items, prior.starts(rng), given, True, 1)
    z = ending(items, 1.0).astype(np.float64)
    covariance = np.linalg.inv(PRECISION + noise * z.T @ z)
    mean = covariance @ (PRECISION @ prior.mean + noise * z.T @ (rated - items[:, -1]))
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.01)


def test_without_perturbation_it_is_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    items, rated = rng.normal(size=(12, 3)).astype(np.float32), rng.normal(size=12).astype(np.float32)
    given = Given(0.7 * np.eye(3), np.zeros(1, np.float32), 2.0)
    found = solved(sp.csr_array(rated[None]), items, np.zeros((1, 3), np.float32), given, True, 1)
    wanted = Ridge(alpha=0.7 / 2.0, fit_intercept=False).fit(ending(items, 1.0), rated - items[:, -1])
    np.testing.assert_allclose(found[0], wanted.coef_, atol=1e-5)


def test_a_prior_learns_mean_precision_and_what_features_say() -> None:
    rng = np.random.default_rng(0)
    features = sp.csr_array((rng.random((4000, 5)) < 0.4).astype(np.float32))
    weights, mean = rng.normal(size=(5, 3)), np.array([1.0, -2.0, 0.5])
    spread = rng.normal(size=(4000, 3)) @ np.linalg.inv(np.linalg.cholesky(PRECISION))
    rows = (mean + features @ weights + spread).astype(np.float32)
    prior, seen = Prior([features], 3), []
    for sweep in range(300):
        prior.renew(rows, rng)
        if sweep >= 100:
            seen.append((prior.mean, prior.precision, prior.weights.copy()))
    found = [np.mean(each, axis=0) for each in zip(*seen, strict=True)]
    np.testing.assert_allclose(found[0], mean, atol=0.08)
    np.testing.assert_allclose(found[1], PRECISION, rtol=0.1, atol=0.2)
    np.testing.assert_allclose(found[2], weights, atol=0.08)
    np.testing.assert_allclose(prior.levels(), mean + features @ weights, atol=0.2)


def test_features_that_say_nothing_are_shrunk() -> None:
    rng = np.random.default_rng(0)
    silent, telling = (sp.csr_array((rng.random((1000, 30)) < 0.2).astype(np.float32)) for _ in range(2))
    rows = (telling @ rng.normal(size=(30, 2)) + 0.3 * rng.normal(size=(1000, 2))).astype(np.float32)
    prior = Prior([silent, telling], 2)
    for _ in range(50):
        prior.renew(rows, rng)
    assert np.abs(prior.weights[:30]).mean() < 0.1 * np.abs(prior.weights[30:]).mean()


def test_weights_settle_where_ridge_regression_is() -> None:
    """Without noise a round over the features is coordinate descent (Gauss-Seidel) on the ridge's system."""
    rng = np.random.default_rng(0)
    features = sp.csc_array((rng.random((200, 6)) < 0.5).astype(np.float32))
    target = rng.normal(size=(200, 2))
    left, weights = target.copy(), np.zeros((6, 2))
    for _ in range(200):
        draw_weights(
            features.indptr, features.indices, features.data, left, np.full(6, 3.0), np.zeros((6, 2)), weights
        )
    wanted = Ridge(alpha=3.0, fit_intercept=False).fit(features.toarray(), target)
    np.testing.assert_allclose(weights, wanted.coef_.T, atol=1e-6)
    np.testing.assert_allclose(left, target - features @ weights, atol=1e-6)


@pytest.mark.parametrize("n", [0, 1])
def test_a_prior_of_hardly_any_row_stays_finite(n: int) -> None:
    prior = Prior(no_features(n), 3)
    for _ in range(20):
        prior.renew(np.ones((n, 3), dtype=np.float32), np.random.default_rng(0))
        assert np.isfinite(prior.mean).all()
        assert np.linalg.eigvalsh(prior.precision).min() > 0
