"""Learning the blend: what shoppers wanted after the cut decides which model is heard."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from rank.conftest import Fixed, Shop, goods
from regulars.core.arrays import Matrix
from regulars.core.clock import DAY
from regulars.events.schema import Interaction
from regulars.rank.blend import Blend
from regulars.rank.learn import Asked, learn_beside, learn_blend, learn_ranking
from regulars.rank.request import Request
from regulars.rank.slates import State, slates

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
    first = heard(learn_blend(state, Asked(KEYS, wanting(0)), None, np.random.default_rng(0)))
    last = heard(learn_blend(state, Asked(KEYS, wanting(7)), None, np.random.default_rng(0)))
    assert first[0] > first[1] + 1
    assert last[1] > last[0] + 1


def test_a_weaker_wish_moves_the_weights_less(state: State) -> None:
    prior = heard(Blend.prior(("fixed", "other")))
    moved = [
        np.abs(
            heard(learn_blend(state, Asked(KEYS, wanting(7, worth)), None, np.random.default_rng(0))) - prior
        ).sum()
        for worth in (0.05, 0.3, 1.0)
    ]
    assert 0 < moved[0] < moved[1] < moved[2]


def test_nothing_wanted_keeps_the_prior_and_the_measured_fatigue(state: State) -> None:
    nothing = sp.csr_array((N_USERS, len(NAMES)), dtype=np.float32)
    found = learn_blend(state, Asked(KEYS, nothing), 0.7, np.random.default_rng(0))
    assert found.fatigue == 0.7
    np.testing.assert_array_equal(found.weights, Blend.prior(("fixed", "other")).weights)
    assert learn_blend(state, Asked(KEYS, wanting(0)), 0.4, np.random.default_rng(0)).fatigue == 0.4


def test_a_state_without_a_model_cannot_learn(state: State) -> None:
    with pytest.raises(ValueError, match="bundle"):
        learn_blend(replace(state, bundle=None), Asked(KEYS, wanting(0)), None, np.random.default_rng(0))


def looking(item: int, at: str) -> Asked:
    """Everybody looked at one item, then took another."""
    return Asked(KEYS * 2, sp.csr_array(sp.vstack([wanting(item), wanting(item)])), [at] * (2 * N_USERS))


def test_beside_an_item_other_models_may_be_right(state: State) -> None:
    blend = learn_blend(state, Asked(KEYS, wanting(0)), None, np.random.default_rng(0))
    near, report = learn_beside(state, looking(7, "c"), blend, 0)
    assert near is not None
    assert heard(near)[1] > heard(near)[0] + 1
    assert report["ndcg_own"] > report["ndcg_blend"]
    same, report = learn_beside(state, looking(0, "c"), blend, 0)
    assert same is None
    assert report["why"] == "no clear gain over the blend"
    few, report = learn_beside(state, Asked(KEYS[:5], wanting(7)[:5], ["c"] * 5), blend, 0)
    assert few is None
    assert "fewer than" in report["why"]


def test_a_request_with_an_item_is_ranked_by_its_own_weights(state: State) -> None:
    ranking = learn_ranking(state, Asked(KEYS, wanting(0)), looking(7, "c"), None, state.now + DAY)
    assert state.bundle is not None
    bundle = replace(state.bundle, blend=ranking.blend, beside=ranking.beside)
    asked = [Request(user_key=1, recommendation_id="r1", item="c"), Request(user_key=1, recommendation_id="r2")]
    beside, home = slates(asked, replace(state, bundle=bundle))
    assert beside.items[0].item_id == "h"
    assert home.items[0].item_id == "a"
    assert "c" not in {item.item_id for item in beside.items}
    plain = state.settings.change(rank={"ranker": "blend"})
    alone = learn_ranking(replace(state, settings=plain), Asked(KEYS, wanting(0)), looking(7, "c"), None, state.now)
    assert (alone.beside, alone.hybrid) == (None, None)


def test_trees_learn_what_no_model_says(state: State) -> None:
    """Everybody wants what they looked at: the models say the same of everybody, so only the trees can know."""
    rng, names = np.random.default_rng(0), list(NAMES)
    keys = list(range(1000, 1600))
    looked = rng.integers(0, len(names), len(keys))
    for key, item in zip(keys, looked.tolist(), strict=True):
        at = state.live.offset + 1
        state.live.apply(at, Interaction(event_id=f"v{at}", user_key=key, event_type="view", item_id=names[item],
                                         timestamp=state.now - DAY))  # fmt: skip
    wanted = sp.csr_array((np.ones(len(keys), dtype=np.float32), (np.arange(len(keys)), looked)), shape=(600, 8))
    ranking = learn_ranking(state, Asked(keys, wanted), Asked((), wanted[:0]), None, state.now + 7 * DAY)
    assert ranking.hybrid is not None
    assert len(ranking.hybrid.order) > 0
    assert {row["feature"] for row in ranking.report["order"]["features"][:2]} & {
        "times looked at", "days since looked at"}  # fmt: skip
    json.dumps(ranking.report, allow_nan=False)
    assert state.bundle is not None
    bundle = replace(state.bundle, blend=ranking.blend, hybrid=ranking.hybrid)
    requests = [Request(user_key=key, recommendation_id=str(key)) for key in keys[:40]]
    made = slates(requests, replace(state, bundle=bundle))
    first = [slate.items[0].item_id == names[item] for slate, item in zip(made, looked.tolist(), strict=False)]
    assert np.mean(first) > 0.9
    assert ranking.hybrid.purchases is not None, ranking.report["purchases"]
    chances = [slate.items[0].probability or 0.0 for slate in made]
    assert np.median(chances) > 0.8


def test_too_few_lists_leave_the_trees_out(state: State) -> None:
    ranking = learn_ranking(state, Asked(KEYS, wanting(0)), Asked((), wanting(0)[:0]), None, state.now + DAY)
    assert ranking.hybrid is None
    assert "fewer than" in ranking.report["order"]["why"]
