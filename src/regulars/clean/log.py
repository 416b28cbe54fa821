"""The rows that the rules kept, in memory: cut to an instant and renumbered for the shoppers and items known then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from regulars.clean.engine import Columns
from regulars.core.clock import Instant
from regulars.core.data import Items, Users


@dataclass(frozen=True, slots=True)
class Log:
    """Kept rows sorted by (user_idx, at, offset), and what else one reading of the log found."""

    shoppers: Sequence[int]  # key of each `user_idx`
    item_ids: Sequence[str]  # id of each `item_idx`
    columns: Columns  # of `rules.Queries.rows`
    census: Columns  # of `rules.Queries.census`
    named: pa.Table  # of `rules.Queries.named`

    def up_to(self, instant: Instant) -> Log:
        """The rows at or before an instant."""
        rows = self.columns["at"] <= instant
        columns = {name: column[rows] for name, column in self.columns.items()}
        return replace(self, columns=columns, named=self.named.filter(pc.less_equal(self.named["at"], instant)))

    def items_met(self) -> list[str]:
        """Ids of the items with a row."""
        met = np.bincount(self.columns["item_idx"], minlength=len(self.item_ids)) > 0
        return [self.item_ids[idx] for idx in np.flatnonzero(met).tolist()]

    def first_offsets(self) -> Iterator[tuple[int, int]]:
        """(shopper, journal offset of their first row) of everybody with a row."""
        user_idx = self.columns["user_idx"]
        starts = np.flatnonzero(np.diff(user_idx, prepend=-1))
        if not len(starts):
            return
        first = np.minimum.reduceat(self.columns["offset"], starts)
        for idx, offset in zip(user_idx[starts].tolist(), first.tolist(), strict=True):
            yield self.shoppers[idx], offset

    def indexed_by(self, users: Users, items: Items) -> Columns:
        """The columns with the indices of `users` and `items`, sorted by (user_idx, at, offset)."""
        user_idx = users.keys.index(self.shoppers, "skip")[self.columns["user_idx"]]
        item_idx = items.ids.index(self.item_ids, "skip")[self.columns["item_idx"]]
        columns = {**self.columns, "user_idx": user_idx, "item_idx": item_idx}
        if (user_idx[1:] >= user_idx[:-1]).all():
            return columns
        order = np.argsort(user_idx, kind="stable")
        return {name: column[order] for name, column in columns.items()}


def sorted_rows(columns: Columns) -> Columns:
    """Rows by (user_idx, at, offset); columns move one by one, so that none but one stands twice in memory."""
    order = np.lexsort((columns["offset"], columns["at"], columns["user_idx"]))
    return {name: columns.pop(name)[order] for name in list(columns)}
