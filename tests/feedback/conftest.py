"""A small log by hand: decisions and interactions in a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from regulars.events.schema import Decision, Outcome, Reason, SlateItem

WHY = Reason(kind="popular", text="")
TYPES = {"quantity": pa.float32(), "price": pa.int64(), "user_key": pa.int64(), "timestamp": pa.int64()}


def make_decision(name: str, user: int, at: int, items: Sequence[str], **more: Any) -> Decision:
    """A decision that shows `items` from position 0 on."""
    scores = more.pop("scores", {})
    fields: dict[str, Any] = {"slot": "home", "policy": "slate", "model_version": "m1", "settings_hash": "h", **more}
    return Decision(
        event_id=name, timestamp=at, user_key=user, n_candidates=len(items), **fields,
        items=tuple(
            SlateItem(item_id=item, score=0, position=place, propensity=0.5, source="ease", reason=WHY, scores=scores)
            for place, item in enumerate(items)
        ),
    )  # fmt: skip


def make_log(*rows: dict[str, Any]) -> Any:
    """An Arrow table with the columns attribution reads; `e0, e1, ...` name the rows."""
    base = {"quantity": 1.0, "price": None, "recommendation_id": ""}
    full = [{"event_id": f"e{idx}", **base, **row} for idx, row in enumerate(rows)]
    names = ("event_id", "user_key", "item_id", "event_type", "timestamp", "quantity", "price", "recommendation_id")
    return pa.table({name: pa.array([row[name] for row in full], TYPES.get(name, pa.string())) for name in names})


def make_event(kind: str, user: int, at: int, item: str, **more: Any) -> dict[str, Any]:
    """One row of the log."""
    return {"event_type": kind, "user_key": user, "timestamp": at, "item_id": item, **more}


def make_outcome(decision: Decision, **more: Any) -> Outcome:
    """An outcome that can no longer change."""
    return Outcome(decision=decision, **{"closed": True, **more})
