"""A budget chooses models before the gate; the version keeps the choice, and what the shop writes by hand wins."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regulars.app import App
from regulars.choose import search
from regulars.choose.choice import last_choice
from regulars.choose.trial import Bench
from regulars.core.clock import DAY, ManualClock
from regulars.core.errors import RegularsError
from regulars.core.settings import load_settings
from regulars.evaluate.gate import Verdict
from regulars.models.als import ALS
from regulars.pipeline import evaluate_once, train_once

OWN = {"train.models": "trending,item-knn,ease", "train.threads": 1, "train.holdout": "6d"}
QUICK = ("trending,repeat,next-basket,sequential-rules,co-occurrence,session-knn,item-knn,rp3beta,user-knn,content,"
         "pure-svd,als,ease,slim,graph-filter,bpr")  # fmt: skip


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials run here, where they start at once; `choose/test_worker.py` has those of a process of their own."""

    class Here(Bench):
        def close(self) -> None:
            pass

    monkeypatch.setattr(search, "Apart", Here)


def opened(app: App, **flags: Any) -> App:
    return App.open(app.home, flags={**OWN, **flags}, clock=app.clock)


def test_the_choice_is_made_kept_repeated_and_ended_by_hand(copy: App, caplog: pytest.LogCaptureFixture) -> None:
    with opened(copy, **{"train.budget": "1h"}) as app:
        report = train_once(app, gate=True)
        assert report.choice is not None
        chosen = {each["model"]: each["params"] for each in report.choice["chosen"]}
        assert "popular" in chosen
        assert set(chosen) <= {"popular", "trending", "item-knn", "ease"}
        assert report.choice["shoppers_asked"] > 30
        assert (app.home / report.choice["report"]).read_text("utf-8").startswith("# What to fit")
        assert "settings were tried in" in report.text()
        json.dumps(report.to_json(), allow_nan=False)
        assert report.accepted
        bundle = app.bundle()
        assert bundle is not None
        assert set(bundle.models) == set(chosen)
        assert bundle.settings_hash == app.settings.ranking_hash()  # the shop's own settings did not change
        assert app.recommend("S000003").items

    with opened(copy) as app:  # no budget: the same again
        assert {row["model"] for row in evaluate_once(app)} == {*chosen, "slate"}
        again = train_once(app, gate=True)
        assert again.choice is None
        second = app.bundle()
        assert second is not None
        assert {name: model.get_params() for name, model in second.models.items()} == {
            name: model.get_params() for name, model in bundle.models.items()
        }
        assert last_choice(app.versions, app.settings) is not None

    with opened(copy, **{"train.models": "popular,content"}) as app, caplog.at_level(logging.WARNING):
        train_once(app, gate=False)
        third = app.bundle()
        assert third is not None
        assert set(third.models) == {"popular", "content"}
        assert any("they hold, and the choice is gone" in each.message for each in caplog.records)
        assert last_choice(app.versions, app.settings) is None


def test_a_rejected_version_leaves_no_choice_behind(copy: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regulars.pipeline.gate_verdict", lambda *_: Verdict(False, ("worse",), ()))
    before = copy.versions.current()
    with opened(copy, **{"train.budget": "1h"}) as app:
        report = train_once(app, gate=True)
        assert report.choice is not None
        assert report.choice["chosen"]
        assert app.versions.current() == before
        assert last_choice(app.versions, app.settings) is None


def test_what_the_gate_judges_by_was_never_seen_by_the_choice(copy: App) -> None:
    with opened(copy, **{"train.budget": "1h"}) as app:
        full, _ = app.cleaning().whole()
        report = train_once(app, gate=True)
    assert report.choice is not None
    learned = np.datetime64(report.choice["until"].rstrip("Z")).astype("datetime64[us]").astype(np.int64)
    assert int(learned) == full.as_of - 2 * 6 * DAY  # 6 days to judge settings, then 6 days for the gate


# --- whatever a log is like, the training ends with something to say

Rows = list[dict[str, Any]]


def event(user: str, item: str, day: float, kind: str = "purchase", **more: Any) -> dict[str, Any]:
    at = int((20_000 + day) * DAY)
    return {"user_id": user, "item_id": item, "event_type": kind, "timestamp": at, **more}


def one_shopper() -> Rows:
    return [event("ann", f"i{n % 5}", n) for n in range(40)]


def one_item() -> Rows:
    return [event(f"u{n % 50}", "tea", n / 10) for n in range(600)]


def no_purchase() -> Rows:
    return [event(f"u{n % 50}", f"i{n * n % 17}", n / 20, "view") for n in range(1200)]


def visitors_only() -> Rows:
    rows = [event("", f"i{n * n % 17}", n / 20, "view", session_id=f"s{n // 4}") for n in range(1200)]
    return [{key: value for key, value in row.items() if key != "user_id"} for row in rows]


def everyone_buys_everything() -> Rows:
    return [event(f"u{u}", f"i{i}", round_ * 30 + u / 4) for round_ in (0, 1) for u in range(60) for i in range(8)]


def equal_ratings() -> Rows:
    return [event(f"u{n % 60}", f"i{n * 7 % 23}", n / 20, "rating", value=3) for n in range(1200)]


def long_chinese_ids() -> Rows:
    name = "特级西湖龙井茶叶礼盒装" * 12
    return [event(f"顾客{n % 60}号{name}", f"{name}第{n * n % 19}款", n / 20) for n in range(1200)]


def many_items_and_ten_events() -> Rows:
    items = [{"item_id": f"i{n}", "title": f"thing {n}"} for n in range(3000)]
    return [*items, *(event(f"u{n}", f"i{n * 250}", n) for n in range(10))]


LOGS: list[Callable[[], Rows]] = [
    one_shopper, one_item, no_purchase, visitors_only, everyone_buys_everything, equal_ratings, long_chinese_ids,
    many_items_and_ten_events,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.__name__)
def test_odd_logs_end_with_an_answer(log: Callable[[], Rows], tmp_path: Path) -> None:
    rows = log()
    files = {"events.jsonl": [row for row in rows if "event_type" in row],
             "items.jsonl": [row for row in rows if "event_type" not in row]}  # fmt: skip
    settings = load_settings(env={}, flags={"train.models": QUICK, "train.budget": "1h", "train.threads": 1})
    with App.create(tmp_path / "shop", settings, clock=ManualClock(20_200 * DAY)) as app:
        for name, lines in files.items():
            if lines:
                path = tmp_path / name
                path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
                app.ingest([path])
        try:
            report = train_once(app)
        except RegularsError as error:
            pytest.fail(f"a training with nothing to say but: {error}")
        assert report.choice is not None
        assert report.choice["why"]
        assert all(each["why"] for each in report.choice["tried"])
        assert app.bundle() is not None
        if not report.choice["chosen"]:
            assert "shoppers" in report.choice["why"]


def test_a_retrain_goes_on_from_the_version_that_serves(copy: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last fit does: the gate's trial must not know the days that it is judged by."""
    own = {"train.models": "popular,als", "train.budget": "0s"}
    epochs: list[int] = []
    passes = ALS.passes

    def counted(model: ALS, *given: Any) -> Iterator[Any]:
        epochs.append(0)
        for each in passes(model, *given):
            epochs[-1] += 1
            yield each

    monkeypatch.setattr(ALS, "passes", counted)
    with opened(copy, **own) as app:
        train_once(app, gate=False)
        train_once(app, gate=False)
    cold = ALS().epochs
    assert epochs[:3] == [cold] * 3  # two trials and a first fit
    assert epochs[3] < cold
    with opened(copy, **own, **{"train.warm": False}) as app:
        train_once(app, gate=False)
    assert epochs[4:] == [cold] * 2
