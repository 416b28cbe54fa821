"""Explicit factorisation: the golden matrix, closed forms, recovery of known factors, folding in."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from regulars.core.data import Dataset, Histories
from regulars.models.mf import MF

GOLDEN = np.array([[5.0, 3, 4], [4, 5, 2], [3, 2, 5]])


def als(**settings: Any) -> MF:
    return MF(solver="als", **settings)


def error(model: MF, ratings: Any) -> float:
    """Relative Frobenius error over all cells."""
    said = model.score(Histories.from_matrix(ratings), 0)
    return float(np.linalg.norm(ratings - said) / np.linalg.norm(ratings))


def test_golden_without_biases_is_the_svd_floor() -> None:
    singular = np.linalg.svd(GOLDEN, compute_uv=False)
    floor = singular[2] / np.linalg.norm(GOLDEN)  # Eckart & Young 1936
    assert error(als(factors=2, reg=0.0, biases=False, epochs=200).fit(GOLDEN), GOLDEN) == pytest.approx(
        floor, abs=1e-6
    )


def test_golden_with_biases_is_below_the_floor() -> None:
    floor = np.linalg.svd(GOLDEN, compute_uv=False)[2] / np.linalg.norm(GOLDEN)
    assert error(als(factors=2, reg=0.0, epochs=200).fit(GOLDEN), GOLDEN) < floor / 10


def test_golden_with_one_factor_is_far_above_the_floor() -> None:
    floor = np.linalg.svd(GOLDEN, compute_uv=False)[2] / np.linalg.norm(GOLDEN)
    assert error(als(factors=1, reg=0.0, biases=False, epochs=200).fit(GOLDEN), GOLDEN) > 1.5 * floor


def known_truth(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ratings with a mean, biases and two factors plus noise of 0.2; and which of them are known."""
    rng = np.random.default_rng(seed)
    u, v = rng.normal(size=(200, 2)), rng.normal(size=(80, 2))
    levels = 3.5 + 0.5 * rng.normal(size=(200, 1)) + 0.5 * rng.normal(size=(1, 80))
    return levels + u @ v.T + 0.2 * rng.normal(size=(200, 80)), rng.random((200, 80)) < 0.4


def test_hidden_ratings_are_recovered_almost_to_the_noise() -> None:
    truth, known = known_truth()
    given = np.where(known, truth, 0)
    model = als(factors=2, reg=0.01, epochs=30).fit(given)
    said = model.score(Histories.from_matrix(given), 0)
    rmse = float(np.sqrt(((said - truth)[~known] ** 2).mean()))
    # 4 * (200 + 80) - 3 numbers from 6,400 ratings: noise 0.2 grows by about sqrt(1 + 1120 / 6400) on new cells
    assert 0.19 < rmse < 0.25
    shuffled = given.copy()
    shuffled[known] = np.random.default_rng(1).permutation(given[known])
    control = als(factors=2, reg=0.01, epochs=30).fit(shuffled).score(Histories.from_matrix(shuffled), 0)
    assert float(np.sqrt(((control - truth)[~known] ** 2).mean())) > 1.0


def test_scores_are_inner_products_and_strangers_get_the_items_levels() -> None:
    truth, known = known_truth()
    model = als(factors=3).fit(np.where(known, truth, 0))
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
    assert np.array_equal(als(factors=2).fit(twice).item_vectors, als(factors=2).fit(once).item_vectors)
    first = np.concatenate((np.array([1.0], np.float32), GOLDEN[:1].ravel().astype(np.float32)))
    history = Histories.from_matrix(GOLDEN[:1])
    again = replace(
        history, indptr=np.array([0, 4]), item_idx=np.array([0, 0, 1, 2], np.int32), rating=first,
        kind=np.repeat(history.kind[:1], 4), at=np.zeros(4, np.int64),
    )  # fmt: skip
    model = als(factors=2).fit(once)
    assert np.array_equal(model.score(again, 0), model.score(history, 0))


def test_items_without_a_rating_stand_at_the_mean() -> None:
    ratings = np.hstack((GOLDEN, np.zeros((3, 1))))
    model = als(factors=2).fit(ratings)
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


# ---- by sampling ---------------------------------------------------------------------------------------------


def hidden_rmse(model: MF, truth: Any, known: Any) -> float:
    given = np.where(known, truth, 0)
    said = model.fit(given).score(Histories.from_matrix(given), 0)
    return float(np.sqrt(((said - truth)[~known] ** 2).mean()))


def test_the_chain_needs_no_penalty_and_no_number_of_factors() -> None:
    """Eight factors where two are true cost the chain next to nothing, and `als` much without the right penalty."""
    truth, known = known_truth()
    right = hidden_rmse(MF(factors=2, epochs=100), truth, known)
    assert 0.19 < right < 0.23
    assert hidden_rmse(MF(factors=8, epochs=100), truth, known) < 1.05 * right
    assert min(hidden_rmse(als(factors=8, reg=reg, epochs=30), truth, known) for reg in (0.01, 0.05)) > 1.08 * right
    assert hidden_rmse(als(factors=8, reg=0.001, epochs=30), truth, known) > 1.3 * right


def test_the_chain_finds_how_noisy_ratings_are() -> None:
    truth, known = known_truth()
    model = MF(factors=2, epochs=100).fit(np.where(known, truth, 0))
    deviations = model.scale_ / np.sqrt(model.noise_)
    assert deviations.mean() == pytest.approx(0.2, rel=0.05)


def test_a_shopper_is_the_ridge_regression_of_each_draw() -> None:
    """The second way: sklearn on ratings less the prior's answer, regressors whitened by the prior."""
    truth, known = known_truth()
    given = np.where(known, truth, 0)
    model = MF(factors=2, epochs=20, draws=3, side=False).fit(given)
    rated, wanted = np.flatnonzero(known[5]), np.zeros(80)
    for vectors, level, precision, noise in zip(
        model.vectors_, model.levels_, model.precisions_, model.noise_, strict=True
    ):
        seen = np.hstack((vectors[:, :-1], np.ones((80, 1))))
        before = seen @ level + vectors[:, -1]
        white = seen @ np.linalg.inv(np.linalg.cholesky(precision)).T
        target = (truth[5, rated] - model.mean_) / model.scale_ - before[rated]
        found = Ridge(alpha=1 / noise, fit_intercept=False).fit(white[rated], target)
        wanted += (before + found.predict(white)) / 3
    said = model.score(Histories.from_matrix(given[5:6]), 0)[0]
    np.testing.assert_allclose(said, model.mean_ + model.scale_ * wanted, atol=1e-4)


def test_what_was_met_tells_what_is_liked() -> None:
    """Two kinds of shopper, who meet the films of their kind more and like them more: one rating says no kind."""
    rng = np.random.default_rng(0)
    kind, films = np.arange(300) % 2, np.arange(40) % 2
    alike = kind[:, None] == films[None, :]
    met = rng.random((300, 40)) < np.where(alike, 0.5, 0.15)
    data = Dataset.from_matrix(np.where(met, np.where(alike, 4.5, 2.0) + 0.2 * rng.normal(size=(300, 40)), 0))
    lookers = Histories.from_matrix(np.stack([films == 0, films == 1]).astype(np.float32))
    lookers = replace(lookers, rating=None)
    apart = MF(epochs=60).fit(data).score(lookers, 0)
    assert apart[0, films == 0].mean() > apart[0, films == 1].mean() + 1.5
    assert apart[1, films == 1].mean() > apart[1, films == 0].mean() + 1.5
    blind = MF(epochs=60, side=False).fit(data).score(lookers, 0)
    assert np.array_equal(blind[0], blind[1])


def test_an_item_that_nobody_rated_stands_where_its_tag_does() -> None:
    rng = np.random.default_rng(0)
    good = np.arange(60) % 2 == 0
    ratings = np.where(good, 4.5, 2.5) + 0.2 * rng.normal(size=(100, 60))
    ratings[rng.random((100, 60)) < 0.7] = 0
    ratings[:, :2] = 0
    data = Dataset.from_matrix(ratings)
    tags = [("good",) if each else ("bad",) for each in good]
    told = replace(data, items=replace(data.items, tags=tags))
    said = MF(epochs=60).fit(told).score(data.histories(), 0)[:, :2].mean(axis=0)
    np.testing.assert_allclose(said, [4.5, 2.5], atol=0.3)
    untold = MF(epochs=60).fit(data).score(data.histories(), 0)[:, :2].mean(axis=0)
    assert abs(untold[0] - untold[1]) < 0.1


@pytest.mark.parametrize("solver", ["gibbs", "als"])
def test_ratings_all_the_same_are_what_everybody_is_told(solver: str) -> None:
    ratings = np.where(np.random.default_rng(0).random((20, 10)) < 0.5, 4.0, 0.0)
    model = MF(solver=solver, epochs=20).fit(ratings)
    everybody = np.vstack((ratings, np.zeros((1, 10))))
    np.testing.assert_allclose(model.score(Histories.from_matrix(everybody), 0), 4.0, atol=1e-5)


def test_ratings_on_another_scale_are_predicted_on_it() -> None:
    truth, known = known_truth()
    given = np.where(known, truth, 0).astype(np.float32)
    history = Histories.from_matrix(given)
    small, large = (MF(factors=2, epochs=20).fit(times * given) for times in (1, 64))
    said = small.score(history, 0)
    stretched = large.score(replace(history, rating=64 * given[given != 0]), 0)
    np.testing.assert_allclose(stretched, 64 * said, rtol=1e-3, atol=0.1)


def test_threads_change_no_number() -> None:
    truth, known = known_truth()
    given = np.vstack([np.where(known, truth, 0)] * 4)  # more rows than a chunk
    one, two = (MF(factors=2, epochs=5, draws=2, threads=threads).fit(given) for threads in (1, 2))
    assert np.array_equal(one.item_vectors, two.item_vectors)


def test_without_biases_there_are_none() -> None:
    truth, known = known_truth()
    model = MF(factors=4, epochs=40, draws=3, biases=False).fit(np.where(known, truth, 0))
    assert model.mean_ == 0
    assert not model.vectors_[:, :, -1].any()
    assert not model.user_vectors(Histories.from_matrix(truth[:3]), 0)[:, -2].any()
    assert hidden_rmse(MF(factors=4, epochs=100, biases=False), truth, known) < 0.3
