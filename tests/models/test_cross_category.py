"""The bench of transfer: its lists, its ranks, and that the source helps and noise does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import transfer as bench
from regulars.core.arrays import as_csr
from regulars.core.data import Dataset, Histories
from regulars.models.source import Source


def test_negatives_are_distinct_and_neither_known_nor_wanted() -> None:
    train = as_csr(np.random.default_rng(0).random((6, 1100)) < 0.05)
    users, wanted = np.arange(6), np.array([0, 1, 2, 3, 4, 5])
    lists = bench.negatives_of(train, users, wanted)
    assert lists.shape == (6, 999)
    for user, row in enumerate(lists):
        assert len(set(row.tolist())) == 999
        known = set(train.indices[train.indptr[user] : train.indptr[user + 1]].tolist()) | {int(wanted[user])}
        assert not known & set(row.tolist())
    np.testing.assert_array_equal(lists, bench.negatives_of(train, users, wanted))


def test_negatives_are_drawn_evenly() -> None:
    """Of 1,998 items open to everybody each is drawn by half of the shoppers (chi-square, P < 1e-4 beyond 2,240)."""
    train = as_csr(np.eye(1, 2000).repeat(400, axis=0))
    counts = np.bincount(bench.negatives_of(train, np.arange(400), np.full(400, 1)).ravel(), minlength=2000)
    assert counts[:2].sum() == 0
    assert (((counts[2:] - 200) ** 2) / 200).sum() * 2 < 2240


def test_ranks_are_among_the_candidates_with_ties_by_id() -> None:
    train = as_csr(np.zeros((2, 12)))
    trial = bench.Trial(train, np.arange(2), np.array([3, 3]), np.array([[1, 5], [0, 9]]))

    def score(histories: Histories) -> np.ndarray:
        scores = np.zeros((len(histories), 12), dtype=np.float32)
        scores[:, [9, 10]] = 1.0
        return scores

    values = bench.ranked(score, Dataset.from_matrix(train), trial)
    # the first ties with 1 and 5, of which 1 comes first; the second has 9 above and ties with 0; 10 is no candidate
    np.testing.assert_allclose(values["ndcg@10"], [1 / np.log2(3), 1 / np.log2(4)])
    assert values["hr@10"].tolist() == [1, 1]


def test_validation_is_made_of_train_alone() -> None:
    train = as_csr(np.random.default_rng(0).random((60, 1300)) < 0.02)
    trial = bench.validation_trial(train)
    held = trial.train.copy()
    assert train.nnz - held.nnz == len(trial.users) > 50
    assert (train[trial.users, trial.positive] == 1).all()
    assert (trial.train[trial.users, trial.positive] == 0).all()


def test_noise_has_the_same_factors_under_other_names(tmp_path: Path) -> None:
    taken = as_csr(np.random.default_rng(0).random((40, 30)) < 0.3)
    for name, mixed_up in (("real", False), ("noise", True)):
        bench.give_away(taken, "s", mixed_up, tmp_path / name)
    real, noise = (Source.load(tmp_path / name) for name in ("real", "noise"))
    assert (real.gram.counts != noise.gram.counts).nnz == 0
    assert (real.shopper_factors != noise.shopper_factors).any(axis=1).mean() > 0.9
    np.testing.assert_allclose(np.sort(real.shopper_factors, axis=0), np.sort(noise.shopper_factors, axis=0))


def test_gains_are_paired_and_doubt_is_said() -> None:
    values = np.arange(50) % 2 * 1.0
    alone, better = ({"subset": "a->b", "by_shopper": {"hr@10": each, "ndcg@10": each}}
                     for each in (values, values + 0.25))  # fmt: skip
    told = bench.gains(better, alone)
    assert (told["gain_ndcg@10_low"], told["gain_ndcg@10"], told["gain_ndcg@10_high"]) == (0.25, 0.25, 0.25)
    assert told["note"] == "a->b: NDCG@10 +50.0 % against alone"
    same = bench.gains(alone, alone)["note"]
    assert same == "a->b: NDCG@10 +0.0 % against alone; the interval of the gain in HR@10 and NDCG@10 contains 0"


def test_unknown_models_and_presets_are_refused() -> None:
    with pytest.raises(SystemExit, match="wanted some of"):
        bench.run(Path("nowhere"), ["nonsense"])
    with pytest.raises(SystemExit, match="test or validation"):
        bench.run(Path("nowhere"), preset="train")


def test_chosen_settings_are_of_the_grid() -> None:
    assert all(settings in bench.GRID[name] for name in bench.GRID for settings in bench.SETTINGS[name].values())
    assert bench.SETTINGS["transfer"] == bench.SETTINGS["noise"] == bench.SETTINGS["alone"]


@pytest.mark.slow
def test_the_source_helps_and_noise_changes_nothing(data_folder: Path) -> None:
    rows = bench.compared(data_folder, "electronic->phone", ["alone", "transfer", "noise"])
    alone, transfer, noise = (row["ndcg@10"] for row in rows)
    assert rows[0]["users"] == 2559
    assert rows[1]["gain_ndcg@10_low"] > 0
    assert transfer > 1.1 * alone
    assert noise >= 0.99 * alone
