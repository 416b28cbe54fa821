"""What a budget of seconds leaves for the choice, and what a trial would cost of it."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from regulars.choose.choice import live_facts
from regulars.choose.space import Candidate
from regulars.core.clock import SECOND
from regulars.core.settings import Settings
from regulars.rank.versions import Versions

CHOICE = 0.5  # share of the budget that the choice may use; the rest is for the fits that follow it
UNKNOWN_S = 5.0  # at least so long a first trial may run: a process starts, kernels compile
STEEPEST = 1.5  # cost is taken to grow with this power of the share at most


RANK_S = 5.0  # seconds of learning to rank, before a version has told its own


@dataclass(frozen=True)
class Budget:
    """Seconds for a training as a whole, cleaning the log apart."""

    seconds: float
    fits: int = 3  # of everything that is chosen, after the choice: for the gate, for the blend, for good
    others_s: float = 0.0  # what else follows: fits of the live version's settings, and learning to rank

    @classmethod
    def of(cls, settings: Settings, gated: bool, versions: Versions) -> Self:
        """The budget that a shop sets; under the gate the live version's settings are fitted twice as well.

        How to rank is learned once at the end, and under the gate for the trial and for the live version's too.
        """
        spent = (live_facts(versions) or {}).get("seconds", {})
        fit_s, rank_s = spent.get("fit", 0.0), spent.get("rank", RANK_S)
        seconds = settings.train.budget / SECOND
        return cls(seconds, 3, 2 * fit_s + 3 * rank_s) if gated else cls(seconds, 2, rank_s)

    @property
    def choice_s(self) -> float:
        """Seconds of the choice."""
        return max(0.0, CHOICE * (self.seconds - self.others_s))


@dataclass
class Costs:
    """Seconds of fits and rankings that were measured, and what they let expect of a larger share."""

    flat: Container[str] = ()  # models whose fits take as long whatever the share
    fits: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # label -> (share, seconds), rising
    ranking: dict[str, float] = field(default_factory=dict)  # label -> seconds: the same whatever was learned from
    powers: dict[str, float] = field(default_factory=dict)  # label -> how cost grows with the share, until two tell

    def note(self, candidate: Candidate, share: float, seconds: float, rank_seconds: float) -> None:
        """Keep what a trial took."""
        self.fits.setdefault(candidate.label, []).append((share, seconds))
        self.ranking[candidate.label] = rank_seconds
        self.powers[candidate.label] = 0.0 if candidate.model in self.flat else 1.0

    def fit_s(self, label: str, share: float) -> float | None:
        """Expected seconds of a fit: in proportion to the share, or as the last two rungs grew. None: never tried."""
        known = self.fits.get(label)
        if not known:
            return None
        (at, seconds), power = known[-1], self.powers[label]
        if len(known) > 1 and min(seconds, known[-2][1]) > 0:
            power = math.log(seconds / known[-2][1]) / math.log(at / known[-2][0])
        growth: float = (share / at) ** min(max(power, 0.0), STEEPEST)
        return seconds * growth

    def trial_s(self, label: str, share: float) -> float | None:
        """Expected seconds of a trial, None: never tried."""
        fit = self.fit_s(label, share)
        return None if fit is None else fit + self.ranking[label]

    def whole_s(self, labels: Sequence[str]) -> float:
        """Expected seconds of one fit of each of these on everything, one after the other."""
        return sum(self.fit_s(label, 1.0) or 0.0 for label in labels)

    def to_json(self) -> Mapping[str, float]:
        """Expected seconds on everything by label."""
        return {label: round(self.fit_s(label, 1.0) or 0.0, 3) for label in self.fits}
