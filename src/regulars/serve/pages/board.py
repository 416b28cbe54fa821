"""The numbers of the dashboard, from one snapshot of the journal; kept for some seconds.

Rates count closed outcomes only (no more can follow); `so far` counts what has come of all slates until now.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from regulars.core.clock import format_instant
from regulars.events.lake import read
from regulars.events.schema import Decision, Outcome
from regulars.events.slates import Slates, look_up
from regulars.events.snapshot import Snapshot
from regulars.feedback.attribution import COLUMNS, attribute
from regulars.feedback.outcomes import outcomes
from regulars.feedback.reward import rates, rates_by_position
from regulars.feedback.showings import showings
from regulars.serve.service import Service

log = logging.getLogger(__name__)

KEEP_S = 5.0
REST = 20  # numbers that took t seconds are kept for at least REST * t: at most a twentieth of a core
READ = (*COLUMNS, "session_id")
STEPS = ("view", "click", "add_to_cart", "purchase")


class Board:
    """Computes the dashboard's numbers when they are asked for and older than some seconds."""

    def __init__(self, service: Service, models: Path) -> None:
        self._service, self._models = service, models
        self._lock, self._until, self._data = Lock(), 0.0, dict[str, Any]()

    def data(self) -> dict[str, Any]:
        """Everything the dashboard shows; callers that come together share one computation."""
        with self._lock:
            started = time.monotonic()
            if started >= self._until:
                self._data = self._compute()
                ended = time.monotonic()
                self._until = ended + max(KEEP_S, REST * (ended - started))
            return self._data

    def _compute(self) -> dict[str, Any]:
        service = self._service
        now = service.clock.now()
        snapshot = service.journal.snapshot()
        events = interactions_of(snapshot)
        decisions = [event for _, event in snapshot.records("decision") if isinstance(event, Decision)]
        canonical = snapshot.canonical()
        found = attribute(Slates.of(decisions), events, service.settings.feedback, now, canonical)
        followed = outcomes(decisions, found)
        bundle = service.bundle
        return {
            "at": format_instant(now),
            "loop": {
                "events": events.num_rows,
                "sessions": count_sessions(events, canonical, service.settings.clean.session_gap),
                "shoppers": len(_shoppers(events, canonical)),
                "model_version": bundle.version if bundle else "",
                "slates": len(decisions),
                **so_far(followed),
                "open": sum(not each.closed for each in followed),
                "orphans": found.orphans,
            },
            "funnel": funnel(events, canonical),
            "slots": [rate.row() for rate in rates(followed, ("slot",))],
            "policies": [rate.row() for rate in rates(followed, ("policy", "model_version"))],
            "positions": [rate.row() for rate in rates_by_position(showings(found))],
            "versions": versions(self._models, bundle.version if bundle else ""),
            "quarantine": quarantine(service.journal.home / "quarantine"),
        }


def interactions_of(snapshot: Snapshot) -> pa.Table:
    """The columns of all interactions that the board needs."""
    parts = [snapshot.tail.select(list(READ))]
    parts += [read(file, READ).cast(parts[0].schema) for file in snapshot.files]
    return pa.concat_tables(parts)


def _canonical_keys(events: pa.Table, canonical: dict[int, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The key each row is read as, `(n_rows,)`."""
    keys = events.column("user_key").to_numpy()
    return look_up(keys, canonical, keys)


def _shoppers(events: pa.Table, canonical: dict[int, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.unique(_canonical_keys(events, canonical))


def count_sessions(events: pa.Table, canonical: dict[int, int], gap: int) -> int:
    """Runs of one shopper's events without a pause longer than `gap`."""
    keys, at = _canonical_keys(events, canonical), events.column("timestamp").to_numpy()
    order = np.lexsort((at, keys))
    keys, at = keys[order], at[order]
    starts = (keys[1:] != keys[:-1]) | (at[1:] - at[:-1] > gap)
    return int(starts.sum()) + (len(keys) > 0)


def funnel(events: pa.Table, canonical: dict[int, int]) -> list[dict[str, Any]]:
    """Events and distinct shoppers of each step towards a purchase."""
    keys = _canonical_keys(events, canonical)
    kinds = events.column("event_type").to_numpy(zero_copy_only=False)
    steps = {kind: keys[kinds == kind] for kind in STEPS}
    return [{"step": kind, "events": len(who), "shoppers": len(np.unique(who))} for kind, who in steps.items()]


def so_far(found: Sequence[Outcome]) -> dict[str, int]:
    """What has come of all slates until now, open ones too."""
    return {
        "clicked": sum(bool(each.clicked) for each in found),
        "carted": sum(bool(each.carted) for each in found),
        "purchased": sum(bool(each.purchased) for each in found),
        "revenue": sum(each.revenue for each in found),
    }


def versions(models: Path, current: str) -> list[dict[str, Any]]:
    """Every saved model version, newest first, with its offline table and the gate's verdict."""
    found = []
    for path in models.glob("*/bundle.json"):
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            found.append({
                "version": about["version"], "trained_at": format_instant(about["trained_at"]),
                "current": about["version"] == current, "models": about["models"],
                "table": about["facts"].get("table", []), "verdict": about["facts"].get("verdict", {}),
            })  # fmt: skip
        except (OSError, ValueError, KeyError, AttributeError) as error:
            log.warning("%s cannot be shown: %s", path, error)
    return sorted(found, key=lambda each: (each["trained_at"], each["version"]), reverse=True)


def quarantine(folder: Path) -> list[dict[str, Any]]:
    """Rows kept aside, by file."""
    return [{"file": path.name, "rows": _lines(path)} for path in sorted(folder.glob("*")) if path.is_file()]


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
