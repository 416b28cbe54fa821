"""Learning the blend: what shoppers wanted after the cut decides which model is heard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from rank.conftest import Fixed, Shop, goods
from regulars.core.arrays import Matrix
from regulars.rank.blend import Blend
from regulars.rank.learn import learn_blend
from regulars.rank.slates import State

N_USERS, NAMES = 120, "abcdefgh"
KEYS = list(range(N_USERS))


@pytest.fixture
def state() -> State:
    """Two models: one likes a most and h least, the other the reverse."""
    shop = Shop(goods(NAMES))
    n = len(NAMES)
    models = {
        "fixed": Fixed(row=tuple(float(n - place) for place in range(n))).fit(np.zeros((1, n))),
        "other": Fixed(row=tuple(float(1 + place) for place in range(n))).fit(np.zeros((1, n))),
    }
    bundle = replace(shop.bundle, models=models, blend=Blend.prior(tuple(models)))
    return replace(shop.state, bundle=bundle)


def wanting(item: int, worth: float = 1.0) -> Matrix:
    """Everybody wanted one item."""
    cells = np.full(N_USERS, worth, dtype=np.float32)
    return sp.csr_array((cells, (np.arange(N_USERS), np.full(N_USERS, item))), shape=(N_USERS, len(NAMES)))


def heard(blend: Blend) -> np.ndarray:
    """How much each model's favourite gains for new items: place and rank together."""
    return np.asarray(blend.weights[0].reshape(-1, 2).sum(axis=1))


def test_the_model_that_was_right_is_heard(state: State) -> None:
    first = heard(learn_blend(state, KEYS, wanting(0), None, np.random.default_rng(0)))
    last = heard(learn_blend(state, KEYS, wanting(7), None, np.random.default_rng(0)))
    assert first[0] > first[1] + 1
    assert last[1] > last[0] + 1


def test_a_weaker_wish_moves_the_weights_less(state: State) -> None:
    prior = heard(Blend.prior(("fixed", "other")))
    moved = [
        np.abs(heard(learn_blend(state, KEYS, wanting(7, worth), None, np.random.default_rng(0))) - prior).sum()
        for worth in (0.05, 0.3, 1.0)
    ]
    assert 0 < moved[0] < moved[1] < moved[2]


def test_nothing_wanted_keeps_the_prior_and_the_measured_fatigue(state: State) -> None:
    nothing = sp.csr_array((N_USERS, len(NAMES)), dtype=np.float32)
    found = learn_blend(state, KEYS, nothing, 0.7, np.random.default_rng(0))
    assert found.fatigue == 0.7
    np.testing.assert_array_equal(found.weights, Blend.prior(("fixed", "other")).weights)
    assert learn_blend(state, KEYS, wanting(0), 0.4, np.random.default_rng(0)).fatigue == 0.4


def test_a_state_without_a_model_cannot_learn(state: State) -> None:
    with pytest.raises(ValueError, match="bundle"):
        learn_blend(replace(state, bundle=None), KEYS, wanting(0), None, np.random.default_rng(0))
