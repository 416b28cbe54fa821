"""A small log by hand: decisions and interactions in a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from regulars.core.data import CLICK
from regulars.events.schema import Decision, Outcome, Reason, SlateItem
from regulars.events.slates import Slates
from regulars.feedback.attribution import IMPRESSION, Attribution
from regulars.feedback.joins import UNKNOWN
from regulars.feedback.showings import Showings, showings

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


def attribution_of(outcomes: Sequence[Outcome]) -> Attribution:
    """What would have led to these outcomes: a click or an impression as its slate is made."""
    slates = Slates.of([each.decision for each in outcomes])
    rows = [
        (idx, kind, slates.items.get(item), each.decision.timestamp)
        for idx, each in enumerate(outcomes)
        for kind, items in ((CLICK, each.clicked), (IMPRESSION, each.impressed))
        for item in items
    ]
    owner, kind, item_idx, at = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return Attribution(
        slates=slates, closed=np.array([each.closed for each in outcomes], dtype=np.bool_),
        event_id=pa.chunked_array([[f"e{row}" for row in range(len(rows))]], pa.string()),
        kind=kind.astype(np.int8), at=at, user_key=slates.user_key[owner], item_idx=item_idx,
        value=np.zeros_like(at), owner=owner, through=np.full_like(at, UNKNOWN),
        orphan_ids=(),
    )  # fmt: skip


def showings_of(outcomes: Sequence[Outcome]) -> Showings:
    """Their closed slates as columns."""
    return showings(attribution_of(outcomes))


def make_outcome(decision: Decision, **more: Any) -> Outcome:
    """An outcome that can no longer change."""
    return Outcome(decision=decision, **{"closed": True, **more})
