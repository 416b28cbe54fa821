"""What a server does beside answering: folds what others write, and puts new model versions in place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from regulars.core.errors import RegularsError
from regulars.serve.service import Service

log = logging.getLogger(__name__)

TAIL_S = 0.2  # another process's events are folded within this time and the fold's own
COMPACT_S = 10.0  # how often the journal's length is looked at
LOOK_S = 0.5  # how often the name of the current version is read


def current_version(path: Path) -> str:
    """The name in `models/CURRENT`, empty when there is none yet."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


async def tail(service: Service) -> None:
    """Fold the journal's new rows, until cancelled."""
    await _again(TAIL_S, service.catch_up, "folding the journal")


async def watch(service: Service, current: Path) -> None:
    """Put the version that `current` names in place whenever the name changes, until cancelled."""
    seen = service.bundle.version if service.bundle else ""

    def look() -> None:
        nonlocal seen
        name = current_version(current)
        if name != seen:
            service.refresh()
            seen = name
            log.info("model version %s is in place", name or "none")

    await _again(LOOK_S, look, "loading a model version")


async def compact(service: Service) -> None:
    """Move the journal's rows into the lake when enough have gathered, until cancelled."""
    least = service.settings.events.compact_rows
    await _again(COMPACT_S, lambda: service.journal.compact(least), "compacting the journal")


async def _again(pause_s: float, work: Callable[[], object], what: str) -> None:
    """Run `work` in a thread for ever; a failure is logged once, until it works again or fails otherwise."""
    failure = ""
    while True:
        await asyncio.sleep(pause_s)
        try:
            await asyncio.to_thread(work)
            failure = ""
        except (RegularsError, OSError) as error:
            if str(error) != failure:
                log.error("%s failed, will try again: %s", what, error)
            failure = str(error)
