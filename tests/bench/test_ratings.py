"""The bench of predicted stars: its folds, its floors and what is near in time, each a second way."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern
from sklearn.linear_model import Ridge

import ratings as bench

N_USERS, N_FILMS, N_RATINGS = 40, 30, 600


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """Files laid out as those of MovieLens-100K: stars by user, film and genre, and what is alike in time."""
    rng = np.random.default_rng(0)
    cells = rng.choice(N_USERS * N_FILMS, N_RATINGS, replace=False)
    user, film = np.divmod(cells, N_FILMS)
    page = rng.integers(0, 5, N_RATINGS)
    mood = 0.8 * rng.normal(size=(N_USERS, 5))
    level = 3 + 0.7 * rng.normal(size=(N_USERS, 1)) + 0.7 * rng.normal(size=(1, N_FILMS))
    stars = np.clip(np.rint(level[user, film] + mood[user, page] + 0.3 * rng.normal(size=N_RATINGS)), 1, 5)
    fold = rng.integers(1, 6, N_RATINGS)
    table = {
        "user_id": user + 1, "item_id": 2 * film + 1, "rating": stars.astype(np.int8),
        "timestamp": 86_400 * page + rng.integers(0, 60, N_RATINGS),
        **{f"u{number}_test": fold == number for number in range(1, 6)},
    }  # fmt: skip
    (tmp_path / "ml100k").mkdir()
    pq.write_table(pa.table(table), tmp_path / "ml100k" / "ratings.parquet")
    films = {
        "item_id": 2 * np.arange(N_FILMS) + 1,
        "genres": [["g0"] if number % 2 else ["g1"] for number in range(N_FILMS)],
        "release_date": ["01-Jan-1995" if number else None for number in range(N_FILMS)],
    }  # fmt: skip
    pq.write_table(pa.table(films), tmp_path / "ml100k" / "items.parquet")
    return tmp_path


def pairs(part: bench.Ratings) -> set[tuple[int, int]]:
    return set(zip(part.user.tolist(), part.film.tolist(), strict=True))


def test_folds_share_nothing_and_validation_is_cut_from_the_training_part(made_up: Path) -> None:
    tests = [bench.trial_of(made_up, fold, validation=False) for fold in bench.FOLDS]
    assert len(set().union(*(pairs(trial.test) for trial in tests))) == N_RATINGS
    for trial, fold in zip(tests, bench.FOLDS, strict=True):
        assert len(trial.train) + len(trial.test) == N_RATINGS
        assert not pairs(trial.train) & pairs(trial.test)
        inner = bench.trial_of(made_up, fold, validation=True)
        assert not pairs(inner.train) & pairs(inner.test)
        assert pairs(inner.train) | pairs(inner.test) == pairs(trial.train)
    assert tests[0].tags[:2] == [("g1",), ("g0", "decade 1990")]


def test_biases_are_ridge_regression(made_up: Path) -> None:
    trial = bench.trial_of(made_up, "u1", validation=False)

    def design(part: bench.Ratings) -> np.ndarray:
        return np.hstack((np.eye(N_USERS)[part.user], np.eye(N_FILMS)[part.film]))

    mean = trial.train.stars.mean()
    model = Ridge(alpha=3.0, fit_intercept=False).fit(design(trial.train), trial.train.stars - mean)
    np.testing.assert_allclose(
        bench.biases(trial, damp=3.0, rounds=200), mean + model.predict(design(trial.test)), atol=1e-6
    )


def test_what_is_near_in_time_is_a_gaussian_process(made_up: Path) -> None:
    trial = bench.trial_of(made_up, "u1", validation=False)
    error = np.random.default_rng(1).normal(size=len(trial.train))
    said = bench.near_in_time(trial.train, error, trial.test, share=0.5, reach=7200.0)
    kernel = ConstantKernel(0.5, "fixed") * Matern(7200.0, "fixed", nu=0.5)
    for user in range(3):
        mine, asked = trial.train.user == user, trial.test.user == user
        process = GaussianProcessRegressor(kernel, alpha=1.0).fit(trial.train.at[mine][:, None], error[mine])
        np.testing.assert_allclose(said[asked], process.predict(trial.test.at[asked][:, None]), atol=1e-8)


def test_each_step_up_from_the_mean_errs_less(made_up: Path) -> None:
    short: bench.Settings = {"factors": 2, "epochs": 40, "draws": 10}
    settings: dict[str, bench.Settings] = {
        "mean": {}, "biases": {"damp": 3.0}, "mf": short, "mf:moments": {**short, "share": 2.0, "minutes": 60.0},
    }  # fmt: skip
    rows = {name: bench.measure(made_up, "test", name, given, "u2", 0) for name, given in settings.items()}
    errors = [rows[name]["rmse"] for name in settings]
    assert errors[1] < 0.9 * errors[0]
    assert errors[3] < 0.9 * min(errors[1:3])
    assert rows["mf"]["ratings"] == len(bench.trial_of(made_up, "u2", validation=False).test)
    assert bench.measure(made_up, "test", "mf", short, "u2", 0)["rmse"] == rows["mf"]["rmse"]
    assert bench.measure(made_up, "test", "mf", short, "u2", 1)["rmse"] != rows["mf"]["rmse"]


def test_one_row_of_all_folds() -> None:
    folds = [
        {"model": "mf", "subset": f"u{number}", "rmse": 0.9 + number / 100, "mae": 0.7, "ratings": 10,
         "users": number, "seconds": 2.0, "cpu_seconds": 1.0, "peak_mb": 100 * number}
        for number in range(1, 6)
    ]  # fmt: skip
    whole = bench.mean_of(folds)
    assert whole == {**folds[0], "subset": "all", "rmse": 0.93, "ratings": 50, "users": 5, "peak_mb": 500}


def test_the_real_folds_are_whole(data_folder: Path) -> None:
    trials = [bench.trial_of(data_folder, fold, validation=False) for fold in bench.FOLDS]
    assert [len(trial.test) for trial in trials] == [20_000] * 5
    assert len(set().union(*(pairs(trial.test) for trial in trials))) == 100_000
    first = datetime.datetime.fromtimestamp(trials[0].train.at.min(), datetime.UTC)
    assert first.date() == datetime.date(1997, 9, 20)
    floor = bench.measure(data_folder, "test", "biases", bench.SETTINGS["biases"], "u1", 0)
    assert floor["rmse"] == pytest.approx(0.96, abs=0.01)
