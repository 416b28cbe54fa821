"""co-occurrence and sequential-rules beside sums written out, and on an order that is known or destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regulars.core.data import Dataset, Histories
from regulars.models.co_occurrence import CoOccurrence
from regulars.models.sequences import power_law
from regulars.models.sequential_rules import SequentialRules

N = 7
sequences = st.lists(st.lists(st.integers(0, N - 1), min_size=1, max_size=9), min_size=1, max_size=6)


def learned(walks: Sequence[Any], n_items: int = N) -> Dataset:
    users = np.repeat(np.arange(len(walks)), [len(each) for each in walks])
    return Dataset.from_events(users, np.concatenate([np.asarray(each) for each in walks]), (len(walks), n_items))


def written_out(walks: Sequence[Sequence[int]], history: Sequence[int], model: CoOccurrence) -> NDArray[np.float64]:
    """The formula of the docstring, pair by pair."""
    taken = np.maximum(np.bincount(np.concatenate(walks).astype(int), minlength=N), 1)
    pairs = np.zeros((N, N))
    for walk in walks:
        for at, first in enumerate(walk):
            for d, then in enumerate(walk[at + 1 : at + 1 + model.window], 1):
                pairs[first, then] += d**-model.decay
                pairs[then, first] += model.backward * d**-model.decay
    np.fill_diagonal(pairs, 0.0)
    scores = np.zeros(N)
    for place, item in enumerate(list(dict.fromkeys(reversed(history)))[: model.window], 1):
        scores += place**-model.history_decay * pairs[item] * taken[item] ** -model.source_power
    return np.asarray(scores * taken**-model.power)


@given(
    sequences, st.lists(st.integers(0, N - 1), max_size=8), st.sampled_from([1, 3, 20]), st.sampled_from([0, 0.5, 1])
)
def test_scores_are_the_sums_of_the_docstring(
    walks: list[list[int]], history: list[int], window: int, backward: float
) -> None:
    model = CoOccurrence(window=window, backward=backward, decay=0.7).fit(learned(walks))
    scores = model.score(Histories.from_sequences([history], N), 0)[0]
    np.testing.assert_allclose(scores, written_out(walks, history, model), rtol=1e-5, atol=1e-6)


@given(sequences)
def test_counting_both_ways_knows_no_order(walks: list[list[int]]) -> None:
    forth, back = learned(walks), learned([walk[::-1] for walk in walks])
    model = CoOccurrence(backward=1.0)
    links = model.fit(forth).links_.toarray()
    np.testing.assert_allclose(model.fit(back).links_.toarray(), links, rtol=1e-5)


@given(sequences, st.sampled_from([1, 4]))
def test_rules_are_the_forward_pairs_from_the_newest_item(walks: list[list[int]], steps: int) -> None:
    rules = SequentialRules(steps=steps).fit(learned(walks))
    pairs = CoOccurrence(window=steps, decay=1.0, backward=0.0, power=0.0, source_power=0.0).fit(learned(walks))
    np.testing.assert_array_equal(rules.links_.toarray(), pairs.links_.toarray())
    asked = Histories.from_sequences([[3, 5]], N)
    np.testing.assert_array_equal(rules.score(asked, 0)[0], rules.links_.toarray()[5])


def test_an_item_keeps_its_strongest_links() -> None:
    walks = [[0, 1], [0, 1], [0, 2], [0, 2], [0, 3]]
    everything = SequentialRules().fit(learned(walks)).links_.toarray()
    assert everything[0].tolist() == [0, 2, 2, 1, 0, 0, 0]
    kept = SequentialRules(k=1).fit(learned(walks)).links_.toarray()
    assert kept[0].tolist() == [0, 2, 0, 0, 0, 0, 0]  # ties go to the lower id


@pytest.mark.parametrize("kind", [CoOccurrence, SequentialRules])
def test_threads_change_nothing(kind: Any) -> None:
    rng = np.random.default_rng(0)
    data = learned([rng.integers(0, 2000, size=30).tolist() for _ in range(100)], 2000)
    one, two = (kind(threads=threads, k=5).fit(data).links_ for threads in (1, 2))
    assert (one != two).nnz == 0


def hits(kind: Any, walks: list[NDArray[np.int64]]) -> float:
    """How often the step after a walk's last but one is first, learned from the others."""
    model = kind().fit(learned(walks[:200], 50))
    top, _ = model.recommend(Histories.from_sequences([walk[:-1] for walk in walks[200:]], 50), k=1)
    return float((top[:, 0] == [walk[-1] for walk in walks[200:]]).mean())


@pytest.mark.parametrize("kind", [CoOccurrence, SequentialRules])
def test_order_is_learned_and_no_order_is_not(kind: Any) -> None:
    rng = np.random.default_rng(1)
    walks = [(start + np.arange(6)) % 50 for start in rng.integers(50, size=300)]
    assert hits(kind, walks) > 0.95
    assert hits(kind, [rng.permutation(50)[:6] for _ in walks]) < 0.15


def test_weights_of_distances() -> None:
    np.testing.assert_allclose(power_law(3, 1.0), [1, 1 / 2, 1 / 3])
    assert power_law(2, 0.0).tolist() == [1.0, 1.0]
