"""session-knn beside its formula written out, each part on and off, and on sessions with and without order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.conftest import AS_OF, from_events
from regulars.core.clock import DAY, MINUTE
from regulars.core.data import VIEW, Dataset, Histories
from regulars.models.session_knn import LOOK_BACK, SessionKNN

N = 8
OFF: dict[str, Any] = {"decay": 0.0, "nearness": 0.0, "half_life_days": 0.0, "idf": 0.0, "repeats": 0.0}
walks_of = st.lists(st.lists(st.integers(0, N - 1), min_size=1, max_size=6), min_size=1, max_size=8)


def learned(walks: Sequence[Any], n_items: int = N) -> Dataset:
    """A session a day."""
    users = np.repeat(np.arange(len(walks)), [len(each) for each in walks])
    at = users * DAY
    return Dataset.from_events(
        users, np.concatenate([np.asarray(each) for each in walks]), (len(walks), n_items), at=at
    )


def written_out(walks: list[list[int]], history: list[int], model: SessionKNN, now: int) -> NDArray[np.float64]:
    """The formula of the docstring, session by session."""
    told = [(day, walk) for day, walk in enumerate(walks) if len(walk) > 1]
    spread = np.array([sum(item in walk for _, walk in told) for item in range(N)])
    idf = np.log1p(len(told) / np.maximum(spread, 1)) ** model.idf
    recent = list(dict.fromkeys(reversed(history)))[:LOOK_BACK]
    found = [(day, walk) for day, walk in reversed(told) if set(walk) & set(recent)][: model.sample]
    near = []
    for day, walk in found:
        alike = sum(idf[item] * r**-model.decay for r, item in enumerate(recent, 1) if item in walk)
        fresh = 0.5 ** ((now - day * DAY) / (model.half_life_days * DAY)) if model.half_life_days else 1.0
        near.append((alike * fresh / np.sqrt(len(walk)), walk))
    scores = np.zeros(N)
    for alike, walk in sorted(near, key=lambda each: -each[0])[: model.k]:
        shared = next(item for item in recent if item in walk)
        place = len(walk) - 1 - walk[::-1].index(shared)
        for at, item in enumerate(walk):
            if at != place:
                scores[item] += alike * abs(at - place) ** -model.nearness * idf[item]
    best = scores.max() or 1.0
    for r, item in enumerate(recent, 1):
        scores[item] += model.repeats * r**-model.nearness * best
    return scores


@settings(max_examples=50)
@given(
    walks_of, st.lists(st.integers(0, N - 1), max_size=5), st.integers(1, 9),
    st.fixed_dictionaries({
        "decay": st.sampled_from([0.0, 1.0]), "nearness": st.sampled_from([0.0, 0.5]),
        "idf": st.sampled_from([0.0, 1.5]),
        "half_life_days": st.sampled_from([0.0, 3.0]), "repeats": st.sampled_from([0.0, 0.5]),
    }),
)  # fmt: skip
def test_scores_are_the_sums_of_the_docstring(
    walks: list[list[int]], history: list[int], sample: int, parts: dict[str, Any]
) -> None:
    model = SessionKNN(k=50, sample=sample, **parts).fit(learned(walks))
    scores = model.score(Histories.from_sequences([history], N), 9 * DAY)[0]
    np.testing.assert_allclose(scores, written_out(walks, history, model, 9 * DAY), rtol=1e-5)


def test_the_most_alike_are_heard() -> None:
    walks = [[0, 1, 2], [0, 1, 3], [0, 4], [5, 6]]
    everybody = SessionKNN(**OFF).fit(learned(walks)).score(Histories.from_sequences([[0, 1]], N), 0)[0]
    assert np.flatnonzero(everybody).tolist() == [0, 2, 3, 4]  # 1 is where they meet
    best = SessionKNN(k=1, **OFF).fit(learned(walks)).score(Histories.from_sequences([[0, 1]], N), 0)[0]
    assert np.flatnonzero(best).tolist() == [0, 3]  # of two as alike, the newer


def test_the_newest_are_sampled() -> None:
    model = SessionKNN(sample=1, **OFF).fit(learned([[0, 1, 2], [3, 0]]))
    assert np.flatnonzero(model.score(Histories.from_sequences([[1, 0]], N), 0)[0]).tolist() == [3]


def test_a_pause_ends_the_current_session() -> None:
    model = SessionKNN(**OFF).fit(learned([[0, 1], [2, 3]]))
    seen = from_events([(0, 0, VIEW, AS_OF - 31 * MINUTE), (0, 2, VIEW, AS_OF)], (1, N)).histories()
    assert np.flatnonzero(model.score(seen, AS_OF)[0]).tolist() == [3]
    whole = SessionKNN(gap_minutes=0.0, **OFF).fit(learned([[0, 1], [2, 3]]))
    assert np.flatnonzero(whole.score(seen, AS_OF)[0]).tolist() == [1, 3]


def test_what_was_looked_at_may_come_back_whatever_others_say() -> None:
    model = SessionKNN(repeats=0.5, nearness=1.0).fit(learned([[0, 1], [2, 3]]))
    for history, wanted in (([5, 4], {4: 1 / 2, 5: 1 / 4}), ([], {})):
        scores = model.score(Histories.from_sequences([history], N), 0)[0]
        assert {int(item): scores[item] for item in np.flatnonzero(scores)} == wanted


def test_an_item_that_everyone_has_still_says_something() -> None:
    model = SessionKNN().fit(learned([[0, 1], [0, 2]]))
    assert np.flatnonzero(model.score(Histories.from_sequences([[0]], N), 2 * DAY)[0]).tolist() == [1, 2]


def test_sessions_older_than_numbers_reach_name_an_item_once() -> None:
    model = SessionKNN(half_life_days=0.001).fit(learned([[0, 1], [0, 1, 2]]))
    indptr, items, scores = model.sparse_scores(Histories.from_sequences([[0]], N), 1000 * DAY)
    assert indptr.tolist() == [0, 2]
    assert sorted(items) == [1, 2]
    assert not scores.any()


@pytest.mark.parametrize(("ordered", "low", "high"), [(True, 0.9, 1.0), (False, 0.0, 0.15)])
def test_neighbours_of_walks_know_the_way_and_those_of_noise_do_not(ordered: bool, low: float, high: float) -> None:
    rng = np.random.default_rng(1)
    walks = [
        (start + np.arange(4)) % 60 if ordered else rng.permutation(60)[:4] for start in rng.integers(60, size=400)
    ]
    model = SessionKNN().fit(learned(walks[:300], 60))
    asked = Histories.from_sequences([walk[:-1] for walk in walks[300:]], 60)
    top, _ = model.recommend(asked, k=2, now=300 * DAY)
    hits = float((top == np.array([walk[-1:] for walk in walks[300:]])).any(axis=1).mean())
    assert low <= hits <= high
