"""Instants and durations: exact, and the same read back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.core.clock import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    ManualClock,
    SystemClock,
    format_duration,
    format_instant,
    from_datetime,
    parse_duration,
    parse_instant,
)
from regulars.core.errors import InputError

INSTANTS = st.integers(-62_135_596_800 * SECOND, 253_402_300_799 * SECOND)  # years 1 to 9999


@given(INSTANTS)
def test_an_instant_reads_back(at: int) -> None:
    assert parse_instant(format_instant(at)) == at


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=8)), timezone(timedelta(hours=-3.5))])))
def test_datetimes_by_exact_arithmetic(moment: datetime) -> None:
    assert from_datetime(moment) == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_instant(moment.isoformat()) == from_datetime(moment)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01", 0),
        (" 1970-01-02T00:00:00Z ", DAY),
        ("1970-01-01 01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.25", SECOND // 4),
        ("1700000000", 1_700_000_000 * SECOND),
        ("1700000000.123457", 1_700_000_000_123_457),
        ("1700000000123", 1_700_000_000_123_000),
        ("1700000000123456", 1_700_000_000_123_456),
        ("1700000000123456.0", 1_700_000_000_123_456),
        ("-86400", -DAY),
    ],
)
def test_forms_that_are_read(text: str, at: int) -> None:
    assert parse_instant(text) == at


@given(st.integers(0, 10**17 - 1))
def test_unix_seconds_keep_their_microseconds(micros: int) -> None:
    """Ten digits before the point and six behind are within what a double holds."""
    micros %= 4 * 10**15
    assert parse_instant(f"{micros // SECOND}.{micros % SECOND:06d}") == micros


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "12:30", "1e9", "nan", "9" * 400 + ".5"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"timestamp: got .*wanted ISO 8601"):
        parse_instant(text)


@given(st.integers(0, 10_000 * DAY))
def test_a_duration_reads_back(span: int) -> None:
    assert parse_duration(format_duration(span)) == span


@pytest.mark.parametrize(
    ("text", "span"),
    [("30m", 30 * MINUTE), ("1.5h", 90 * MINUTE), (" 7 d ", 7 * DAY), ("2w", 14 * DAY), ("0s", 0), ("0.000001s", 1)],
)
def test_durations(text: str, span: int) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize(("span", "text"), [(14 * DAY, "2w"), (36 * HOUR, "36h"), (0, "0s"), (1, "0.000001s")])
def test_durations_are_written_in_the_largest_whole_unit(span: int, text: str) -> None:
    assert format_duration(span) == text


@pytest.mark.parametrize("text", ["", "5", "m", "-1d", "1 month", "1d2h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="duration: got"):
        parse_duration(text)


def test_clocks() -> None:
    clock = ManualClock(5)
    assert clock.now() == clock.now() == 5
    clock.at = 9
    assert clock.now() == 9
    before = time.time_ns() // 1000
    assert before <= SystemClock().now() <= time.time_ns() // 1000
