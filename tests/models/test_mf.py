"""Explicit factorisation: the golden matrix, closed forms, recovery of known factors, folding in."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from regulars.core.data import Dataset, Histories
from regulars.models.mf import MF

GOLDEN = np.array([[5.0, 3, 4], [4, 5, 2], [3, 2, 5]])


def error(model: MF, ratings: Any) -> float:
    """Relative Frobenius error over all cells."""
    said = model.score(Histories.from_matrix(ratings), 0)
    return float(np.linalg.norm(ratings - said) / np.linalg.norm(ratings))


def test_golden_without_biases_is_the_svd_floor() -> None:
    singular = np.linalg.svd(GOLDEN, compute_uv=False)
    floor = singular[2] / np.linalg.norm(GOLDEN)  # Eckart & Young 1936
    assert error(MF(factors=2, reg=0.0, biases=False, epochs=200).fit(GOLDEN), GOLDEN) == pytest.approx(
        floor, abs=1e-6
    )


def test_golden_with_biases_is_below_the_floor() -> None:
    floor = np.linalg.svd(GOLDEN, compute_uv=False)[2] / np.linalg.norm(GOLDEN)
    assert error(MF(factors=2, reg=0.0, epochs=200).fit(GOLDEN), GOLDEN) < floor / 10


def test_golden_with_one_factor_is_far_above_the_floor() -> None:
    floor = np.linalg.svd(GOLDEN, compute_uv=False)[2] / np.linalg.norm(GOLDEN)
    assert error(MF(factors=1, reg=0.0, biases=False, epochs=200).fit(GOLDEN), GOLDEN) > 1.5 * floor


def known_truth(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ratings with a mean, biases and two factors plus noise of 0.2; and which of them are known."""
    rng = np.random.default_rng(seed)
    u, v = rng.normal(size=(200, 2)), rng.normal(size=(80, 2))
    levels = 3.5 + 0.5 * rng.normal(size=(200, 1)) + 0.5 * rng.normal(size=(1, 80))
    return levels + u @ v.T + 0.2 * rng.normal(size=(200, 80)), rng.random((200, 80)) < 0.4


def test_hidden_ratings_are_recovered_almost_to_the_noise() -> None:
    truth, known = known_truth()
    given = np.where(known, truth, 0)
    model = MF(factors=2, reg=0.01, epochs=30).fit(given)
    said = model.score(Histories.from_matrix(given), 0)
    rmse = float(np.sqrt(((said - truth)[~known] ** 2).mean()))
    # 4 * (200 + 80) - 3 numbers from 6,400 ratings: noise 0.2 grows by about sqrt(1 + 1120 / 6400) on new cells
    assert 0.19 < rmse < 0.25
    shuffled = given.copy()
    shuffled[known] = np.random.default_rng(1).permutation(given[known])
    control = MF(factors=2, reg=0.01, epochs=30).fit(shuffled).score(Histories.from_matrix(shuffled), 0)
    assert float(np.sqrt(((control - truth)[~known] ** 2).mean())) > 1.0


def test_scores_are_inner_products_and_strangers_get_the_items_levels() -> None:
    truth, known = known_truth()
    model = MF(factors=3).fit(np.where(known, truth, 0))
    history = Histories.from_matrix(np.vstack((np.where(known, truth, 0)[:1], np.zeros((1, 80)))))
    vectors = model.user_vectors(history, 0)
    assert np.allclose(model.score(history, 0), vectors @ model.item_vectors.T, atol=1e-6)
    assert vectors[1].tolist() == [0.0] * 4 + [1.0]
    unrated = replace(history, rating=None)
    assert np.allclose(model.score(unrated, 0)[0], model.score(history, 0)[1])


def test_the_last_rating_of_an_item_counts() -> None:
    once = Dataset.from_matrix(GOLDEN)
    rows = once.interactions
    earlier = replace(rows[np.array([0])], rating=np.array([1.0], dtype=np.float32))
    both = {
        name: np.concatenate((getattr(earlier, name), getattr(rows, name)))
        for name in type(rows).__dataclass_fields__
    }
    twice = replace(once, interactions=type(rows)(**both))
    assert np.array_equal(MF(factors=2).fit(twice).item_vectors, MF(factors=2).fit(once).item_vectors)
    first = np.concatenate((np.array([1.0], np.float32), GOLDEN[:1].ravel().astype(np.float32)))
    history = Histories.from_matrix(GOLDEN[:1])
    again = replace(
        history, indptr=np.array([0, 4]), item_idx=np.array([0, 0, 1, 2], np.int32), rating=first,
        kind=np.repeat(history.kind[:1], 4), at=np.zeros(4, np.int64),
    )  # fmt: skip
    model = MF(factors=2).fit(once)
    assert np.array_equal(model.score(again, 0), model.score(history, 0))


def test_items_without_a_rating_stand_at_the_mean() -> None:
    ratings = np.hstack((GOLDEN, np.zeros((3, 1))))
    model = MF(factors=2).fit(ratings)
    stranger = model.score(Histories.from_matrix(np.zeros((1, 4))), 0)[0]
    assert stranger[3] == pytest.approx(GOLDEN.mean())


def test_data_without_ratings_says_so_and_scores_nothing(caplog: pytest.LogCaptureFixture) -> None:
    data = Dataset.from_matrix(GOLDEN)
    unrated = replace(data.interactions, rating=np.full(9, np.nan, dtype=np.float32))
    with caplog.at_level(logging.WARNING, logger="regulars.models.mf"):
        model = MF(factors=2).fit(replace(data, interactions=unrated))
    assert "no rating" in caplog.text
    assert not model.score(replace(Histories.from_matrix(GOLDEN), rating=None), 0).any()
    assert not model.item_vectors[:, -1].any()
