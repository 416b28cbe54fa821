"""UCI Online Retail II: the CSV and the original workbook with its two sheets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from events.conftest import events, told
from regulars.core.clock import DAY, ManualClock, parse_instant
from regulars.core.errors import InputError
from regulars.core.settings import Settings
from regulars.events.identity import Identities
from regulars.events.intake import Intake
from regulars.events.journal import Journal
from regulars.events.schema import Interaction, ItemChange

RETAIL: list[object] = [
    "Invoice",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "Price",
    "Customer ID",
    "Country",
]
LINES: list[list[object]] = [
    ["489434", "85048", "GLASS BALL", 12, "2009-12-01 07:45:00", 6.95, 13085, "United Kingdom"],
    ["489434", "85048", "GLASS BALL", 12, "2009-12-01 07:45:00", 6.95, 13085, "United Kingdom"],  # equal: kept
    ["489435", "79323p", "PINK LIGHTS", 3, "2009-12-01 08:00:00", 2.0, None, "France"],
    ["C489436", "85048", "GLASS BALL", -2, "2009-12-02 09:00:00", 6.95, 13085, "United Kingdom"],
    ["489437", "POST", "POSTAGE", 1, "2009-12-02 09:00:00", 18.0, 13085, "France"],
    ["489438", "85048", "damaged", -5, "2009-12-02 10:00:00", 0.0, None, "United Kingdom"],
    ["489439", "85048", "adjustment", -5, "2009-12-02 10:00:00", 1.0, None, "United Kingdom"],
    ["489440", "85048", "GLASS BALL XMAS", 1, "2009-11-30 10:00:00", 7.05, 13086, "United Kingdom"],
    ["489441", "22041", "RECORD FRAME", 1, "no time", 2.1, 13086, "United Kingdom"],
]
SOLD = Counter(
    {("purchase", "85048", 12.0, 695): 2, ("purchase", "79323P", 3.0, 200): 1, ("refund", "85048", 2.0, 695): 1,
     ("purchase", "85048", 1.0, 705): 1}
)  # fmt: skip


def write_retail_csv(folder: Path) -> Path:
    path = folder / "retail.csv"
    lines = [",".join("" if cell is None else str(cell) for cell in line) for line in [RETAIL, *LINES]]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_retail_workbook(folder: Path) -> Path:
    """Two sheets, times as Excel keeps them, numbers as numbers."""
    from datetime import datetime

    book = openpyxl.Workbook()
    sheets = [book.active, book.create_sheet("Year 2010-2011"), book.create_sheet("empty")]
    for sheet, lines in zip(sheets, [LINES[:4], LINES[4:]], strict=False):
        sheet.append(RETAIL)
        for line in lines:
            time = str(line[4])
            moment = datetime.fromisoformat(time) if time[0] == "2" else time
            code = int(str(line[1])) if str(line[1]).isdigit() else line[1]
            sheet.append([*line[:1], code, *line[2:4], moment, *line[5:]])
    path = folder / "retail.xlsx"
    book.save(path)
    return path


@pytest.mark.parametrize("write", [write_retail_csv, write_retail_workbook])
def test_online_retail(
    journal: Journal, identities: Identities, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    settings = Settings().change(events={"bad_share": 0.2})
    intake = Intake(journal, identities, settings, ManualClock(20_000 * DAY))
    report = intake.ingest([write(tmp_path)])
    assert report.layouts == ("online_retail",)
    assert told(journal) == SOLD
    assert report.skipped == {"not a product": 1, "no price": 1, "stock adjustment": 1}
    assert report.bad == {"timestamp: not a time": 1}
    assert (report.rows, report.accepted, report.items) == (9, 5, 2)
    bought = [event for event in events(journal) if isinstance(event, Interaction)]
    assert {identities.external(event.user_key) for event in bought} == {"u:13085", "u:13086", "a:489435"}
    assert {event.order_id for event in bought} == {"489434", "489435", "C489436", "489440"}
    items = {event.item.item_id: event for event in events(journal) if isinstance(event, ItemChange)}
    assert items["85048"].item.title == "GLASS BALL"
    assert items["85048"].timestamp == parse_instant("2009-11-30 10:00:00")  # its first sale, and that sale's price
    assert items["85048"].item.price == 705
    again = intake.ingest([write(tmp_path)])
    assert (again.accepted, again.items) == (0, 0)


def test_the_workbook_and_the_csv_hold_the_same_events(
    journal: Journal, identities: Identities, tmp_path: Path
) -> None:
    intake = Intake(journal, identities, Settings().change(events={"bad_share": 0.2}), ManualClock(20_000 * DAY))
    intake.ingest([write_retail_csv(tmp_path)])
    assert intake.ingest([write_retail_workbook(tmp_path)]).accepted == 0


def test_sheets_under_different_headers_are_refused(intake: Intake, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(RETAIL)
    book.create_sheet("other").append(["a", "b"])
    book.save(tmp_path / "book.xlsx")
    with pytest.raises(InputError, match="the same header on every sheet"):
        intake.ingest([tmp_path / "book.xlsx"])
