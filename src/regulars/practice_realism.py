"""How like real shops a practice shop is: its log beside two public ones, computed when asked, nothing stored.

Every log is cut to its last `DAYS` days, because a longer window shows more and longer gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from regulars.core.clock import DAY
from regulars.core.errors import InputError
from regulars.simulate.presets import preset as preset_of
from regulars.simulate.realism import Funnel, RepeatGaps, Skew, funnel, repeat_gaps, skew
from regulars.simulate.shop import Shop
from regulars.simulate.world import World

DAYS = 90
SEED = 0
PURCHASES = Path("online_retail_0910") / "transactions.parquet"
BEHAVIOUR = Path("retailrocket_mb") / "events.parquet"
KINDS = {"view": "view", "cart": "add_to_cart", "buy": "purchase"}  # retailrocket_mb's words -> ours


@dataclass(frozen=True)
class Log:
    """Who did what with which item, and when; arrays `(n,)`."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    kind: NDArray[np.str_]
    at: NDArray[np.int64]

    def keep(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Log:
        """Some of the rows."""
        return Log(self.user[rows], self.item[rows], self.kind[rows], self.at[rows])

    def last_days(self, days: int) -> Log:
        """The last days of the log."""
        return self.keep(self.at > self.at.max(initial=0) - days * DAY)

    def purchases(self) -> Log:
        """Purchases alone."""
        return self.keep(self.kind == "purchase")

    def distinct(self) -> Log:
        """Buyers alone, and each (user, item, kind) once: the form in which retailrocket_mb is published."""
        buyers = self.keep(np.isin(self.user, self.user[self.kind == "purchase"]))
        kind = np.unique(buyers.kind, return_inverse=True)[1]
        rows = np.unique(np.stack((buyers.user, buyers.item, kind)), axis=1, return_index=True)[1]
        return buyers.keep(rows)


@dataclass(frozen=True)
class Realism:
    """The practice shop's figures beside those of the real logs."""

    preset: str
    gaps: dict[str, RepeatGaps]  # purchases only: name of the log -> figures
    bought: dict[str, Skew]
    touched: dict[str, Skew]  # buyers' views, carts and purchases, each (user, item, kind) once
    funnels: dict[str, Funnel]

    def to_json(self) -> dict[str, Any]:
        """Plain values; where nobody repeats the quartiles are None."""
        values = asdict(self)
        for row in values["gaps"].values():
            row["quartiles"] = [None if np.isnan(days) else days for days in row["quartiles"]]
        for name, steps in self.funnels.items():
            values["funnels"][name] |= {
                "carts_per_view": steps.carts_per_view,
                "purchases_per_cart": steps.purchases_per_cart,
            }
        return {"days": DAYS, **values}

    def text(self) -> str:
        """For people: two tables."""
        purchases = [
            (
                name,
                f"{gaps.repeat_share:.0%}",
                "/".join(f"{days:.0f}" for days in gaps.quartiles),
                *_skew_cells(self.bought[name]),
            )
            for name, gaps in self.gaps.items()
        ]
        steps = [
            (name, f"{found.carts_per_view:.3f}", f"{found.purchases_per_cart:.3f}", *_skew_cells(self.touched[name]))
            for name, found in self.funnels.items()
        ]
        uneven = ("top tenth", "Gini")
        return "\n".join([
            f"Beside real shops (the last {DAYS} days of each log, computed now)", "",
            "Purchases", *_table(("log", "repeats", "gap quartiles, days", *uneven), purchases), "",
            "Views, carts, purchases: buyers only, one event for each shopper, item and kind, as retailrocket_mb is",
            *_table(("log", "carts/view", "purchases/cart", *uneven), steps),
        ])  # fmt: skip


def realism(data: Path, preset: str, shoppers: int, items: int) -> Realism:
    """Compare a practice shop without slates with `online_retail_0910` and `retailrocket_mb` under `data`."""
    retail, rocket = online_retail(data / PURCHASES), retailrocket(data / BEHAVIOUR)
    ours = practice(preset, shoppers, items)
    name = f"practice shop {preset!r}"
    bought = {name: ours.purchases(), PURCHASES.parts[0]: retail}
    touched = {name: ours.distinct(), BEHAVIOUR.parts[0]: rocket.distinct()}
    return Realism(
        preset=preset,
        gaps={log: repeat_gaps(rows.user, rows.item, rows.at) for log, rows in bought.items()},
        bought={log: skew(rows.item) for log, rows in bought.items()},
        touched={log: skew(rows.item) for log, rows in touched.items()},
        funnels={log: funnel(rows.user, rows.item, rows.kind) for log, rows in touched.items()},
    )


def practice(preset: str, shoppers: int, items: int) -> Log:
    """The log of a practice shop that has no slates."""
    shop = Shop(World(preset_of(preset, shoppers=shoppers, items=items), SEED))
    table = pa.concat_tables(list(shop.history(DAYS)))
    return Log(
        _codes(table["user_id"]), _codes(table["item_id"]),
        np.array(table["event_type"].to_pylist(), dtype=np.str_), table["timestamp"].to_numpy(),
    )  # fmt: skip


def online_retail(path: Path) -> Log:
    """Lines of a known customer that bought something; refunds are left out."""
    table = _read(path, ["stock_code", "quantity", "invoice_time", "customer_id"])
    table = table.filter(pc.and_(pc.is_valid(table["customer_id"]), pc.greater(table["quantity"], 0)))
    item = _codes(pc.utf8_upper(table["stock_code"]))
    kind = np.full(len(table), "purchase")
    return Log(_integers(table["customer_id"]), item, kind, _micros(table["invoice_time"])).last_days(DAYS)


def retailrocket(path: Path) -> Log:
    """Views, carts and purchases."""
    table = _read(path, ["user_id", "item_id", "event", "time"])
    kind = np.array([KINDS[word] for word in table["event"].cast(pa.string()).to_pylist()])
    user, item = _integers(table["user_id"]), _integers(table["item_id"])
    return Log(user, item, kind, _micros(table["time"])).last_days(DAYS)


def _read(path: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns).select(columns)
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise InputError(str(path), got=str(error).splitlines()[0], wanted=f"Parquet with {', '.join(columns)}",
                         remedy="Point --data at the folder that holds it.") from error  # fmt: skip


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return _integers(column.combine_chunks().dictionary_encode().indices)


def _integers(column: pa.ChunkedArray | pa.Array) -> NDArray[np.int64]:
    return np.asarray(column).astype(np.int64)


def _micros(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(column).astype("datetime64[us]").astype(np.int64)


def _skew_cells(found: Skew) -> tuple[str, str]:
    return f"{found.top_tenth:.0%}", f"{found.gini:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width)
                         for place, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in (head, *rows)
    ]  # fmt: skip
