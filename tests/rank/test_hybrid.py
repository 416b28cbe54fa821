"""The second look: it moves what it looked at, leaves the rest below, and is kept with its version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank.conftest import NOW, Shop, goods
from regulars.core.errors import ModelError
from regulars.models.popular import Popular
from regulars.rank.bundle import Bundle
from regulars.rank.features import best_places, feature_names
from regulars.rank.hybrid import Hybrid, Purchases
from regulars.rank.request import Request
from regulars.rank.slates import slates
from regulars.rank.trees import Trees

NAMES = feature_names(("fixed",))


def stump(feature: str, threshold: float, low: float, high: float) -> Trees:
    """One split: `low` at or below the threshold, `high` above it."""
    split = {"split_feature": NAMES.index(feature), "threshold": threshold, "decision_type": "<=",
             "missing_type": "None", "left_child": {"leaf_value": low},
             "right_child": {"leaf_value": high}}  # fmt: skip
    return Trees.of({"tree_info": [{"tree_structure": split}]})


def likes_the_looked_at() -> Hybrid:
    chance = Purchases(stump("times looked at", 0.5, -1.0, 1.0), np.array([-1.0, 1.0]), np.array([0.1, 0.4]), 14.0)
    return Hybrid(NAMES, stump("times looked at", 0.5, -1.0, 50.0), chance)


@given(seed=st.integers(0, 500), k=st.integers(1, 12))
def test_what_was_not_looked_at_stays_below(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(4, 10)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    places = best_places(scores, k)
    rows = rng.normal(size=(*places.shape, len(NAMES))).astype(np.float32)
    changed = likes_the_looked_at().rerank(scores, places, rows)
    for before, after, mine in zip(scores, changed, places, strict=True):
        kept = mine[mine >= 0]
        rest = np.setdiff1d(np.arange(10), kept)
        np.testing.assert_array_equal(np.isfinite(before), np.isfinite(after))
        if len(kept):
            assert after[rest].max(initial=-np.inf) <= after[kept].min()
            order = np.argsort(-before[rest], kind="stable")
            assert (np.diff(after[rest][order][np.isfinite(before[rest][order])]) <= 0).all()


def test_trees_move_a_slate_and_tell_chances() -> None:
    shop = Shop(goods())
    shop.did("view", "e")
    request = [Request(user_key=1, recommendation_id="r", limit=3)]
    plain = slates(request, shop.state)[0]
    assert [item.item_id for item in plain.items] == ["a", "b", "c"]
    assert {item.probability for item in plain.items} == {None}
    bundle = replace(shop.bundle, hybrid=likes_the_looked_at())
    moved = slates(request, replace(shop.state, bundle=bundle))[0]
    assert [item.item_id for item in moved.items] == ["e", "a", "b"]
    assert [item.probability for item in moved.items] == pytest.approx([0.4, 0.1, 0.1])
    assert (plain.probability_days, moved.probability_days) == (None, 14.0)


def test_a_version_keeps_its_second_look(tmp_path: Path) -> None:
    shop = Shop(goods())
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20, len(NAMES))).astype(np.float32)
    models = {"popular": Popular().fit(np.ones((1, 6)))}  # the test's own model is in no registry
    whole = replace(likes_the_looked_at(), names=feature_names(("popular",)))
    for hybrid in (whole, replace(whole, purchases=None), None):
        folder = tmp_path / str(hybrid is None) / str(getattr(hybrid, "days", None))
        replace(shop.bundle, hybrid=hybrid, models=models).save(folder)
        again = Bundle.load(folder).hybrid
        if hybrid is None:
            assert again is None
            continue
        assert again is not None
        assert (again.names, again.days) == (hybrid.names, hybrid.days)
        np.testing.assert_array_equal(again.order.sum(rows), hybrid.order.sum(rows))
        if hybrid.purchases is not None:
            assert again.purchases is not None
            np.testing.assert_array_equal(again.purchases.probability(rows), hybrid.purchases.probability(rows))


def test_a_ranker_of_other_features_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(goods())
    other = replace(likes_the_looked_at(), names=("a feature of another release", *NAMES))
    replace(shop.bundle, hybrid=other, models={"popular": Popular().fit(np.ones((1, 6)))}).save(tmp_path)
    assert Bundle.load(tmp_path).hybrid is None
    assert "other features" in caplog.text


def test_a_damaged_ranker_is_refused(tmp_path: Path) -> None:
    likes_the_looked_at().save(tmp_path)
    np.save(tmp_path / "order.left.npy", np.array([7], dtype=np.int32))
    with pytest.raises(ModelError, match="fit together"):
        Hybrid.load(tmp_path)
    (tmp_path / "order.left.npy").unlink()
    with pytest.raises(ModelError, match="saved ranker"):
        Hybrid.load(tmp_path)
    shop = Shop(goods())
    folder = tmp_path / "version"
    replace(shop.bundle, hybrid=likes_the_looked_at(), models={}).save(folder)
    np.save(folder / "ranker" / "order.leaf.npy", np.array([9.0, 9.0]))
    with pytest.raises(ModelError, match="another version, or a changed one"):
        Bundle.load(folder)


def test_an_empty_list_and_no_trees() -> None:
    nothing = Trees.of({"tree_info": []})
    scores = np.full((1, 3), -np.inf, dtype=np.float32)
    rows = np.zeros((1, 3, len(NAMES)), dtype=np.float32)
    assert Hybrid(NAMES, nothing).rerank(scores, best_places(scores), rows) is scores
    changed = likes_the_looked_at().rerank(scores, best_places(scores), rows)
    np.testing.assert_array_equal(changed, scores)
    shop = Shop(goods())
    bundle = replace(shop.bundle, hybrid=likes_the_looked_at())
    asked = Request(user_key=1, recommendation_id="r", exclude=tuple("abcdef"))
    assert slates([asked], replace(shop.state, bundle=bundle, now=NOW))[0].items == ()
