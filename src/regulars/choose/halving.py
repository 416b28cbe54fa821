"""Successive halving over models and settings (Jamieson & Talwalkar 2016; Hyperband's inner loop, Li et al. 2018).

The resource is the share of shoppers that a candidate learns from: all candidates meet a small share, from cheap to
dear, the best third of them a larger one, and so on; a rung goes on while the time left holds what its best still
need on the larger shares. Two departures: whatever the blend of a rung needs goes on as well, however low it stands
alone (what is bought again is little alone and much beside others), and a candidate is stopped when its fit on
everything could not end in time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.choose.blend import Places, forward
from regulars.choose.budget import UNKNOWN_S, Budget, Costs
from regulars.choose.question import FEWEST, Question
from regulars.choose.space import FLOOR, Candidate, flat, missing_part
from regulars.choose.trial import Lists, Outcome, Runner
from regulars.core.bootstrap import Interval, intervals, paired
from regulars.core.errors import RegularsError
from regulars.core.rng import generator

ETA = 3  # one in so many goes on; shares grow as fast
CHOSEN, BEATEN, LEFT_OUT, FAILED = "chosen", "beaten", "left out", "failed"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """A candidate on one rung."""

    share: float
    seconds: float
    rank_seconds: float
    peak_mb: float
    ndcg: Interval
    behind: Interval  # less the best of the rung, the same shoppers


@dataclass(frozen=True)
class Tried:
    """All that is known of a candidate, and what became of it."""

    candidate: Candidate
    estimate_mb: float
    trials: tuple[Trial, ...]
    fate: str
    why: str


@dataclass(frozen=True)
class Found:
    """What a search came to; nothing chosen: the settings stay as they are, and `why` says so."""

    tried: tuple[Tried, ...]
    chosen: tuple[Candidate, ...]
    ndcg: Interval | None  # of the blend of lists
    why: str
    question: Question
    seconds: float
    budget: Budget
    fits_s: float  # expected seconds of one fit of everything chosen


@dataclass(frozen=True)
class _Judged:
    candidate: Candidate
    lists: Lists
    new: Lists
    ndcg: NDArray[np.float64]

    @property
    def mean(self) -> float:
        return float(self.ndcg.mean())


class Halving:
    """One search: what was tried so far, and what it cost."""

    def __init__(
        self, question: Question, runner: Runner, budget: Budget, clock: Callable[[], float], *,
        memory_mb: float, say: Say = lambda text: None,
    ) -> None:  # fmt: skip
        self.question, self.runner, self.budget, self.clock = question, runner, budget, clock
        self.memory_mb, self.say = memory_mb, say
        self.began = clock()
        self.ends = self.began + budget.choice_s
        self.costs = Costs(flat(len(question.before.items)))
        self.floors: set[str] = set()
        self.stopped: dict[str, str] = {}  # model -> the setting whose trial came to nothing
        self.trials: dict[str, list[Trial]] = {}
        self.fates: dict[str, tuple[str, str]] = {}

    def run(self, candidates: Sequence[Candidate]) -> Found:
        """Try them, and choose."""
        self.floors = {each.label for each in candidates if each.model == FLOOR}
        asked = len(self.question)
        if asked < FEWEST:
            why = f"only {asked} shoppers came again in the later days, {FEWEST} are needed to tell models apart"
            return self._found(candidates, (), None, why)
        alive, known = list(candidates), dict[str, _Judged]()
        for place, share in enumerate(self.question.shares):
            judged = self._rung(alive, share, self.question.shares[place + 1 :])
            known |= judged
            if share < 1.0:
                alive = self._survivors(judged, share) if judged else []
        fair = {label: each for label, each in known.items() if self.fates.get(label, ("", ""))[0] != BEATEN}
        return self._choose(candidates, fair)

    # --- one rung

    def _rung(self, alive: Sequence[Candidate], share: float, later: Sequence[float]) -> dict[str, _Judged]:
        """Try those that are left on a share of the shoppers, in their order, as far as the rung's time goes."""
        judged: dict[str, _Judged] = {}
        for candidate in alive:
            label, ends = candidate.label, self.ends - self._needed_later(judged, later)
            why = self._barred(candidate, share, ends)
            if why:
                self.fates[label] = (LEFT_OUT, why)
                continue
            outcome = self._tried(candidate, share, ends)
            if outcome.lists is None or outcome.new is None:
                self.fates[label] = (FAILED, f"{outcome.trouble}, on {_share(share)}")
                self.stopped.setdefault(candidate.model, label)
                continue
            self.costs.note(candidate, share, outcome.seconds, outcome.rank_seconds)
            ndcg = self.question.wanted.ndcg(outcome.lists.ranked)
            judged[label] = _Judged(candidate, outcome.lists, outcome.new, ndcg)
            self.trials.setdefault(label, []).append(
                Trial(share, outcome.seconds, outcome.rank_seconds, outcome.peak_mb, _NOTHING, _NOTHING)
            )
            self.say(f"  {label}: {judged[label].mean:.4f} on {_share(share)}, {outcome.seconds:.1f} s")
        self._compare(judged)
        return judged

    def _needed_later(self, judged: Mapping[str, _Judged], later: Sequence[float]) -> float:
        """Seconds kept for what the best so far need on the larger shares."""
        able, seconds = [label for label in judged if self._afford([label])], 0.0
        order = sorted(able, key=lambda label: -judged[label].mean)
        for share in later:
            order = order[: _third(len(order))]
            seconds += sum(self.costs.trial_s(label, share) or 0.0 for label in order)
        return seconds

    def _tried(self, candidate: Candidate, share: float, ends: float) -> Outcome:
        """Run a trial; one never tried before no longer than leaves time to try it on everything."""
        if trouble := self.runner.prepare(candidate, ends - self.clock()):
            return Outcome(trouble=trouble)
        now = self.clock()
        known = self.costs.trial_s(candidate.label, share) is not None
        limit = ends - now if known else min(ends - now, max(UNKNOWN_S, share * (self.ends - now)))
        return self.runner.run(candidate, share, limit)

    def _barred(self, candidate: Candidate, share: float, ends: float) -> str:
        """Why a candidate is not tried now, "" where it is."""
        if why := missing_part(candidate):
            return why
        need = self.estimate_mb(candidate)
        if need > self.memory_mb:
            return f"would need about {need:,.0f} MB, [train] memory_mb allows {self.memory_mb:,.0f}"
        left, wants = ends - self.clock(), self.costs.trial_s(candidate.label, share)
        if wants is None and (stopped := self.stopped.get(candidate.model)):
            return f"the trial of {stopped} came to nothing"
        if left <= 0:
            return f"no time was left to try it on {_share(share)}"
        if wants is not None and wants > left:
            return f"would take about {wants:.1f} s on {_share(share)}, {left:.1f} s were left"
        return self._too_dear(candidate.label)

    def _too_dear(self, label: str) -> str:
        """Why the fits of a setting that would follow the choice could not be paid for, "" where they can."""
        if self._afford([label]):
            return ""
        later = self.budget.fits * (self.costs.fit_s(label, 1.0) or 0.0)
        return (f"its {self.budget.fits} fits after the choice would take {later:.1f} s, "
                f"{self._left():.1f} s would be left for all of them")  # fmt: skip

    def estimate_mb(self, candidate: Candidate) -> float:
        """Megabytes that a fit on everything needs at most, as the model itself says; infinite: it cannot be made."""
        try:
            return candidate.make().estimate_mb(self.question.before.shape, len(self.question.before.interactions))
        except RegularsError:
            return math.inf

    def _compare(self, judged: Mapping[str, _Judged]) -> None:
        """Put intervals to the trials of a rung: of each alone, and against the best."""
        if not judged:
            return
        table = np.column_stack([each.ndcg for each in judged.values()])
        best = table[:, table.mean(axis=0).argmax()][:, None]
        found = intervals(np.hstack([table, table - best]), generator(self.question.seed, "choose", "intervals"))
        for place, label in enumerate(judged):
            last = self.trials[label][-1]
            self.trials[label][-1] = Trial(last.share, last.seconds, last.rank_seconds, last.peak_mb,
                                           found[place], found[len(judged) + place])  # fmt: skip

    def _survivors(self, judged: Mapping[str, _Judged], share: float) -> list[Candidate]:
        """What goes on, in the order of its claim to time: the floor, the blend of this rung, the best third."""
        order = sorted(judged, key=lambda label: -judged[label].mean)
        able, best = [label for label in order if not self._too_dear(label)], self._best(judged)
        needed = self._places(judged, best).names if best else ()
        kept = dict.fromkeys(
            [*(label for label in order if label in self.floors), *needed, *able[: _third(len(order))]]
        )
        for rank, label in enumerate(order, start=1):
            if label not in kept:
                why = f"number {rank} of {len(order)} on {_share(share)}, and no part of their blend"
                dear = self._too_dear(label)
                self.fates[label] = (LEFT_OUT, dear) if dear else (BEATEN, why)
        return [judged[label].candidate for label in kept]

    def _best(self, judged: Mapping[str, _Judged]) -> dict[str, str]:
        """Model -> label of its best setting, of those whose fits after the choice would end in time.

        What came further was better on its way: it goes before what time left behind.
        """
        best: dict[str, str] = {}
        for label, each in judged.items():
            if self._afford([label]):
                model = each.candidate.model
                best[model] = max(best.get(model, label), label, key=lambda name: self._standing(judged[name]))
        return best

    def _standing(self, one: _Judged) -> tuple[float, float]:
        return self.trials[one.candidate.label][-1].share, one.mean

    def _places(self, judged: Mapping[str, _Judged], best: Mapping[str, str]) -> Places:
        """Who has a place among the best settings: for all that was taken, then for what was new to shoppers.

        It begins with the best of all, with the floor where none is shown to be better. What is bought again may
        outweigh all else, but the blend of the product weighs items new to a shopper apart, and so does this.
        """
        rng = generator(self.question.seed, "choose", "blend")
        first = max(best.values(), key=lambda label: judged[label].mean)
        floor = best.get(FLOOR, first)
        if first != floor and paired(judged[first].ndcg, judged[floor].ndcg, rng).low <= 0:
            first = floor
        every = forward({label: judged[label].lists for label in best.values()}, self.question.wanted, first, rng,
                        self._afford)  # fmt: skip
        if len(self.question.new.rows) < FEWEST:
            return Places(every, None)
        lists = {label: judged[label].new for label in best.values()}
        begin = max(every.names, key=lambda label: float(self.question.new.ndcg(lists[label].ranked).mean()))
        new = forward(lists, self.question.new, begin, rng, lambda names: self._afford([*every.names, *names]),
                      every.names)  # fmt: skip
        return Places(every, new)

    def _afford(self, labels: Sequence[str]) -> bool:
        """Whether all fits of these and of the floor that follow the choice would end in time."""
        return self.costs.whole_s(list({*labels, *self.floors})) * self.budget.fits <= self._left()

    def _left(self) -> float:
        """Seconds of the whole budget that fits of what is chosen may still use."""
        return self.budget.seconds - self.budget.others_s - (self.clock() - self.began)

    # --- the end

    def _choose(self, candidates: Sequence[Candidate], judged: Mapping[str, _Judged]) -> Found:
        """Who has a place among those that were not beaten, on the largest share that time let each of them see."""
        if all(each.candidate.model == FLOOR for each in judged.values()):
            why = f"nothing but {FLOOR} could be tried in {self.budget.choice_s:.1f} s"
            if not self.budget.choice_s:
                why = "the fits that follow a choice take the whole of the budget"
            return self._found(candidates, (), None, why)
        best = self._best(judged)
        if not best:
            return self._found(candidates, (), None, "no fits that would follow the choice would end in time")
        places = self._places(judged, best)
        picked = [judged[name].candidate for name in places.names]
        floor = next(each for each in candidates if each.model == FLOOR)
        if floor not in picked:
            picked.append(floor)
        fates = {label: self._fate(one, places, judged, best) for label, one in judged.items()}
        self.fates = fates | self.fates  # whom time left behind, time left behind
        self.fates |= {each.label: (CHOSEN, _why(each, places)) for each in picked}
        total = intervals(places.every.ndcg[:, None], generator(self.question.seed, "choose", "total"))[0]
        return self._found(candidates, tuple(picked), total, f"{len(picked)} of {len(candidates)} settings")

    def _fate(
        self, one: _Judged, places: Places, judged: Mapping[str, _Judged], best: Mapping[str, str]
    ) -> tuple[str, str]:
        """Why one that came to the end was not chosen."""
        label, winner = one.candidate.label, best.get(one.candidate.model)
        if winner is None:
            return LEFT_OUT, self._too_dear(label)
        if winner != label:
            return BEATEN, f"behind {winner} by {judged[winner].mean - one.mean:.4f}"
        for blended in (places.every, places.new):
            adds = blended.others.get(label) if blended else None
            if adds is not None and adds.low > 0:
                return LEFT_OUT, f"adds {_interval(adds)}, but the fits of all would not end in time"
        adds = places.every.others.get(label)
        return BEATEN, f"adds {_interval(adds)} to the chosen: no more than luck" if adds else "no part of the blend"

    def _found(
        self, candidates: Sequence[Candidate], chosen: tuple[Candidate, ...], ndcg: Interval | None, why: str
    ) -> Found:
        tried = tuple(
            Tried(each, self.estimate_mb(each), tuple(self.trials.get(each.label, ())),
                  *self.fates.get(each.label, (LEFT_OUT, why)))
            for each in candidates
        )  # fmt: skip
        return Found(tried, chosen, ndcg, why, self.question, self.clock() - self.began, self.budget,
                     self.costs.whole_s([each.label for each in chosen]))  # fmt: skip


_NOTHING = Interval(math.nan, math.nan, math.nan)  # until the rung is over


def _why(one: Candidate, places: Places) -> str:
    """Why one is chosen."""
    for blended, what in ((places.every, ""), (places.new, " on what is new to shoppers")):
        for place, each in enumerate(blended.picked if blended else ()):
            if each.name != one.label:
                continue
            if each.added is not None:
                return f"adds {_interval(each.added)} to those before it{what}"
            if place == 0 and not what:
                return "no other is shown to be better" if one.model == FLOOR else "the best alone"
    return "the floor, always kept"


def _third(n: int) -> int:
    return math.ceil(n / ETA)


def _share(share: float) -> str:
    return "all shoppers" if share == 1.0 else f"1/{round(1 / share)} of the shoppers"


def _interval(found: Interval) -> str:
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
