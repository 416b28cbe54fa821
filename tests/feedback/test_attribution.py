"""Attribution against the rules spelled out one by one, and against a second implementation in plain loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.conftest import make_decision, make_event, make_log
from regulars.core.clock import DAY, HOUR
from regulars.core.errors import InputError
from regulars.core.settings import FeedbackSettings, Span
from regulars.events.schema import Decision, Outcome
from regulars.events.slates import Slates
from regulars.feedback.attribution import attribute
from regulars.feedback.outcomes import outcomes

WINDOWS = FeedbackSettings()
LATER = 30 * DAY


@dataclass(frozen=True)
class Joined:
    """What was found, by event and by decision."""

    event_decision: dict[str, str]
    outcomes: list[Outcome]
    orphan_ids: tuple[str, ...]

    @property
    def orphans(self) -> int:
        return len(self.orphan_ids)


def join_made(
    decisions: Sequence[Decision], log: Any, windows: FeedbackSettings = WINDOWS, now: int = LATER, **more: Any
) -> Joined:
    found = attribute(Slates.of(decisions), log, windows, now, **more)
    assert found.orphans == len(found.orphan_ids)
    return Joined(found.event_decision, outcomes(decisions, found), found.orphan_ids)


def join(decisions: Sequence[tuple[Any, ...]], events: Sequence[tuple[Any, ...]], **more: Any) -> Joined:
    """Join decisions and events given as argument tuples."""
    made = [make_decision(*each) for each in decisions]
    rows = [make_event(*each[:4], **(each[4] if len(each) > 4 else {})) for each in events]
    return join_made(made, make_log(*rows), **more)


def by_name(found: Joined) -> dict[str, Outcome]:
    return {each.decision.event_id: each for each in found.outcomes}


def test_click_without_an_id_belongs_to_the_latest_slate_that_showed_the_item() -> None:
    slates = [
        ("r1", 1, 0, ["a", "b"]),
        ("r2", 1, HOUR, ["a"]),
        ("r3", 1, 2 * HOUR, ["b"]),
        ("r4", 2, 2 * HOUR, ["a"]),
    ]
    found = join(slates, [("click", 1, 3 * HOUR, "a")])
    assert found.event_decision == {"e0": "r2"}
    assert by_name(found)["r2"].clicked == ("a",)
    assert sum(len(each.clicked) for each in found.outcomes) == 1


def test_click_with_an_id_belongs_to_it_even_when_a_later_slate_showed_the_item() -> None:
    found = join(
        [("r1", 1, 0, ["a"]), ("r2", 1, HOUR, ["a"])], [("click", 1, 2 * HOUR, "a", {"recommendation_id": "r1"})]
    )
    assert found.event_decision == {"e0": "r1"}


@pytest.mark.parametrize(
    ("user", "item", "why"), [(2, "a", "another shopper"), (1, "b", "an item that slate did not show")]
)
def test_an_id_that_did_not_show_the_item_to_the_shopper_is_not_believed(user: int, item: str, why: str) -> None:
    slates = [("r1", 1, 0, ["a"]), ("r2", user, HOUR, [item])]
    found = join(slates, [("click", user, 2 * HOUR, item, {"recommendation_id": "r1"})])
    assert found.event_decision == {"e0": "r2"}, why
    assert found.orphans == 0


def test_windows_begin_at_the_decision_and_include_their_last_instant() -> None:
    slates = [("r1", 1, 0, ["a", "b"])]
    at_end = join(slates, [("click", 1, DAY, "a"), ("purchase", 1, 7 * DAY, "a")])
    assert set(at_end.event_decision) == {"e0", "e1"}
    too_late = join(slates, [("click", 1, DAY + 1, "a"), ("click", 1, DAY + 1, "b", {"recommendation_id": "r1"})])
    assert too_late.event_decision == {}
    bought_late = join(slates, [("click", 1, HOUR, "a"), ("purchase", 1, 7 * DAY + 1, "a")])
    assert set(bought_late.event_decision) == {"e0"}


def test_purchase_belongs_to_the_latest_slate_whose_item_was_clicked_not_the_latest_click() -> None:
    slates = [("r1", 1, 0, ["a"]), ("r2", 1, HOUR, ["a"]), ("r3", 1, 2 * HOUR, ["a"])]
    events = [
        ("click", 1, 3 * HOUR, "a", {"recommendation_id": "r2"}),
        ("click", 1, 4 * HOUR, "a", {"recommendation_id": "r1"}),  # a tab left open
        ("purchase", 1, 5 * HOUR, "a", {"price": 250, "quantity": 2.0}),
        ("add_to_cart", 1, 4 * HOUR, "a"),
    ]
    found = join(slates, events)
    assert found.event_decision == {"e0": "r2", "e1": "r1", "e2": "r2", "e3": "r2"}
    bought = by_name(found)["r2"]
    assert (bought.purchased, bought.carted, bought.revenue) == (("a",), ("a",), 2 * 250)
    assert by_name(found)["r3"].viewed_through == ()


def test_a_purchase_before_the_click_is_not_the_clicks() -> None:
    found = join([("r1", 1, 0, ["a"])], [("purchase", 1, HOUR, "a"), ("click", 1, 2 * HOUR, "a")])
    only = found.outcomes[0]
    assert (only.clicked, only.purchased, only.viewed_through) == (("a",), (), ())


def test_bought_and_shown_but_not_clicked_is_a_view_through_counted_apart() -> None:
    slates = [("r1", 1, 0, ["a"]), ("r2", 1, HOUR, ["a"])]
    found = join(slates, [("purchase", 1, 2 * DAY, "a", {"price": 100}), ("add_to_cart", 1, 2 * DAY, "a")])
    assert by_name(found)["r2"].viewed_through == ("a",)
    assert found.event_decision == {}
    assert all(each.revenue == 0 and not each.purchased and not each.carted for each in found.outcomes)
    late = join(slates, [("purchase", 1, 8 * DAY, "a")])
    assert all(not each.viewed_through for each in late.outcomes)


def test_events_that_name_an_unknown_slate_are_orphans_and_never_repaired() -> None:
    lost = {"recommendation_id": "gone"}
    found = join([("r1", 1, 0, ["a"])], [("click", 1, HOUR, "a", lost), ("view", 1, HOUR, "zzz", lost)])
    assert found.orphan_ids == ("e0", "e1")
    assert found.orphans == 2
    assert found.outcomes[0].clicked == ()


def test_each_event_counts_once_and_each_item_once_a_slate() -> None:
    events = [("click", 1, HOUR, "a"), ("click", 1, 2 * HOUR, "a"), ("purchase", 1, 3 * HOUR, "a", {"price": 5}),
              ("purchase", 1, 4 * HOUR, "a", {"price": 7})]  # fmt: skip
    found = join([("r1", 1, 0, ["a"])], events)
    assert found.outcomes[0].clicked == ("a",)
    assert found.outcomes[0].purchased == ("a",)
    assert found.outcomes[0].revenue == 5 + 7
    assert len(found.event_decision) == 4


def test_only_slates_whose_longest_window_is_over_are_closed() -> None:
    slates = [("r1", 1, 0, ["a"]), ("r2", 1, 1, ["a"])]
    found = join(slates, [], now=7 * DAY + 1)
    assert [each.closed for each in found.outcomes] == [True, False]


def test_the_future_is_not_read() -> None:
    events = [("click", 1, 2 * HOUR, "a"), ("click", 1, HOUR, "x", {"recommendation_id": "gone"})]
    found = join([("r1", 1, 0, ["a"])], events, now=HOUR - 1)
    assert found.event_decision == {}
    assert found.orphans == 0


def test_a_named_slate_is_believed_over_a_wrong_clock() -> None:
    found = join([("r1", 1, HOUR, ["a"])], [("click", 1, HOUR - 5, "a", {"recommendation_id": "r1"})])
    assert found.event_decision == {"e0": "r1"}


def test_joined_shoppers_are_read_as_one() -> None:
    slates, events = [("r1", 77, 0, ["a"])], [("click", 5, HOUR, "a"), ("purchase", 77, 2 * HOUR, "a")]
    assert set(join(slates, events, canonical={77: 5}).event_decision) == {"e0", "e1"}
    assert join(slates, events).event_decision == {}


def test_impressions_are_kept_and_are_no_reward() -> None:
    found = join([("r1", 1, 0, ["a", "b"])], [("impression", 1, 1, "b"), ("impression", 1, 2, "a")])
    assert found.outcomes[0].impressed == ("b", "a")
    assert found.event_decision == {}


def test_no_decisions_and_no_events() -> None:
    assert join([], [("click", 1, 0, "a")]) == Joined({}, [], ())
    assert join([("r1", 1, 0, [])], []).outcomes[0].clicked == ()


def test_chunks_and_dictionaries_are_read_like_plain_columns() -> None:
    slates = [make_decision("r1", 1, 0, ["a", "b"])]
    rows = [
        make_event("click", 1, HOUR, "a", recommendation_id="r1"),
        make_event("purchase", 1, 2 * HOUR, "b", price=9),
        make_event("view", 1, HOUR, "a", recommendation_id="gone"),
    ]
    plain = make_log(*rows)
    parts = pa.concat_tables([plain.slice(0, 1), plain.slice(1)])
    for name in ("event_type", "item_id", "recommendation_id"):
        parts = parts.set_column(parts.column_names.index(name), name, parts[name].dictionary_encode())
    assert join_made(slates, parts) == join_made(slates, plain)


def test_a_missing_column_is_named() -> None:
    table = make_log().drop_columns(["price"])
    with pytest.raises(InputError, match="no column price"):
        join_made([make_decision("r1", 1, 0, ["a"])], table)


# -- a second implementation: the rules of the design, event by event ------------------------------------------


class SlowJoin:
    """Loops over everything; `owner` and `through` (view-throughs) map an event to a decision."""

    def __init__(self, decisions: Sequence[Decision], windows: FeedbackSettings) -> None:
        self.decisions, self.windows = decisions, windows
        self.named = {each.event_id: each for each in decisions}
        self.owner: dict[str, str] = {}
        self.through: dict[str, str] = {}
        self.clicks: list[tuple[int, str, str]] = []  # at, decision, item

    def run(self, events: Sequence[Mapping[str, Any]]) -> None:
        real = [row for row in events if row["recommendation_id"] in {"", *self.named}]
        for row in real:
            if row["event_type"] == "click":
                self.click(row)
        for row in real:
            if row["event_type"] in {"add_to_cart", "purchase"}:
                self.buy(row)

    def click(self, row: Mapping[str, Any]) -> None:
        window = self.windows.click_window
        chosen = self.by_name(row, window) or latest(self.showing(row, window))
        if chosen:
            self.owner[row["event_id"]] = chosen.event_id
            self.clicks.append((row["timestamp"], chosen.event_id, row["item_id"]))

    def buy(self, row: Mapping[str, Any]) -> None:
        window, item = self.windows.purchase_window, row["item_id"]
        clicked = {name for at, name, what in self.clicks if what == item and at <= row["timestamp"]}
        in_time = [each for each in self.showing(row, window, early=True) if each.event_id in clicked]
        chosen = self.by_name(row, window) or latest(in_time)
        seen = latest(self.showing(row, window))
        was_clicked = seen and any(name == seen.event_id and what == item for _, name, what in self.clicks)
        if chosen:
            self.owner[row["event_id"]] = chosen.event_id
        elif row["event_type"] == "purchase" and seen and not was_clicked:
            self.through[row["event_id"]] = seen.event_id

    def by_name(self, row: Mapping[str, Any], window: int) -> Decision | None:
        named = self.named.get(row["recommendation_id"])
        return named if named in self.showing(row, window, early=True) else None

    def showing(self, row: Mapping[str, Any], window: int, early: bool = False) -> list[Decision]:
        """Decisions that showed it to the shopper no longer ago than `window` (and not after, unless `early`)."""
        return [
            each for each in self.decisions
            if each.user_key == row["user_key"] and row["item_id"] in {item.item_id for item in each.items}
            and row["timestamp"] - each.timestamp <= window and (early or row["timestamp"] >= each.timestamp)
        ]  # fmt: skip


def latest(candidates: Sequence[Decision]) -> Decision | None:
    ordered = sorted(candidates, key=lambda each: (each.timestamp, int(each.event_id[1:])))
    return ordered[-1] if ordered else None


ITEMS = "abc"
slate_strategy = st.tuples(st.integers(0, 1), st.integers(0, 12), st.lists(st.sampled_from(ITEMS), unique=True))
event_strategy = st.tuples(
    st.sampled_from(["click", "click", "add_to_cart", "purchase", "view"]), st.integers(0, 1), st.integers(0, 14),
    st.sampled_from(ITEMS), st.sampled_from(["", "", "", "r0", "r1", "r2", "gone"]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(slate_strategy, max_size=6), st.lists(event_strategy, max_size=12))
def test_it_equals_the_rules_applied_event_by_event(
    slates: list[tuple[int, int, list[str]]], rows: list[tuple[str, int, int, str, str]]
) -> None:
    windows = FeedbackSettings(click_window=Span(3), purchase_window=Span(5))
    made = [make_decision(f"r{idx}", *each) for idx, each in enumerate(slates)]
    events = [
        {"event_id": f"e{idx}", **make_event(*each[:4], recommendation_id=each[4])} for idx, each in enumerate(rows)
    ]
    found = join_made(made, make_log(*events), windows, 1000)
    slow = SlowJoin(made, windows)
    slow.run(events)
    assert found.event_decision == slow.owner
    item_of = {each["event_id"]: each["item_id"] for each in events}
    for each in found.outcomes:
        mine = {item_of[event] for event, name in slow.through.items() if name == each.decision.event_id}
        assert set(each.viewed_through) == mine
    named = {each.event_id for each in made}
    wanted = [each["event_id"] for each in events if each["recommendation_id"] not in {"", *named}]
    assert list(found.orphan_ids) == wanted
