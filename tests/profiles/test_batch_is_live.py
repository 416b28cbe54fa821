"""One definition: folding a stream event by event is cleaning and folding the whole of it."""

from __future__ import annotations

import itertools
import operator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from regulars.core.clock import DAY, MINUTE
from regulars.core.errors import StorageError

KEYS = (1, 2, 3, 99)
NOW = 5 * DAY


def same_population(one: Any, other: Any) -> None:
    """Cut points come from the last batch alone: give both states the same."""
    one.cuts, one.price_cuts = other.cuts, other.price_cuts


@settings(max_examples=20, phases=[Phase.generate])  # cleaning costs too much to shrink by
@given(data=st.data())
def test_a_stream_in_any_order_leads_to_the_batch_fold(shop: Any, data: Any) -> None:
    # a Dataset drops showings of items that nobody knows, or that were deleted and never met
    known = [event for name in shop.ITEMS for event in (shop.changed(name, 0), shop.act(4, "view", name, 0))]
    rows = shop.numbered([*known, *data.draw(shop.streams)])
    whole, each = shop.batch(rows), shop.live(rows)
    same_population(each, whole)
    assert shop.differences(whole, each, KEYS, shop.T0 + NOW) == []


@settings(max_examples=30)
@given(data=st.data())
def test_the_order_of_arrival_does_not_matter(shop: Any, data: Any) -> None:
    """Without two events at one instant, whose order only arrival tells."""
    events = data.draw(st.lists(shop.interactions, max_size=25, unique_by=lambda event: event.timestamp))
    one = shop.live(shop.numbered(events))
    other = shop.live(shop.numbered(data.draw(st.permutations(events))))
    assert shop.differences(one, other, KEYS, shop.T0 + NOW) == []


@settings(max_examples=10, phases=[Phase.generate])
@given(data=st.data())
def test_a_batch_goes_on_live(shop: Any, data: Any) -> None:
    """Where a Dataset keeps what later events need: orders whose lines do not straddle it, no session names."""
    drawn = data.draw(st.lists(shop.interactions, max_size=25))
    plain = [
        shop.act(event.user_key, event.event_type, event.item_id, event.timestamp - shop.T0, price=event.price,
                 quantity=event.quantity, order_id=f"o{event.timestamp}" if event.event_type == "purchase" else "")
        for event in sorted(drawn, key=lambda event: event.timestamp)
    ]  # fmt: skip
    rows = shop.numbered(plain)
    cut = data.draw(st.integers(0, len(rows)))
    if 0 < cut < len(rows) and plain[cut - 1].timestamp == plain[cut].timestamp:
        cut = 0
    whole, continued = shop.batch(rows), shop.live(rows[cut:], start=shop.batch(rows[:cut]))
    same_population(continued, whole)
    assert shop.differences(whole, continued, KEYS, shop.T0 + NOW) == []


@given(data=st.data())
def test_rows_folded_at_once_are_rows_folded_one_by_one(shop: Any, data: Any) -> None:
    """To the last bit, however they are cut into pieces, and with rows that were folded before."""
    rows = shop.numbered(data.draw(shop.streams))
    at_once = type(shop.live([]))(shop.SETTINGS)
    stops = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    for start, stop in itertools.pairwise([0, *stops, len(rows)]):
        at_once.fold(iter(rows[max(start - 1, 0) : stop]))
    each = shop.live(rows)
    assert at_once.offset == each.offset
    for name in ("_log.events", "_log.states", "_shown.rows"):
        one, other = (operator.attrgetter(name)(state) for state in (at_once, each))
        assert one.tobytes() == other.tobytes(), name
    assert at_once.catalogue.dump() == each.catalogue.dump()
    assert at_once._people.dump() == each._people.dump()


@settings(max_examples=20)
@given(data=st.data())
def test_a_snapshot_and_what_came_later_is_everything(shop: Any, tmp_path_factory: Any, data: Any) -> None:
    rows = shop.numbered(data.draw(shop.streams))
    cut = data.draw(st.integers(0, len(rows)))
    folder = tmp_path_factory.mktemp("snapshot") / "live"
    first = shop.live(rows[:cut])
    first.save(folder)
    reread = type(first).load(folder, shop.SETTINGS)
    assert reread.offset == (rows[cut - 1][0] if cut else 0)
    assert shop.differences(shop.live(rows), shop.live(rows, start=reread), KEYS, shop.T0 + NOW) == []


def test_a_row_folded_before_changes_nothing(shop: Any) -> None:
    rows = shop.numbered(
        [shop.act(1, "purchase", "a", 0, price=5), shop.slate(1, ["b"], 5), shop.act(1, "view", "b", 1)]
    )
    once, twice = shop.live(rows), shop.live(rows[:2])
    shop.live(rows, start=twice)
    assert twice.offset == 3
    assert shop.differences(once, twice, KEYS, shop.T0 + NOW) == []


def test_the_comparison_sees_a_difference(shop: Any) -> None:
    """Negative control: one event more, and the helper of these tests says in what."""
    rows = shop.numbered([shop.act(1, "view", "a", 0), shop.slate(1, ["b"], 0), shop.act(1, "view", "a", MINUTE)])
    found = shop.differences(shop.live(rows), shop.live(rows[:2]), KEYS, shop.T0 + NOW)
    assert any(name.startswith("1.n_events") for name in found)
    assert any(name.startswith("weights") for name in found)
    found = shop.differences(shop.live(rows), shop.live([rows[0], rows[2]]), KEYS, shop.T0 + NOW)
    assert [name.split(":")[0] for name in found] == ["shown"]


def test_two_keys_joined_are_one_stream(shop: Any) -> None:
    """Also where the two interleave, in one session, and one gives back what the other bought."""
    acts: list[tuple[int, str, str, int, dict[str, Any]]] = [
        (1, "view", "a", 0, {}), (2, "purchase", "a", 10, {"price": 100, "order_id": "o1"}), (1, "view", "b", 20, {}),
        (2, "purchase", "a", 50, {"price": 100, "order_id": "o1"}), (1, "refund", "a", 70, {"price": 100}),
        (2, "click", "c", 300, {}), (1, "purchase", "a", 305, {"price": 90}),
    ]  # fmt: skip
    apart = [shop.act(key, kind, item, at * MINUTE, **more) for key, kind, item, at, more in acts]
    as_one = [shop.act(1, kind, item, at * MINUTE, **more) for _, kind, item, at, more in acts]
    joined = shop.live(shop.numbered([*apart[:5], shop.slate(2, ["d"], 0), shop.joined(1, 2, 0), *apart[5:]]))
    one = shop.live(shop.numbered([*as_one, shop.slate(1, ["d"], 0)]))
    assert shop.differences(joined, one, [1], shop.T0 + NOW) == []
    assert joined.profile(2, shop.T0 + NOW) == joined.profile(1, shop.T0 + NOW)
    assert joined.n_shoppers == 1
    profile = joined.profile(1, shop.T0 + NOW)
    assert (profile.n_events, profile.n_sessions, profile.n_orders) == (
        6,
        2,
        2,
    )  # a pause of 30 minutes goes on with the session
    assert profile.monetary == 100 + 100 - 100 + 90


def test_late_rows_of_a_forgotten_shopper_stay_dropped(shop: Any) -> None:
    past = [shop.act(1, "purchase", "a", 0, price=5), shop.told(1, 0, city="x"), shop.slate(1, ["b"], 3)]
    state = shop.live(shop.numbered([*past, shop.forgotten(1, 10)]))
    assert 1 not in state
    late = [shop.act(1, "view", "a", 9), shop.slate(1, ["b"], 10), shop.told(1, 10, city="y")]
    shop.live(shop.numbered(late, after=4), start=state)
    assert 1 not in state
    assert not (state._log.events["at"] > 0).any()  # nothing of them is left in memory
    shop.live(shop.numbered([shop.act(1, "view", "b", 11)], after=7), start=state)
    profile = state.profile(1, shop.T0 + 20)
    assert (profile.n_events, profile.attributes) == (1, {})


def test_a_tombstone_of_one_key_covers_all_that_are_read_as_the_same(shop: Any) -> None:
    rows = shop.numbered([
        shop.act(1, "view", "a", 0), shop.joined(1, 2, 0), shop.forgotten(2, 10), shop.act(2, "view", "b", 5),
        shop.act(3, "view", "c", 6), shop.act(3, "view", "d", 20), shop.joined(1, 3, 21), shop.act(1, "view", "b", 7),
    ])  # fmt: skip
    state = shop.live(rows)
    assert shop.differences(shop.batch(rows), state, KEYS, shop.T0 + NOW) == []
    assert state.profile(1, shop.T0 + NOW).n_events == 1


@pytest.mark.parametrize("damage", ["missing", "format", "shape", "text", "rows"])
def test_a_snapshot_that_cannot_be_read_says_why(shop: Any, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "live"
    state = shop.live(shop.numbered([shop.act(1, "view", "a", 0)]))
    state.save(folder)
    manifest = folder / "manifest.json"
    if damage == "missing":
        (folder / "events.npy").unlink()
    elif damage == "format":
        manifest.write_text(manifest.read_text().replace('"format":1', '"format":0'))
    elif damage == "shape":
        (folder / "states.npy").write_bytes((folder / "shown.npy").read_bytes())
    elif damage == "text":
        (folder / "people.json").write_text('{"shoppers": 3}')
    else:
        manifest.write_text("not JSON")
    with pytest.raises(StorageError, match="folds the journal afresh"):
        type(state).load(folder, shop.SETTINGS)


def test_a_snapshot_replaces_the_last_one(shop: Any, tmp_path: Path) -> None:
    state = shop.live(shop.numbered([shop.act(1, "view", "a", 0)]))
    state.save(tmp_path / "live")
    shop.live(shop.numbered([shop.act(2, "view", "a", 0)], after=1), start=state)
    state.save(tmp_path / "live")
    assert [path.name for path in tmp_path.iterdir()] == ["live"]
    assert type(state).load(tmp_path / "live", shop.SETTINGS).n_shoppers == 2


def test_a_place_that_cannot_be_written_is_an_error(shop: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can be written"):
        shop.live([]).save(tmp_path / "file" / "live")
