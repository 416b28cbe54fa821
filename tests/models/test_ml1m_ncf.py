"""Published figures on MovieLens-1M (NCF protocol), and the parts of that bench."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import ml1m_ncf as bench


def test_ranks_count_ties_by_id_and_not_the_positive_itself() -> None:
    scores = np.array([[0.5, 0.5, 0.9, 0.1], [0.2, 0.5, 0.5, 0.5]], dtype=np.float32)
    trial = bench.Trial(sp.csr_array((2, 4)), np.array([1, 1]), np.array([[0, 1, 2], [1, 2, 3]]))
    figures = bench.evaluate(scores, trial)
    # first user: item 2 is better and item 0 ties with a lower id; second user: nothing ranks above
    assert figures == {"hr@10": 1.0, "ndcg@10": round((1 / np.log2(4) + 1.0) / 2, 4)}


def test_unknown_models_and_presets_are_refused() -> None:
    with pytest.raises(SystemExit, match="got nonsense, wanted some of"):
        bench.run(Path("nowhere"), ["nonsense"])
    with pytest.raises(SystemExit, match="test or validation"):
        bench.run(Path("nowhere"), preset="train")


def test_chosen_settings_are_of_the_grid() -> None:
    assert all(bench.SETTINGS[name] in bench.GRID[name] for name in bench.GRID)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "hr", "ndcg"), [("ease", 0.717, 0.449), ("als", 0.725, 0.448), ("item-knn", 0.669, 0.397)]
)
def test_published_figures_are_reached(data_folder: Path, model: str, hr: float, ndcg: float) -> None:
    row = bench.run(data_folder, [model])["rows"][0]
    assert row["users"] == 6040
    assert row["hr@10"] >= hr
    assert row["ndcg@10"] >= ndcg
