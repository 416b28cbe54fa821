"""When a process that writes into a shop's folder is killed, and what such a process must tell."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class Kill:
    """One SIGKILL: at a fail point of `regulars.events.lake`, or from outside at a random moment."""

    number: int
    fail_point: str  # empty = from outside
    at_least: int  # events acknowledged before it
    pause_s: float  # from then on, where it comes from outside


class Writer(ABC):
    """A process that writes into one shop's folder and is started again after every kill."""

    fail_points: ClassVar[Sequence[str]]
    in_compaction: ClassVar[frozenset[str]]  # those that only a compaction passes
    every: ClassVar[int]  # each so many-th kill is at a fail point
    n_shops: ClassVar[int]  # folders that share the kills, side by side

    def __init__(self, home: Path) -> None:
        self._home = home

    @abstractmethod
    def until_killed(self, kill: Kill) -> set[str]:
        """Start, write until killed, and return the ids of the events that were acknowledged."""


def plan(fail_points: Sequence[str], every: int, *, kills: int, between: int, seed: int) -> list[Kill]:
    """Kills in their order; those at fail points take turns."""
    moments = random.Random(seed)
    return [
        Kill(
            number, "" if number % every else fail_points[number // every % len(fail_points)], between,
            moments.uniform(0, 0.2),
        )
        for number in range(kills)
    ]  # fmt: skip
