"""The practice shop, policies side by side: does personal ranking bring shoppers back, where the truth is known?

2,000 shoppers, 500 items, 60 days after 14 days of log without slates, 5 seeds; every product policy has a whole
shop of its own (journal, cleaning, weekly training, `rank/slates.py`) and all share settings, rules and draw.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from regulars import practice

PROTOCOL = (
    "practice shop {preset}, 2,000 shoppers, 500 items, 14 days without slates, then 60 days with, {seeds} seeds; "
    "returned@7: share of visits in days 1-53 followed by another within 7 days, mean over the starting cohort"
)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def run(models: Sequence[str] | None = None, seeds: int = 5, preset: str = "default") -> dict[str, Any]:
    """Rows of the seven policies (or some), then paired differences by seed."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = practice.compare(
        list(models or practice.POLICIES), seeds=seeds, preset=preset,
        say=_say,
    )  # fmt: skip
    rows = [{**row, "subset": preset, "by": "ours"} for row in found.rows]
    games = [{key: game[key] for key in ("policy", "seed", "returned@7", "purchases", "lost_shoppers", "seconds")}
             for game in found.games]  # fmt: skip
    return {"protocol": PROTOCOL.format(preset=preset, seeds=seeds), "rows": rows, "games": games}
