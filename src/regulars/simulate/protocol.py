"""What the practice shop and a policy say to each other, and what a day leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Instants, Mask
from regulars.events.schema import ItemChange

Slot = Literal["home", "product"]


@dataclass(frozen=True)
class PolicyRequest:
    """Slates wanted at once, one a row."""

    day: int
    slot: Slot
    limit: int
    at: Instants
    shopper: Indices  # numbers of `World.shopper_ids`
    context_item: Indices  # the item looked at, -1 where none

    def __len__(self) -> int:
        return len(self.shopper)


@dataclass(frozen=True)
class PolicyAnswer:
    """The slates, one a row, in the order of the request."""

    items: Indices  # (n, limit) numbers of `World.item_ids`, -1 = nothing in this position
    recommendation_id: Sequence[str]  # may hold empty texts


Policy = Callable[[PolicyRequest], PolicyAnswer]
Record = Callable[[pa.Table], None]


@dataclass(frozen=True)
class DayStats:
    """What one day brought, one entry a visit unless said otherwise."""

    day: int
    shopper: Indices
    slates: Indices  # slates seen
    clicked_slates: Indices
    clicks: Indices  # on slates
    purchases: Indices  # items bought, with or without a slate
    slate_purchases: Indices
    spending: NDArray[np.int64]  # minor units
    lost: Mask  # left for good after this visit
    shown: Mask  # (n_items,) in a slate today
    item_changes: list[ItemChange]
