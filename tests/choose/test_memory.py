"""What models say they need before a fit is what they turn out to need."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from regulars.choose.question import Question
from regulars.choose.space import SPACE, Candidate
from regulars.choose.trial import reset_peak
from regulars.choose.worker import Apart
from regulars.core.clock import DAY
from regulars.core.data import Dataset
from regulars.models.registry import needs_torch

USERS, ITEMS, ROWS = 20_000, 4_000, 600_000
QUICK: dict[str, dict[str, int]] = {name: {} for name in SPACE if not needs_torch(name)} | {
    "bpr": {"epochs": 1},
    "mf-ccl": {"epochs": 1},
}
SYLLABLES = ("lum", "ker", "ota", "vin", "sal", "mer", "tor", "ani")
SMALL = {"popular", "trending", "segment-popular"}  # counts alone
TOO_LITTLE, TOO_MUCH = 2.2, 4.0  # an allocator hands memory out in its own pieces, and gives old ones again


@pytest.fixture(scope="module")
def asked() -> Question:
    rng = np.random.default_rng(0)
    share = np.arange(1, ITEMS + 1) ** -0.8
    users, items = rng.integers(USERS, size=ROWS), rng.choice(ITEMS, ROWS, p=share / share.sum())
    at = rng.integers(0, 200 * DAY, ROWS)
    sessions = np.unique(users * 100 + at // (5 * DAY), return_inverse=True)[1]
    data = Dataset.from_events(users, items, (USERS, ITEMS), at=at, session_idx=sessions, order_idx=sessions)
    words = np.array([f"{rng.choice(SYLLABLES)}{rng.choice(SYLLABLES)}{n}" for n in range(3000)])
    titles = [" ".join(row) for row in words[rng.integers(0, len(words), (ITEMS, 40))]]
    data = replace(data, items=replace(data.items, title=titles))
    some = np.arange(40, dtype=np.int32)
    cells = data.user_items[some]
    return Question(data, data.histories(some), data.as_of, cells, cells, "bought")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(QUICK) - SMALL))
def test_estimates_are_near_what_a_fit_holds(asked: Question, name: str) -> None:
    if not reset_peak():
        pytest.skip("this system does not tell a process's peak memory")
    candidate = Candidate(name, QUICK[name])
    with closing(Apart(asked)) as runner:
        assert runner.prepare(candidate, 200) == ""
        outcome = runner.run(candidate, 1.0, 200)
    assert outcome.trouble == ""
    told = candidate.make().estimate_mb(asked.before.shape, ROWS)
    assert outcome.peak_mb / TOO_LITTLE < told < outcome.peak_mb * TOO_MUCH
