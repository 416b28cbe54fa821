"""An import of files: chunk by chunk into the journal; bad rows into quarantine; again and again without harm.

A chunk is on disk before the next is read, and every row has an id of its own, so an import that was killed is
completed by running it again, and one that ran before adds nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from regulars.core.errors import InputError
from regulars.events import lake
from regulars.events.adapters.base import Layout, Translated
from regulars.events.adapters.registry import candidates, choose
from regulars.events.bulk import BulkCount
from regulars.events.columns import Columns, Fault, check
from regulars.events.identity import Identities
from regulars.events.journal import Journal
from regulars.events.occurrences import Occurrences
from regulars.events.quarantine import Quarantine
from regulars.events.readers import CHUNK_ROWS, PREVIEW, BadRow, Chunk, open_source
from regulars.events.rows import Draft, Rules, build, draft
from regulars.events.schema import encoder

OnProgress = Callable[[int, int | None], None]  # rows done, rows in all (None = cannot say) of the file at hand
EXAMPLES = 5
RECORD_ROWS = 10_000  # items or users written at once


@dataclass(frozen=True)
class ImportReport:
    """What became of the rows of an import."""

    files: tuple[str, ...] = ()
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    items: int = 0  # new item changes, told in passing ones included
    users: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)  # no fault, but nothing a shopper did
    bad: Mapping[str, int] = field(default_factory=dict)  # rows by reason; a row with two faults counts under both
    bad_rows: int = 0
    examples: tuple[BadRow, ...] = ()
    quarantine: tuple[Path, ...] = ()
    layouts: tuple[str, ...] = ()


@dataclass
class _Tally:
    """Counts while an import runs."""

    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    bad_rows: int = 0
    records: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    examples: list[BadRow] = field(default_factory=list)
    quarantine: list[Path] = field(default_factory=list)
    layouts: dict[str, None] = field(default_factory=dict)


class Import:
    """One call of `Intake.ingest`; `run` does it all."""

    def __init__(
        self,
        journal: Journal,
        identities: Identities,
        rules: Rules,
        layout: str | None = None,
        columns: Path | str | Mapping[str, Any] | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._journal, self._identities, self._rules = journal, identities, rules
        self._layouts = candidates(layout, columns)
        self._on_progress = on_progress or (lambda done, total: None)
        self._tally = _Tally()
        self._pending: Future[BulkCount] | None = None

    def run(self, paths: Sequence[str | Path]) -> ImportReport:
        """Import the files; raises past the share of bad rows that the settings allow, keeping the good ones."""
        with ThreadPoolExecutor(1) as self._filing:
            for path in paths:
                with ExitStack() as stack:
                    _File(path, stack, self).run()
            self._settle()
        for layout in self._layouts:
            self._records([(row, "") for row in layout.noticed()])
        self._journal.compact(at_least=self._rules.settings.events.compact_rows)
        self._check_share()
        return self._report(paths)

    def _check_share(self) -> None:
        tally, share = self._tally, self._rules.settings.events.bad_share
        if tally.bad_rows > share * tally.rows:
            why, count = tally.bad.most_common(1)[0]
            first = tally.examples[0]
            raise InputError(
                "import",
                got=f"{tally.bad_rows} bad of {tally.rows} rows, most often ({count}) {why!r}, "
                f"first in line {first.line}: {first.why}",
                wanted=f"at most {share:.1%}, as [events] bad_share says",
                remedy=f"The good rows were kept: {tally.accepted} new, {tally.duplicates} known before. "
                f"The bad ones stand in {', '.join(map(str, tally.quarantine))}.",
            )

    def _report(self, paths: Sequence[str | Path]) -> ImportReport:
        tally = self._tally
        return ImportReport(
            files=tuple(map(str, paths)), rows=tally.rows, accepted=tally.accepted, duplicates=tally.duplicates,
            items=tally.records["item"], users=tally.records["user"], skipped=dict(tally.skipped.most_common()),
            bad=dict(tally.bad.most_common()), bad_rows=tally.bad_rows, examples=tuple(tally.examples),
            quarantine=tuple(tally.quarantine), layouts=tuple(tally.layouts),
        )  # fmt: skip

    def _records(self, rows: Sequence[tuple[Mapping[str, Any], str]]) -> tuple[list[list[str]], int]:
        """Write (row, its id if it brings none) pairs; return each row's faults, and how many were known before."""
        faults, known = [], 0
        for start in range(0, len(rows), RECORD_ROWS):
            checked = [draft(row, self._rules, event_id) for row, event_id in rows[start : start + RECORD_ROWS]]
            events = build([each for each in checked if isinstance(each, Draft)], self._identities.keys)
            for event, receipt in zip(events, self._journal.append(events), strict=True):
                kind = str(event.__struct_config__.tag)
                self._tally.records[kind] += not receipt.duplicate
                known += receipt.duplicate
            faults += [[] if isinstance(each, Draft) else each for each in checked]
        return faults, known

    def _interactions(self, table: pa.Table) -> None:
        """File checked rows while the next chunk is read; one batch at a time waits in memory."""
        self._settle()
        self._pending = self._filing.submit(self._bulk, table)

    def _settle(self) -> None:
        """Wait for the batch that is being filed, and count it."""
        if self._pending is not None:
            count = self._pending.result()
            self._pending = None
            self._tally.accepted += count.accepted
            self._tally.duplicates += count.duplicates

    def _bulk(self, table: pa.Table) -> BulkCount:
        """File checked rows into the lake under their shoppers' keys."""
        external = table.column("external").combine_chunks().dictionary_encode()
        keys = np.array(self._identities.keys(external.dictionary.to_pylist()), dtype=np.int64)
        user_key = pa.array(keys[external.indices.to_numpy()])
        return self._journal.append_bulk(table.append_column("user_key", user_key).select(lake.BULK.names))


class _File:
    """One file of an import."""

    def __init__(self, path: str | Path, stack: ExitStack, whole: Import) -> None:
        self._whole, self._tally, self._rules = whole, whole._tally, whole._rules
        self._source = open_source(path, stack)
        self._layout: Layout = choose(whole._layouts, str(path), self._source.columns)
        self._tally.layouts[self._layout.name] = None
        self._quarantine = Quarantine(whole._journal.home, str(path), self._rules.now)
        self._occurrences = Occurrences()
        self._waiting: list[pa.Table] = []

    def run(self) -> None:
        """All chunks, in order."""
        done = 0
        try:
            for chunk in self._source.chunks():
                self._chunk(chunk)
                done += len(chunk.lines) + len(chunk.bad)
                self._whole._on_progress(done, self._source.total(done))
            self._flush()
        finally:
            if path := self._quarantine.close():
                self._tally.quarantine.append(path)
        self._tally.rows += done

    def _chunk(self, chunk: Chunk) -> None:
        self._set_aside(chunk.bad)
        if not len(chunk.lines):
            return
        columns = Columns(chunk.table, self._rules)
        told = self._layout.translate(columns)
        if told.kind == "interaction":
            self._columnar(chunk, told)
        else:
            rows = chunk.rows if chunk.rows is not None and told.table is columns.raw else told.table.to_pylist()
            self._one_by_one(chunk, rows, told)

    def _columnar(self, chunk: Chunk, told: Translated) -> None:
        keep = np.ones(len(chunk.lines), dtype=np.bool_)
        for why, mask in told.skipped:
            self._tally.skipped[why] += int((mask & keep).sum())
            keep &= ~mask
        table, faults = told.table, list(told.faults)
        if not keep.all():
            table = table.filter(pa.array(keep))
            faults = [(why, mask[keep]) for why, mask in faults if mask[keep].any()]
        checked = check(table, self._rules, self._layout.name, self._occurrences, faults)
        self._set_aside(_bad_rows(chunk, np.flatnonzero(keep), checked.faults))
        self._waiting.append(checked.table)
        if sum(map(len, self._waiting)) >= CHUNK_ROWS:
            self._flush()

    def _flush(self) -> None:
        """Few large appends instead of many small ones: every append adds a file to each of its days."""
        table = pa.concat_tables(self._waiting) if self._waiting else []
        self._waiting = []
        if len(table):
            self._whole._interactions(table)

    def _one_by_one(self, chunk: Chunk, rows: Sequence[Mapping[str, Any]], told: Translated) -> None:
        plain = [_decoded(row) for row in rows]
        if told.kind != "mixed":
            plain = [{**row, "type": told.kind} for row in plain]
        texts = [self._layout.name.encode() + b"\x1f" + encoder.encode(sorted(row.items())) for row in plain]
        ids = self._occurrences.ids([hashlib.blake2b(text, digest_size=16).digest() for text in texts])
        faults, known = self._whole._records(list(zip(plain, ids, strict=True)))
        self._tally.duplicates += known
        self._tally.accepted += sum(not why for why in faults) - known
        self._set_aside(
            [
                BadRow(int(line), "; ".join(why), _preview(row))
                for line, why, row in zip(chunk.lines, faults, plain, strict=True)
                if why
            ],
            [why for why in faults if why],
        )

    def _set_aside(self, rows: Sequence[BadRow], reasons: Sequence[Sequence[str]] | None = None) -> None:
        tally = self._tally
        self._quarantine.add(rows)
        tally.bad_rows += len(rows)
        for why in reasons if reasons is not None else [row.why.split("; ") for row in rows]:
            tally.bad.update(why)
        tally.examples += rows[: EXAMPLES - len(tally.examples)]


def _bad_rows(chunk: Chunk, kept: Any, faults: Sequence[Fault]) -> list[BadRow]:
    """The rows with faults; masks of `faults` count within `kept`, the rows of the chunk that were checked."""
    reasons: dict[int, list[str]] = {}
    for why, mask in faults:
        for row in np.flatnonzero(mask):
            reasons.setdefault(int(kept[row]), []).append(why)
    places = sorted(reasons)
    previews = chunk.table.take(pa.array(places, pa.int64())).to_pylist()
    return [BadRow(int(chunk.lines[row]), "; ".join(dict.fromkeys(reasons[row])), _preview(preview))
            for row, preview in zip(places, previews, strict=True)]  # fmt: skip


def _decoded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without bytes and empty cells; bytes that are no UTF-8 keep a mark where they were."""
    found = {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value for name, value in row.items()
    }
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _preview(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value)[:PREVIEW] for name, value in _decoded(row).items()}
