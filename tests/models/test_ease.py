"""EASE against ridge regressions, and its inverse kept exact as shoppers come and go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from regulars.core.data import Histories
from regulars.core.errors import InputError, SettingError
from regulars.models.ease import EASE, EASEState, ease_weights
from regulars.models.gram import Gram


def clicks(n_users: int = 80, n_items: int = 12, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((n_users, n_items)) < 0.3).astype(np.float32)


def test_each_column_is_a_ridge_regression_without_that_item() -> None:
    x = clicks()
    model = EASE(l2=7.0).fit(x)
    for item in range(x.shape[1]):
        others = np.delete(np.arange(x.shape[1]), item)
        ridge = Ridge(alpha=7.0, fit_intercept=False).fit(x[:, others].astype(np.float64), x[:, item])
        assert np.allclose(model.weights_[others, item], ridge.coef_, atol=2e-6)
        assert model.weights_[item, item] == 0


def test_a_control_with_another_l2_is_no_such_regression() -> None:
    x = clicks()
    ridge = Ridge(alpha=70.0, fit_intercept=False).fit(x[:, 1:].astype(np.float64), x[:, 0])
    assert not np.allclose(EASE(l2=7.0).fit(x).weights_[1:, 0], ridge.coef_, atol=1e-3)


def test_float32_in_place_agrees_with_float64_beyond_one_band() -> None:
    x = clicks(900, 600, seed=3)
    gram = Gram.from_matrix(x)
    assert np.allclose(ease_weights(gram, 50.0), EASEState(gram, 50.0).weights(), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sets(st.integers(0, 11), max_size=8), min_size=1, max_size=15), st.integers(0, 2**31))
def test_rank_one_updates_stay_with_the_refit(baskets: list[set[int]], seed: int) -> None:
    x = clicks(seed=seed)
    state = EASEState(Gram.from_matrix(x), 5.0)
    rows = [np.array(sorted(basket), dtype=np.int32) for basket in baskets]
    for items in rows:
        state.add_user(items)
    for items in rows[::2]:
        state.remove_user(items)
    state.remove_user(np.flatnonzero(x[0]).astype(np.int32))
    kept = np.zeros((len(rows[1::2]), 12), dtype=np.float32)
    for row, items in enumerate(rows[1::2]):
        kept[row, items] = 1
    refit = EASEState(Gram.from_matrix(np.vstack((x[1:], kept))), 5.0)
    assert (state.gram.counts != refit.gram.counts).nnz == 0
    assert np.abs(state.inverse - refit.inverse).max() < 1e-8
    assert np.abs(state.weights() - refit.weights()).max() < 1e-8


def test_a_stranger_is_not_forgotten() -> None:
    state = EASEState(Gram.from_matrix(np.eye(3)), 1.0)
    before = state.inverse.copy()
    with pytest.raises(InputError):
        state.remove_user(np.array([0, 1], dtype=np.int32))
    assert np.array_equal(state.inverse, before)


def test_scores_are_sums_over_the_history() -> None:
    model = EASE(l2=5.0, power=1.0).fit(clicks())
    history = np.zeros((1, 12), dtype=np.float32)
    history[0, [2, 5]] = [1.0, 3.0]
    expected = model.weights_[2] + 3.0 * model.weights_[5]
    assert np.allclose(model.score(Histories.from_matrix(history), 0)[0], expected, atol=1e-6)
    binary = EASE(l2=5.0, power=0.0).fit(clicks()).score(Histories.from_matrix(history), 0)[0]
    assert np.allclose(binary, model.weights_[2] + model.weights_[5], atol=1e-6)


def test_the_item_looked_at_speaks_too() -> None:
    model = EASE(l2=5.0, power=1.0, context_weight=2.0).fit(clicks())
    history = np.zeros((2, 12), dtype=np.float32)
    history[0, 2] = 1.5
    seen = replace(Histories.from_matrix(history), context_item=np.array([4, 6], dtype=np.int32))
    scores = model.score(seen, 0)
    assert np.allclose(scores[0], 1.5 * model.weights_[2] + 3.0 * model.weights_[4], atol=1e-6)
    assert np.allclose(scores[1], 2.0 * model.weights_[6], atol=1e-6)
    nowhere = replace(seen, context_item=np.array([-1, -1], dtype=np.int32))
    assert not model.score(nowhere, 0)[1].any()


def test_because_names_the_largest_share() -> None:
    x = np.zeros((40, 4), dtype=np.float32)
    x[:20, [0, 2]] = 1  # 0 goes with 2
    x[20:, [1, 3]] = 1  # 1 goes with 3
    model = EASE(l2=1.0).fit(x)
    history = Histories.from_matrix(np.array([[1.0, 1.0, 0.0, 0.0]]))
    wanted = np.array([2, 3], dtype=np.int32)
    assert model.because(history, 0, wanted).tolist() == [0, 1]
    nothing = Histories.from_matrix(np.zeros((1, 4)))
    assert model.because(nothing, 0, wanted).tolist() == [-1, -1]


def with_dropout_as_repeated_draws(x: np.ndarray, share: float, l2: float, rounds: int) -> np.ndarray:
    """Each column's ridge regression on copies of X with a share of the cells dropped, which are worth 1 together."""
    rng = np.random.default_rng(0)
    inputs = np.concatenate([x * (rng.random(x.shape) >= share) / (1 - share) for _ in range(rounds)])
    targets = np.tile(x, (rounds, 1))
    weights = np.zeros((x.shape[1], x.shape[1]))
    for item in range(x.shape[1]):
        others = np.delete(np.arange(x.shape[1]), item)
        ridge = Ridge(alpha=rounds * l2, fit_intercept=False).fit(inputs[:, others], targets[:, item])
        weights[others, item] = ridge.coef_
    return weights


def test_dropout_is_what_training_on_thinned_histories_comes_to() -> None:
    x = clicks()
    drawn = with_dropout_as_repeated_draws(x, 0.4, 2.0, 2000)
    np.testing.assert_allclose(EASE(l2=2.0, dropout=0.4).fit(x).weights_, drawn, atol=0.01)
    assert not np.allclose(EASE(l2=2.0).fit(x).weights_, drawn, atol=0.05)


def beyond(monkeypatch: pytest.MonkeyPatch, n_dense: int, x: np.ndarray, **settings: float) -> EASE:
    """A model fitted with room for so many dense items."""
    monkeypatch.setattr(EASE, "_dense", lambda self, n_items: min(n_items, n_dense))
    return EASE(**settings).fit(x)  # type: ignore[arg-type]


def test_items_beyond_memory_have_the_whole_models_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every item as a neighbour, what the others say of such an item is exact, and so is its share of P."""
    x = clicks() * (np.arange(12) % 5 > 0)
    model = beyond(monkeypatch, 8, x, l2=7.0, dropout=0.2, k=12)
    gram = x.T @ x
    weights = ease_weights(Gram.from_matrix(x), 7.0, dropout=0.2)
    rest = np.setdiff1d(np.arange(12), model.dense_items_)
    assert x.sum(axis=0)[rest].max() <= x.sum(axis=0)[model.dense_items_].min()
    links = model.links_.toarray()
    np.testing.assert_allclose(links[:, rest], weights[:, rest], atol=1e-5)
    penalised = gram + np.diag(7.0 + 0.25 * np.diag(gram))
    alone = np.linalg.inv(penalised[np.ix_(model.dense_items_, model.dense_items_)])
    backwards = -np.linalg.inv(penalised)[np.ix_(rest, model.dense_items_)] / np.diag(alone)
    np.testing.assert_allclose(links[np.ix_(rest, model.dense_items_)], backwards, atol=1e-5)
    assert not links[np.ix_(model.dense_items_, model.dense_items_)].any()


def test_scores_and_reasons_beyond_memory_are_of_both_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = beyond(monkeypatch, 5, clicks(), l2=3.0, k=4, power=1.0)
    weights = model.links_.toarray()
    weights[np.ix_(model.dense_items_, model.dense_items_)] += model.weights_
    history = np.zeros((2, 12), dtype=np.float32)
    history[0, [2, 5, 9]] = [1.0, 3.0, 2.0]
    given = Histories.from_matrix(history)
    np.testing.assert_allclose(model.score(given, 0), history @ weights, atol=1e-6)
    named = model.because(given.rows(0, 1), 0, np.arange(12, dtype=np.int32))
    shares = weights[[2, 5, 9]] * np.array([[1.0], [3.0], [2.0]])
    wanted = np.where(shares.max(axis=0) > 0, np.array([2, 5, 9])[shares.argmax(axis=0)], -1)
    np.testing.assert_array_equal(named, wanted)


def test_the_limit_is_chosen_by_the_memory_allowed_and_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level("INFO"):
        model = EASE(memory_mb=1.0, threads=1).fit(clicks(50, 600))
    assert model.n_dense_ == 500  # 4 bytes x 500 x 500
    assert "memory_mb 1 holds 500 of 600 items" in caplog.text
    assert "1 BLAS threads" in caplog.text
    assert model.weights_.nbytes == 1e6
    model.save(tmp_path)
    history = Histories.from_matrix(clicks(3, 600, seed=1))
    np.testing.assert_array_equal(EASE.load(tmp_path).score(history, 0), model.score(history, 0))
    small, large = (EASE(memory_mb=mb).estimate_mb((100_000, 20_000), 100_000) for mb in (100.0, 2000.0))
    assert large > 1600 > small > 100


def test_what_nobody_took_takes_no_memory(tmp_path: Path) -> None:
    """A million items of which twelve were taken have the weights of the twelve, and nothing for the others."""
    taken = np.arange(12) * 90_000 + 7
    wide = sp.lil_array((len(clicks()), 1_000_000), dtype=np.float32)
    wide[:, taken] = clicks()
    model, small = EASE(l2=3.0).fit(sp.csr_array(wide)), EASE(l2=3.0).fit(clicks())
    assert model.n_dense_ == 12
    assert EASE().estimate_mb(wide.shape, 500) < 100
    scores = model.score(Histories.from_matrix(sp.csr_array(wide)[:3]), 0)
    np.testing.assert_allclose(scores[:, taken], small.score(Histories.from_matrix(clicks()[:3]), 0), atol=1e-5)
    assert not np.delete(scores, taken, axis=1).any()
    named = model.because(Histories.from_matrix(sp.csr_array(wide)[:1]), 0, taken.astype(np.int32))
    expected = small.because(Histories.from_matrix(clicks()[:1]), 0, np.arange(12, dtype=np.int32))
    np.testing.assert_array_equal(named, np.where(expected < 0, -1, taken[expected]))
    model.save(tmp_path)
    again = EASE.load(tmp_path).score(Histories.from_matrix(sp.csr_array(wide)[:3]), 0)
    np.testing.assert_array_equal(again, scores)


def test_a_large_catalogue_of_which_nothing_was_taken_scores_nothing() -> None:
    nothing = sp.csr_array((3, 1000), dtype=np.float32)
    model = EASE(memory_mb=1.0).fit(nothing)
    assert model.n_dense_ == 0
    assert not model.score(Histories.from_matrix(nothing), 0).any()


def test_a_catalogue_without_items_or_shoppers() -> None:
    assert EASE().fit(np.zeros((3, 0))).recommend(np.zeros((1, 0)))[0].tolist() == [[-1] * 10]
    assert not EASE().fit(np.zeros((0, 3))).score(Histories.from_matrix(np.ones((1, 3))), 0).any()


def test_settings_out_of_range() -> None:
    with pytest.raises(SettingError, match="l2"):
        EASE(l2=0.0)
    with pytest.raises(InputError, match="l2"):
        ease_weights(Gram.from_matrix(np.ones((3, 2))), -20.0)
