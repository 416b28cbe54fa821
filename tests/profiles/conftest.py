"""Streams of events, folded in both ways: one by one, and through the cleaning of the whole."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from regulars.clean.dataset import Cleaning
from regulars.core.arrays import Matrix
from regulars.core.clock import DAY, MINUTE, Instant
from regulars.core.data import Dataset, IdMap
from regulars.core.settings import Settings
from regulars.events.journal import Journal
from regulars.events.lake import table_of
from regulars.events.schema import (
    Decision,
    Event,
    Identify,
    Interaction,
    Item,
    ItemChange,
    Reason,
    SlateItem,
    Tombstone,
    UserChange,
)
from regulars.events.snapshot import Snapshot
from regulars.profiles.live import Live

T0 = 20_000 * DAY + 7 * 60 * MINUTE
ITEMS = ("a", "b", "c", "d")
Numbered = list[tuple[int, Event]]
SETTINGS = Settings().change(train={"threads": 1}, shop={"timezone": "Asia/Kolkata"})
_ids = itertools.count()


def act(user: int, kind: str, item: str, at: int, **more: Any) -> Interaction:
    """An interaction `at` microseconds after T0."""
    return Interaction(
        event_id=f"e{next(_ids)}", user_key=user, event_type=cast(Any, kind), item_id=item, timestamp=T0 + at, **more
    )


def changed(item_id: str, at: int, *, deleted: bool = False, **more: Any) -> ItemChange:
    item = Item(item_id=item_id, **more)
    return ItemChange(event_id=f"e{next(_ids)}", timestamp=T0 + at, item=item, deleted=deleted)


def joined(key: int, other: int, at: int) -> Identify:
    return Identify(event_id=f"e{next(_ids)}", timestamp=T0 + at, user_key=key, other_key=other)


def forgotten(key: int, at: int) -> Tombstone:
    return Tombstone(event_id=f"e{next(_ids)}", timestamp=T0 + at, user_key=key)


def told(key: int, at: int, links: Sequence[int] = (), **attributes: Any) -> UserChange:
    return UserChange(
        event_id=f"e{next(_ids)}", timestamp=T0 + at, user_key=key, attributes=attributes, links=tuple(links)
    )


def slate(user: int, items: Sequence[str], at: int, rec_id: str = "") -> Decision:
    entries = tuple(
        SlateItem(item_id=name, score=1.0, position=place, propensity=1.0, source="popular",
                  reason=Reason(kind="popular", text="popular"))
        for place, name in enumerate(items)
    )  # fmt: skip
    return Decision(
        event_id=rec_id or f"r{next(_ids)}", timestamp=T0 + at, user_key=user, slot="home", policy="slate",
        model_version="v1", settings_hash="", items=entries, n_candidates=len(entries),
    )  # fmt: skip


def numbered(events: Sequence[Event], after: int = 0) -> Numbered:
    """Journal rows of these events."""
    return list(enumerate(events, after + 1))


def clean(rows: Numbered, settings: Settings = SETTINGS, as_of: Instant | None = None) -> Dataset:
    """The Dataset of these journal rows."""
    acts = [(offset, event.timestamp, event) for offset, event in rows if isinstance(event, Interaction)]
    others = tuple((offset, event) for offset, event in rows if not isinstance(event, Interaction))
    snapshot = Snapshot(len(rows), (), table_of(acts), (), others)
    journal = SimpleNamespace(home=Path("unused"), snapshot=lambda: snapshot)
    cleaning = Cleaning(cast(Journal, journal), settings)
    return cleaning.whole()[0] if as_of is None else cleaning.as_of(as_of)


def batch(rows: Numbered, settings: Settings = SETTINGS) -> Live:
    """The batch fold of these journal rows."""
    records = [event for _, event in rows if isinstance(event, ItemChange | Identify | Tombstone)]
    last = rows[-1][0] if rows else 0
    return Live.from_dataset(clean(rows, settings), settings, offset=last, records=records)


def live(rows: Numbered, settings: Settings = SETTINGS, start: Live | None = None) -> Live:
    """The live fold of these journal rows."""
    state = Live(settings) if start is None else start
    for offset, event in rows:
        state.apply(offset, event)
    return state


def differences(one: Live, other: Live, keys: Sequence[int], now: Instant) -> list[str]:
    """In what two live states differ for these shoppers, as far as readers can tell."""
    items, found = IdMap(ITEMS), []
    for key in keys:
        left, right = (msgspec.to_builtins(state.profile(key, now)) for state in (one, other))
        found += [f"{key}.{name}: {left[name]} {right[name]}" for name in left if not _close(left[name], right[name])]
    mine, theirs = (state.histories(keys, items, now) for state in (one, other))
    if not np.allclose(mine.user_items.toarray(), theirs.user_items.toarray(), rtol=1e-4, atol=1e-7):
        found.append(f"weights: {mine.user_items.toarray()} {theirs.user_items.toarray()}")
    left, right = (_dense(each.friend_items, each.user_items.shape) for each in (mine, theirs))
    if not np.allclose(left, right, rtol=1e-4, atol=1e-7):
        found.append(f"friends: {left} {right}")
    for name in ("indptr", "item_idx", "kind", "at"):
        if not np.array_equal(getattr(mine, name), getattr(theirs, name)):
            found.append(f"{name}: {getattr(mine, name)} {getattr(theirs, name)}")
    shown = [_shown_table(state, keys, items, now) for state in (one, other)]
    return found + ([f"shown: {shown}"] if shown[0] != shown[1] else [])


def _dense(matrix: Matrix | None, shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.zeros(shape, dtype=np.float32) if matrix is None else np.asarray(matrix.toarray())


def _close(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_close(left[name], right[name]) for name in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(_close, left, right))
    return bool(left == pytest.approx(right, rel=1e-4, abs=1e-9) if isinstance(left, float) else left == right)


def _shown_table(state: Live, keys: Sequence[int], items: IdMap[str], now: Instant) -> list[dict[int, int]]:
    indptr, item_idx, times = state.shown(keys, items, now)
    return [
        dict(zip(item_idx[low:high].tolist(), times[low:high].tolist(), strict=True))
        for low, high in itertools.pairwise(indptr)
    ]


KINDS = ("view", "click", "add_to_cart", "purchase", "purchase", "purchase", "refund", "refund", "rating",
         "wishlist", "dislike", "impression")  # fmt: skip
MINUTES = st.integers(0, 400).map(lambda ten: ten * 10 * MINUTE)
interactions = st.builds(
    act, st.integers(1, 3), st.sampled_from(KINDS), st.sampled_from(ITEMS), MINUTES,
    quantity=st.sampled_from((1.0, 2.0, 3.0)), price=st.none() | st.integers(1, 500),
    order_id=st.sampled_from(("", "", "o1", "o2", "o3")), session_id=st.sampled_from(("", "", "s1", "s2")),
)  # fmt: skip
searches = st.builds(act, st.integers(1, 3), st.just("search"), st.just(""), MINUTES)
changes = st.builds(
    changed, st.sampled_from(ITEMS), MINUTES, deleted=st.booleans(), brand=st.sampled_from(("", "x", "y")),
    category=st.sampled_from(((), ("tea",), ("tea", "green"))), price=st.none() | st.integers(1, 500),
)  # fmt: skip
slates = st.builds(slate, st.integers(1, 3), st.lists(st.sampled_from(ITEMS), min_size=1, unique=True), MINUTES)
identifies = st.builds(joined, st.integers(1, 3), st.integers(1, 3), MINUTES)
tombstones = st.builds(forgotten, st.integers(1, 3), MINUTES)
tellings = st.builds(
    told, st.integers(1, 3), MINUTES, st.lists(st.sampled_from((1, 2, 3, 99)), max_size=3), city=st.sampled_from("xy")
)
anything = st.one_of(*[interactions] * 8, searches, changes, slates, identifies, tombstones, tellings)
streams = st.lists(anything, max_size=40)


@pytest.fixture(scope="session")
def shop() -> Any:
    """The helpers of this file, as one object."""
    names = ("T0", "SETTINGS", "ITEMS", "act", "changed", "joined", "forgotten", "told", "slate", "numbered", "clean",
             "batch", "live", "differences", "streams", "interactions")  # fmt: skip
    return SimpleNamespace(**{name: globals()[name] for name in names})
