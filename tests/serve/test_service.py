"""What a request does: folded at once, journaled before it is answered, answered in every case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regulars.core.clock import SystemClock
from regulars.core.errors import InputError
from regulars.core.settings import Settings
from regulars.events.journal import Journal
from regulars.events.schema import Decision, Interaction, Tombstone
from regulars.profiles.live import Live
from regulars.rank.slates import Request, State, slates
from regulars.serve import service as service_module
from regulars.serve.problems import NotFound
from regulars.serve.wire import Filter, ItemBody, UserBody
from serve.parts import Parts, open_parts


def decisions(parts: Parts) -> list[Decision]:
    parts.journal.flush()
    return [event for _, event in parts.journal.snapshot().records("decision") if isinstance(event, Decision)]


def test_an_event_is_folded_before_it_is_answered(shop: Parts) -> None:
    before = [item.item_id for item in shop.service.recommend("newcomer", limit=5).items]
    row = {"user_id": "newcomer", "event_type": "purchase", "item_id": "i036", "price": 5}
    [result] = shop.service.record_events([row])
    assert result.status == "accepted"
    profile = shop.service.profile("newcomer")
    assert profile is not None
    assert (profile.n_events, profile.n_orders, profile.monetary) == (1, 1, 500)
    assert [item.item_id for item in shop.service.recommend("newcomer", limit=5).items] != before


def test_without_a_model_nothing_is_asked(bare_shop: Parts) -> None:
    assert bare_shop.service.questions(5).item_ids == ()


def test_what_is_out_of_stock_is_not_asked_about(shop: Parts) -> None:
    first = shop.service.questions(3).item_ids
    shop.service.put_item(first[0], ItemBody(title="gone", available=False))
    assert first[0] not in shop.service.questions(60).item_ids
    assert len(shop.service.questions(60).item_ids) == 59


def test_rows_are_judged_one_by_one(shop: Parts) -> None:
    good = {"event_id": "e1", "user_id": "u", "event_type": "view", "item_id": "i001"}
    results = shop.service.record_events([good, {"event_type": "view"}, good])
    assert [result.status for result in results] == ["accepted", "rejected", "duplicate"]
    assert "nobody" in results[1].why[0]


def test_a_repeated_idempotency_key_changes_nothing(shop: Parts) -> None:
    row = {"user_id": "u", "event_type": "view", "item_id": "i001"}
    assert shop.service.record_events([row, row], "k")[1].status == "accepted"
    assert [result.status for result in shop.service.record_events([row, row], "k")] == ["duplicate"] * 2
    assert shop.service.record_events([row, row])[0].status == "accepted"


def test_too_many_events_are_refused(tmp_path: Path) -> None:
    parts = open_parts(tmp_path, Settings().change(serve={"max_batch": 2}), filled=False)
    with pytest.raises(InputError, match="at most 2"):
        parts.service.record_events([{}] * 3)
    parts.journal.close()


def test_a_page_s_key_changes_no_items_and_joins_no_shoppers(shop: Parts) -> None:
    view = {"user_id": "u", "event_type": "view", "item_id": "i001"}
    rows: list[dict[str, Any]] = [
        {"type": "item", "item_id": "i001", "title": "Hacked"},
        view,
        {"type": "identify", "user_id": "user-1", "session_id": "mine"},
        {"type": "user", "user_id": "user-1", "attributes": {"vip": True}},
    ]
    statuses = [result.status for result in shop.service.record_events(rows, interactions_only=True)]
    assert statuses == ["rejected", "accepted", "rejected", "rejected"]
    assert shop.service.item("i001").title != "Hacked"


def test_the_decision_is_what_was_answered(shop: Parts) -> None:
    slate = shop.service.recommend("user-1", slot="product", item="i003", limit=4)
    [kept] = decisions(shop)
    assert (kept.event_id, kept.items, kept.slot) == (slate.recommendation_id, slate.items, "product")
    assert kept.context == {"item": "i003"}
    assert kept.model_version == "v1"


def test_the_decision_is_handed_over_before_the_answer(shop: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(event: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(shop.journal, "submit", full_disk)
    with pytest.raises(OSError, match="disk full"):
        shop.service.recommend("user-1")


def test_showings_are_folded(shop: Parts) -> None:
    slate = shop.service.recommend("user-1", limit=3)
    shop.journal.flush()
    shop.service.catch_up()
    key, bundle = shop.service.key("u:user-1"), shop.service.bundle
    assert bundle is not None
    _, shown, _ = shop.service.live.shown([key], bundle.items, SystemClock().now())
    assert {bundle.items[int(idx)] for idx in shown} >= {item.item_id for item in slate.items}


@pytest.mark.parametrize(
    "wishes",
    [
        {"filters": Filter(category="no such")},
        {"filters": {"price_min": 1e6}},
        {"exclude": tuple(f"i{i:03d}" for i in range(60))},
        {"filters": Filter(kind="ad")},
    ],
)
def test_everything_filtered_out_is_answered_with_why(shop: Parts, wishes: dict[str, Any]) -> None:
    slate = shop.service.recommend("user-1", **wishes)
    assert slate.items == ()
    assert slate.why


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"limit": 0}, "recommend.limit: got 0, wanted `int` >= 1"),
        ({"limit": "3"}, "recommend.limit: got '3', wanted `int | null`"),
        ({"language": "fr"}, "recommend.language: got 'fr', wanted one of '', 'en', 'zh'"),
        ({"slot": "a b"}, "recommend.slot: got 'a b', wanted `str` matching regex"),
        ({"exclude": ["i001", ""]}, "recommend.exclude"),
        ({"filters": {"price_min": -1}}, "recommend.filters.price_min: got {'price_min': -1}, wanted `float` >= 0.0"),
        ({"filters": {"prices": 1}}, "wanted only fields that /docs lists"),
        ({"limits": 3}, "item, language. The nearest is 'limit'."),
        ({"ask": {}}, "recommend.ask: got an unknown name"),
    ],
)
def test_wrong_wishes_say_where_and_what(shop: Parts, wishes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        shop.service.recommend("user-1", **wishes)
    assert said in str(caught.value)


@pytest.mark.parametrize("ids", [{}, {"user_id": "u", "session": "s"}, {"session": "s", "anonymous_id": "a"}])
def test_a_slate_is_for_exactly_one_shopper(shop: Parts, ids: dict[str, str]) -> None:
    with pytest.raises(InputError, match="wanted exactly one of user_id, anonymous_id, session"):
        shop.service.recommend(**ids)


def test_a_slate_by_anonymous_id_is_that_shopper_s(shop: Parts) -> None:
    shop.service.record_events([{"anonymous_id": "web", "event_type": "view", "item_id": "i001"}])
    assert shop.service.recommend(anonymous_id="web").user_key == shop.service.key("a:web")


def test_a_shop_without_anything_answers_with_why(bare_shop: Parts) -> None:
    slate = bare_shop.service.recommend(session="somebody")
    assert (slate.items, slate.model_version) == ((), "")
    assert "train" in slate.why
    assert len(decisions(bare_shop)) == 1


def test_prices_in_filters_are_major_units(shop: Parts) -> None:
    slate = shop.service.recommend("user-1", filters=Filter(price_min=5, price_max=6.5), limit=50)
    prices = {shop.service.item(item.item_id).price for item in slate.items}
    assert prices == {500, 600}


def test_limits_and_exclusions_hold(shop: Parts) -> None:
    first = shop.service.recommend("user-1", limit=5)
    out = tuple(item.item_id for item in first.items)
    second = shop.service.recommend("user-1", limit=5, exclude=out)
    assert len(first.items) == len(second.items) == 5
    assert not set(out) & {item.item_id for item in second.items}
    assert [item.position for item in second.items] == list(range(5))


def test_the_same_slate_as_the_ranker_s(shop: Parts) -> None:
    """The service adds nothing to `rank.slates`: the logged request, ranked again, gives the same slate."""
    slate = shop.service.recommend("user-3", limit=6)
    request = Request(user_key=slate.user_key, recommendation_id=slate.recommendation_id, limit=6)
    state = State(shop.service.bundle, shop.service.live, shop.settings, slate.timestamp)
    assert slates([request], state) == [slate]


def test_items_come_and_go(shop: Parts) -> None:
    body = ItemBody(title="Blue pot", category=("Kitchen",), price=12.5, released_at="2026-01-02T03:04:05Z")
    put = shop.service.put_item("pot", body)
    assert put.price == 1250
    answer = shop.service.show(shop.service.item("pot"))
    assert (answer.price, answer.released_at, answer.title) == (12.5, "2026-01-02T03:04:05Z", "Blue pot")
    shop.service.delete_item("pot")
    with pytest.raises(NotFound):
        shop.service.item("pot")
    with pytest.raises(NotFound):
        shop.service.delete_item("pot")


def test_a_deleted_item_is_no_longer_recommended(shop: Parts) -> None:
    first = shop.service.recommend("user-1").items[0].item_id
    shop.service.delete_item(first)
    assert first not in {item.item_id for item in shop.service.recommend("user-1", limit=60).items}


def test_what_is_wrong_with_an_item_is_the_caller_s_error(shop: Parts) -> None:
    with pytest.raises(InputError, match="currency"):
        shop.service.put_item("pot", ItemBody(price=3, currency="XXX"))


def test_attributes_are_kept_and_forgotten(shop: Parts) -> None:
    shop.service.put_user("user-1", UserBody(attributes={"vip": True}, links=("user-2",)))
    assert shop.service.user("user-1").attributes == {"vip": True}
    assert shop.service.user("user-1").links == ("user-2",)
    key = shop.service.key("u:user-1")
    shop.service.delete_user("user-1")
    assert shop.service.profile("user-1") is None
    assert shop.service.profile_of(key).n_events == 0
    assert shop.service.profile_of(key).attributes == {}
    tombs = [event for _, event in shop.journal.snapshot().records("tombstone")]
    assert [event.user_key for event in tombs if isinstance(event, Tombstone)] == [key]
    for call in (shop.service.user, shop.service.delete_user):
        with pytest.raises(NotFound):
            call("user-1")
    assert shop.service.key("u:user-1") != key


def test_links_are_shown_while_both_shoppers_are_known(shop: Parts) -> None:
    put = shop.service.put_user("user-1", UserBody(links=("user-2", "newcomer")))
    assert put.links == shop.service.user("user-1").links == ("user-2", "newcomer")
    shop.service.delete_user("user-2")
    assert shop.service.user("user-1").links == ("newcomer",)
    assert shop.service.user("newcomer").links == ()


def test_another_process_s_events_are_folded(shop: Parts) -> None:
    """A second journal on the same folder stands for the other process."""
    other = Journal(shop.home, clock=SystemClock(), settings=shop.settings.events)
    key = shop.service.key("u:user-1")
    seen = shop.service.profile_of(key).n_events
    other.append([Interaction(event_id="x", user_key=key, event_type="view", timestamp=SystemClock().now(),
                              item_id="i001")])  # fmt: skip
    assert shop.service.catch_up() == 1
    assert shop.service.catch_up() == 0
    assert shop.service.profile_of(key).n_events == seen + 1
    assert shop.service.live.offset == other.last_offset
    other.close()


def test_long_tails_are_folded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "FOLD_AT_ONCE", 7)
    parts = open_parts(tmp_path)
    parts.service.catch_up()
    straight = Live(parts.settings)
    for offset, event in parts.journal.read(0):
        straight.apply(offset, event)
    assert parts.service.live.offset == straight.offset == parts.journal.last_offset
    key, now = parts.service.key("u:user-2"), SystemClock().now()
    assert parts.service.live.profile(key, now) == straight.profile(key, now)
    parts.journal.close()


def test_stop_leaves_a_live_state_for_the_next_start(shop: Parts) -> None:
    slate = shop.service.recommend("user-1")
    shop.service.stop()
    again = Live.load(shop.home / "live", shop.settings)
    assert again.offset == shop.journal.last_offset
    assert decisions(shop)[-1].event_id == slate.recommendation_id


def test_one_of_several_workers_leaves_the_snapshot_alone(tmp_path: Path) -> None:
    parts = open_parts(tmp_path, Settings().change(serve={"workers": 2}), filled=False)
    parts.service.start()
    parts.service.stop()
    assert not (tmp_path / "live").exists()
    parts.journal.close()


def test_swapping_changes_who_answers(shop: Parts) -> None:
    shop.service.swap(replace(shop.train("v2", ("popular",)), version="v2"))
    assert shop.service.recommend("user-1").model_version == "v2"
    shop.publish("v3")
    shop.service.refresh()
    assert shop.service.recommend("user-1").model_version == "v3"


def test_profiles_of_some_shoppers(shop: Parts) -> None:
    found = shop.service.some_profiles(5)
    assert len(found) == 5
    assert all(profile.n_events == 24 and user_id.startswith("user-") for user_id, profile in found)


def test_metrics_count(shop: Parts) -> None:
    check: Callable[[str], bool] = lambda line: line in shop.service.metrics.text().decode()  # noqa: E731
    shop.service.record_events([{"user_id": "u", "event_type": "view", "item_id": "i001"}, {}])
    shop.service.recommend("u")
    assert check('regulars_event_rows_total{status="accepted"} 1.0')
    assert check('regulars_event_rows_total{status="rejected"} 1.0')
    assert check('regulars_slates_total{filled="yes"} 1.0')
    assert check("regulars_model_swaps_total 1.0")
    assert check(f"regulars_folded_offset {float(shop.service.live.offset)}")
