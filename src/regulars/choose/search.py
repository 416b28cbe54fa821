"""The one door: search for a shop's models inside a budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from regulars.choose.budget import Budget
from regulars.choose.halving import Found, Halving, Say
from regulars.choose.question import question
from regulars.choose.space import candidates
from regulars.choose.worker import Apart
from regulars.core.data import Dataset
from regulars.core.settings import Settings


def search(
    after: Dataset, before: Dataset, settings: Settings, budget: Budget, *, say: Say,
    clock: Callable[[], float] = time.monotonic,
) -> Found:  # fmt: skip
    """Try what there is for these settings: learned from `before`, held against what came until `after.as_of`."""
    asked = question(after, before, settings.feedback, settings.train.seed)
    with closing(Apart(asked)) as runner:
        search = Halving(asked, runner, budget, clock, memory_mb=settings.train.memory_mb, say=say)
        return search.run(candidates(settings))
