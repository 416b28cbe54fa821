"""`build_dataset`: from journal and lake to everything a model may learn from, as it was known at an instant."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from regulars.clean import engine, rules
from regulars.clean.engine import Columns
from regulars.clean.features import item_features, user_features
from regulars.clean.log import Log, sorted_rows
from regulars.clean.records import Records, read_known, records_as_of
from regulars.clean.refunds import Netting, net_refunds
from regulars.clean.report import CleanReport, RuleCount
from regulars.clean.sessions import number_orders, number_sessions
from regulars.clean.shown import shown_items
from regulars.clean.weights import event_weights
from regulars.core.arrays import Floats
from regulars.core.clock import Instant
from regulars.core.data import Dataset, IdMap, Interactions
from regulars.core.settings import CleanSettings, Settings
from regulars.events.schema import Event, Identify, ItemChange, Tombstone
from regulars.events.slates import Slates

if TYPE_CHECKING:
    from regulars.events.journal import Journal


class Cleaning:
    """One consistent view of the log, read once, from which Datasets of several instants can be cut."""

    def __init__(self, journal: Journal, settings: Settings) -> None:
        self._settings, self._scratch = settings, journal.home / "tmp"
        self._snapshot = journal.snapshot()
        self._known = read_known(self._snapshot)

    @property
    def offset(self) -> int:
        """The last journal row of this view."""
        return self._snapshot.offset

    def changes(self) -> list[Event]:
        """Item, identify and tombstone events of this view, in journal order: what a live state starts from."""
        return [each for _, each in self._known.changes if isinstance(each, ItemChange | Identify | Tombstone)]

    def slates(self, since: Instant) -> Slates:
        """What was shown after an instant, but to shoppers who are forgotten; to raw keys, oldest first."""
        return self._known.slates[self._known.slates.at > since]

    def interactions(self, columns: Sequence[str], since: Instant) -> pa.Table:
        """Some columns of all rows later than an instant, as they are in the log, in no particular order."""
        return self._snapshot.interactions(columns, since=since)

    @property
    def canonical(self) -> Mapping[int, int]:
        """Raw key -> the key it is read as, for every key that was joined away."""
        return self._known.canonical

    def whole(self) -> tuple[Dataset, CleanReport]:
        """Everything, as of the last interaction, and what each rule did to it.

        Items are sorted by id, shoppers by their first journal offset. Raises `StorageError` where the lake cannot
        be read.
        """
        started = time.perf_counter()
        records = self._everything
        instant = int(self._log.census["last_at"].max(initial=0)) or records.last_at
        dataset, netting = self._cut(records, self._log, instant)
        counts = _count_rules(self._log.census, records, dataset.interactions, netting)
        rows_in, seconds = int(self._log.census["n"].sum()), time.perf_counter() - started
        return dataset, CleanReport(counts, rows_in, len(dataset.interactions), seconds, self.offset)

    def as_of(self, instant: Instant) -> Dataset:
        """What was known at an instant: no later event, price, text, stock or attribute enters.

        Which keys are one shopper, and whom to forget, is taken as it is known now.
        """
        return self._cut(records_as_of(self._known, instant), self._log.up_to(instant), instant)[0]

    def _cut(self, records: Records, log: Log, instant: Instant) -> tuple[Dataset, Netting]:
        items = item_features(records, log.items_met())
        users = user_features(records, _by_first_offset(log.first_offsets(), records))
        columns = log.indexed_by(users, items)
        interactions, netting = _interactions(columns, self._settings.clean, instant)
        return Dataset(
            instant, users, items, interactions, shown_items(records.slates, users, items, log.named)
        ), netting

    @cached_property
    def _everything(self) -> Records:
        return records_as_of(self._known, None)

    @cached_property
    def _log(self) -> Log:
        settings, records = self._settings, self._everything
        source = engine.Source(
            self._snapshot.files, self._snapshot.tail, records.gone, settings.clean.drop_duplicates
        )
        with engine.duckdb_within(settings, self._scratch) as connection:
            ask = engine.opened(connection, source)
            census = engine.columns_of(connection, ask.census)
            kept = census["fate"] == rules.KEPT
            raw, first = census["user_key"][kept].tolist(), census["first_offset"][kept].tolist()
            shoppers = IdMap(_by_first_offset(zip(map(records.canonical_key, raw), first, strict=True), records))
            user_idx = {key: shoppers.get(records.canonical_key(key)) for key in raw}
            item_ids = sorted(connection.sql(ask.item_ids).to_arrow_table().column("item_id").to_pylist())
            columns = engine.read_rows(connection, ask.rows, user_idx, item_ids, int(census["n"][kept].sum()))
            named = connection.sql(ask.named).to_arrow_table()
        return Log(shoppers.ids, item_ids, sorted_rows(columns), census, named)


def build_dataset(journal: Journal, settings: Settings) -> tuple[Dataset, CleanReport]:
    """Build one Dataset from everything that the journal holds now; see `Cleaning.whole`."""
    return Cleaning(journal, settings).whole()


def _by_first_offset(met: Iterable[tuple[int, int]], records: Records) -> list[int]:
    """Shoppers with a row, a change or a decision, by the first journal offset of any; `met`: (shopper, offset)."""
    first = dict(records.first_offset)
    for shopper, offset in met:
        first[shopper] = min(offset, first.get(shopper, offset))
    return sorted(first, key=first.__getitem__)


def _interactions(columns: Columns, clean: CleanSettings, now: Instant) -> tuple[Interactions, Netting]:
    """Sessions, baskets, net quantities and weights over the sorted rows."""
    del columns["offset"]
    user_idx, item_idx, kind, at = (columns[name] for name in ("user_idx", "item_idx", "kind", "at"))
    session_idx = number_sessions(user_idx, at, columns.pop("session_code"), int(clean.session_gap))
    order_code = columns.pop("order_code")
    order_idx = number_orders(user_idx, kind, order_code, session_idx)
    gross = columns.pop("quantity")
    netting = net_refunds(user_idx, item_idx, kind, gross, order_code)
    weight = event_weights(kind, at, now, clean)
    weight *= _share_kept(gross, netting.quantity)
    interactions = Interactions(
        **columns, weight=weight, quantity=netting.quantity, session_idx=session_idx, order_idx=order_idx
    )
    return interactions, netting


def _share_kept(gross: Floats, net: Floats) -> Floats:
    """The part of each quantity that was not given back, 1 where none was."""
    share = np.ones(len(gross), dtype=np.float32)
    return np.divide(net, gross, out=share, where=net != gross)


def _count_rules(
    census: Columns, records: Records, interactions: Interactions, netting: Netting
) -> tuple[RuleCount, ...]:
    by_fate = np.bincount(census["fate"], weights=census["n"], minlength=5).astype(np.int64).tolist()
    kept = census["fate"] == rules.KEPT
    joined = np.isin(census["user_key"], list(records.canonical)) & kept
    n_sessions = int(interactions.session_idx.max(initial=-1)) + 1
    erased, copies = by_fate[rules.ERASED], by_fate[rules.COPY]
    no_item, impressions = by_fate[rules.NO_ITEM], by_fate[rules.IMPRESSION]
    refunds = netting.matched + netting.unmatched
    unpriced = int(census["n_unpriced"][kept].sum())
    return (
        RuleCount("tombstones", erased, erased, f"rows of {len(set(records.gone))} forgotten keys"),
        RuleCount("duplicates", copies, copies, "rows equal in everything but their id"),
        RuleCount("searches", no_item, no_item, "rows without an item"),
        RuleCount("impressions", impressions, impressions, "rows that only say what was seen"),
        RuleCount("identities", int(census["n"][joined].sum()), 0, "rows read as another key of the same shopper"),
        RuleCount("money", unpriced, 0, "purchases without a price"),
        RuleCount("sessions", len(interactions), 0, f"rows in {n_sessions} sessions"),
        RuleCount("refunds", refunds, 0, f"refunds, {netting.unmatched} of them without their purchase"),
    )
