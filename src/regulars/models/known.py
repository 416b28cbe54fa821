"""Ids in, ids out: how `fit` takes a table, and `recommend` answers those whose shoppers and items have ids.

Models themselves know indices alone. What a table called them, and its log, is kept beside what was learned, so that
`recommend(users=[...])` can look a shopper's history up.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regulars.core.arrays import Indices
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories, IdMap, Names
from regulars.core.errors import InputError, RowsLeftOut
from regulars.core.topk import NOTHING, top_k

if TYPE_CHECKING:
    from regulars.models.base import Model

NAMES = "names.json"
ROLES = ("user", "item", "time", "weight")
LOG = ("user_idx", "item_idx", "kind", "at", "weight")  # columns of the log that are saved


def is_table(data: Any) -> bool:
    """Whether it has named columns, told without importing any library of frames."""
    return isinstance(data, Mapping) or any(hasattr(data, way) for way in ("__arrow_c_stream__", "__dataframe__"))


def dataset_from(data: Any) -> Dataset:
    """What a model may be fitted on: a Dataset, a table with ids, or a plain users x items matrix."""
    if isinstance(data, Dataset):
        return data
    if is_table(data):
        from regulars.frames import dataset_of

        return dataset_of(data)
    return Dataset.from_matrix(data)


@dataclass(frozen=True)
class Known:
    """The shoppers and items of a fit by their ids, and what these shoppers did."""

    data: Dataset
    names: Names

    @classmethod
    def of(cls, data: Dataset) -> Known | None:
        """None where the Dataset has no ids of its own."""
        return None if data.names is None else cls(data, data.names)

    def recommend(
        self, model: Model, users: Any, histories: Any, k: int, *, exclude_seen: bool, now: Instant | None
    ) -> Any:
        """An Arrow table of shopper, item, score and rank, for shoppers known or new; see `Model.recommend`."""
        who, given = self._known(users) if histories is None else self._new(histories)
        at = now if now is not None else max(self.data.as_of, int(given.at.max(initial=0)))
        rows, items, scores = [], [], []
        for start, batch in model.batches(given):
            scored = model.score(batch, at)
            if exclude_seen:
                seen = np.repeat(np.arange(len(batch)), np.diff(batch.user_items.indptr))
                scored[seen, batch.user_items.indices] = NOTHING
            best, worth = top_k(scored, k)
            rows.append(np.repeat(np.arange(start, start + len(batch)), best.shape[1]))
            items.append(best.ravel())
            scores.append(worth.ravel())
        return self._table(who, np.concatenate(rows), np.concatenate(items), np.concatenate(scores), k)

    def _table(self, who: Sequence[Any], rows: Any, items: Any, scores: Any, k: int) -> Any:
        import pyarrow as pa

        def column(ids: Sequence[Any]) -> Any:
            try:
                return pa.array(ids)
            except OverflowError:  # hashes of 64 bits without a sign
                return pa.array(ids, pa.uint64())

        ranks = (np.arange(len(rows)) % k + 1).astype(np.int32)
        there = items >= 0
        columns = [
            column(who).take(pa.array(rows[there])), column(self.names.items.ids).take(pa.array(items[there])),
            pa.array(scores[there]), pa.array(ranks[there]),
        ]  # fmt: skip
        return pa.Table.from_arrays(columns, names=[self.names.user, self.names.item, "score", "rank"])

    def _known(self, users: Any) -> tuple[Sequence[Any], Histories]:
        ids = plain(users)
        found = index(self.names.users, ids, "users")
        if (found < 0).any():
            first = ids[int(np.argmax(found < 0))]
            raise InputError("users", got=f"{int((found < 0).sum()):,} unknown ids, the first {first!r}",
                             wanted=f"shoppers of the fit ({len(self.names.users)})",
                             remedy="For others, say what they took: histories=...")  # fmt: skip
        return ids, self.data.histories(found)

    def _new(self, histories: Any) -> tuple[Sequence[Any], Histories]:
        """Shoppers by what they took: a table like that of the fit, or a list of item ids for each, oldest first."""
        if is_table(histories):
            return self._told(histories)
        if isinstance(histories, str):
            raise InputError("histories", got=repr(histories), wanted="a list of item ids for each shopper")
        sequences = [index(self.names.items, plain(each), "histories") for each in histories]
        self._check_items(np.concatenate([np.zeros(0, dtype=np.int32), *sequences]))
        kept = [each[each >= 0] for each in sequences]
        at = [self.data.as_of - len(each) + np.arange(len(each)) for each in kept]  # a moment ago
        return range(len(kept)), Histories.from_sequences(kept, len(self.names.items), at=at)

    def _told(self, table: Any) -> tuple[Sequence[Any], Histories]:
        """The shoppers of a table, read by the columns of the fit where it has them."""
        from regulars.frames import columns_of, dataset_of

        there = columns_of(table, "histories")

        def column(name: str | None) -> str | None:
            """As at the fit: the same column, or none; another one by the usual words where it is not there."""
            return "" if name is None else name if name in there else None

        fit = self.names
        told = dataset_of(table, user=column(fit.user), item=column(fit.item), time=column(fit.time),
                          weight=column(fit.weight))  # fmt: skip
        names, rows = told.names or self.names, told.interactions
        items = self.names.items.index(names.items.ids, "skip")[rows.item_idx]
        self._check_items(items)
        kept = items >= 0
        given = Dataset.from_events(rows.user_idx[kept], items[kept], (len(told.users), len(self.names.items)),
                                    at=rows.at[kept], weight=rows.weight[kept])  # fmt: skip
        return names.users.ids, given.histories()

    def _check_items(self, items: Indices) -> None:
        """Nothing was learned of items that are new: warn of some, refuse where all are, as ids of another type."""
        new = int((items < 0).sum())
        if new and new == len(items):
            raise InputError("histories", got=f"{new} items, none of them known",
                             wanted=f"ids of the fit, such as {self.names.items[0]!r}")  # fmt: skip
        if new:
            warnings.warn(f"histories: {new:,} of {len(items):,} items left out, unknown at the fit", RowsLeftOut,
                          stacklevel=6)  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write ids and log beside what the model learned."""
        names = {"users": list(self.names.users.ids), "items": list(self.names.items.ids)}
        about = {role: getattr(self.names, role) for role in ROLES} | {"as_of": self.data.as_of}
        (folder / NAMES).write_text(json.dumps(about | names, ensure_ascii=False), encoding="utf-8")
        for name in LOG:
            np.save(folder / f"log.{name}.npy", getattr(self.data.interactions, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Known:
        """Read what `save` wrote."""
        about = json.loads((folder / NAMES).read_text(encoding="utf-8"))
        log = {name: np.load(folder / f"log.{name}.npy", allow_pickle=False) for name in LOG}
        names = Names(IdMap(about["users"]), IdMap(about["items"]), **{role: about[role] for role in ROLES})
        data = Dataset.from_events(log["user_idx"], log["item_idx"], (len(names.users), len(names.items)),
                                   at=log["at"], weight=log["weight"], kind=log["kind"])  # fmt: skip
        return cls(replace(data, as_of=about["as_of"], names=names), names)


def index(known: IdMap[Any], ids: Sequence[Any], where: str) -> Indices:
    """Indices of ids, -1 for those that are new."""
    try:
        return known.index(ids, "skip")
    except TypeError as error:
        raise InputError(where, got=str(error), wanted="ids: texts or whole numbers") from error


def plain(ids: Any) -> list[Any]:
    """Ids of a list, a column or an array, one alone too, as Python has them."""
    if isinstance(ids, (str, int, np.generic)):
        ids = [ids]
    for way in ("to_pylist", "tolist", "to_list"):
        if hasattr(ids, way):
            return list(getattr(ids, way)())
    return [each.item() if isinstance(each, np.generic) else each for each in ids]
