"""Shops with next to nothing: training and serving give a useful answer, and say what they could not do."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regulars import pipeline
from regulars.app import App
from regulars.core.clock import DAY, HOUR, ManualClock, format_instant
from regulars.core.settings import load_settings
from regulars.show import evaluation_text

START = 1_780_000_000_000_000
DAYS = 40
N_MANY = 25_000
Row = dict[str, Any]


def event(who: str, what: str, day: float, kind: str = "purchase", **more: Any) -> Row:
    return {"event_type": kind, "user_id": who, "item_id": what,
            "timestamp": format_instant(START + int(day * DAY)), **more}  # fmt: skip


@contextmanager
def shop(folder: Path, rows: list[Row]) -> Iterator[App]:
    """A shop with these events, on its fortieth day."""
    settings = load_settings(env={}, flags={"train.threads": 1})
    with App.create(folder / "shop", settings, clock=ManualClock(START + DAYS * DAY + HOUR)) as app:
        results = app.record(rows)
        assert {result.status for result in results} == {"accepted"}, results[:3]
        yield app


def one_shopper() -> list[Row]:
    return [event("ann", f"tea-{n % 4}", n * 3) for n in range(12)]


def one_item() -> list[Row]:
    return [event(f"u{n}", "tea", n) for n in range(30)]


def one_event() -> list[Row]:
    return [event("ann", "tea", 3)]


def no_purchase() -> list[Row]:
    rng = np.random.default_rng(0)
    return [event(f"u{rng.integers(20)}", f"i{rng.integers(8)}", day, "view") for day in rng.uniform(0, 39, 200)]


def visitors_only() -> list[Row]:
    rng = np.random.default_rng(0)
    rows = []
    for n, day in enumerate(rng.uniform(0, 39, 120)):
        for step in range(3):
            row = event("", f"i{rng.integers(9)}", day + step / 1000, "view" if step < 2 else "purchase")
            rows.append({**row, "user_id": "", "session_id": f"s{n}"})
    return [{key: value for key, value in row.items() if value != ""} for row in rows]


def everybody_has_everything() -> list[Row]:
    return [event(f"u{user}", f"i{item}", (user + item) % 39) for user in range(25) for item in range(6)]


def long_chinese_ids() -> list[Row]:
    rng = np.random.default_rng(0)
    names = [f"碧螺春特级明前手工茶叶礼盒装·第{n}号·" + "江南" * 60 for n in range(9)]
    return [event(f"顾客{rng.integers(30)}号" + "甲" * 80, names[rng.integers(9)], day)
            for day in rng.uniform(0, 39, 300)]  # fmt: skip


def equal_ratings() -> list[Row]:
    rng = np.random.default_rng(0)
    return [event(f"u{rng.integers(20)}", f"i{rng.integers(9)}", day, "rating", value=4.0)
            for day in rng.uniform(0, 39, 200)]  # fmt: skip


THIN: list[tuple[Callable[[], list[Row]], dict[str, str]]] = [
    (one_shopper, {"user_id": "ann"}), (one_item, {"user_id": "u3"}), (one_event, {"user_id": "bob"}),
    (no_purchase, {"user_id": "u1"}), (visitors_only, {"session": "s1"}),
    (everybody_has_everything, {"user_id": "u1"}),
    (long_chinese_ids, {"user_id": "顾客3号" + "甲" * 80}), (equal_ratings, {"user_id": "u1"}),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "who"), THIN, ids=[rows.__name__ for rows, _ in THIN])
def test_a_thin_shop_trains_serves_and_says_why(
    tmp_path: Path, rows: Callable[[], list[Row]], who: dict[str, str]
) -> None:
    with shop(tmp_path, rows()) as app:
        report = pipeline.train_once(app)
        assert report.accepted, report.reasons
        assert "to learn from" in str(app.versions.about(report.version)["facts"]["ranker"])
        slate = app.recommend(**who, limit=5)
        assert slate.items or slate.why
        known = {row["item_id"] for row in rows()}
        assert {item.item_id for item in slate.items} <= known
        if len(known) > 1:
            assert slate.items
        stranger = app.recommend("nobody-has-met-me", limit=5)
        assert stranger.items
        assert "Order of the slate" in evaluation_text(pipeline.evaluate_once(app)) or report.table == []


def test_equal_ratings_are_predicted_equal(tmp_path: Path) -> None:
    with shop(tmp_path, equal_ratings()) as app:
        app.settings = app.settings.change(train={"models": ("popular", "mf")})
        assert pipeline.train_once(app).accepted
        bundle = app.bundle()
        assert bundle is not None
        histories = app.live.histories(app.identities.keys(["u:u1"]), bundle.items, app.clock.now())
        np.testing.assert_allclose(bundle.models["mf"].score(histories, app.clock.now()), 4.0, atol=0.2)


@pytest.mark.slow
def test_a_large_catalogue_and_ten_events(tmp_path: Path) -> None:
    """What grows with the square of the catalogue leaves itself out, with its reason; the rest serves."""
    file = tmp_path / "items.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out)
        lines.writerow(["item_id", "title", "category", "price"])
        lines.writerows([f"i{n}", f"Thing {n % 977} of kind {n % 31}", f"kind {n % 31}", 1 + n % 50]
                        for n in range(N_MANY))  # fmt: skip
    with shop(tmp_path, [event(f"u{n % 3}", f"i{n * 7}", n * 3) for n in range(10)]) as app:
        app.ingest([file])
        report = pipeline.train_once(app)
        assert report.accepted
        slate = app.recommend("u1", limit=10)
        assert len(slate.items) == 10
