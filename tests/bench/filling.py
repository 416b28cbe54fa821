"""What a measured process does: it stands in a module of its own, which that process can import."""

from __future__ import annotations

from typing import Any

import numpy as np

from measure import clocked


def fill(mb: int) -> dict[str, Any]:
    """Hold so much memory for a moment."""
    row: dict[str, Any] = {}
    with clocked(row):
        row["filled"] = int(np.ones(mb << 20, dtype=np.uint8).sum()) >> 20
    return row


def of_seed(parts: Any, seed: int) -> dict[str, Any]:
    """A row whose figure is a tenth of its seed, with the threads of its first part."""
    _, settings = next(iter(parts.values()))
    return {"model": "als", "ndcg@10": seed / 10, "threads": settings.get("threads", 1)}
