"""Decisions as columns: the same slates, whichever way they were picked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regulars.events.slates import Place, Showing, Slates, look_up

places = st.builds(Place, item_id=st.sampled_from("abc"), position=st.integers(0, 5), propensity=st.just(0.5))
showings = st.builds(
    Showing, event_id=st.uuids().map(str), timestamp=st.integers(0, 9), user_key=st.integers(1, 3),
    slot=st.sampled_from(("home", "cart")), items=st.lists(places, max_size=3).map(tuple),
)  # fmt: skip


def rows_of(slates: Slates) -> list[tuple[object, ...]]:
    """One tuple a row, all names written out."""
    return [
        (slates.ids[slate], int(slates.at[slate]), int(slates.user_key[slate]), slates.slot[slate],
         slates.items[int(item)], int(place))
        for slate, item, place in zip(slates.slate_idx, slates.item_idx, slates.position, strict=True)
    ]  # fmt: skip


@given(st.lists(showings, max_size=5), st.lists(st.booleans(), min_size=5, max_size=5))
def test_some_slates_are_what_those_decisions_give(made: Sequence[Showing], chosen: list[bool]) -> None:
    kept = np.array(chosen[: len(made)], dtype=np.bool_)
    picked = Slates.of(made)[kept]
    alone = Slates.of([each for each, keep in zip(made, chosen, strict=False) if keep])
    assert len(picked) == len(alone) == kept.sum()
    assert list(picked.ids) == list(alone.ids)
    assert rows_of(picked) == rows_of(alone)
    assert picked.propensity.tolist() == alone.propensity.tolist()


def test_slates_go_to_the_key_that_their_shopper_is_read_as() -> None:
    made = [Showing(event_id=str(key), timestamp=0, user_key=key, slot="home", items=()) for key in (7, 2, 9)]
    assert Slates.of(made).read_as({9: 2, 8: 1}).user_key.tolist() == [7, 2, 2]
    assert Slates.of(made).read_as({}).user_key.tolist() == [7, 2, 9]


@given(st.lists(st.integers(-5, 5)), st.dictionaries(st.integers(-5, 5), st.integers()), st.integers(-99, 99))
def test_looking_up_is_a_dictionary(keys: list[int], found: dict[int, int], default: int) -> None:
    found = {key: value % 2**60 for key, value in found.items()}
    assert look_up(np.array(keys, dtype=np.int64), found, default).tolist() == [
        found.get(key, default) for key in keys
    ]
