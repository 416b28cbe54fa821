"""The whole loop: what shoppers do changes the next slate, and what came of slates changes the next model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loop.street import Street
from regulars.app import App
from regulars.core.clock import DAY, MINUTE, ManualClock
from regulars.core.errors import WrongUse
from regulars.events.schema import Decision, Slate
from regulars.pipeline import evaluate_once, settings_of, train_once
from regulars.rank.bundle import Bundle

WHO = "S000003"


def names(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


def later(app: App, span: int) -> int:
    assert isinstance(app.clock, ManualClock)
    app.clock.at += span
    return app.clock.at


def told(app: App, slate: Slate, who: str, kind: str, item_id: str) -> dict[str, Any]:
    """What the shop sends when a shopper does something with a slate."""
    return {"user_id": who, "event_type": kind, "item_id": item_id, "timestamp": app.clock.now(), "price": 5,
            "recommendation_id": slate.recommendation_id, "slot": "home"}  # fmt: skip


def test_events_change_the_next_slate_and_the_next_model(copy: App) -> None:
    assert {row["model"] for row in evaluate_once(copy)} >= {"slate", "popular", "ease"}
    first = copy.recommend(WHO)
    assert names(first) == names(copy.recommend(WHO))[: len(first.items)] or first.items[-1].propensity < 1
    later(copy, MINUTE)
    rows = [told(copy, first, WHO, kind, names(first)[1]) for kind in ("click", "add_to_cart", "purchase")]
    assert [result.status for result in copy.record(rows)] == ["accepted"] * 3
    second = copy.recommend(WHO)
    assert names(second) != names(first)
    assert second.model_version == first.model_version
    profile = copy.profile(WHO)
    assert profile is not None
    assert profile.last_at == copy.clock.now()

    later(copy, DAY)
    copy.record([told(copy, second, WHO, "view", names(second)[0])])
    report = train_once(copy, gate=False)
    third = copy.recommend(WHO)
    assert third.model_version == report.version != second.model_version
    assert [(item.item_id, item.score) for item in third.items] != [
        (item.item_id, item.score) for item in second.items
    ]


def test_decisions_keep_the_propensities_that_were_answered(copy: App) -> None:
    answered = [copy.recommend(f"S{number:06d}", limit=6) for number in range(30)]
    copy.journal.flush()
    kept = {
        each.event_id: each for _, each in copy.journal.snapshot().records("decision") if isinstance(each, Decision)
    }
    for slate in answered:
        decision = kept[slate.recommendation_id]
        assert decision.items == slate.items
        assert decision.user_key == slate.user_key
        assert decision.settings_hash == slate.settings_hash == copy.settings.ranking_hash()
    shares = {round(item.propensity, 6) for slate in answered for item in slate.items}
    assert 1.0 in shares
    assert len(shares) > 1


Play = Callable[[str, int], Bundle]


@pytest.fixture
def play(street: Street, tmp_path: Path) -> Iterator[Play]:
    """The same slates to the same shoppers, who click on some position (or nowhere: -1); then a training."""
    with ExitStack() as stack:

        def run(folder: str, position: int) -> Bundle:
            home = tmp_path / folder
            shutil.copytree(street.app.home, home)
            flags = {"train.holdout": "12d", "train.gate": False, "rank.explore": "off"}
            app = stack.enter_context(App.open(home, flags=flags, clock=ManualClock(street.now)))
            for _ in range(3):
                asked = [(name, app.recommend(name, limit=8)) for name in street.world.shopper_ids[:200]]
                later(app, MINUTE)
                if position >= 0:
                    app.record([told(app, slate, who, "click", names(slate)[position]) for who, slate in asked])
                later(app, DAY // 4)
            later(app, 8 * DAY)
            app.record([{"user_id": "late", "event_type": "view", "item_id": street.world.item_ids[0]}])
            train_once(app)
            bundle = app.bundle()
            assert bundle is not None
            return bundle

        yield run


@pytest.mark.slow
def test_changed_outcomes_change_the_next_model(play: Play) -> None:
    top, last, none = play("top", 0), play("last", 7), play("none", -1)
    again = play("again", 7)
    np.testing.assert_array_equal(again.blend.weights, last.blend.weights)
    assert again.blend.fatigue == last.blend.fatigue
    assert np.abs(top.blend.weights - last.blend.weights).max() > 0.01
    assert np.abs(top.blend.weights - none.blend.weights).max() > 0.01
    assert none.blend.fatigue != top.blend.fatigue


def test_a_clearly_worse_candidate_is_rejected_and_the_live_one_stays(copy: App) -> None:
    before, slate = copy.versions.current(), copy.recommend(WHO, limit=5)
    with App.open(copy.home, flags={"train.models": "random", "train.holdout": "7d"}, clock=copy.clock) as worse:
        report = train_once(worse)
        assert not report.accepted
        assert any("worse than" in reason and "on all" in reason for reason in report.reasons), report.reasons
        assert "rejected" in report.text()
        assert worse.versions.current() == before
        assert worse.versions.names() == [before]
        assert worse.recommend(WHO, limit=5).model_version == slate.model_version == before


def test_rollback_serves_the_version_before(copy: App) -> None:
    first = copy.versions.current()
    with pytest.raises(WrongUse):
        copy.versions.rollback()
    report = train_once(copy, gate=False)
    assert copy.recommend(WHO).model_version == report.version != first
    assert copy.versions.rollback() == first
    copy.service.refresh()
    assert copy.recommend(WHO).model_version == first


def test_a_shops_own_settings_of_a_model_are_learned_with_and_kept(copy: App) -> None:
    flags = {"train.models": "popular,item-knn", "models.item-knn": {"k": 3}}
    with App.open(copy.home, flags=flags, clock=copy.clock) as other:
        version = train_once(other, gate=False).version
        bundle = other.bundle()
        assert bundle is not None
        assert bundle.models["item-knn"].get_params()["k"] == 3
        facts = other.versions.about(version)["facts"]
    again = settings_of(copy.settings, facts["settings"])
    assert again.models == {"item-knn": {"k": 3}}
    assert again.ranking_hash() == other.settings.ranking_hash() != copy.settings.ranking_hash()
    assert settings_of(other.settings, {}).models == {}  # a version from before there was a choice


def test_the_gates_sample_does_not_teach(copy: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate may look at a few shoppers only; how to rank is learned from all of the trial."""

    def bought(gate: bool) -> int:
        report = train_once(copy, gate=gate)
        told = copy.versions.about(report.version)["facts"]["ranker"]
        return int(told["order"]["lists"])

    whole = bought(gate=False)
    monkeypatch.setattr("regulars.pipeline.JUDGED", 5)
    assert whole > 20
    assert bought(gate=True) == whole
