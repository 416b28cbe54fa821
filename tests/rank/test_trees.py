"""Trees as arrays say what LightGBM says, to the last bit, and damaged ones are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.core.errors import ModelError
from regulars.rank.trees import Trees

QUIET = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "seed": 0}


def grown(rows: np.ndarray, target: np.ndarray, n: int = 20, **params: Any) -> Any:
    return lightgbm.train({**QUIET, "num_leaves": 9, **params}, lightgbm.Dataset(rows, label=target), n)


@pytest.fixture(scope="module")
def booster() -> Any:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(700, 4)).astype(np.float32)
    return grown(rows, np.sin(rows[:, 0]) + rows[:, 1] * (rows[:, 2] > 0))


@given(seed=st.integers(0, 1000), n=st.integers(0, 300))
def test_sums_are_those_of_lightgbm(booster: Any, seed: int, n: int) -> None:
    rows = np.random.default_rng(seed).normal(scale=2, size=(n, 4)).astype(np.float32)
    ours = Trees.of(booster.dump_model()).sum(rows)
    np.testing.assert_array_equal(ours, booster.predict(rows, raw_score=True) if n else np.zeros(0))


def test_a_row_on_a_threshold_goes_left(booster: Any) -> None:
    trees = Trees.of(booster.dump_model())
    rows = np.zeros((len(trees.threshold), 4), dtype=np.float32)
    for row, (feature, threshold) in enumerate(zip(trees.feature, trees.threshold, strict=True)):
        rows[row, feature] = threshold
    np.testing.assert_array_equal(trees.sum(rows), booster.predict(rows, raw_score=True))


def test_a_tree_without_a_split_is_a_number() -> None:
    rows = np.zeros((50, 2), dtype=np.float32)
    trees = Trees.of(grown(rows, np.full(50, 3.0), n=1).dump_model())
    np.testing.assert_allclose(trees.sum(rows[:3]), 3.0)
    assert len(Trees.of({"tree_info": []}).sum(rows)) == 50


def test_splits_on_what_may_be_missing_are_refused() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 1))
    rows[:80] = np.nan
    with pytest.raises(ModelError, match="all there"):
        Trees.of(grown(rows, np.isnan(rows[:, 0]).astype(float)).dump_model())


@pytest.mark.parametrize("part", ["root", "left", "right", "feature"])
def test_arrays_that_lead_nowhere_are_refused(booster: Any, part: str) -> None:
    trees = Trees.of(booster.dump_model())
    assert trees.check(4, "here") is trees
    for wrong in (len(trees.feature), -len(trees.leaf) - 1, 0 if part in ("left", "right") else 99_999):
        array = getattr(trees, part).copy()
        array[-1] = wrong
        with pytest.raises(ModelError, match="fit together"):
            replace(trees, **{part: array}).check(4, "here")
    with pytest.raises(ModelError, match="fit together"):
        replace(trees, threshold=trees.threshold[:-1]).check(4, "here")
