"""Row `dataset` of the `stages` bench: lake files of a made-up shop -> Dataset, in a process of its own.

The log is made with numpy: 100,000 shoppers, 20,000 items, 180 days, string ids as shops have them, sessions of
about five events, orders, and refunds of what was bought the day before. Making it is not measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from regulars.clean.dataset import build_dataset
from regulars.core.clock import DAY, MINUTE
from regulars.core.settings import Settings
from regulars.events.journal import Journal
from regulars.events.lake import INTERACTIONS
from regulars.events.snapshot import Snapshot

N_USERS, N_ITEMS, N_DAYS = 100_000, 20_000, 180
T0 = 20_000 * DAY
KINDS = np.array(["view", "click", "add_to_cart", "purchase", "refund", "search"])
SHARES = [0.62, 0.12, 0.12, 0.10, 0.0, 0.04]
PURCHASE, REFUND, SEARCH = 3, 4, 5
REFUNDED = 0.05  # of the purchases of the day before


@dataclass(frozen=True)
class MadeUpShop:
    """Stands in for a journal: all rows are in the lake, none in the tail."""

    home: Path

    def snapshot(self) -> Snapshot:
        """All files of the folder."""
        files = tuple(str(path) for path in sorted((self.home / "lake").glob("*.parquet")))
        return Snapshot(offset=0, files=files, tail=INTERACTIONS.empty_table(), record_files=(), tail_records=())


def make_lake(folder: Path, events: int, seed: int = 0) -> None:
    """Write one Parquet file a day, as compaction does."""
    rng = np.random.default_rng(seed)
    keys = rng.integers(1, 2**63 - 1, N_USERS)
    folder.mkdir(parents=True)
    bought: dict[str, Any] = {name: np.zeros(0, dtype=np.int64) for name in ("user", "item", "session", "price")}
    first = 1
    for day in range(N_DAYS):
        n_rows = events // N_DAYS + (day < events % N_DAYS)
        rows = _day(rng, day, n_rows, bought)
        picked = rows["kind"] == PURCHASE
        bought = {name: rows[name][picked] for name in bought}
        table = _table(rows, keys, first).sort_by([("user_key", "ascending"), ("timestamp", "ascending")])
        pq.write_table(table, folder / f"{day:04d}.parquet", compression="zstd", row_group_size=65_536)
        first += n_rows


def _day(rng: np.random.Generator, day: int, n_rows: int, bought: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of one day: about five events a session, a minute or so apart, and refunds of the day before."""
    n_sessions = n_rows // 5 + 1
    session = np.sort(rng.integers(0, n_sessions, n_rows))
    user = (N_USERS * rng.beta(0.8, 2, n_sessions)).astype(np.int64)[session]
    start = rng.integers(0, DAY - 60 * MINUTE, n_sessions)[session]
    within = np.arange(n_rows) - np.searchsorted(session, session)
    item = (N_ITEMS * rng.beta(0.5, 4, n_rows)).astype(np.int64)
    rows = {
        "kind": rng.choice(len(KINDS), n_rows, p=SHARES), "user": user, "item": item,
        "session": session + day * n_rows, "price": 100 + item * 37 % 9000,
        "at": T0 + day * DAY + start + within * MINUTE + rng.integers(0, MINUTE, n_rows),
    }  # fmt: skip
    back = np.flatnonzero(rng.random(len(bought["user"])) < REFUNDED)
    places = rng.choice(n_rows, min(len(back), n_rows), replace=False)
    for name in bought:
        rows[name][places] = bought[name][back[: len(places)]]
    rows["kind"][places] = REFUND
    return rows


def _table(rows: Mapping[str, Any], keys: Any, first: int) -> pa.Table:
    n_rows, kind = len(rows["kind"]), rows["kind"]
    offset = np.arange(first, first + n_rows)
    session, empty = _named("s-", rows["session"]), pa.array(np.full(n_rows, ""))
    ordered = (kind == PURCHASE) | (kind == REFUND)
    columns = {
        "offset": offset, "received_at": rows["at"], "event_id": _named("e-", offset), "user_key": keys[rows["user"]],
        "event_type": KINDS[kind], "timestamp": rows["at"],
        "item_id": pc.if_else(pa.array(kind == SEARCH), "", _named("sku-", rows["item"])), "session_id": session,
        "quantity": np.ones(n_rows, dtype=np.float32), "price": rows["price"],
        "currency": pa.array(np.full(n_rows, "USD")),
        "order_id": pc.if_else(pa.array(ordered), _named("order-", rows["session"]), ""),
        "value": pa.nulls(n_rows, pa.float32()), "text": empty,
        "recommendation_id": pc.if_else(pa.array(offset % 20 == 0), session, ""), "slot": empty,
        "position": pa.nulls(n_rows, pa.int16()), "properties": empty,
    }  # fmt: skip
    return pa.Table.from_arrays([pa.array(columns[f.name], f.type) for f in INTERACTIONS], schema=INTERACTIONS)


def _named(prefix: str, numbers: Any) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pc.cast(pa.array(numbers), pa.string()), "")


def measure(events: int = 10_000_000) -> dict[str, Any]:
    """The row: seconds of `build_dataset`, and the peak resident memory of its whole process in MB."""
    with tempfile.TemporaryDirectory() as home:
        make_lake(Path(home) / "lake", events)
        command = [sys.executable, str(Path(__file__).resolve()), home]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def peak_mb() -> float:
    """Peak resident memory of this program in MB; `ru_maxrss` would count the parent's pages before exec too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def build(home: Path) -> dict[str, Any]:
    """Build the Dataset of this home in this process."""
    data, report = build_dataset(cast(Journal, MadeUpShop(home)), Settings())
    return {
        "model": "dataset", "by": "ours", "subset": "all", "events": report.rows_in, "rows": report.rows_out,
        "users": data.shape[0], "items": data.shape[1], "sessions": int(data.interactions.session_idx.max()) + 1,
        "refunds": report.rule("refunds").touched, "seconds": round(report.seconds, 3),
        "peak_mb": round(peak_mb()),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(build(Path(sys.argv[1]))))
