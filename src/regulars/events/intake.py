"""The way in: loose rows over HTTP or from Python, and whole files; one bad row never stops the others."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from regulars.core.clock import Clock
from regulars.core.settings import Settings
from regulars.events.identity import Identities
from regulars.events.ingest import Import, ImportReport, OnProgress
from regulars.events.journal import Journal, Receipt
from regulars.events.rows import Draft, Rules, build, draft
from regulars.events.schema import Event

Status = Literal["accepted", "duplicate", "rejected"]


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of one row; `why` lists every fault of a rejected one."""

    status: Status
    event_id: str
    why: tuple[str, ...] = ()
    event: Event | None = None
    offset: int | None = None


class Intake:
    """Turns what shops send into events, and hands them to the journal."""

    def __init__(self, journal: Journal, identities: Identities, settings: Settings, clock: Clock) -> None:
        self.journal, self.identities, self.settings, self.clock = journal, identities, settings, clock

    def record(self, rows: Sequence[Mapping[str, Any]], *, idempotency_key: str = "") -> list[RowResult]:
        """Check and write rows; accepted ones are on disk when this returns.

        A row without an `event_id` counts as new, unless an idempotency key names the request.
        """
        rules = Rules(self.settings, self.clock.now())
        checked = [draft(row, rules, _id(idempotency_key, index)) for index, row in enumerate(rows)]
        drafts = [each for each in checked if isinstance(each, Draft)]
        events = build(drafts, self.identities.keys)
        done = iter(zip(events, self.journal.append(events), strict=True))
        return [_result(*next(done)) if isinstance(each, Draft) else RowResult("rejected", "", tuple(each))
                for each in checked]  # fmt: skip

    def ingest(
        self,
        paths: Sequence[str | Path],
        *,
        layout: str | None = None,
        columns: Path | Mapping[str, Any] | None = None,
        on_progress: OnProgress | None = None,
    ) -> ImportReport:
        """Import files ("-" = standard input); see `ingest.Import` for what happens to bad rows.

        `layout` names an adapter (None = by the columns found); `columns` is a column map, or a TOML file of one.
        """
        rules = Rules(self.settings, self.clock.now())
        return Import(self.journal, self.identities, rules, layout, columns, on_progress).run(paths)


def _id(idempotency_key: str, index: int) -> str:
    if not idempotency_key:
        return secrets.token_hex(16)
    return hashlib.blake2b(f"{idempotency_key}\x1f{index}".encode(), digest_size=16).hexdigest()


def _result(event: Event, receipt: Receipt) -> RowResult:
    status: Status = "duplicate" if receipt.duplicate else "accepted"
    return RowResult(status, event.event_id, (), event, receipt.offset)
