"""A deleted shopper is gone everywhere, and a restarted shop goes on where it was."""

from __future__ import annotations

import pytest

from regulars.app import App
from regulars.core.clock import DAY, HOUR, ManualClock, format_instant
from regulars.pipeline import train_once
from regulars.rank.slates import Request, State, slates

WHO = "S000003"


def fixed(app: App, limit: int = 10) -> object:
    """What everybody would be shown under recommendation ids that stay the same."""
    keys = app.identities.keys([f"u:S{number:06d}" for number in range(60)])
    asked = [Request(user_key=key, recommendation_id=f"r{row}", limit=limit) for row, key in enumerate(keys)]
    return slates(asked, State(app.bundle(), app.live, app.settings, app.clock.now()))


def test_a_deleted_shopper_is_in_neither_dataset_nor_live_state(copy: App) -> None:
    [key] = copy.identities.keys([f"u:{WHO}"], create=False)
    assert key in copy.live
    assert key in copy.cleaning().whole()[0].users.keys
    copy.service.delete_user(WHO)
    assert key not in copy.live
    assert key not in copy.cleaning().whole()[0].users.keys
    assert copy.profile(WHO) is None
    train_once(copy, gate=False)
    assert key not in copy.live
    with App.open(copy.home, clock=copy.clock) as again:
        assert key not in again.live
        assert again.profile(WHO) is None
    fresh = copy.recommend(WHO)  # the same id later is somebody new
    assert fresh.user_key != key
    assert not any(item.reason.kind in ("usual", "because") for item in fresh.items)


def test_deletion_takes_joined_ids_and_what_is_dated_ahead(copy: App) -> None:
    ahead = format_instant(copy.clock.now() + 10 * HOUR)
    copy.record([
        {"event_type": "purchase", "user_id": "eve", "item_id": "P00001", "timestamp": ahead},
        {"event_type": "view", "anonymous_id": "dev1", "item_id": "P00002"},
        {"type": "identify", "user_id": "eve", "anonymous_id": "dev1"},
    ])  # fmt: skip
    keys = copy.identities.keys(["u:eve", "a:dev1"], create=False)
    assert all(key in copy.live for key in keys)
    copy.service.delete_user("eve")
    assert copy.identities.keys(["u:eve", "a:dev1"], create=False) == [-1, -1]
    copy.record({"event_type": "view", "anonymous_id": "dev1", "item_id": "P00003"})
    [again] = copy.identities.keys(["a:dev1"], create=False)
    for dataset in (copy.cleaning().whole()[0], copy.cleaning().as_of(copy.clock.now() + DAY)):
        assert not set(keys) & set(dataset.users.keys.ids)
        assert again in dataset.users.keys
    assert not any(key in copy.live for key in keys)
    assert copy.service.profile_of(again).n_events == 1


def test_deletion_takes_what_another_process_joined_a_moment_ago(copy: App) -> None:
    copy.record([{"event_type": "view", "user_id": "eve", "item_id": "P00001"},
                 {"event_type": "view", "anonymous_id": "dev1", "item_id": "P00002"}])  # fmt: skip
    with App.open(copy.home, clock=copy.clock) as other:
        other.record({"type": "identify", "user_id": "eve", "anonymous_id": "dev1"})
        copy.service.delete_user("eve")
    assert copy.identities.keys(["u:eve", "a:dev1"], create=False) == [-1, -1]


def test_a_damaged_live_state_is_folded_anew(copy: App, caplog: pytest.LogCaptureFixture) -> None:
    before = fixed(copy)
    (copy.home / "live" / "manifest.json").write_text("{")
    with App.open(copy.home, clock=copy.clock) as again:
        assert fixed(again) == before
    assert "folded anew" in caplog.text


def test_a_restart_makes_the_same_slates(copy: App) -> None:
    before = fixed(copy)
    with App.open(copy.home, clock=copy.clock) as again:
        assert again.live is not copy.live
        assert fixed(again) == before


def test_a_restart_loads_the_snapshot_and_folds_what_came_later(copy: App) -> None:
    assert (copy.home / "live").exists()
    at = copy.live.offset
    rows = [{"user_id": f"S{number:06d}", "event_type": "purchase", "item_id": f"P{number:05d}", "price": 4}
            for number in range(30)]  # fmt: skip
    copy.record([*rows, {"type": "item", "item_id": "P00001", "available": False}])
    copy.recommend(WHO)
    copy.journal.flush()
    copy.service.catch_up()
    after = fixed(copy)
    with App.open(copy.home, clock=ManualClock(copy.clock.now())) as again:
        assert again.live.offset == copy.live.offset > at
        assert fixed(again) == after
