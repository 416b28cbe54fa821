"""Sequence models that begin from the last one's parameters."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from regulars.core.data import Dataset, Items
from regulars.models.base import Model, Warm
from regulars.models.deep.plan import Hooks, Progress
from regulars.models.registry import make_model

pytest.importorskip("torch")

SMALL: dict[str, dict[str, Any]] = {
    "sasrec": {"factors": 8, "length": 6, "epochs": 8, "dropout": 0.0},
    "gru4rec": {"factors": 8, "length": 6, "epochs": 8, "dropout": 0.0},
}
every_net = pytest.mark.parametrize("name", sorted(SMALL))


def walks(seed: int = 0, n_users: int = 80, n_items: int = 12) -> Dataset:
    """Everybody walks one circle of items from a start of their own."""
    starts = np.random.default_rng(seed).integers(n_items, size=n_users)
    items = (starts[:, None] + np.arange(6)) % n_items
    users = np.repeat(np.arange(n_users), 6)
    return Dataset.from_events(
        users, items.ravel(), (n_users, n_items), at=np.tile(np.arange(6), n_users) * 1_000_000
    )


def fitted(name: str, data: Dataset, warm: Warm | None = None, **changed: Any) -> tuple[Model, list[float]]:
    """The model, and the loss of each epoch."""
    model, losses = make_model(name, {**SMALL[name], **changed}), list[float]()

    def note(progress: Progress) -> None:
        losses.append(progress.epoch.loss)

    model.hooks = Hooks(watch=note)  # type: ignore[attr-defined]
    model.warm = warm
    return model.fit(data, np.random.default_rng(1)), losses


@every_net
def test_the_first_epoch_begins_where_the_last_fit_ended(name: str) -> None:
    data = walks()
    last, cold = fitted(name, data)
    places = np.arange(data.shape[1], dtype=np.int32)
    next_one, warm = fitted(name, data, Warm(last, places))
    assert warm[0] < (cold[0] + cold[-1]) / 2
    again, _ = fitted(name, data, Warm(last, places))
    np.testing.assert_array_equal(next_one.item_vectors, again.item_vectors)


@every_net
def test_items_are_followed_by_name_and_new_ones_begin_anew(name: str) -> None:
    data = walks()
    last, cold = fitted(name, data)
    order = np.random.default_rng(3).permutation(data.shape[1]).astype(np.int32)
    places = np.append(order, np.int32(-1))
    row_of = np.argsort(order).astype(np.int32)  # where an item of the last data stands now
    rows = replace(data.interactions, item_idx=row_of[data.interactions.item_idx])
    turned = replace(data, interactions=rows, items=Items.bare([*(str(each) for each in order), "new"]))
    _, right = fitted(name, turned, Warm(last, places))
    _, wrong = fitted(name, turned, Warm(last, np.append(np.roll(order, 5), np.int32(-1)).astype(np.int32)))
    assert right[0] < (cold[0] + cold[-1]) / 2
    assert right[0] < wrong[0]


def test_another_size_of_net_begins_afresh(caplog: pytest.LogCaptureFixture) -> None:
    data = walks()
    last, _ = fitted("sasrec", data, factors=4)
    _, cold = fitted("sasrec", data)
    with caplog.at_level(logging.INFO):
        _, same = fitted("sasrec", data, Warm(last, np.arange(data.shape[1], dtype=np.int32)))
    assert "sasrec: begins afresh" in caplog.text
    assert same == cold
