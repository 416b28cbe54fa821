"""The crash bench, short: three kills, one of them inside a compaction."""

from __future__ import annotations

import pytest

import crash


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_or_doubled_by_kills() -> None:
    (row,) = crash.run(kills=3, between=100)["rows"]
    assert (row["lost"], row["doubled"], row["kills"], row["kills_in_compaction"]) == (0, 0, 3, 2)
    assert row["acknowledged"] >= 300
