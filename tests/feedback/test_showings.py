"""What tires a shopper is counted one way: what feedback measures is what the live state takes off."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.conftest import make_decision, make_event, make_log
from regulars.core.clock import DAY, HOUR, MINUTE
from regulars.core.data import IdMap
from regulars.core.settings import Settings
from regulars.events.schema import Interaction, Item, ItemChange
from regulars.events.slates import Slates
from regulars.feedback.attribution import attribute
from regulars.feedback.showings import earlier_untouched, showings
from regulars.profiles.live import Live

SETTINGS = Settings().change(rank={"fatigue_window": "3h"})
WINDOW, GAP = int(SETTINGS.rank.fatigue_window), int(SETTINGS.clean.session_gap)
ITEMS = "ab"
# minutes from the start, no two alike, so that what came first is certain
times = st.lists(st.integers(0, 300), min_size=12, max_size=12, unique=True)
touches = st.tuples(st.sampled_from(["view", "click", "add_to_cart", "purchase", "wishlist"]), st.integers(1, 2),
                    st.sampled_from(ITEMS))  # fmt: skip
slates = st.tuples(st.integers(1, 2), st.lists(st.sampled_from(ITEMS), min_size=1, unique=True))


def live_count(decisions: list[Any], rows: list[Any], user: int, item: str, at: int) -> int:
    """What the live state says at an instant, from all that came before."""
    state = Live(SETTINGS)
    catalogue = [ItemChange(event_id=name, timestamp=0, item=Item(item_id=name)) for name in ITEMS]
    acts = [Interaction(event_id=f"e{idx}", **row) for idx, row in enumerate(rows)]
    earlier = sorted((each for each in (*decisions, *acts) if each.timestamp < at), key=lambda each: each.timestamp)
    state.fold(list(enumerate([*catalogue, *earlier], start=1)))
    _, item_idx, counts = state.shown([user], IdMap(ITEMS), at)
    return int(counts[item_idx == ITEMS.index(item)].sum())


@settings(max_examples=60, deadline=None)
@given(times, st.lists(slates, max_size=7), st.lists(touches, max_size=5))
def test_feedback_counts_as_the_live_state_does(minutes: list[int], shown: list[Any], done: list[Any]) -> None:
    at = [minute * MINUTE for minute in minutes]
    decisions = [make_decision(f"r{n}", user, at[n], items) for n, (user, items) in enumerate(shown)]
    rows = [make_event(kind, user, when, item) for (kind, user, item), when in zip(done, at[7:], strict=False)]
    laid = showings(attribute(Slates.of(decisions), make_log(*rows), SETTINGS.feedback, 90 * DAY))
    found = earlier_untouched(laid, WINDOW, GAP).tolist()
    wanted = [
        live_count(decisions, rows, int(user), laid.items[int(item)], int(when))
        for user, item, when in zip(laid.user_key, laid.item_idx, laid.at, strict=True)
    ]
    assert found == wanted


def test_one_visit_counts_once_and_a_view_from_elsewhere_ends_the_count() -> None:
    at = (0, 20 * MINUTE, 40 * MINUTE, 2 * HOUR, 5 * HOUR, 9 * HOUR)
    decisions = [make_decision(f"r{n}", 1, when, ["a"]) for n, when in enumerate(at)]
    rows = [make_event("view", 1, 6 * HOUR, "a"), make_event("view", 2, 8 * HOUR, "a")]
    laid = showings(attribute(Slates.of(decisions), make_log(*rows), SETTINGS.feedback, 90 * DAY))
    assert earlier_untouched(laid, DAY, GAP).tolist() == [0, 1, 1, 1, 2, 0]
