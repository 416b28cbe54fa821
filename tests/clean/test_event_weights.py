"""Weights of events: what is declared, halved with age."""

from __future__ import annotations

import numpy as np
import pytest

from regulars.clean.weights import event_weights
from regulars.core.clock import DAY
from regulars.core.data import EVENT_TYPES, KIND
from regulars.core.settings import COMMERCE_WEIGHTS, CleanSettings, Span

NOW = 20_000 * DAY


def test_fresh_events_weigh_what_is_declared() -> None:
    kinds = np.arange(len(EVENT_TYPES), dtype=np.int8)
    found = event_weights(kinds, np.full(len(kinds), NOW), NOW, CleanSettings())
    assert found.dtype == np.float32
    assert found.tolist() == np.array([COMMERCE_WEIGHTS[name] for name in EVENT_TYPES], dtype=np.float32).tolist()


@pytest.mark.parametrize(("days", "share"), [(0, 1.0), (90, 0.5**0.5), (180, 0.5), (360, 0.25), (1800, 0.5**10)])
def test_weight_halves_every_half_life(days: int, share: float) -> None:
    kind = np.array([KIND["purchase"], KIND["view"]], dtype=np.int8)
    found = event_weights(kind, np.full(2, NOW - days * DAY), NOW, CleanSettings(half_life=Span(180 * DAY)))
    np.testing.assert_allclose(found, [share, 0.15 * share], rtol=1e-5)


def test_a_clock_ahead_adds_nothing_and_no_half_life_fades_nothing() -> None:
    kind = np.array([KIND["purchase"]] * 2, dtype=np.int8)
    ahead = event_weights(kind, np.array([NOW + DAY, NOW]), NOW, CleanSettings())
    assert ahead.tolist() == [1, 1]
    still = event_weights(kind, np.array([NOW - 9000 * DAY, NOW]), NOW, CleanSettings(half_life=Span(0)))
    assert still.tolist() == [1, 1]


def test_declared_weights_are_used_and_one_not_declared_is_zero() -> None:
    kind = np.array([KIND["view"], KIND["purchase"]], dtype=np.int8)
    found = event_weights(kind, np.full(2, NOW), NOW, CleanSettings(weights={"view": 3.0}))
    assert found.tolist() == [3, 0]


def test_one_event_weighs_what_it_weighs_among_many() -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, len(EVENT_TYPES), 100).astype(np.int8)
    at = NOW - rng.integers(0, 400 * DAY, 100)
    many = event_weights(kind, at, NOW, CleanSettings())
    single = [event_weights(kind[i : i + 1], at[i : i + 1], NOW, CleanSettings())[0] for i in range(100)]
    np.testing.assert_allclose(many, single, rtol=1e-6)
