"""Fits that several rows share: made once, kept whole, and refused where the code may be another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parts
from bench.filling import of_seed
from measure import Row
from parts import Kept, fitted, kept_fits, single
from regulars.core.data import Dataset
from regulars.models.registry import make_model


def clicks(seed: int = 0) -> Dataset:
    return Dataset.from_matrix(np.random.default_rng(seed).random((30, 12)) < 0.3)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of models made after the warming up."""
    made: list[str] = []

    def counted(name: str, settings: Any = None) -> Any:
        model = make_model(name, settings)
        fit = model.fit

        def noted(data: Dataset, *more: Any) -> Any:
            if len(data.users) > 2:
                made.append(name)
            return fit(data, *more)

        monkeypatch.setattr(model, "fit", noted)
        return model

    monkeypatch.setattr(parts, "make_model", counted)
    return made


def test_a_part_is_fitted_once_for_each_data_seed_and_settings(tmp_path: Path, fits: list[str]) -> None:
    kept = Kept(tmp_path, jobs=2)
    histories, rows = clicks().histories(), [Row() for _ in range(2)]
    first, again = (fitted(single("als", {"factors": 4}), clicks(), 1, row, kept)(histories) for row in rows)
    np.testing.assert_array_equal(first, again)
    assert rows[0] == rows[1]
    assert rows[0]["jobs"] == 2  # its seconds are of a shared machine, whoever asks
    assert fits == ["als"]
    fitted(single("als", {"factors": 4}), clicks(), 2, Row(), kept)
    fitted(single("als", {"factors": 5}), clicks(), 1, Row(), kept)
    fitted(single("als", {"factors": 4}), clicks(seed=9), 1, Row(), kept)
    fitted(single("als", {"factors": 4}), clicks(), 1, Row(), kept.under("elsewhere"))
    assert fits == ["als"] * 5


def test_a_fit_on_other_threads_is_the_same_fit(tmp_path: Path, fits: list[str]) -> None:
    rows = [Row() for _ in range(2)]
    for row, threads in zip(rows, (2, 1), strict=True):
        fitted(single("als", {"factors": 4, "threads": threads}), clicks(), 1, row, Kept(tmp_path))
    assert fits == ["als"]
    assert rows[0]["threads"] == rows[1]["threads"] == 2  # its seconds are those of two


def test_a_fit_cut_short_is_made_again(tmp_path: Path, fits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            fitted(single("popular", {}), clicks(), 0, Row(), Kept(tmp_path))
    fitted(single("popular", {}), clicks(), 0, Row(), Kept(tmp_path))
    fitted(single("popular", {}), clicks(), 0, Row(), Kept(tmp_path))
    assert fits == ["popular", "popular"]


@pytest.mark.parametrize("commit", ["", "0123456789ab+"])
def test_code_that_no_commit_names_keeps_nothing(
    commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "commit", lambda: commit)
    with pytest.raises(SystemExit, match="wanted it committed"), kept_fits(tmp_path):
        pass
    with kept_fits(None) as kept:
        assert kept.folder.exists()
    assert not kept.folder.exists()


def test_seeds_side_by_side_give_what_one_after_the_other_gives() -> None:
    rows = [parts.seeded(single("als", {}), 3, ["ndcg@10"], of_seed, jobs=jobs) for jobs in (1, 3)]
    assert rows[0] == rows[1] | {"peak_mb": rows[0]["peak_mb"]}
    assert rows[0]["seeds"] == 3
    assert rows[0]["ndcg@10"] == pytest.approx(0.1)
    assert parts.seeded(single("ease", {}), 3, ["ndcg@10"], of_seed)["seeds"] == 1


def test_seeds_side_by_side_take_one_thread_each() -> None:
    alone, beside = (
        parts.seeded(single("als", {"threads": 2}), 2, ["ndcg@10"], of_seed, jobs=jobs) for jobs in (1, 2)
    )
    assert (alone["threads"], beside["threads"]) == (2, 1)


def test_settings_around_the_chosen_ones_differ_in_one() -> None:
    tried = parts.around({"k": 5, "shrink": 1.0}, k=(3, 9), beta=(0.2,))
    assert tried == [
        {"k": 5, "shrink": 1.0}, {"k": 3, "shrink": 1.0}, {"k": 9, "shrink": 1.0},
        {"k": 5, "shrink": 1.0, "beta": 0.2},
    ]  # fmt: skip
