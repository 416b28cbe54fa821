"""Decisions as columns: what was shown to whom, when and where, without scores and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Mask
from regulars.core.clock import Instant
from regulars.core.data import IdMap
from regulars.events.schema import Decision

Numbers = NDArray[np.int64]


class Place(msgspec.Struct, frozen=True, gc=False):
    """One position of a slate: which item stood where."""

    item_id: str
    position: int
    propensity: float


class Showing(msgspec.Struct, frozen=True, gc=False, tag="decision"):
    """What of a Decision says who saw what and when.

    A Decision carries scores and reasons for every item: with 30,000 slates of ten, decoding no more than this
    halves the time of a whole `build_dataset`.
    """

    event_id: str
    timestamp: Instant
    user_key: int
    slot: str
    items: tuple[Place, ...]


@dataclass(frozen=True)
class Slates:
    """One entry a slate `(n,)`, in the order given, and one row an item in it `(n_rows,)`, in order of slates."""

    ids: Sequence[str]  # of the recommendations
    at: Numbers
    user_key: Numbers
    slot: Sequence[str]
    slate_idx: Numbers  # (n_rows,) slate of each row
    items: IdMap[str]  # every item ever shown
    item_idx: NDArray[np.int32]
    position: NDArray[np.int16]
    propensity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, decisions: Sequence[Decision | Showing]) -> Self:
        """Lay out decisions in their order."""
        lengths = np.array([len(each.items) for each in decisions], dtype=np.int64)
        names = [place.item_id for each in decisions for place in each.items]
        items = IdMap(dict.fromkeys(names))
        return cls(
            ids=[each.event_id for each in decisions],
            at=np.array([each.timestamp for each in decisions], dtype=np.int64),
            user_key=np.array([each.user_key for each in decisions], dtype=np.int64),
            slot=[each.slot for each in decisions],
            slate_idx=np.repeat(np.arange(len(decisions)), lengths),
            items=items,
            item_idx=items.index(names),
            position=np.array([place.position for each in decisions for place in each.items], dtype=np.int16),
            propensity=np.array([place.propensity for each in decisions for place in each.items], dtype=np.float64),
        )

    def __getitem__(self, kept: Mask) -> Slates:
        """Keep some slates, with their rows; `items` stays as it is."""
        places, rows = np.flatnonzero(kept).tolist(), kept[self.slate_idx]
        return Slates(
            ids=[self.ids[place] for place in places],
            at=self.at[kept],
            user_key=self.user_key[kept],
            slot=[self.slot[place] for place in places],
            slate_idx=(np.cumsum(kept) - 1)[self.slate_idx[rows]],
            items=self.items,
            item_idx=self.item_idx[rows],
            position=self.position[rows],
            propensity=self.propensity[rows],
        )

    def read_as(self, canonical: Mapping[int, int]) -> Slates:
        """Give slates to the keys that their shoppers are read as."""
        return replace(self, user_key=look_up(self.user_key, canonical, self.user_key))


def look_up(keys: Numbers, found: Mapping[int, int], default: Any) -> Numbers:
    """`found[key]` for each key, `default` (a number, or one for each key) where it is not in there."""
    if not found:
        return np.broadcast_to(np.asarray(default, dtype=np.int64), keys.shape)
    pairs = np.array(sorted(found.items()), dtype=np.int64)
    place = np.minimum(np.searchsorted(pairs[:, 0], keys), len(pairs) - 1)
    return np.asarray(np.where(pairs[place, 0] == keys, pairs[place, 1], default), dtype=np.int64)
