"""Random scores: by seed, by history, by moment, by item looked at; nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from regulars.core.data import Dataset
from regulars.models.random import Random


def test_what_the_numbers_depend_on(shop: Dataset) -> None:
    model = Random().fit(shop)
    histories = shop.histories()
    scores = model.score(histories, 5)
    assert ((scores >= 0) & (scores < 1)).all()
    context = np.full(len(histories), 3, dtype=np.int32)
    nobody = np.full(len(histories), -1, dtype=np.int32)
    others = [
        Random().fit(shop, np.random.default_rng(1)).score(histories, 5),
        model.score(histories, 6),
        model.score(replace(histories, context_item=context), 5),
        model.score(replace(histories, at=histories.at + 1), 5)[: len(histories) - 1],  # the last has no events
    ]
    for other in others:
        assert (other != scores[: len(other)]).mean() > 0.99
    np.testing.assert_array_equal(model.score(replace(histories, context_item=nobody), 5), scores)
    backwards = model.score(shop.histories(np.arange(len(histories), dtype=np.int32)[::-1]), 5)
    np.testing.assert_array_equal(backwards[::-1], scores)


def test_shoppers_differ(shop: Dataset) -> None:
    scores = Random().fit(shop).score(shop.histories(), 5)
    assert len(np.unique(scores[:, 0])) == len(scores)
