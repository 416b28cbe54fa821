"""Model versions on disk: what is read equals what was saved, and what is damaged or mixed is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rank.conftest import NOW
from regulars.core.clock import DAY
from regulars.core.data import PURCHASE, Dataset, Interactions
from regulars.core.errors import ModelError
from regulars.core.settings import Settings
from regulars.models.registry import model_class
from regulars.profiles.live import Live
from regulars.rank.blend import Blend
from regulars.rank.bundle import FILE, Bundle, ItemFacts
from regulars.rank.slates import Request, State, slates

NAMES = ("popular", "item-knn", "ease")


def data(seed: int, n_items: int = 12) -> Dataset:
    """Purchases of 30 shoppers over 40 days."""
    rng = np.random.default_rng(seed)
    plain = Dataset.from_matrix((rng.random((30, n_items)) < 0.3).astype(np.float32))
    at = NOW - rng.integers(0, 40 * DAY, len(plain.interactions))
    return replace(plain, as_of=NOW, interactions=replace(plain.interactions, at=at))


def bundle(seed: int = 0, version: str = "v1", n_items: int = 12) -> Bundle:
    dataset = data(seed, n_items)
    models = {name: model_class(name)().fit(dataset) for name in NAMES}
    return Bundle(
        version=version, items=dataset.items.ids, models=models, blend=Blend.prior(NAMES),
        item_facts=ItemFacts.of(dataset), offset=7, trained_at=NOW, settings_hash="abc", facts={"seconds": 1.5},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle().save(tmp_path / "v1")
    return tmp_path / "v1"


def test_saved_and_loaded_make_the_same_slates(folder: Path) -> None:
    live = Live.from_dataset(data(0), Settings())
    asked = [Request(user_key=user, recommendation_id=f"r{user}") for user in range(-1, 30)]
    made, again = (slates(asked, State(each, live, Settings(), NOW)) for each in (bundle(), Bundle.load(folder)))
    assert made == again
    assert any(slate.items for slate in made)
    loaded = Bundle.load(folder)
    assert (loaded.version, loaded.offset, loaded.trained_at, loaded.facts) == ("v1", 7, NOW, {"seconds": 1.5})


def swap_model(folder: Path) -> None:
    """The ease of another version, fitted on as many items."""
    bundle(1, "v2").save(folder.parent / "v2")
    shutil.rmtree(folder / "ease")
    shutil.copytree(folder.parent / "v2" / "ease", folder / "ease")


def swap_items(folder: Path) -> None:
    ids = json.loads((folder / "items.json").read_text())
    (folder / "items.json").write_text(json.dumps(ids[::-1]))


def swap_facts(folder: Path) -> None:
    bundle(1, "v2").save(folder.parent / "v2")
    shutil.copy(folder.parent / "v2" / "buyers.npy", folder / "buyers.npy")


@pytest.mark.parametrize("mix", [swap_model, swap_items, swap_facts])
def test_a_folder_of_two_versions_is_refused(folder: Path, mix: Callable[[Path], None]) -> None:
    mix(folder)
    with pytest.raises(ModelError, match=r"part of another version.*wanted.*regulars rollback"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    "part", ["items.json", "gap_days.npy", "ease/manifest.json", "ease/weights_.npy", "popular/manifest.json", FILE]
)
def test_a_missing_part_is_named(folder: Path, part: str) -> None:
    (folder / part).unlink()
    with pytest.raises(ModelError, match=r"v1.*wanted.*(rain|roll)"):
        Bundle.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "7"])
def test_a_damaged_description_is_refused(folder: Path, text: str) -> None:
    (folder / FILE).write_text(text)
    with pytest.raises(ModelError, match="v1"):
        Bundle.load(folder)


def test_an_older_format_is_refused_with_the_command_to_run(folder: Path) -> None:
    about = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**about, "format": 0}))
    with pytest.raises(ModelError, match=r"format 0, wanted format 1\. Run `regulars train`"):
        Bundle.load(folder)


def rows(*events: tuple[int, int, float]) -> Dataset:
    """Purchases as (user, item, days ago), sorted as a Dataset has them."""
    events = tuple(sorted(events, key=lambda event: (event[0], -event[2])))
    plain = Dataset.from_matrix(np.ones((3, 4), dtype=np.float32))
    n = len(events)
    zeros = np.zeros(n, dtype=np.int32)
    return replace(plain, as_of=NOW, interactions=Interactions(
        user_idx=np.array([event[0] for event in events], dtype=np.int32),
        item_idx=np.array([event[1] for event in events], dtype=np.int32),
        kind=np.full(n, PURCHASE, dtype=np.int8),
        at=np.array([NOW - int(event[2] * DAY) for event in events], dtype=np.int64),
        weight=np.ones(n, dtype=np.float32), quantity=np.ones(n, dtype=np.float32), value=zeros.astype(np.int64),
        rating=np.full(n, np.nan, dtype=np.float32), session_idx=zeros, order_idx=zeros,
        from_slate=np.zeros(n, dtype=np.bool_),
    ))  # fmt: skip


def test_item_facts_by_hand() -> None:
    """Item 0: gaps of 10 and 20 days; item 1: one gap of 30; item 2 bought by two, never again; item 3 never."""
    found = ItemFacts.of(rows((0, 0, 40), (0, 0, 30), (0, 0, 10), (1, 1, 33), (1, 1, 3), (0, 2, 6), (2, 2, 8)))
    mean = (10 + 20 + 30) / 3
    assert found.gap_days.tolist() == pytest.approx([(30 + 3 * mean) / 5, (30 + 3 * mean) / 4, np.inf, mean])
    assert found.buyers.tolist() == [1, 1, 2, 0]
    assert found.week_buyers.tolist() == [0, 1, 1, 0]


def test_popular_is_the_first_tenth_of_a_shop() -> None:
    def at_least(buyers: list[int]) -> int:
        n = len(buyers)
        return ItemFacts(np.zeros(n, dtype=np.float32), np.array(buyers, dtype=np.int32),
                         np.zeros(n, dtype=np.int32)).buyers_of_popular  # fmt: skip

    assert at_least(list(range(200))) == 180  # twenty items
    assert at_least(list(range(50))) == 40  # ten at least
    assert at_least([0, 0, 3]) == 1
    assert at_least([]) == 1
