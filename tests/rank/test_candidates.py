"""Candidates: the merged list equals a plain-Python merge, and what was bought is counted right."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars.core.arrays import Scores
from regulars.core.clock import DAY
from regulars.core.data import PURCHASE, VIEW, Dataset, Histories
from regulars.models.base import Model
from regulars.rank.candidates import gather
from regulars.rank.retrieve import retrievers

N_ITEMS = 9


class Fixed(Model):
    """A model that says the same of every shopper."""

    name = "fixed"

    def __init__(self, *, row: tuple[float, ...] = ()) -> None:
        self.row = row

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        pass

    def score(self, histories: Histories, now: int) -> Scores:
        return np.tile(np.array(self.row, dtype=np.float32), (len(histories), 1))


def nobody(n: int) -> Histories:
    return Histories.from_matrix(sp.csr_array((n, N_ITEMS), dtype=np.float32))


def by_hand(rows: list[list[float]], allowed: list[bool], banned: set[int], k: int) -> dict[int, list[float]]:
    """Item -> what the sources say, from the module's docstring."""
    says: dict[int, list[float]] = {}
    for source, row in enumerate(rows):
        known = [i for i in range(N_ITEMS) if allowed[i] and i not in banned and row[i] > 0]
        top = sorted(known, key=lambda i: (-row[i], i))[:k]
        for rank, i in enumerate(top):
            place = (row[i] - row[top[-1]]) / (row[top[0]] - row[top[-1]]) if row[top[0]] > row[top[-1]] else 0.0
            says.setdefault(i, [0.0] * 2 * len(rows))[2 * source : 2 * source + 2] = [place, 1 / math.log2(2 + rank)]
    return says


number = st.floats(-2, 5, width=16).map(float)


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.lists(number, min_size=N_ITEMS, max_size=N_ITEMS), min_size=1, max_size=3),
    allowed=st.lists(st.booleans(), min_size=N_ITEMS, max_size=N_ITEMS), banned=st.sets(st.integers(0, N_ITEMS - 1)),
    k=st.integers(1, 6),
)  # fmt: skip
def test_merge_equals_a_plain_merge(rows: list[list[float]], allowed: list[bool], banned: set[int], k: int) -> None:
    models = {f"m{s}": Fixed(row=tuple(row)).fit(np.zeros((1, N_ITEMS))) for s, row in enumerate(rows)}
    shut = np.array([sorted(banned) or [-1]] * 2, dtype=np.int32)
    gap = np.full(N_ITEMS, np.inf, dtype=np.float32)
    found = gather(retrievers(models), nobody(2), 0, np.array(allowed), shut, gap, k)
    hoped = by_hand(rows, allowed, banned, k)
    for row in range(2):
        items = found.item_idx[row, : found.n[row]].tolist()
        assert sorted(items) == sorted(hoped)
        for place, idx in enumerate(items):
            np.testing.assert_allclose(found.says[row, place], hoped[idx], rtol=1e-4, atol=1e-5)


def test_purchases_are_counted_by_instant_and_judged_by_their_gap() -> None:
    """Item 0 every 10 days, last 4 days ago; item 1 once, usual gap 30, 20 days ago; item 2 viewed; 3 a durable."""
    now = 100 * DAY
    events = [(0, PURCHASE, 76), (0, PURCHASE, 86), (0, PURCHASE, 86), (0, PURCHASE, 96), (1, PURCHASE, 80),
              (2, VIEW, 99), (3, PURCHASE, 1)]  # fmt: skip
    events.sort(key=lambda event: event[2])
    history = Histories(
        user_items=sp.csr_array((1, N_ITEMS), dtype=np.float32), indptr=np.array([0, len(events)]),
        item_idx=np.array([e[0] for e in events], dtype=np.int32),
        kind=np.array([e[1] for e in events], dtype=np.int8),
        at=np.array([e[2] * DAY for e in events], dtype=np.int64),
    )  # fmt: skip
    gap = np.array([30, 30, 30, np.inf] + [30] * 5, dtype=np.float32)
    models = {"m": Fixed(row=tuple(range(9, 0, -1))).fit(np.zeros((1, N_ITEMS)))}
    everything = np.ones(N_ITEMS, dtype=np.bool_)
    found = gather(retrievers(models), history, now, everything, np.full((1, 1), -1, dtype=np.int32), gap, 5)
    said = zip(found.bought[0].tolist(), found.not_due[0].tolist(), strict=True)
    facts = dict(zip(found.item_idx[0].tolist(), said, strict=True))
    assert facts[0] == (3, True)  # 4 < 10 / 2
    assert facts[1] == (1, False)  # 20 > 30 / 2
    assert facts[2] == (0, False)
    assert facts[3] == (1, True)  # bought once in a lifetime


def test_candidates_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(0)
    matrix = sp.csr_array(rng.random((6, N_ITEMS)) * (rng.random((6, N_ITEMS)) < 0.4))
    histories = Histories.from_matrix(matrix)
    models = {"m": Fixed(row=tuple(rng.random(N_ITEMS))).fit(matrix)}
    gap = np.full(N_ITEMS, 5, dtype=np.float32)
    allowed, none = np.ones(N_ITEMS, dtype=np.bool_), np.full((6, 1), -1, dtype=np.int32)
    together = gather(retrievers(models), histories, DAY, allowed, none, gap, 4)
    for row in range(6):
        alone = gather(retrievers(models), histories.rows(row, row + 1), DAY, allowed, none[:1], gap, 4)
        np.testing.assert_array_equal(alone.item_idx[0], together.item_idx[row])
        np.testing.assert_array_equal(alone.bought[0], together.bought[row])
