"""MovieLens-100K, predicted stars: the official folds u1 to u5, each asked of what was fitted on its training part.

A film's genres and the decade it came out in are its tags. Predictions are clipped to 1 and 5. Settings were chosen
by the mean RMSE of five validation parts, a fifth of each fold's training part drawn at random, the rest to fit on;
`--preset validation` repeats the search over GRID. What it found: mf .8913, its defaults (400 epochs with 40 draws
.8899; with these, 4 factors .8944 and 16 .8909, mf:ratings .9076, with 16 factors .9092), mf:als .9243 (reg .1 .9329,
8 factors .9279, 4 .9287), biases .9440. mf:moments was looked for on u1's part alone: .8705 where mf has .8865 (share
.06 within half an hour .8749, within 2.4 hours .8782). No figure of others is quoted: those at hand are of other
splits.

`mf:ratings` knows nothing but ratings, `mf:als` is least squares. `mf:moments` adds what the same user's ratings
within some minutes were above or below what `mf` says: films that were rated on one page of that site are alike.
It looks at the asked rating's own time and at ratings on both sides of it, which no shop can before the rating is
given, so it says how much of what is left lies in the moment, and serves nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from measure import Row, across_seeds, apart, chosen, clocked
from regulars.core.data import Dataset
from regulars.models.mf import MF

Settings = dict[str, Any]
Numbers = NDArray[np.float64]
FOLDS = ("u1", "u2", "u3", "u4", "u5")
PROTOCOL = (
    "the official folds u1 to u5 (all: their mean), fitted on each fold's training part, tuned on a fifth of that; "
    "predictions clipped to 1 and 5, the lower the better"
)
LOW, HIGH = 1.0, 5.0
HELD_OUT = 0.2  # of the training part, for validation
PARTS = 5  # of the training part, each predicted from the others: what `mf:moments` learns from

SETTINGS: Mapping[str, Settings] = {
    "mean": {},
    "biases": {"damp": 2.0},
    "mf": {},
    "mf:ratings": {"side": False},
    "mf:als": {"solver": "als", "factors": 32, "reg": 0.14, "epochs": 20},
    "mf:moments": {"share": 0.12, "minutes": 7.0},
}
RANDOM = ("mf", "mf:ratings", "mf:als", "mf:moments")
GRID: Mapping[str, Sequence[Settings]] = {
    "biases": [{"damp": damp} for damp in (2.0, 5.0, 10.0)],
    "mf": [{"factors": factors} for factors in (4, 8, 16)] + [{"epochs": 400, "draws": 40}],
    "mf:ratings": [{"side": False, "factors": factors} for factors in (8, 16)],
    "mf:als": [
        {"solver": "als", "factors": factors, "reg": reg, "epochs": 20}
        for factors in (2, 4, 8, 32) for reg in (0.07, 0.1, 0.14, 0.2)
    ],
    "mf:moments": [{"share": share, "minutes": minutes} for share in (0.06, 0.12) for minutes in (7.0, 14.0)],
}  # fmt: skip


@dataclass(frozen=True)
class Ratings:
    """Who gave what how many stars, and when (seconds)."""

    user: NDArray[np.int32]
    film: NDArray[np.int32]
    stars: Numbers
    at: Numbers

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, rows: Any) -> Ratings:
        return Ratings(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Trial:
    """What to fit on, what to predict, and what is known of films."""

    train: Ratings
    test: Ratings
    tags: Sequence[tuple[str, ...]]
    n_users: int

    def dataset(self) -> Dataset:
        """The training part for a model."""
        train, shape = self.train, (self.n_users, len(self.tags))
        data = Dataset.from_events(train.user, train.film, shape, weight=train.stars)
        return replace(data, items=replace(data.items, tags=self.tags))


def run(data: Path, models: Sequence[str] | None = None, seeds: int = 1, preset: str = "test") -> Row:
    """A row a model and fold, and one of all folds; with `preset` validation one of all folds a setting."""
    if preset not in ("test", "validation"):
        raise SystemExit(f"--preset: got {preset!r}, wanted test or validation")
    rows: list[Row] = []
    for name in chosen(models, list(SETTINGS)):
        for settings in GRID.get(name, []) if preset == "validation" else [SETTINGS[name]]:
            found = over_folds(data, preset, name, settings, seeds if name in RANDOM else 1)
            rows += found[-1:] if preset == "validation" else found
    return {"protocol": PROTOCOL + ("; here that fifth" if preset == "validation" else ""), "rows": rows}


def over_folds(data: Path, preset: str, name: str, settings: Settings, seeds: int) -> list[Row]:
    """The rows of each fold and of all, over seeds; each fit in a process of its own."""
    games = [[apart(measure, data, preset, name, settings, fold, seed) for fold in FOLDS] for seed in range(seeds)]
    by_fold = [*zip(*games, strict=True), [mean_of(game) for game in games]]
    return [across_seeds(rows, ("rmse", "mae")) for rows in by_fold]


def mean_of(folds: Sequence[Row]) -> Row:
    """One row out of those of the folds: means of figures and costs, all ratings asked, the largest peak."""
    means = {key: round(sum(row[key] for row in folds) / len(folds), 4)
             for key in ("rmse", "mae", "seconds", "cpu_seconds")}  # fmt: skip
    whole = {
        "subset": "all",
        "ratings": sum(row["ratings"] for row in folds),
        "users": max(row["users"] for row in folds),
    }
    return {**folds[0], **whole, **means, "peak_mb": max(row["peak_mb"] for row in folds)}


def measure(data: Path, preset: str, name: str, settings: Settings, fold: str, seed: int) -> Row:
    """Fit and predict; seconds are those of both, kernels compiled before."""
    trial = trial_of(data, fold, validation=preset == "validation")
    MF(epochs=2).fit(np.array([[1.0, 5.0], [4.0, 0.0]]))
    row: Row = {"model": name, "by": "ours", "subset": fold}
    with clocked(row):
        said = np.clip(predicted(name, settings, trial, seed), LOW, HIGH)
    error = said - trial.test.stars
    return row | {
        "rmse": round(float(np.sqrt((error**2).mean())), 4), "mae": round(float(np.abs(error).mean()), 4),
        "ratings": len(error), "users": len(np.unique(trial.test.user)), "threads": 1, "settings": settings,
    }  # fmt: skip


def predicted(name: str, settings: Settings, trial: Trial, seed: int) -> Numbers:
    """Stars of the test part, not clipped."""
    if name == "mean":
        return np.full(len(trial.test), trial.train.stars.mean())
    if name == "biases":
        return biases(trial, **settings)
    if name == "mf:moments":
        return moments(trial, settings, seed)
    return factors(trial, settings, seed)


def factors(trial: Trial, settings: Settings, seed: int) -> Numbers:
    """What `mf` says."""
    data = trial.dataset()
    scores = MF(**settings).fit(data, np.random.default_rng(seed)).score(data.histories(), data.as_of)
    return scores[trial.test.user, trial.test.film].astype(np.float64)


def biases(trial: Trial, damp: float, rounds: int = 30) -> Numbers:
    """The mean, what a user and what a film adds, by ridge regression with the penalty `damp`, a side at a time."""
    train, test = trial.train, trial.test
    mean = train.stars.mean()
    of_user, of_film = np.zeros(trial.n_users), np.zeros(len(trial.tags))
    for _ in range(rounds):
        for mine, rows, others in (
            (of_user, train.user, of_film[train.film]),
            (of_film, train.film, of_user[train.user]),
        ):
            total = np.bincount(rows, train.stars - mean - others, len(mine))
            mine[:] = total / (np.bincount(rows, minlength=len(mine)) + damp)
    found: Numbers = mean + of_user[test.user] + of_film[test.film]
    return found


def moments(trial: Trial, settings: Settings, seed: int) -> Numbers:
    """What `mf` says, and of its errors on the training part, each unseen by its fit, what is near in time."""
    own = {key: value for key, value in settings.items() if key not in ("share", "minutes")}
    train = trial.train
    part = np.random.default_rng(seed).integers(0, PARTS, len(train))
    error = train.stars.copy()
    for number in range(PARTS):
        inner = replace(trial, train=train[part != number], test=train[part == number])
        error[part == number] -= factors(inner, own, seed)
    nearby = near_in_time(train, error, trial.test, settings["share"], 60 * settings["minutes"])
    return factors(trial, own, seed) + nearby


def near_in_time(known: Ratings, error: Numbers, asked: Ratings, share: float, reach: float) -> Numbers:
    """The expected error of what is asked: for each user a Gaussian process with covariance exp(-|t - t'| / reach).

    `share` is its variance in units of the noise's (Rasmussen & Williams 2006, equation 2.23).
    """
    expected = np.zeros(len(asked))
    for user in np.unique(asked.user):
        mine, wanted = np.flatnonzero(known.user == user), np.flatnonzero(asked.user == user)
        between = share * np.exp(-np.abs(known.at[mine][:, None] - known.at[mine]) / reach)
        across = share * np.exp(-np.abs(asked.at[wanted][:, None] - known.at[mine]) / reach)
        expected[wanted] = across @ np.linalg.solve(between + np.eye(len(mine)), error[mine])
    return expected


def trial_of(data: Path, fold: str, *, validation: bool) -> Trial:
    """A fold, or a random part of its training part against the rest of that."""
    table = pq.read_table(data / "ml100k" / "ratings.parquet")
    films = pq.read_table(data / "ml100k" / "items.parquet").to_pydict()
    place = {film: row for row, film in enumerate(films["item_id"])}
    users, user = np.unique(table["user_id"].to_numpy(), return_inverse=True)
    film = np.array([place[each] for each in table["item_id"].to_pylist()], dtype=np.int32)
    stars, at = (table[name].to_numpy().astype(np.float64) for name in ("rating", "timestamp"))
    ratings = Ratings(user.astype(np.int32), film, stars, at)
    held = table[f"{fold}_test"].to_numpy(zero_copy_only=False).astype(np.bool_)
    tags = [
        (*genres, *([f"decade {date[-4:-1]}0"] if date else []))
        for genres, date in zip(films["genres"], films["release_date"], strict=True)
    ]
    train, test = ratings[~held], ratings[held]
    if validation:
        drawn = np.random.default_rng(int(fold[1:])).random(len(train)) < HELD_OUT
        train, test = train[~drawn], train[drawn]
    return Trial(train, test, tags, len(users))
