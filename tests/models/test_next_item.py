"""The parts of the benches of the next item: trials cut from a file, blends, and figures known of these splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import parts
import sequences
import sessions
from regulars.core.clock import MINUTE
from regulars.core.data import Histories


@pytest.fixture
def walks(tmp_path: Path) -> Path:
    """Two shoppers; items are named 10 to 40."""
    file = tmp_path / "walks.parquet"
    pq.write_table(pa.table({"items": pa.array([[10, 20, 30, 40], [40, 30, 20]], pa.list_(pa.int32()))}), file)
    return file


@pytest.mark.parametrize(
    ("left_out", "validation", "learned", "history", "target"),
    [
        (2, False, [0, 1, 3], [[2, 1, 0], [2, 3]], [3, 1]),
        (1, False, [0, 1, 2, 3, 2], [[2, 1, 0], [2, 3]], [3, 1]),
        (2, True, [0, 1, 3], [[1, 0], [3]], [2, 2]),
    ],
    ids=["two-out", "refit", "validation"],
)
def test_what_is_learned_from_and_what_is_asked(
    walks: Path, left_out: int, validation: bool, learned: list[int], history: list[list[int]], target: list[int]
) -> None:
    trial = sequences.trial_of(walks, "items", left_out, validation=validation)
    assert trial.before.interactions.item_idx.tolist() == learned
    assert trial.target.tolist() == target
    assert trial.before.shape == (2, 4)
    asked = trial.histories
    runs = zip(asked.indptr[:-1], asked.indptr[1:], strict=True)
    newest_first = [asked.item_idx[low:high][::-1].tolist() for low, high in runs]
    assert newest_first == history


def test_the_last_sessions_are_held_out_and_only_known_items_asked_for() -> None:
    told = [np.array([0, 1, 2], dtype=np.int32)] * 19
    trial = sessions.held_out([*told, np.array([2, 3, 1, 0], dtype=np.int32)], 10, np.random.default_rng(0))
    assert len(trial.before.users) == 19
    assert trial.before.interactions.at[-1] == 18 * MINUTE
    assert trial.target.tolist() == [1, 0]  # 3 was never seen
    assert np.diff(trial.histories.indptr).tolist() == [2, 3]


def test_a_blend_is_the_weighted_sum_of_standard_scores() -> None:
    rng = np.random.default_rng(0)
    taken = (rng.random((20, 12)) < 0.4).astype(np.float32)
    data = Histories.from_matrix(taken)
    dataset = sessions._dataset([np.flatnonzero(row).astype(np.int32) for row in taken], 12)
    row: dict[str, object] = {}
    both = parts.fitted({"popular": (0.5, {}), "item-knn": (2.0, {"k": 5})}, dataset, 0, row)(data)
    popular, near = (
        parts.fitted(parts.single(name, settings), dataset, 0, {})(data)
        for name, settings in (("popular", {}), ("item-knn", {"k": 5}))
    )
    wanted = 0.5 * parts.standard(popular) + 2.0 * parts.standard(near)
    np.testing.assert_allclose(both, wanted, rtol=1e-5, atol=1e-5)
    assert row["threads"] == 1
    assert row["settings"] == {"popular": [0.5, {}], "item-knn": [2.0, {"k": 5}]}


def test_standard_scores() -> None:
    scores = parts.standard(np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]], dtype=np.float32))
    np.testing.assert_allclose(scores[0], np.array([-1, 0, 1]) * np.sqrt(1.5), rtol=1e-5)
    assert not scores[1].any()


def test_every_blend_and_grid_is_of_models_with_settings() -> None:
    for bench in sequences.BENCHES.values():
        assert bench.settings.keys() >= {*bench.blend, *sequences.GRID}
    for name, settings in sessions.SETTINGS.items():
        assert settings.keys() >= {*sessions.BLEND[name], *sessions.GRID}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "hit", "figures"), [("amazon-beauty", "hr@10", (0.0120, 0.0056)), ("diginetica", "p@20", (0.009, 0.002))]
)
def test_popularity_is_the_known_figure(data_folder: Path, name: str, hit: str, figures: tuple[float, float]) -> None:
    row = (sequences if name in sequences.BENCHES else sessions).run(name, data_folder, ["popular"])["rows"][0]
    other = "ndcg@10" if name in sequences.BENCHES else "mrr@20"
    assert (row[hit], row[other]) == pytest.approx(figures, abs=0.0006)
