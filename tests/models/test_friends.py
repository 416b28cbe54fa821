"""What friends took: by plain loops, with the weight that the data speaks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from regulars.core.data import Dataset, Histories
from regulars.models import friends as module
from regulars.models.friends import UNTOLD, Friends


def linked(matrix: NDArray[Any], links: list[tuple[int, ...]]) -> Dataset:
    data = Dataset.from_matrix(matrix)
    return replace(data, users=replace(data.users, links=links))


def test_scores_by_plain_loops() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.poisson(0.6, (12, 6)).astype(np.float32)
    links = [tuple(rng.choice(12, 3, replace=False).tolist()) for _ in range(12)]
    data = linked(matrix, links)
    model = Friends(k=5, shrink=2.0, power=0.5, popularity_power=0.3, goes_with=0.7).fit(data)
    x = np.sqrt(matrix)
    norms = np.sqrt((x**2).sum(axis=0))
    takers = (matrix > 0).sum(axis=0)
    found = model.score(data.histories(), 0)
    for user in range(12):
        theirs = np.sqrt(sum(matrix[friend] for friend in set(links[user]) - {user}))
        wanted = np.zeros(6)
        for item in range(6):
            for other in range(6):
                cosine = x[:, item] @ x[:, other] / (norms[item] * norms[other] + 2.0)
                wanted[item] += theirs[other] / theirs.sum() * (1.0 if item == other else 0.7 * cosine)
        np.testing.assert_allclose(found[user], wanted * takers**-0.3, rtol=1e-5)


def circles(rng: np.random.Generator, *, alike: bool) -> Dataset:
    """60 pairs of friends take one half each of a bundle of items: each other's own, or that which goes with it."""
    events = np.zeros((240, 80), dtype=np.float32)
    links: list[tuple[int, ...]] = []
    for user in range(120):  # friends: user and user ^ 1
        bundle = int(np.random.default_rng(user // 2).integers(8))
        half = 0 if alike else user % 2
        events[user, 10 * bundle + 5 * half : 10 * bundle + 5 * half + 5] = rng.random(5) < 0.8
        links.append((user ^ 1,))
    for user in range(120, 240):  # who show what goes with what
        bundle = int(rng.integers(8))
        events[user, 10 * bundle : 10 * bundle + 10] = rng.random(10) < 0.7
        links.append(())
    return linked(events, links)


def test_the_weight_is_what_the_evidence_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little where friends take the same things, much where one takes what goes with the other's."""
    monkeypatch.setattr(module, "TOP", 4)
    same = Friends().fit(circles(np.random.default_rng(1), alike=True))
    other = Friends().fit(circles(np.random.default_rng(1), alike=False))
    assert same.goes_with_ < other.goes_with_
    assert other.goes_with_ >= 1.0
    assert Friends(goes_with=0.3).fit(circles(np.random.default_rng(1), alike=False)).goes_with_ == 0.3


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    data = circles(np.random.default_rng(1), alike=False)
    whole = Friends().fit(data)
    monkeypatch.setattr(module, "BATCH_CELLS", 7 * 80)
    monkeypatch.setattr(module, "MOST", 50)
    assert Friends().fit(data).goes_with_ == whole.goes_with_


def test_too_few_links_choose_nothing() -> None:
    model = Friends().fit(linked(np.eye(4, dtype=np.float32), [(1,), (0,), (), ()]))
    assert model.goes_with_ == UNTOLD
    assert not model.impersonal


def test_where_nobody_is_linked_it_says_nothing() -> None:
    model = Friends().fit(np.ones((3, 4)))
    assert model.impersonal
    assert (model.score(Histories.from_matrix(np.ones((2, 4))), 0) == 0).all()
    to_strangers = Friends().fit(linked(np.ones((2, 4), dtype=np.float32), [(99,), (0,)]))
    assert not to_strangers.impersonal
    only_strangers = Friends().fit(linked(np.ones((2, 4), dtype=np.float32), [(99,), (1,)]))
    assert only_strangers.impersonal


def test_own_history_says_nothing_here() -> None:
    data = linked(np.eye(4, dtype=np.float32), [(1,), (), (), ()])
    model = Friends(goes_with=1.0).fit(data)
    told = data.histories(np.zeros(1, dtype=np.int32))
    found = model.score(replace(told, user_items=Histories.from_matrix(np.ones((1, 4))).user_items), 0)
    np.testing.assert_array_equal(found, [[0, 1, 0, 0]])
