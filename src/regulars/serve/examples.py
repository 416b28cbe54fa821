"""The examples in openapi.json."""

from __future__ import annotations

from typing import Any

VIEW: dict[str, Any] = {"user_id": "u-1042", "event_type": "view", "item_id": "green-tea-100g"}
PURCHASE: dict[str, Any] = {
    "event_id": "order-7-line-1", "user_id": "u-1042", "event_type": "purchase", "item_id": "green-tea-100g",
    "timestamp": "2026-11-24T09:30:00Z", "quantity": 2, "price": "4.90", "order_id": "order-7",
}  # fmt: skip
CLICK: dict[str, Any] = {
    "session_id": "s-77", "event_type": "click", "item_id": "tea-pot",
    "recommendation_id": "0f3a6c1d2b4e5f60718293a4", "slot": "home", "position": 2,
}  # fmt: skip
ASK: dict[str, Any] = {
    "slot": "product", "limit": 6, "item": "tea-pot", "exclude": ["green-tea-100g"],
    "filters": {"category": "tea", "price_max": 50},
}  # fmt: skip
RECOMMENDATION: dict[str, Any] = {
    "recommendation_id": "0f3a6c1d2b4e5f60718293a4", "model_version": "20261124-093000", "policy": "slate",
    "items": [{
        "item_id": "green-tea-100g", "score": 1.83, "position": 0, "propensity": 1.0, "source": "repeat",
        "reason": {"kind": "usual", "text": "You usually buy this every 30 days", "days": 30.0},
        "probability": 0.31,
    }],
    "took_ms": 2.1, "probability_days": 28.0,
}  # fmt: skip
QUESTIONS: dict[str, Any] = {
    "item_ids": ["green-tea-100g", "tea-pot", "rye-bread"],
    "model_version": "20261124-093000",
}
ITEM: dict[str, Any] = {
    "title": "Green tea, 100 g", "category": ["Food", "Tea"], "brand": "Longjing", "price": 4.9,
    "tags": ["organic"], "available": True,
}  # fmt: skip
USER: dict[str, Any] = {"attributes": {"newsletter": True}, "links": ["u-7"]}
RESULTS: dict[str, Any] = {
    "accepted": 1, "duplicates": 0, "rejected": 1,
    "results": [
        {"status": "accepted", "event_id": "order-7-line-1"},
        {"status": "rejected", "why": ["no item_id"]},
    ],
}  # fmt: skip
