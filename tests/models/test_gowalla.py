"""The parts of the Gowalla bench, and the popularity figure that is known of this split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import gowalla as bench


def test_figures_by_hand() -> None:
    top = np.full((3, 20), -1, dtype=np.int32)
    top[0, :3] = [4, 2, 9]
    top[1, 0] = 1
    wanted = np.zeros((3, 10))
    wanted[0, [2, 3]] = 1  # the second place of two wanted
    wanted[1, 1] = 1
    row = bench.figures(top, sp.csr_array(wanted))
    assert row["users"] == 2  # nothing to find for the third
    assert row["recall@20"] == 0.75
    assert row["ndcg@20"] == pytest.approx((1 / np.log2(3) / (1 + 1 / np.log2(3)) + 1) / 2, abs=1e-4)


def test_a_fifth_of_each_shopper_is_held_out() -> None:
    train = sp.csr_array(np.triu(np.ones((12, 12), dtype=np.float32)))  # the last has one item
    trial = bench.held_out(train, 12, np.random.default_rng(0))
    assert (trial.train + trial.wanted != train).nnz == 0
    assert np.diff(trial.wanted.indptr).tolist() == [2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0]
    again = bench.held_out(train, 4, np.random.default_rng(1))
    assert len(set(again.shoppers)) == 4
    assert again.wanted.shape == (4, 12)
    assert again.train.multiply(train[:]).nnz == again.train.nnz


def test_unknown_models_and_presets_are_refused() -> None:
    with pytest.raises(SystemExit, match="wanted some of"):
        bench.run(Path("nowhere"), ["neumf"])
    with pytest.raises(SystemExit, match="test or validation"):
        bench.run(Path("nowhere"), preset="train")


def test_the_blend_and_the_grid_are_of_known_models() -> None:
    assert bench.SETTINGS.keys() >= {*bench.BLEND, *bench.GRID}
    for name, tried in bench.GRID.items():
        assert bench.SETTINGS[name] in tried


@pytest.mark.slow
def test_popularity_is_the_known_figure(data_folder: Path) -> None:
    row = bench.run(data_folder, ["popular"])["rows"][0]
    assert (row["users"], row["recall@20"], row["ndcg@20"]) == (29_858, 0.0416, 0.0317)
