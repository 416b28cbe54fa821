"""The rules that decide which rows are read, as Ibis expressions over the lake's files and the journal's tail.

Every row gets one fate. Rows are counted by shopper and fate in one pass (`census`), and the kept ones come out
as numbers (`rows`): nothing but dense columns crosses from the query engine into numpy.

Measured on two cores over 10 million rows in 180 files: census 1.4 s, item ids 0.3 s, rows 3 to 6 s. Sorting
takes numpy 1.8 s and DuckDB, within 700 MB, 12 s, and a window needs such a sort. So rules that look at one row
at a time are expressions, and those that need the order of a shopper's rows (`sessions.py`, `refunds.py`) run on
the sorted columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import ibis

from regulars.core.data import EVENT_TYPES
from regulars.events.lake import INTERACTIONS

Table: TypeAlias = ibis.expr.types.Table

COLUMNS = (
    "offset", "user_key", "event_type", "timestamp", "item_id", "session_id", "quantity", "price", "order_id",
    "value", "recommendation_id",
)  # fmt: skip
# Rows are equal when these are; event_id, offset and received_at are not asked.
SAME = (*COLUMNS[1:], "currency", "text", "slot", "position", "properties")
KEPT, ERASED, COPY, NO_ITEM, IMPRESSION = range(5)
_LOG = ibis.Schema.from_pyarrow(INTERACTIONS)
_GONE = {"gone_key": "int64", "gone_at": "int64"}  # raw key of a forgotten shopper, instant of the tombstone
_PEOPLE = {"raw_key": "int64", "user_idx": "int64"}
_CATALOGUE = {"name": "string", "item_idx": "int32"}


@dataclass(frozen=True, slots=True)
class Queries:
    """SQL over the tables `tail`, `lake`, `gone`, `people` and `catalogue`."""

    census: str  # by raw user key and fate: n, first_offset, last_at, n_unpriced (purchases without a price)
    item_ids: str  # distinct item_id of the kept rows
    rows: str  # the kept rows of `people` and `catalogue` as numbers
    named: str  # recommendation_id, item_id, event_type, at: first click, view or impression that names a slate


@cache  # writing SQL takes Ibis a tenth of a second a query, and few logs differ in shape
def queries(*, lake: bool, gone: bool, drop_duplicates: bool) -> Queries:
    """What is asked of a log with or without files of a lake and forgotten shoppers."""
    events = _events(lake=lake, gone=gone, drop_duplicates=drop_duplicates)
    kept = events.filter(events.fate == KEPT)
    return Queries(
        census=_sql(_census(events)), item_ids=_sql(kept.select("item_id").distinct()), rows=_sql(_rows(kept)),
        named=_sql(_named(events)),
    )  # fmt: skip


def _events(*, lake: bool, gone: bool, drop_duplicates: bool) -> Table:
    """All rows, each with its `fate`."""
    names = SAME if drop_duplicates else COLUMNS[1:]
    rows = ibis.table(_LOG, name="tail").select("offset", *names)
    if lake:
        rows = rows.union(ibis.table(_LOG, name="lake").select("offset", *names))
    fates: list[tuple[Any, int]] = []
    if gone:
        rows = rows.left_join(ibis.table(_GONE, name="gone"), [("user_key", "gone_key")])
        fates.append((rows.timestamp <= rows.gone_at, ERASED))
    if drop_duplicates:
        rows = rows.mutate(copy=ibis.row_number().over(group_by=list(SAME), order_by=rows.offset))
        fates.append((rows.copy > 0, COPY))
    fates += [(rows.item_id == "", NO_ITEM), (rows.event_type == "impression", IMPRESSION)]
    return rows.mutate(fate=ibis.cases(*((when, ibis.literal(fate, "int8")) for when, fate in fates), else_=KEPT))


def _census(events: Table) -> Table:
    return events.group_by("user_key", "fate").aggregate(
        n=events.count(),
        first_offset=events.offset.min(),
        last_at=events.timestamp.max(),
        n_unpriced=((events.event_type == "purchase") & events.price.isnull()).sum(),
    )


def _rows(kept: Table) -> Table:
    """Joins of identities cost nothing extra: `people` maps raw keys to rows of users.

    Session and order ids become 64-bit hashes: they are only ever compared among one shopper's rows.
    """
    joined = kept.join(ibis.table(_PEOPLE, name="people"), [("user_key", "raw_key")])
    joined = joined.join(ibis.table(_CATALOGUE, name="catalogue"), [("item_id", "name")])
    double = joined.price.cast("float64") * joined.quantity.cast("float64")
    return joined.select(
        user_idx=joined.user_idx.cast("int32"),
        item_idx=joined.item_idx,
        kind=joined.event_type.cases(*((name, ibis.literal(code, "int8")) for code, name in enumerate(EVENT_TYPES))),
        at=joined.timestamp,
        offset=joined.offset,
        quantity=joined.quantity,
        value=double.round().cast("int64").fill_null(0),
        rating=joined.value,
        session_code=_code(joined.session_id),
        order_code=_code(joined.order_id),
        from_slate=joined.recommendation_id != "",
    )


def _named(events: Table) -> Table:
    naming = events.filter(
        events.fate.isin([KEPT, IMPRESSION])
        & (events.recommendation_id != "")
        & events.event_type.isin(["click", "view", "impression"])
    )
    return naming.group_by("recommendation_id", "item_id", "event_type").aggregate(at=naming.timestamp.min())


def _code(text: Any) -> Any:
    return ibis.ifelse(text == "", ibis.literal(0, "int64"), (text.hash() % 2**62).cast("int64") + 1)


def _sql(expression: Table) -> str:
    """SQL for DuckDB; ibis 12's own way there calls methods that DuckDB 2 no longer has."""
    return str(ibis.to_sql(expression, dialect="duckdb", pretty=False))
