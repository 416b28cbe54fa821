"""Instants are integer microseconds since 1970-01-01T00:00:00Z; durations are integer microseconds."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Protocol

from regulars.core.errors import InputError

Instant = int
Duration = int

SECOND: Duration = 1_000_000
MINUTE: Duration = 60 * SECOND
HOUR: Duration = 60 * MINUTE
DAY: Duration = 24 * HOUR

NEVER: Instant = -(2**62)  # before every instant
FOREVER: Instant = 2**62  # after every instant

_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*")


class Clock(Protocol):
    """Where "now" comes from."""

    def now(self) -> Instant:
        """Return the current instant."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> Instant:
        """Return the machine's time in UTC microseconds."""
        return time.time_ns() // 1000


class ManualClock:
    """A clock that stands still until it is set; for tests and the practice shop."""

    def __init__(self, at: Instant = 0) -> None:
        self.at = at

    def now(self) -> Instant:
        """Return the instant it was last set to."""
        return self.at


def parse_instant(text: str) -> Instant:
    """Read ISO 8601 (without a zone: UTC) or Unix seconds, milliseconds or microseconds by their size."""
    stripped = text.strip()
    try:
        if re.fullmatch(r"-?\d+(\.\d+)?", stripped):
            return _from_number(float(stripped), stripped)
        moment = datetime.fromisoformat(stripped)
    except (ValueError, OverflowError) as error:
        raise InputError(
            "timestamp", got=repr(text[:40]), wanted="ISO 8601 such as 2026-11-24T09:30:00Z, or Unix seconds"
        ) from error
    return from_datetime(moment)


def _from_number(number: float, text: str) -> Instant:
    magnitude = abs(number)
    if magnitude < 1e11:  # seconds until the year 5138
        return round(number * SECOND)
    if magnitude < 1e14:
        return round(number * 1000)
    return round(number) if "." in text else int(text)


def from_datetime(moment: datetime) -> Instant:
    """Turn a datetime (naive: taken as UTC) into an instant."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    delta = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def format_instant(at: Instant) -> str:
    """Write an instant as ISO 8601 in UTC, to the second where that is exact."""
    moment = datetime.fromtimestamp(at // SECOND, tz=UTC).replace(microsecond=at % SECOND)
    return moment.isoformat().replace("+00:00", "Z")


def parse_duration(text: str) -> Duration:
    """Read '30m', '1.5h', '7d' or '2w'."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InputError("duration", got=repr(text), wanted="a number and one of s m h d w, such as '30m'")
    return round(float(match[1]) * _UNITS[match[2]])


def format_duration(span: Duration) -> str:
    """Write a duration with the largest unit that divides it, so that `parse_duration` reads the same back."""
    for unit in "wdhms":
        if span >= _UNITS[unit] and span % _UNITS[unit] == 0:
            return f"{span // _UNITS[unit]}{unit}"
    return f"{span / SECOND:.6f}".rstrip("0").rstrip(".") + "s"
