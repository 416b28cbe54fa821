"""The crash bench, short: a few kills of each writer, some of them inside a compaction."""

from __future__ import annotations

import pytest

import crash


@pytest.mark.slow
def test_nothing_the_server_acknowledged_is_lost_or_doubled_by_kills() -> None:
    (row,) = crash.run(["server"], kills=4)["rows"]
    assert (row["lost"], row["doubled"], row["kills"], row["in_compaction"]) == (0, 0, 4, 1)
    assert row["acknowledged"] >= 400


@pytest.mark.slow
def test_nothing_the_journal_acknowledged_is_lost_or_doubled_by_kills() -> None:
    (row,) = crash.run(["journal"], kills=3)["rows"]
    assert (row["lost"], row["doubled"], row["kills"], row["in_compaction"]) == (0, 0, 3, 1)
    assert row["acknowledged"] >= 300


@pytest.mark.slow
def test_an_event_that_was_not_acknowledged_in_time_is_said() -> None:
    with pytest.raises(RuntimeError, match=r"kill 0: after \d+ events, wanted 1000000000"):
        crash.run(["journal"], kills=1, between=10**9)
