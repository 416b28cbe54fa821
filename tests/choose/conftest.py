"""Logs with a known truth, and a runner whose trials cost what a table says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from evaluate.conftest import make_dataset
from regulars.choose.question import Question, question
from regulars.choose.space import Candidate
from regulars.choose.trial import Lists, Outcome
from regulars.core.clock import DAY
from regulars.core.data import Dataset
from regulars.core.settings import FeedbackSettings

DAYS, CUT = 60, 48


def log_of(bought: list[list[tuple[int, int]]]) -> tuple[Dataset, Dataset]:
    """(before the cut, all of it) of purchases (item, day) of each shopper; both know all shoppers and items."""
    rows = [(user, f"i{item:03d}", day * DAY + user) for user, each in enumerate(bought) for item, day in each]
    rows.sort(key=lambda row: (row[1], row[0]))
    whole = make_dataset(rows, as_of=DAYS * DAY)
    early = whole.interactions.at < CUT * DAY
    return replace(whole, as_of=CUT * DAY - 1, interactions=whole.interactions[early]), whole


def blocks(seed: int = 0, n_users: int = 300, n_blocks: int = 10, size: int = 12) -> tuple[Dataset, Dataset]:
    """Everybody buys distinct items of one block, in any order: who has both of two items says all there is."""
    rng = np.random.default_rng(seed)
    return log_of([
        [(block * size + int(item), int(day)) for item, day in
         zip(rng.permutation(size)[:8], np.sort(rng.integers(0, DAYS, 8)), strict=True)]
        for block in rng.integers(n_blocks, size=n_users)
    ])  # fmt: skip


def bestsellers(seed: int = 0, n_users: int = 400, n_items: int = 80) -> tuple[Dataset, Dataset]:
    """Everybody draws from one list of bestsellers, whoever they are: nothing else is true."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, n_items + 1)
    return log_of([
        [(int(item), int(day)) for item, day in
         zip(rng.choice(n_items, 12, p=share / share.sum()), rng.integers(0, DAYS, 12), strict=True)]
        for _ in range(n_users)
    ])  # fmt: skip


def asked_of(log: tuple[Dataset, Dataset], seed: int = 0) -> Question:
    return question(log[1], log[0], FeedbackSettings(), seed)


@dataclass
class Hand:
    """A clock that only trials move."""

    at: float = 0.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Table:
    """Trials that take (seconds of a fit on everything) x share, and whose lists are as good as told.

    Of a candidate's lists a share `quality` puts what is wanted first; the same shoppers for the same quality.
    """

    question: Question
    clock: Hand
    costs: Mapping[str, float]
    quality: Mapping[str, float]
    broken: frozenset[str] = frozenset()
    asked: list[tuple[str, float, float]] = field(default_factory=list)

    def prepare(self, candidate: Candidate, limit_s: float) -> str:
        return ""

    def run(self, candidate: Candidate, share: float, limit_s: float) -> Outcome:
        self.asked.append((candidate.label, share, limit_s))
        if candidate.label in self.broken:
            return Outcome(trouble="its process died (signal 9)")
        seconds = self.costs[candidate.label] * share
        self.clock.at += min(seconds, limit_s)
        if seconds > limit_s:
            return Outcome(trouble=f"stopped after {limit_s:.1f} s")
        lists = good_lists(self.question, self.quality[candidate.label])
        rows = self.question.new.rows
        return Outcome(lists, Lists(lists.ranked[rows], lists.scores[rows]), seconds, 0.0, 1.0)


def good_lists(asked: Question, quality: float, seed: int = 0) -> Lists:
    """Lists of 20 items: what is wanted first for a share `quality` of the shoppers, nothing of it for the others."""
    rng, n_items = np.random.default_rng(seed), asked.relevant.shape[1]
    lucky = rng.permutation(len(asked)) < quality * len(asked)
    ranked = np.empty((len(asked), 20), dtype=np.int32)
    for row in range(len(ranked)):
        wanted = asked.relevant.indices[asked.relevant.indptr[row] : asked.relevant.indptr[row + 1]]
        rest = np.setdiff1d(rng.permutation(n_items), wanted, assume_unique=True)
        ranked[row] = (np.concatenate([wanted, rest]) if lucky[row] else rest)[:20]
    return Lists(ranked, np.broadcast_to(np.arange(20, 0, -1, dtype=np.float32), ranked.shape).copy())
