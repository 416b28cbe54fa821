"""Loose values of files: what a cell becomes where its column holds several types."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa

from regulars.core.clock import DAY
from regulars.core.settings import Settings
from regulars.events.columns import Columns
from regulars.events.readers import column_of
from regulars.events.rows import Rules
from regulars.frames import dataset_of

RULES = Rules(Settings(), 30_000 * DAY)


def test_days_among_moments_are_written_alike() -> None:
    mixed = column_of([date(2025, 1, 2), datetime(2025, 1, 2, 8, 30, tzinfo=UTC), "soon", 7.0])
    assert mixed.to_pylist() == ["2025-01-02", "2025-01-02T08:30:00+00:00", "soon", "7"]


def test_a_midnight_of_a_workbook_is_a_time(tmp_path: Path) -> None:
    """Excel has no word for it: a reader gets a day among moments."""
    book = openpyxl.Workbook()
    for row in (["user", "item", "time"], ["a", 1, datetime(2025, 1, 2)], ["a", 2, datetime(2025, 1, 2, 8)]):
        book.active.append(row)
    book.save(tmp_path / "log.xlsx")
    at = dataset_of(tmp_path / "log.xlsx").interactions.at
    assert np.diff(at).tolist() == [DAY // 3]


def test_numbers_beyond_the_exact_ones_of_a_double_are_judged_like_any() -> None:
    columns = Columns(pa.table({"value": [2**62, 1], "timestamp": [1_700_000_000 * 10**9, 1_700_000_000]}), RULES)
    assert columns.number("value").tolist() == [2.0**62, 1.0]
    assert columns.instant("timestamp")[1] == 1_700_000_000 * 10**6
    assert [(why, rows.tolist()) for why, rows in columns.faults] == [("timestamp: in the future", [True, False])]
