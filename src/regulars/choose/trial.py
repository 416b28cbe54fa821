"""One trial: fit a candidate on a share of the shoppers, rank for those who are asked, and say what it took."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from regulars.choose.question import Question
from regulars.choose.space import Candidate, Params
from regulars.core.arrays import Floats, Indices, Scores
from regulars.core.data import Dataset
from regulars.core.errors import RegularsError
from regulars.core.rng import generator
from regulars.core.topk import NOTHING, top_k
from regulars.models.base import Model
from regulars.models.registry import make_model

DEPTH = 50  # places of each list that are kept: what a blend of them is made of
TINY = ([0, 0, 0, 1, 1, 1], [0, 1, 2, 1, 2, 3], (2, 4), [1, 2, 3, 4, 5, 6])  # shoppers, items, shape, instants


# what a fit may end in on odd data: any of it leaves one candidate out, and says so
FAULTS = (RegularsError, ArithmeticError, ValueError, IndexError, RuntimeError, MemoryError, np.linalg.LinAlgError)


@dataclass(frozen=True)
class Lists:
    """The best items of some shoppers `(n, depth)`, -1 pads, and their scores, -inf pads."""

    ranked: Indices
    scores: Floats


@dataclass(frozen=True)
class Outcome:
    """What came of one trial; `trouble` says why there are no lists."""

    lists: Lists | None = None  # for all who are asked
    new: Lists | None = None  # without what they had bought, for those who then took something new
    seconds: float = 0.0  # of the fit, kernels compiled before
    rank_seconds: float = 0.0
    peak_mb: float = 0.0  # what the fit held at most beside the data, 0 = not measured
    trouble: str = ""


class Runner(Protocol):
    """Where trials run."""

    def prepare(self, candidate: Candidate, limit_s: float) -> str:
        """Make ready for trials of a model: compile its kernels, import its libraries. What went wrong, or ""."""

    def run(self, candidate: Candidate, share: float, limit_s: float) -> Outcome:
        """Try a candidate on a share of the shoppers; what is not done within `limit_s` seconds is given up."""


@dataclass
class Bench:
    """Trials in this process; nothing can stop one, so a limit only counts from outside (`worker.Apart`)."""

    question: Question
    met: set[str] = field(default_factory=set)  # models whose kernels are compiled

    def prepare(self, candidate: Candidate, limit_s: float) -> str:
        """See `Runner`."""
        if candidate.model in self.met:
            return ""
        try:
            _compile(candidate)
        except FAULTS as error:
            return _told(error)
        self.met.add(candidate.model)
        return ""

    def run(self, candidate: Candidate, share: float, limit_s: float) -> Outcome:
        """See `Runner`."""
        try:
            return self._measured(candidate, share)
        except FAULTS as error:
            return Outcome(trouble=_told(error))

    def _measured(self, candidate: Candidate, share: float) -> Outcome:
        data, model = self.question.learned_from(share), candidate.make()
        seed = self.question.seed
        _ = data.user_items  # the data's own, not the fit's
        held = reset_peak()
        with threadpool_limits(1):
            start = time.perf_counter()
            model.fit(data, generator(seed, "fit", candidate.model))
            fitted, peak = time.perf_counter(), peak_mb()
            lists, new = lists_of(model, self.question)
            done = time.perf_counter()
        return Outcome(lists, new, fitted - start, done - fitted, max(0.0, peak - held) if held else 0.0)


def lists_of(model: Model, question: Question) -> tuple[Lists, Lists]:
    """The best items of a fitted model for everyone asked, and for those of `new` without what they had bought."""
    histories, bought, now = question.histories, question.bought, question.now
    parts: list[tuple[Lists, Lists]] = []
    for start, batch in model.batches(histories):
        scores = model.score(batch, now)
        every, shut = _top(scores), bought[start : start + len(batch)]
        scores[np.repeat(np.arange(len(batch)), np.diff(shut.indptr)), shut.indices] = NOTHING
        parts.append((every, _top(scores)))
    every, new = (_joined([part[side] for part in parts]) for side in (0, 1))
    rows = question.new.rows
    return every, Lists(new.ranked[rows], new.scores[rows])


def _top(scores: Scores) -> Lists:
    return Lists(*top_k(scores, min(DEPTH, scores.shape[1])))


def _joined(parts: Sequence[Lists]) -> Lists:
    return Lists(np.concatenate([part.ranked for part in parts]), np.concatenate([part.scores for part in parts]))


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _compile(candidate: Candidate) -> None:
    """Go through a tiny fit: it compiles kernels and imports torch, which no share of the shoppers shortens."""
    shoppers, items, shape, at = TINY
    tiny = Dataset.from_events(shoppers, items, shape, at=at)
    params: Params = candidate.params
    if "epochs" in inspect.signature(type(candidate.make())).parameters:
        params = {**params, "epochs": 1}
    make_model(candidate.model, params).fit(tiny).score(tiny.histories(), 7)


def _status() -> Mapping[str, float]:
    """Linux's own account of this process, megabytes by name; empty elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines if line.startswith("Vm"))
    return {name: int(size.split()[0]) / 1024 for name, _, size in pairs}


def reset_peak() -> float:
    """Begin a new high-water mark; what is held now, MB, 0 where this cannot be told."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return 0.0
    return _status().get("VmRSS", 0.0)


def peak_mb() -> float:
    """The most that was held since the mark was reset, MB."""
    return _status().get("VmHWM", 0.0)
