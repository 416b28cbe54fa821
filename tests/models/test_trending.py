"""Trends: arithmetic, calm weeks stay calm, a busy shop lifts nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.conftest import AS_OF
from regulars.core.arrays import Scores
from regulars.core.clock import DAY
from regulars.core.data import PURCHASE, Dataset
from regulars.models.trending import Trending


def surprise(data: Dataset) -> Scores:
    scores: Scores = Trending().fit(data).score(data.histories(), AS_OF)[0]
    return scores


def test_the_equation(dataset_of: Callable[..., Dataset]) -> None:
    """Lately 4 and 2, before 3 and 9: of 6 recent events 1.5 and 4.5 were to be expected."""
    counts = ((4, 3), (2, 9))
    events = [
        (0, item, PURCHASE, AS_OF - day * DAY)
        for item, (late, early) in enumerate(counts)
        for day, n in ((3, late), (20, early))
        for _ in range(n)
    ]
    wanted = [2 * (np.sqrt(4 + 3 / 8) - np.sqrt(1.5 + 3 / 8)), 2 * (np.sqrt(2 + 3 / 8) - np.sqrt(4.5 + 3 / 8))]
    np.testing.assert_allclose(surprise(dataset_of(events, (1, 2))), wanted, rtol=1e-6)


def test_without_a_trend_it_is_nearly_standard_normal(dataset_of: Callable[..., Dataset]) -> None:
    """400 items with steady Poisson sales, three times as many in the last week for all: mean 0, deviation 1."""
    rng = np.random.default_rng(4)
    rate = rng.uniform(5, 20, 400)
    late, early = rng.poisson(3 * rate), rng.poisson(30 * rate)
    events = [(0, item, PURCHASE, AS_OF - DAY) for item in range(400) for _ in range(late[item])]
    events += [(0, item, PURCHASE, AS_OF - 20 * DAY) for item in range(400) for _ in range(early[item])]
    scores = surprise(dataset_of(events, (1, 400)))
    assert abs(scores.mean()) < 5 / np.sqrt(400)
    assert abs(scores.std() - 1) < 5 / np.sqrt(2 * 400) + 0.05  # the expectation is estimated too


def test_events_without_weight_are_no_trend(dataset_of: Callable[..., Dataset]) -> None:
    data = dataset_of([(0, 0, PURCHASE, AS_OF - DAY)] * 5 + [(0, 1, PURCHASE, AS_OF - DAY)], (1, 2))
    data.interactions.weight[:5] = 0
    assert surprise(data).argmax() == 1
