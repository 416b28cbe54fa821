"""What cleaning did: one count a rule, for `regulars doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuleCount:
    """One rule: how many rows it looked at closely or changed, and how many of them it left out."""

    name: str
    touched: int
    dropped: int
    text: str


@dataclass(frozen=True, slots=True)
class CleanReport:
    """All rules in the order in which they ran, rows before and after, and the time it took."""

    rules: tuple[RuleCount, ...]
    rows_in: int
    rows_out: int
    seconds: float
    offset: int = 0  # the last journal row that was seen

    def rule(self, name: str) -> RuleCount:
        """The count of one rule, by name."""
        return {rule.name: rule for rule in self.rules}[name]
