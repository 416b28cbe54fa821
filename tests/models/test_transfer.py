"""TransferEASE: each part helps where there is something to learn, and is left out where there is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from regulars.core.data import Dataset, Histories, Items
from regulars.core.errors import SettingError, StorageError
from regulars.models.ease import EASE
from regulars.models.source import Source
from regulars.models.transfer import TransferEASE

N_USERS, N_ITEMS, KINDS = 600, 60, 6
Bools = NDArray[np.bool_]


def taken_by(kind: NDArray[np.int64], n_items: int, share: float, rng: np.random.Generator) -> Bools:
    """Shoppers take a share of the items of their kind, and a fortieth of that of the others."""
    mine = kind[:, None] == np.arange(n_items) % KINDS
    return np.asarray(rng.random(mine.shape) < np.where(mine, share, share / 40))


def shop(taken: Bools, name: str, titles: list[str] | None = None) -> Dataset:
    items = Items.bare(f"{name}{item}" for item in range(taken.shape[1]))
    return replace(Dataset.from_matrix(taken), items=replace(items, title=titles) if titles else items)


def strange(n_users: int) -> NDArray[np.int64]:
    return np.full(n_users, -1)


class World:
    """Shoppers of six kinds in two shops; in the second they have done little yet."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.kind = self.rng.integers(KINDS, size=N_USERS)
        self.source = taken_by(self.kind, 48, 0.5, self.rng)
        self.target = taken_by(self.kind, N_ITEMS, 0.15, self.rng)

    def quality(self, scores: NDArray[np.float32]) -> float:
        """Share of the first five unseen items that are of the shopper's kind."""
        return of_their_kind(scores, self.target, self.kind, 5)


def of_their_kind(scores: NDArray[np.float32], taken: Bools, kind: NDArray[np.int64], n: int) -> float:
    top = np.argsort(-np.where(taken, -np.inf, scores), axis=1, kind="stable")[:, :n]
    return float((top % KINDS == kind[:, None]).mean())


def fitted(folder: Path, source: Source, data: Dataset, seed: int = 0) -> TransferEASE:
    source.save(folder)
    return TransferEASE(source=str(folder), l2=20.0).fit(data, np.random.default_rng(seed))


def same_as_ease(model: TransferEASE, data: Dataset) -> bool:
    alone = EASE(l2=20.0).fit(data)
    return np.array_equal(model.score(data.histories(), 0), alone.score(data.histories(), 0))


def test_shared_shoppers_are_known_by_what_they_did_elsewhere(tmp_path: Path) -> None:
    world = World()
    data = shop(world.target, "t")
    model = fitted(tmp_path, Source.of(shop(world.source, "s"), np.arange(N_USERS), factors=8), data)
    assert model.tried_["shared shoppers"]["taken"]
    assert model.tried_.keys() == {"shared shoppers"}
    alone = EASE(l2=20.0).fit(data)
    with_source, without = (world.quality(each.score(data.histories(), 0)) for each in (model, alone))
    assert with_source > without + 0.1
    assert with_source > 0.9
    newcomers = replace(Histories.from_matrix(np.zeros((N_USERS, N_ITEMS))), user_keys=data.user_keys)
    top = model.score(newcomers, 0).argmax(axis=1)
    assert (top % KINDS == world.kind).mean() > 0.9


def test_shoppers_the_source_does_not_know_are_scored_by_ease(tmp_path: Path) -> None:
    world = World()
    keys = np.where(np.arange(N_USERS) < 400, np.arange(N_USERS), -1)
    data = shop(world.target, "t")
    model = fitted(tmp_path, Source.of(shop(world.source, "s"), keys, factors=8), data)
    assert model.tried_["shared shoppers"]["shared"] == 400
    scores, alone = model.score(data.histories(), 0), EASE(l2=20.0).fit(data).score(data.histories(), 0)
    np.testing.assert_array_equal(scores[400:], alone[400:])
    assert not np.allclose(scores[:400], alone[:400])
    nameless = replace(data.histories(), user_keys=None)
    np.testing.assert_array_equal(model.score(nameless, 0), alone)


@pytest.mark.parametrize("seed", range(5))
def test_shoppers_mixed_up_do_no_harm(seed: int, tmp_path: Path) -> None:
    """The source is real and its shoppers are strangers under known names: the model is EASE, number for number."""
    world = World(seed)
    names = np.random.default_rng(100 + seed).permutation(N_USERS)
    data = shop(world.target, "t")
    model = fitted(tmp_path, Source.of(shop(world.source, "s"), names, factors=8), data, seed)
    assert not model.tried_["shared shoppers"]["taken"]
    assert same_as_ease(model, data)


def test_the_regression_is_of_what_ease_leaves_unexplained(tmp_path: Path) -> None:
    world = World()
    data = shop(world.target, "t")
    model = fitted(tmp_path, Source.of(shop(world.source, "s"), np.arange(N_USERS), factors=8), data)
    factors = model.shopper_factors_.astype(np.float64)
    np.testing.assert_allclose(factors.mean(axis=0), 0, atol=1e-6)
    left = world.target - EASE(l2=20.0).fit(data).score(data.histories(), 0)
    chosen = model.tried_["shared shoppers"]
    ridge = Ridge(alpha=chosen["ridge"], fit_intercept=False).fit(factors, left)
    np.testing.assert_allclose(model.shopper_weights_, chosen["a"] * ridge.coef_.T, atol=1e-4)


def test_counts_of_shared_items_are_as_good_as_their_shoppers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mine, theirs = rng.integers(KINDS, size=1500), rng.integers(KINDS, size=1000)
    few, many = shop(taken_by(mine, 240, 0.06, rng), "t"), taken_by(theirs, 240, 0.3, rng)
    model = fitted(tmp_path, Source.of(shop(many, "t"), strange(1000)), few)
    taken = model.tried_["shared items"]
    assert taken["taken"]
    assert taken["shared"] == 240
    copies = round(10 * taken["a"])  # a is a number of tenths
    stacked = sp.vstack([few.user_items] * 10 + [many.astype(np.float32)] * copies)
    np.testing.assert_allclose(model.weights_, EASE(l2=200.0).fit(stacked).weights_, atol=1e-4)
    with_source, without = (of_their_kind(each.score(few.histories(), 0), few.user_items.toarray() > 0, mine, 20)
                            for each in (model, EASE(l2=20.0).fit(few)))  # fmt: skip
    assert with_source > without + 0.05


@pytest.mark.parametrize("seed", range(5))
def test_shared_items_of_a_shop_that_is_noise_do_no_harm(seed: int, tmp_path: Path) -> None:
    world = World(seed)
    noise = np.random.default_rng(seed).random((N_USERS, N_ITEMS)) < 0.1
    data = shop(world.target, "t")
    model = fitted(tmp_path, Source.of(shop(noise, "t"), strange(N_USERS)), data, seed)
    assert not model.tried_["shared items"]["taken"]
    assert same_as_ease(model, data)


WORDS = ("red wool scarf", "blue felt hat", "green canvas tent", "brass oil lamp", "oak chair", "silk tie")


def named(n_items: int, order: NDArray[np.int64] | None = None) -> list[str]:
    place = np.arange(n_items) if order is None else order
    return [f"{WORDS[item % KINDS]} {item}" for item in place.tolist()]


def test_words_alike_lead_from_shop_to_shop(tmp_path: Path) -> None:
    world = World()
    few = shop(world.target[:150], "t", named(N_ITEMS))
    model = fitted(tmp_path, Source.of(shop(world.source, "s", named(48)), strange(N_USERS), factors=8), few)
    assert model.tried_.keys() == {"words"}
    assert model.tried_["words"]["taken"]
    alone = EASE(l2=20.0).fit(few)
    world.target, world.kind = world.target[:150], world.kind[:150]
    assert world.quality(model.score(few.histories(), 0)) > world.quality(alone.score(few.histories(), 0)) + 0.1
    nobody = Histories.from_matrix(np.zeros((1, N_ITEMS)))
    assert not model.score(nobody, 0).any()


@pytest.mark.parametrize("seed", range(5))
def test_words_mixed_up_do_no_harm(seed: int, tmp_path: Path) -> None:
    world = World(seed)
    data = shop(world.target, "t", named(N_ITEMS, np.random.default_rng(seed).permutation(N_ITEMS)))
    model = fitted(tmp_path, Source.of(shop(world.source, "s", named(48)), strange(N_USERS), factors=8), data, seed)
    assert not model.tried_["words"]["taken"]
    assert same_as_ease(model, data)


def test_without_a_source_it_is_ease() -> None:
    data = shop(World().target, "t")
    model = TransferEASE(l2=20.0).fit(data)
    assert model.tried_ == {}
    assert same_as_ease(model, data)


def test_a_source_in_common_with_nothing_is_ease(tmp_path: Path) -> None:
    world = World()
    data = shop(world.target, "t")
    model = fitted(tmp_path, Source.of(shop(world.source, "s"), np.arange(N_USERS) + 10_000), data)
    assert model.tried_ == {}
    assert same_as_ease(model, data)


def test_beyond_memory_the_parts_are_added_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EASE, "_dense", lambda self, n_items: min(n_items, 30))
    world = World()
    data = shop(world.target, "t")
    model = fitted(tmp_path, Source.of(shop(world.source, "s"), np.arange(N_USERS), factors=8), data)
    assert model.n_dense_ == 30
    assert model.tried_["shared shoppers"]["taken"]
    assert world.quality(model.score(data.histories(), 0)) > 0.9


def test_items_that_only_the_source_knows_count_in_what_a_fit_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shop has sold 220 of 240 items, the source all of them: its counts are the prior, and make more dense."""
    monkeypatch.setattr(EASE, "_dense", lambda self, n_items: min(n_items, 230))
    rng = np.random.default_rng(0)
    mine, theirs = rng.integers(KINDS, size=1500), rng.integers(KINDS, size=1000)
    few, many = taken_by(mine, 240, 0.06, rng), taken_by(theirs, 240, 0.3, rng)
    few[:, 220:] = False
    model = fitted(tmp_path, Source.of(shop(many, "t"), strange(1000)), shop(few, "t"))
    assert model.tried_["shared items"]["taken"]
    assert model.n_dense_ == 230
    assert EASE().fit(shop(few, "t")).n_dense_ == 220
    scores = model.score(shop(few, "t").histories(), 0)
    assert (scores[:, 220:] > 0).any()
    alone, with_source = (TransferEASE(source=each).estimate_mb((40, 100_000), 80) for each in ("", str(tmp_path)))
    assert with_source > alone + 40


def test_a_saved_model_needs_its_source_no_more(tmp_path: Path) -> None:
    world = World()
    data = shop(world.target, "t", named(N_ITEMS))
    source = Source.of(shop(world.source, "s", named(48)), np.arange(N_USERS), factors=8)
    model = fitted(tmp_path / "source", source, data)
    model.save(tmp_path / "model")
    for file in (tmp_path / "source").iterdir():
        file.unlink()
    loaded = TransferEASE.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(data.histories(), 0), model.score(data.histories(), 0))
    assert loaded.tried_ == model.tried_
    with pytest.raises(StorageError, match="wanted a folder of a shop's statistics"):
        loaded.fit(data)


def test_a_source_is_named_by_its_whole_path(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="source: got 'folder', wanted the whole path"):
        TransferEASE(source="folder")
    assert TransferEASE(source=str(tmp_path)).get_params()["source"] == str(tmp_path)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (2, 2)])
def test_thin_shops_have_a_source_too(shape: tuple[int, int], tmp_path: Path) -> None:
    data = shop(np.ones(shape, dtype=np.bool_), "t")
    model = fitted(tmp_path, Source.of(data, np.arange(shape[0])), data)
    assert not any(part["taken"] for part in model.tried_.values())
    assert model.score(data.histories(), 0).shape == shape
