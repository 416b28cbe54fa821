"""Trials of cold start, from small files: nobody who is asked is learned from, and nothing wanted is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cold_start
from cold_trials import ALL, EVENTS, lists, padded, trial_of
from regulars.rank.blend import Blend

PARTS = ("validation", "test")


def write(path: Path, **columns: object) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Fifty shoppers; what each takes is taken by their kind only, and one item by nobody else."""
    rng = np.random.default_rng(0)
    walks = [[1000 + user, *(rng.permutation(30)[:24] + 30 * (user % 2)).tolist()] for user in range(50)]
    write(tmp_path / "ml1m" / "sequences.parquet", user_id=list(range(50)), movie_ids=walks)
    write(tmp_path / "ml1m" / "users.parquet", user_id=list(range(50)), gender=["F", "M"] * 25,
          age_code=[25] * 50, occupation_code=[user % 2 for user in range(50)], zip=["10001"] * 50)  # fmt: skip
    pairs = [(user, item) for user, walk in enumerate(walks) for item in walk]
    write(tmp_path / "lastfm_hetrec" / "interactions.parquet", user_id=[user for user, _ in pairs],
          artist_id=[item for _, item in pairs])  # fmt: skip
    write(tmp_path / "lastfm_hetrec" / "friends.parquet", user_id=[user for user in range(50) for _ in range(4)],
          friend_id=[(user + 2 * step) % 50 for user in range(50) for step in range(1, 5)])  # fmt: skip
    folder = tmp_path / "amazon_office_text"
    write(folder / "items.parquet", item_id=list(range(12)), title=[f"pen {item}" for item in range(12)],
          brand=["Acme", None] * 6, description=["blue"] * 12)  # fmt: skip
    # item 0 is taken by nobody, 1 by one shopper, 2 by two, 5 by five, 10 by ten, 11 by all
    rows = [[item for item in (1, 2, 5, 10) if shopper < item] + [11] for shopper in range(12)]
    ids = [f"s{shopper}" for shopper in range(12)]
    write(folder / "valid.parquet", user_id=[*ids, "s0"], history=[*(row[:-1] for row in rows), rows[0][:2]],
          target=[*(row[-1] for row in rows), 5])  # fmt: skip
    write(folder / "test.parquet", user_id=ids[:7], history=[[11], [11], [11], [11], [11], [10], [10]],
          target=[0, 1, 2, 5, 10, 11, 10])  # fmt: skip
    return tmp_path


@pytest.mark.parametrize("name", ["ml1m", "lastfm"])
def test_shoppers_asked_are_not_learned_from(data: Path, name: str) -> None:
    seen: list[set[int]] = []
    for part in PARTS:
        trial = trial_of(data, name, part, seed=3)
        taken = np.diff(trial.before.user_items.tocsc().indptr)
        assert len(trial.before.users) == 30
        wanted, known = trial.wanted[0].toarray(), trial.asked[10].user_items.toarray()
        assert len(wanted) == 10
        assert not (wanted * known).any()
        assert (wanted.sum(axis=1) == (10 if name == "ml1m" else 15)).all()
        assert trial.answers is not None
        whole = trial.answers.toarray() + wanted
        assert (whole.sum(axis=1) == 25).all()
        own = np.flatnonzero((whole.sum(axis=0) == 1) & (taken == 0))  # the items that only they took
        assert len(own) >= 10
        seen.append(set(own.tolist()))
        for events, fewer in zip(EVENTS[1:], EVENTS, strict=False):
            more, less = (trial.asked[n].user_items.toarray() for n in (events, fewer))
            assert (more.sum(axis=1) == events).all()
            assert (more >= less).all()  # the known of more events hold those of fewer
            assert trial.wanted[events] is trial.wanted[0]
    assert not seen[0] & seen[1]


def test_another_seed_draws_other_shoppers(data: Path) -> None:
    first, same, other = (trial_of(data, "ml1m", "test", seed).wanted[0].toarray() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_what_is_told_belongs_to_who_tells_it(data: Path) -> None:
    """Films of even shoppers are below 30, and they are female; friends are of one's own kind here."""
    trial = trial_of(data, "ml1m", "test", seed=0)
    low = trial.wanted[0].toarray()[:, :30].any(axis=1)
    assert [told["gender"] for told in trial.asked[0].attributes] == ["F" if each else "M" for each in low]
    trial = trial_of(data, "lastfm", "test", seed=0)
    friends, wanted = trial.asked[0].friend_items, trial.wanted[0].toarray()
    assert friends is not None
    for theirs, mine in zip(friends.toarray(), wanted, strict=True):
        assert theirs[:30].any() <= mine[:30].any()
        assert theirs[30:60].any() <= mine[30:60].any()
    learned = trial.before.user_items.toarray().sum(axis=0) > 0
    assert learned[friends.toarray().any(axis=0)].all()


def test_office_counts_who_took_the_wanted_item(data: Path) -> None:
    trial = trial_of(data, "office", "test", seed=0)
    targets = {n: wanted.indices.tolist() for n, wanted in trial.wanted.items()}
    assert targets == {
        0: [0],
        1: [1],
        2: [2],
        5: [5],
        10: [10],
        ALL: [0, 1, 2, 5, 10, 11],
    }  # the last is in its history
    assert trial.groups.tolist() == [0, 1, 2, 0, 0, 3, 0, 0, 0, 0, 4, 5]
    assert trial.before.items.brand[:2] == ["Acme", ""]
    validation = trial_of(data, "office", "validation", seed=0)
    assert validation.wanted[ALL].indices.tolist() == [11] * 10  # the last of each with more than one
    assert not validation.before.user_items[:10, [11]].nnz


def test_a_blend_that_does_no_better_is_popularity(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that would put the least popular first are not taken; on the validation part alone it is decided."""
    trial = trial_of(data, "lastfm", "validation", seed=0)
    fits = cold_start.fitted("lastfm", trial.before, ["popular", "friends", "blend"], 0)
    assert cold_start.taught(trial, fits, 0, 0) is not None  # friends are of one kind: better than popularity

    def wrong(sources: list[str], *_: object) -> Blend:
        blend = Blend.prior(tuple(sources))
        blend.weights[:] = -1
        return blend

    monkeypatch.setattr(cold_start, "fit_blend", wrong)
    assert cold_start.taught(trial, fits, 0, 0) is None
    popular = cold_start.judged(cold_start.best(fits["popular"][0], trial.asked[0], 0), trial.wanted[0])
    row = cold_start.over_seeds([{"subset": "lastfm/0", **cold_start.blended(None, trial, fits, 0, popular)}])
    assert row["vs_popular"] == row["vs_popular_low"] == row["vs_popular_high"] == 0
    assert row["note"] == "0 events: popular alone in 1 of 1 seeds"


def test_seeds_count_where_they_matter(data: Path) -> None:
    """A row of two seeds holds their mean, and the difference of that mean; a model without chance has one."""
    runs = [cold_start.measure(data, "lastfm", ["popular", "als", "blend"], seed)["rows"] for seed in (0, 1)]
    for same in zip(*runs, strict=True):
        row = cold_start.over_seeds(same)
        alone = [cold_start.over_seeds([each]) for each in same]
        assert row["seeds"] == (1 if row["model"] == "popular" else 2)
        for name in ("ndcg@10", "vs_popular"):
            assert row[name] == pytest.approx(np.mean([each[name] for each in alone]), abs=1.1e-4)
        assert row["vs_popular_low"] <= row["vs_popular"] <= row["vs_popular_high"]
    als = [cold_start.over_seeds([row])["ndcg@10"] for run in runs for row in run if row["model"] == "als"]
    assert als[:5] != als[5:]


def test_lists_and_back() -> None:
    rows = [[3, 1], [], [0, 2, 4]]
    assert padded(lists(rows, 5)).tolist() == [[1, 3, -1], [-1, -1, -1], [0, 2, 4]]
    assert padded(lists([[], []], 5)).shape == (2, 0)
