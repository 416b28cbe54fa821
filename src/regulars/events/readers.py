"""Files -> chunks of columns with line numbers: CSV, JSONL, Parquet, XLSX, gzip, standard input.

The format is told by the first bytes, not the name. Values stay as they are written (CSV columns are bytes), so
that one odd value is a bad row and never a failed file.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from regulars.core.errors import InputError
from regulars.events.schema import encoder

CHUNK_ROWS = 250_000
CSV_BLOCK = 32 << 20  # bytes; also the longest row that can be read
JSON_BLOCK = 24 << 20
PREVIEW = 200  # characters of a bad row that are kept


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used: where it stands, why, and how it begins."""

    line: int
    why: str
    row: Any


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file; `rows` holds them as mappings where they came so."""

    table: pa.Table
    lines: NDArray[np.int64]
    bad: Sequence[BadRow] = ()
    rows: Sequence[dict[str, Any]] | None = None


class Source(Protocol):
    """An open file of rows."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns."""
        ...

    def chunks(self) -> Iterator[Chunk]:
        """The rows, in the file's order, at most about 250,000 at a time."""
        ...

    def total(self, done: int) -> int | None:
        """How many rows there are, or about so, when `done` are read; None = cannot say."""
        ...


def open_source(path: str | Path, stack: ExitStack) -> Source:
    """Open a file ("-" = standard input) by its first bytes; `stack` closes it."""
    name = "standard input" if str(path) == "-" else str(path)
    try:
        raw = _spool() if str(path) == "-" else Path(path).open("rb", buffering=0)  # noqa: SIM115 - the stack closes it
    except OSError as error:
        raise InputError(name, got=str(error.strerror), wanted="a file that can be read") from error
    stack.callback(raw.close)
    size = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    head = raw.read(4)
    raw.seek(0)
    if head == b"PAR1":
        return ParquetSource(name, raw)
    if head == b"PK\x03\x04":
        return WorkbookSource(name, raw)
    stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if head[:2] == b"\x1f\x8b" else raw
    buffered: io.BufferedReader = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 20)
    stack.callback(buffered.close)
    meter = _Meter(raw, size)
    try:
        start = buffered.peek(1 << 16).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    except (OSError, EOFError) as error:
        raise InputError(name, got=str(error), wanted="a whole gzip file") from error
    if not start:
        raise InputError(name, got="an empty file", wanted="a header and rows")
    return JsonSource(name, buffered, meter) if start == b"{" else CsvSource(name, buffered, meter)


def _spool() -> BinaryIO:
    """Standard input as a file that can be read from the start."""
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(sys.stdin.buffer, file)
    return cast(BinaryIO, file)


@dataclass(frozen=True, slots=True)
class _Meter:
    """Estimates the number of rows from the share of bytes that was read."""

    raw: BinaryIO
    size: int

    def total(self, done: int) -> int | None:
        at = self.raw.tell()
        return round(done * self.size / at) if at else None


class ParquetSource:
    """Apache Parquet; the line is the row number from 1."""

    def __init__(self, name: str, raw: BinaryIO) -> None:
        try:
            self._file = pq.ParquetFile(raw)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(name, got=str(error)[:200], wanted="a whole Parquet file") from error
        self.columns: Sequence[str] = self._file.schema_arrow.names

    def chunks(self) -> Iterator[Chunk]:
        """Row groups, cut to batches."""
        done = 0
        for batch in self._file.iter_batches(batch_size=CHUNK_ROWS):
            yield Chunk(pa.Table.from_batches([batch]), np.arange(done + 1, done + 1 + len(batch)))
            done += len(batch)

    def total(self, done: int) -> int | None:
        """Rows, as the file says."""
        return int(self._file.metadata.num_rows)


@dataclass
class CsvSource:
    """Delimited text with a header; the line is the record's number, the header being 1."""

    name: str
    stream: io.BufferedReader
    meter: _Meter
    _skipped: list[BadRow] = field(default_factory=list)

    @cached_property
    def header(self) -> tuple[list[str], str]:
        """Column names and the delimiter: of comma, semicolon, tab and bar the most frequent in the header."""
        first = self.stream.peek(1 << 16).split(b"\n", 1)[0]
        try:
            text = first.decode("utf-8-sig").rstrip("\r")
        except UnicodeDecodeError as error:
            raise InputError(self.name, got="a header that is not UTF-8", wanted="text in UTF-8") from error
        delimiter = max(",;\t|", key=text.count)
        names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
        if len(set(names)) < len(names):
            raise InputError(self.name, got=f"columns {', '.join(names)}", wanted="a different name for each column")
        return names, delimiter

    @property
    def columns(self) -> Sequence[str]:
        """Names in the header."""
        return self.header[0]

    def chunks(self) -> Iterator[Chunk]:
        """Blocks of bytes columns; rows with too few or too many cells are bad."""
        names, delimiter = self.header
        done = 1
        try:
            for batch in self._batches(names, delimiter):
                skipped, self._skipped = self._skipped, []
                span = np.arange(done + 1, done + 1 + len(batch) + len(skipped))
                lines = np.setdiff1d(span, [row.line for row in skipped], assume_unique=True)[: len(batch)]
                done += len(batch)
                end = int(lines[-1]) if len(lines) else done
                self._skipped = [row for row in skipped if row.line > end]  # the reader looks ahead
                bad = [row for row in skipped if row.line <= end]
                done += len(bad)
                yield Chunk(pa.Table.from_batches([batch]), lines, bad)
        except pa.ArrowInvalid as error:
            raise InputError(self.name, got=str(error)[:200], wanted="delimited text, rows below 32 MB",
                             remedy="Look for a quotation mark that is never closed.") from error  # fmt: skip
        if self._skipped:
            yield Chunk(pa.table({name: pa.array([], pa.binary()) for name in names}), np.arange(0), self._skipped)

    def total(self, done: int) -> int | None:
        """An estimate."""
        return self.meter.total(done)

    def _batches(self, names: list[str], delimiter: str) -> Iterator[pa.RecordBatch]:
        reader = pa_csv.open_csv(
            self.stream,
            read_options=pa_csv.ReadOptions(block_size=CSV_BLOCK, use_threads=False, column_names=names, skip_rows=1),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=self._skip
            ),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary())),
        )
        for batch in reader:
            for start in range(0, len(batch), CHUNK_ROWS):
                yield batch.slice(start, CHUNK_ROWS)

    def _skip(self, row: Any) -> str:
        why = f"{row.actual_columns} cells where the header has {row.expected_columns}"
        self._skipped.append(BadRow(int(row.number), why, str(row.text)[:PREVIEW]))
        return "skip"


class JsonSource:
    """One JSON object a line."""

    def __init__(self, name: str, stream: io.BufferedReader, meter: _Meter) -> None:
        self._stream, self._meter = stream, meter
        self._chunks = self._read()
        self._first = next(self._chunks)
        self.columns: Sequence[str] = self._first.table.column_names
        if not self.columns:
            raise InputError(name, got="no JSON object in the first lines", wanted="one JSON object a line")

    def chunks(self) -> Iterator[Chunk]:
        """Blocks of lines; a line that is no object is bad."""
        yield self._first
        yield from self._chunks

    def total(self, done: int) -> int | None:
        """An estimate."""
        return self._meter.total(done)

    def _read(self) -> Iterator[Chunk]:
        done = 0
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        while lines := self._stream.readlines(JSON_BLOCK):
            rows, numbers, bad = [], [], []
            for number, line in enumerate(lines, done + 1):
                try:
                    rows.append(decode(line))
                    numbers.append(number)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    if line.strip():
                        bad.append(BadRow(number, "not a JSON object", line[:PREVIEW].decode(errors="replace")))
            done += len(lines)
            yield Chunk(table_of_rows(rows), np.array(numbers, dtype=np.int64), bad, rows)


class WorkbookSource:
    """An Excel workbook: every sheet that has rows, under its first row as header; the line is the sheet's row."""

    def __init__(self, name: str, raw: BinaryIO) -> None:
        import python_calamine

        try:
            book = python_calamine.CalamineWorkbook.from_filelike(raw)
            self._sheets = [book.get_sheet_by_name(sheet) for sheet in book.sheet_names]
        except (python_calamine.CalamineError, OSError) as error:
            raise InputError(name, got=str(error)[:200], wanted="a whole XLSX workbook") from error
        self._sheets = [sheet for sheet in self._sheets if sheet.total_height]
        headers = [[str(cell).strip() for cell in next(sheet.iter_rows())] for sheet in self._sheets]
        if not headers or any(header != headers[0] for header in headers):
            raise InputError(name, got=f"sheets with the headers {headers}", wanted="the same header on every sheet")
        self.columns: Sequence[str] = headers[0]

    def chunks(self) -> Iterator[Chunk]:
        """The sheets, one after the other."""
        for sheet in self._sheets:
            rows = itertools.islice(sheet.iter_rows(), 1, None)
            done = 1
            while cells := list(itertools.islice(rows, CHUNK_ROWS)):
                columns = [column_of([None if cell == "" else cell for cell in column])
                           for column in zip(*cells, strict=True)]  # fmt: skip
                table = pa.Table.from_arrays(columns, names=list(self.columns))
                yield Chunk(table, np.arange(done + 1, done + 1 + len(cells)))
                done += len(cells)

    def total(self, done: int) -> int | None:
        """Rows of all sheets."""
        return sum(sheet.total_height - 1 for sheet in self._sheets)


def table_of_rows(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Columns of loose rows: every name that occurs; objects and lists become JSON text."""
    first = list(rows[0]) if rows else []
    names = first + sorted(set().union(*rows) - set(first))
    return pa.table({name: column_of([row.get(name) for row in rows]) for name in names})


def column_of(values: list[Any]) -> pa.Array:
    """An Arrow column of loose values: typed where they agree, else text."""
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        column = None
    if column is not None and pa.types.is_date(column.type) and any(isinstance(each, datetime) for each in values):
        column = None  # Arrow would cut the moments down to days, as the first value is one
    if column is None or pa.types.is_nested(column.type):
        return pa.array([_text(value) for value in values], pa.string())
    return column


def _text(value: Any) -> str | None:
    """A value among others of another type; whole numbers as Excel keeps them lose their point."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, date):  # or a moment: midnights of a workbook come as days
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return encoder.encode(value).decode()
