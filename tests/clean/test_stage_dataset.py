"""The bench of this stage, small: its log holds what it says, and memory stays in bounds."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stage_dataset import build, make_lake, measure


def test_the_made_up_log_has_sessions_orders_and_refunds(tmp_path: Path) -> None:
    make_lake(tmp_path / "lake", 3600)
    row = build(tmp_path)
    table = pq.read_table(sorted((tmp_path / "lake").glob("*.parquet")))
    assert row["events"] == len(table) == 3600
    assert row["rows"] == 3600 - sum(kind == "search" for kind in table.column("event_type").to_pylist())
    assert row["refunds"] > 0
    assert 2 < row["rows"] / row["sessions"] < 6


@pytest.mark.slow
def test_a_million_events_stay_in_a_fifth_of_the_memory_budget_beyond_the_libraries() -> None:
    row = measure(1_000_000)
    assert row["events"] == 1_000_000
    assert row["peak_mb"] <= 350 + 2000 / 5
