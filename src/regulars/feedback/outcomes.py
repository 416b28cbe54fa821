"""Outcomes: each Decision with what followed it, for rates and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regulars.core.data import CART, CLICK, PURCHASE
from regulars.events.schema import Decision, Outcome
from regulars.feedback.attribution import IMPRESSION, Attribution

_FIELDS = {CLICK: "clicked", CART: "carted", PURCHASE: "purchased", IMPRESSION: "impressed"}


def outcomes(decisions: Sequence[Decision], found: Attribution) -> list[Outcome]:
    """One outcome a decision; `found` comes from the slates of these decisions, in this order."""
    followed = _followed(found)
    return [
        Outcome(decision=decision, closed=closed, **followed.get(idx, {}))
        for idx, (decision, closed) in enumerate(zip(decisions, found.closed.tolist(), strict=True))
    ]


def _followed(events: Attribution) -> dict[int, dict[str, Any]]:
    """Fields of the outcomes that something happened to, by slate, items in order of time."""
    names = events.slates.items
    found: dict[int, dict[str, Any]] = {}
    rows = np.argsort(events.at, kind="stable")
    columns = (events.owner, events.through, events.item_idx, events.kind, events.value)
    for slate, seen_through, item_idx, kind, value in zip(*(c[rows].tolist() for c in columns), strict=True):
        item = names[item_idx]
        if slate >= 0:
            entry = found.setdefault(slate, {})
            entry.setdefault(_FIELDS[kind], {})[item] = None
            if kind == PURCHASE:
                entry["revenue"] = entry.get("revenue", 0) + value
        elif seen_through >= 0:
            found.setdefault(seen_through, {}).setdefault("viewed_through", {})[item] = None
    return {slate: _frozen(entry) for slate, entry in found.items()}


def _frozen(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if name == "revenue" else tuple(value) for name, value in entry.items()}
