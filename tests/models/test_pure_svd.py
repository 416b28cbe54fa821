"""PureSVD: scores are the projection on the leading directions."""

from __future__ import annotations

import numpy as np
import pytest

from regulars.core.data import Histories
from regulars.core.errors import SettingError
from regulars.models.pure_svd import PureSVD


def clicks(n_users: int = 60, n_items: int = 15) -> np.ndarray:
    return (np.random.default_rng(0).random((n_users, n_items)) < 0.3).astype(np.float32)


def test_scores_of_the_shoppers_fitted_are_the_best_approximation_of_that_rank() -> None:
    x = clicks()
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    truncated = (u[:, :4] * s[:4]) @ vt[:4]  # Eckart and Young
    scores = PureSVD(factors=4).fit(x).score(Histories.from_matrix(x), 0)
    np.testing.assert_allclose(scores, truncated, atol=1e-4)
    assert not np.allclose(PureSVD(factors=3).fit(x).score(Histories.from_matrix(x), 0), truncated, atol=1e-2)


def test_weights_are_read_to_a_power() -> None:
    x = clicks() * 4.0
    assert np.allclose(
        PureSVD(factors=4, power=1.0).fit(x).score(Histories.from_matrix(x), 0),
        2.0 * PureSVD(factors=4, power=0.5).fit(x).score(Histories.from_matrix(x), 0),
        atol=1e-3,
    )


def test_more_factors_than_directions() -> None:
    x = clicks(5, 8)
    model = PureSVD(factors=50).fit(x)
    assert model.item_vectors.shape[1] <= 5
    np.testing.assert_allclose(model.score(Histories.from_matrix(x), 0), x, atol=1e-4)  # nothing is left out


def test_settings_out_of_range() -> None:
    with pytest.raises(SettingError, match="factors"):
        PureSVD(factors=0)
