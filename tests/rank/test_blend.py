"""The blend: its gradient is right, it recovers known weights, and nonsense teaches it nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize

from regulars.core.errors import ModelError
from regulars.rank.blend import MIN_LISTS, Blend, _loss, _stack, fit_blend
from regulars.rank.candidates import Candidates

SOURCES = ("ease", "popular")


def lists(n: int, width: int, rng: np.random.Generator) -> Candidates:
    says = rng.random((n, width, 4), dtype=np.float32)
    bought = (rng.random((n, width)) < 0.3).astype(np.int32)
    gaps = np.where(rng.random((n, width)) < 0.5, 0.1, 2.0)
    return Candidates(
        item_idx=np.tile(np.arange(width, dtype=np.int32), (n, 1)), says=says, bought=bought,
        rested=np.where(bought > 0, gaps, -1.0).astype(np.float32), n=np.full(n, width, dtype=np.int32),
    )  # fmt: skip


def chosen(candidates: Candidates, truth: Blend, rng: np.random.Generator) -> np.ndarray:
    """One item a list, drawn from the softmax of the true scores."""
    logits = truth.logits(candidates)
    noisy = logits + rng.gumbel(size=logits.shape)
    wanted = np.zeros_like(logits)
    wanted[np.arange(len(wanted)), noisy.argmax(axis=1)] = 1
    return wanted


TRUTH = Blend(SOURCES, np.array([[3, 0, 0, 1], [0, 2, -1, 0]], dtype=np.float32), 1.0, -2.5, 0.1)


def test_the_gradient_equals_finite_differences() -> None:
    rng = np.random.default_rng(0)
    candidates = lists(40, 6, rng)
    wanted = rng.random((40, 6)).astype(np.float32)
    stacked = _stack(candidates, wanted, np.arange(40), rng)
    exact = replace(stacked, design=stacked.design.astype(np.float64))
    start, prior = rng.normal(size=10), np.zeros(10)

    def value(theta: np.ndarray) -> float:
        return _loss(theta, exact, prior)[0]

    gradient = _loss(start, exact, prior)[1]
    assert gradient == pytest.approx(scipy.optimize.approx_fprime(start, value, 1e-6), abs=1e-5)


def test_known_weights_are_recovered() -> None:
    rng = np.random.default_rng(1)
    candidates = lists(6000, 12, rng)
    found = fit_blend(SOURCES, candidates, chosen(candidates, TRUTH, rng), rng)
    assert found.n_lists == 6000
    np.testing.assert_allclose(found.weights, TRUTH.weights, atol=0.35)
    assert found.again == pytest.approx(TRUTH.again, abs=0.45)
    assert found.not_due == pytest.approx(TRUTH.not_due, abs=0.4)


def test_a_sample_of_the_unwanted_teaches_the_same() -> None:
    """Lists of 600 candidates, of which 120 are kept: the true weights come out, the bias is not shifted."""
    rng = np.random.default_rng(7)
    candidates = lists(1500, 600, rng)
    found = fit_blend(SOURCES, candidates, chosen(candidates, TRUTH, rng), rng)
    np.testing.assert_allclose(found.weights, TRUTH.weights, atol=0.6)
    assert found.again == pytest.approx(TRUTH.again, abs=0.6)


def test_shuffled_wishes_leave_no_preference() -> None:
    """Negative control: what was wanted does not depend on what the models say."""
    rng = np.random.default_rng(2)
    candidates = lists(6000, 12, rng)
    wanted = np.zeros((6000, 12), dtype=np.float32)
    wanted[np.arange(6000), rng.integers(0, 12, 6000)] = 1
    found = fit_blend(SOURCES, candidates, wanted, rng)
    assert np.abs(found.weights).max() < 0.3
    assert found.not_due <= 0


def test_too_short_ago_never_lifts_an_item() -> None:
    rng = np.random.default_rng(3)
    candidates = lists(500, 8, rng)
    found = fit_blend(SOURCES, candidates, candidates.not_due.astype(np.float32) + 1e-6, rng)
    assert found.not_due == 0.0


def test_few_lists_keep_the_prior() -> None:
    rng = np.random.default_rng(4)
    candidates = lists(MIN_LISTS - 1, 8, rng)
    found = fit_blend(SOURCES, candidates, chosen(candidates, TRUTH, rng), rng)
    np.testing.assert_array_equal(found.weights, Blend.prior(SOURCES).weights)


def test_logits_are_what_the_docstring_says_and_padding_never_wins() -> None:
    candidates = lists(1, 3, np.random.default_rng(5))
    candidates.item_idx[0, 2] = -1
    logits = TRUTH.logits(candidates)
    row = int(candidates.bought[0, 0] > 0)
    by_hand = (
        candidates.says[0, 0] @ TRUTH.weights[row] + row * TRUTH.again + candidates.not_due[0, 0] * TRUTH.not_due
    )
    assert logits[0, 0] == pytest.approx(by_hand, rel=1e-5)
    assert logits[0, 2] == -np.inf


def test_saved_and_read_is_the_same_and_damage_is_named() -> None:
    twin = Blend.from_json(TRUTH.to_json())
    np.testing.assert_array_equal(twin.weights, TRUTH.weights)
    assert (twin.sources, twin.again, twin.not_due) == (TRUTH.sources, TRUTH.again, TRUTH.not_due)
    with pytest.raises(ModelError, match="blend"):
        Blend.from_json({"sources": ["ease"]})


def test_the_leading_source_is_one_that_knows_the_item() -> None:
    """With weights below 0, a source that says nothing would add most."""
    blend = Blend(SOURCES, np.array([[-1, -1, 0, 0], [2, 0, 0, 1]], dtype=np.float32), 0.0, 0.0, 0.0)
    says = np.array([[[0.5, 1.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]]], dtype=np.float32)
    assert blend.leading(says, np.zeros((1, 2), dtype=np.bool_)).tolist() == [[0, 1]]
    assert blend.leading(says, np.ones((1, 2), dtype=np.bool_)).tolist() == [[0, 0]]


def test_a_list_weighs_as_much_as_was_wanted_in_it() -> None:
    """Faint wishes for one half of the lists give way to strong ones for the other half."""
    rng = np.random.default_rng(6)
    candidates = lists(400, 6, rng)
    best = candidates.says[:, :, 0].argmax(axis=1)
    worst = candidates.says[:, :, 0].argmin(axis=1)
    found = {}
    for faint in (0.05, 1.0):
        wanted = np.zeros((400, 6), dtype=np.float32)
        wanted[np.arange(200), best[:200]] = 1
        wanted[np.arange(200, 400), worst[200:]] = faint
        found[faint] = fit_blend(SOURCES, candidates, wanted, np.random.default_rng(0)).weights[0, 0]
    assert found[0.05] > found[1.0] + 1
