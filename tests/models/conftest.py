"""Small data with known properties for the model tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from regulars.core.clock import DAY
from regulars.core.data import CART, PURCHASE, RATING, VIEW, Dataset, Interactions, Items
from regulars.models.base import Model
from regulars.models.registry import MODELS, model_class

AS_OF = 20_000 * DAY
NAMES = sorted(MODELS)
every_model = pytest.mark.parametrize("name", NAMES)
Table = list[tuple[int, int, int, int]]  # (user, item, kind, instant)


def build(name: str, **settings: Any) -> Model:
    """A registered model with some of its settings."""
    return model_class(name)(**settings)


def from_events(events: Table, shape: tuple[int, int], as_of: int = AS_OF) -> Dataset:
    """A Dataset of these events; purchases weigh 1, all else 0.25, ratings are worth 1 to 5 by item."""
    rows = sorted(events, key=lambda row: (row[0], row[3]))
    user, item, kind, at = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    n = len(rows)
    interactions = Interactions(
        user_idx=user.astype(np.int32), item_idx=item.astype(np.int32), kind=kind.astype(np.int8), at=at,
        weight=np.where(kind == PURCHASE, 1.0, 0.25).astype(np.float32), quantity=np.ones(n, dtype=np.float32),
        value=np.zeros(n, dtype=np.int64),
        rating=np.where(kind == RATING, 1 + item % 5, np.nan).astype(np.float32),
        session_idx=np.cumsum(_begins(user), dtype=np.int32), order_idx=np.arange(n, dtype=np.int32),
        from_slate=np.zeros(n, dtype=np.bool_),
    )  # fmt: skip
    return replace(Dataset.from_matrix(np.zeros(shape)), as_of=as_of, interactions=interactions)


def _begins(user: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a session begins: with each shopper, and after every third event of all."""
    return np.asarray((np.diff(user, prepend=-1) != 0) | (np.arange(len(user)) % 3 == 0))


@pytest.fixture
def dataset_of() -> Callable[..., Dataset]:
    return from_events


@pytest.fixture
def make_shop() -> Callable[..., Dataset]:
    def make(seed: int = 0, n_users: int = 30, n_items: int = 20, n_events: int = 600) -> Dataset:
        """Random events over 90 days; the last user has none and nobody touched the last item."""
        rng = np.random.default_rng(seed)
        events = [
            (int(rng.integers(n_users - 1)), int(rng.integers(n_items - 1)),
             int(rng.choice([VIEW, CART, PURCHASE, RATING])), AS_OF - int(rng.integers(90 * DAY)))
            for _ in range(n_events)
        ]  # fmt: skip
        names = ["green tea", "black tea", "tea pot", "红茶", "绿茶 杯", "coffee mug"]
        items = replace(
            Items.bare(f"i{idx}" for idx in range(n_items)),
            title=[f"{names[idx % 6]} {idx // 6}" for idx in range(n_items)],
            category=[() if idx % 5 == 4 else ("home", f"c{idx % 5}") for idx in range(n_items)],
            brand=["" if idx % 3 else "Acme" for idx in range(n_items)],
            price=np.arange(n_items, dtype=np.int64) * 100 - 1,
        )
        return replace(from_events(events, (n_users, n_items)), items=items)

    return make


@pytest.fixture
def shop(make_shop: Callable[..., Dataset]) -> Dataset:
    made: Dataset = make_shop()
    return made


def checkerboard(n_blocks: int = 3, users: int = 10, items: int = 6) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Shoppers take everything of their own block but one item; also that hidden item of each."""
    user = np.arange(n_blocks * users)
    item = np.arange(n_blocks * items)
    taken = (user[:, None] // users == item[None, :] // items).astype(np.float32)
    hidden = user // users * items + user % items
    taken[user, hidden] = 0
    return taken, hidden
