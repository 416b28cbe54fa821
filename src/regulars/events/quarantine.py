"""Where bad rows go: `quarantine/<time>-<file>.jsonl` in the shop's folder, each with line number and reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from regulars.core.clock import SECOND, Instant, format_instant
from regulars.events.readers import BadRow
from regulars.events.schema import encoder


class Quarantine:
    """The bad rows of one imported file; the file is made with the first of them."""

    def __init__(self, home: Path, source: str, now: Instant) -> None:
        stamp = format_instant(now // SECOND * SECOND).replace(":", "")
        name = re.sub(r"[^\w.-]+", "_", Path(source).name) or "input"
        self.path = home / "quarantine" / f"{stamp}-{name}.jsonl"
        self._file: BinaryIO | None = None

    def add(self, rows: Sequence[BadRow]) -> None:
        """Append rows."""
        if not rows:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        for row in rows:
            self._file.write(encoder.encode({"line": row.line, "why": row.why, "row": row.row}) + b"\n")

    def close(self) -> Path | None:
        """The file's path, None when no row was bad."""
        if self._file is None:
            return None
        self._file.close()
        return self.path
