"""Growing trees: they find what the blend cannot know, stay away where there is nothing, and tell true chances."""

from __future__ import annotations

import numpy as np
import pytest

from regulars.rank.boost import (
    MIN_LISTS,
    TOO_FEW,
    Lists,
    _isotonic,
    folds,
    gained,
    grow_order,
    grow_purchases,
    hybrid_of,
    ndcg_of,
)

NAMES = ("blend score", "secret", "noise")


def lists(n: int, secret: float, rng: np.random.Generator, width: int = 30) -> Lists:
    """What is wanted depends on the blend's score, and on a feature that the blend does not know by `secret`."""
    score = np.sort(rng.normal(size=(n, width)).astype(np.float32), axis=1)[:, ::-1]
    rows = np.stack([score, *(rng.normal(size=(2, n, width)))], axis=2).astype(np.float32)
    utility = score + secret * np.abs(rows[:, :, 1]) + rng.gumbel(size=score.shape)
    wish = np.zeros((n, width), dtype=np.float32)
    wish[np.arange(n), utility.argmax(axis=1)] = 1.0
    return Lists(rows, np.ones((n, width), dtype=np.bool_), score, wish, np.zeros(n, dtype=np.float32), np.arange(n))


def test_what_the_blend_cannot_know_is_found() -> None:
    given = lists(900, 2.0, np.random.default_rng(0))
    trees, report = grow_order(NAMES, given, 0, 1)
    assert trees is not None
    assert report["gain_low"] > 0
    assert report["features"][0]["feature"] == "secret"
    fresh = lists(3000, 2.0, np.random.default_rng(1))
    gains = trees.sum(fresh.rows.reshape(-1, 3)).reshape(fresh.score.shape)
    truth = ndcg_of(fresh, fresh.score + 2 * np.abs(fresh.rows[:, :, 1])).mean()
    alone, both = ndcg_of(fresh, fresh.score).mean(), ndcg_of(fresh, fresh.score + gains.astype(np.float32)).mean()
    assert both - alone > 0.8 * (truth - alone)
    assert both - alone == pytest.approx(report["gain"], abs=0.05)  # cross-fitted: no flattery


@pytest.mark.parametrize("seed", range(3))
def test_where_there_is_nothing_to_find_the_blend_stays(seed: int) -> None:
    trees, report = grow_order(NAMES, lists(600, 0.0, np.random.default_rng(seed)), seed, 1)
    assert trees is None
    assert report["why"] == "no clear gain over the blend"


def test_too_few_lists_and_lists_in_which_nothing_is_wanted() -> None:
    given = lists(MIN_LISTS + 50, 2.0, np.random.default_rng(0))
    given.wish[:100] = 0
    trees, report = grow_order(NAMES, given, 0, 1)
    assert (trees, report["why"], report["lists"]) == (None, TOO_FEW, MIN_LISTS - 50)


def test_the_same_seed_grows_the_same_trees() -> None:
    given = lists(300, 2.0, np.random.default_rng(0))
    first, second = (grow_order(NAMES, given, 5, 1)[0] for _ in range(2))
    assert first is not None
    assert second is not None
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(array, second.arrays()[name])


def chances(n: int, rng: np.random.Generator, width: int = 40) -> tuple[Lists, np.ndarray]:
    rows = rng.normal(size=(n, width, 3)).astype(np.float32)
    chance = 1 / (1 + np.exp(4.0 - 1.5 * rows[:, :, 1]))
    wish = (rng.random(chance.shape) < chance).astype(np.float32)
    there = np.ones(chance.shape, dtype=np.bool_)
    return Lists(rows, there, rows[:, :, 0], wish, np.zeros(n, dtype=np.float32), np.arange(n)), chance


def test_chances_are_told_as_they_are() -> None:
    given, _ = chances(1500, np.random.default_rng(0))
    found, report = grow_purchases(given, 7.0, 0, 1)
    assert found is not None
    fresh, truth = chances(500, np.random.default_rng(1))
    guess = found.probability(fresh.rows.reshape(-1, 3))
    assert guess.mean() == pytest.approx(truth.mean(), rel=0.1)
    assert np.corrcoef(guess, truth.ravel())[0, 1] > 0.9
    assert report["logloss"] < report["logloss_of_mean_rate"]
    assert report["auc"] > 0.8
    assert report["calibration_error"] < 0.01


def test_no_purchase_teaches_no_chance() -> None:
    given, _ = chances(100, np.random.default_rng(0))
    given.wish[:] = 0.3  # clicks
    found, report = grow_purchases(given, 7.0, 0, 1)
    assert found is None
    assert "purchases to learn from" in report["why"]
    assert hybrid_of(NAMES, None, None) is None


def test_chances_that_nothing_explains_are_not_told() -> None:
    rng = np.random.default_rng(0)
    given, _ = chances(400, rng, width=8)
    given.rows[:] = 1.0
    given.wish[:] = rng.random(given.wish.shape) < rng.choice([0.02, 0.4], (400, 1))
    found, report = grow_purchases(given, 7.0, 0, 1)
    assert (found is None) == (report["logloss"] >= report["logloss_of_mean_rate"])
    assert report["auc"] == pytest.approx(0.5)  # ties are worth half


def test_all_lists_of_a_shopper_are_judged_together() -> None:
    shopper = np.random.default_rng(0).integers(0, 40, 300)
    fold = folds(shopper, 0)
    assert all(len(set(fold[shopper == one])) == 1 for one in range(40))
    gain = np.random.default_rng(1).normal(size=300)
    narrow, wide = (
        gained(gain, np.arange(300), 0),
        gained(np.repeat(gain[:30], 10), np.repeat(np.arange(30), 10), 0),
    )
    assert narrow.low < gain.mean() < narrow.high
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_steps_are_those_of_scikit_learn() -> None:
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=400), rng.random(400) < 0.3
    x, y = _isotonic(scores, labels)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(scores, labels.astype(float))
    np.testing.assert_allclose(np.interp(scores, x, y), oracle.predict(scores), atol=1e-9)
    flat_x, flat_y = _isotonic(np.zeros(10), np.arange(10) >= 7)
    assert np.interp(0.0, flat_x, flat_y) == pytest.approx(0.3)
    levels = rng.integers(0, 12, 3000) / 4
    labels = rng.random(3000) < levels / 6
    oracle = IsotonicRegression(out_of_bounds="clip").fit(levels, labels.astype(float))
    np.testing.assert_allclose(np.interp(levels, *_isotonic(levels, labels)), oracle.predict(levels), atol=1e-9)


def test_ndcg_counts_what_was_wanted_and_never_listed() -> None:
    given = lists(5, 0.0, np.random.default_rng(0))
    first = np.zeros_like(given.wish)
    first[:, 0] = 1.0
    whole = Lists(given.rows, given.there, given.score, first, np.zeros(5, dtype=np.float32), np.arange(5))
    missed = Lists(given.rows, given.there, given.score, first, np.ones(5, dtype=np.float32), np.arange(5))
    np.testing.assert_allclose(ndcg_of(whole, whole.score), 1.0)
    np.testing.assert_allclose(ndcg_of(missed, missed.score), 1 / (1 + 1 / np.log2(3)))
