"""UCI Online Retail II (Chen, 2019; CC BY 4.0), one line of an invoice a row.

Columns `Invoice, StockCode, Description, Quantity, InvoiceDate, Price, Customer ID, Country`.

What a line is:
- An invoice that starts with C gives money back: a refund of positive pieces.
- A line without a customer belongs to an anonymous basket, named after its invoice.
- A stock code names a product when it starts with five digits (85048, 79323P); POSTAGE, DOT, M, BANK CHARGES, gift
  vouchers, ADJUST and the like name none. Codes differ in case alone here and there: they are upper-cased.
- No price, a sale of negative pieces, a refund of positive ones: the stock-keeper's notes, not a shopper's doing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from regulars.core.arrays import Mask
from regulars.events.adapters.base import Translated
from regulars.events.columns import Columns

NAMES = {
    "invoice": "Invoice", "item_id": "StockCode", "title": "Description", "quantity": "Quantity",
    "timestamp": "InvoiceDate", "price": "Price", "user_id": "Customer ID",
}  # fmt: skip
PRODUCT = r"^\d{5}"


@dataclass
class Seen:
    """What the sales said of one item."""

    at: int = 2**62
    price: float = 0.0
    titles: Counter[str] = field(default_factory=Counter)


class OnlineRetail:
    """One line of an invoice a row."""

    name = "online_retail"
    needs = "Invoice, StockCode, Description, Quantity, InvoiceDate, Price, Customer ID"

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}

    def fits(self, columns: frozenset[str]) -> bool:
        """Whether all the columns of an invoice line are there."""
        return columns.issuperset(NAMES.values())

    def translate(self, columns: Columns) -> Translated:
        """Purchases and refunds."""
        lines = Columns(columns.raw.select(list(NAMES.values())).rename_columns(list(NAMES)), columns.rules)
        invoice, item = pc.utf8_upper(lines.text("invoice")), pc.utf8_upper(lines.text("item_id"))
        customer = pc.replace_substring_regex(lines.text("user_id"), r"\.0$", "")
        refund = pc.starts_with(invoice, "C").to_numpy(zero_copy_only=False)
        pieces, price = lines.number("quantity"), lines.number("price")
        product = pc.match_substring_regex(item, PRODUCT).to_numpy(zero_copy_only=False)
        skipped = (
            ("not a product", ~product),
            ("no price", product & (price <= 0)),
            ("stock adjustment", product & (price > 0) & np.where(refund, pieces >= 0, pieces <= 0)),
        )
        table = pa.table(
            {
                "event_type": pa.array(np.where(refund, "refund", "purchase")),
                "user_id": customer,
                "anonymous_id": pc.if_else(pc.equal(customer, ""), invoice, ""),
                "item_id": item, "order_id": invoice, "timestamp": lines.raw.column("timestamp"),
                "quantity": pa.array(np.abs(pieces)), "price": pa.array(price),
            }
        )  # fmt: skip
        sold = ~refund & ~np.logical_or.reduce([mask for _, mask in skipped])
        self._notice(lines, item, price, sold)
        return Translated("interaction", table, skipped, tuple(lines.faults))

    def noticed(self) -> Iterable[Mapping[str, Any]]:
        """Each item from its first sale on, under its most frequent description, at that sale's price."""
        for code, seen in sorted(self._seen.items()):
            title = max(seen.titles.items(), key=lambda pair: (pair[1], pair[0]), default=("", 0))[0]
            digest = hashlib.blake2b(f"{self.name}\x1fitem\x1f{code}\x1f{title}".encode(), digest_size=16)
            yield {"type": "item", "event_id": digest.hexdigest(), "item_id": code, "title": title,
                   "timestamp": seen.at, "price": round(seen.price, 4)}  # fmt: skip

    def _notice(self, lines: Columns, item: pa.Array, price: Any, sold: Mask) -> None:
        at = lines.instant("timestamp")
        told = pa.table({"code": item, "title": lines.text("title"), "at": at, "price": price}).filter(
            pa.array(sold & (at > 0) & np.isfinite(price))
        )
        counts = told.group_by(["code", "title"]).aggregate([("at", "count")])
        for code, title, count in zip(*(column.to_pylist() for column in counts.columns), strict=True):
            if title:
                self._seen.setdefault(code, Seen()).titles[title] += count
        firsts = told.sort_by([("at", "ascending")]).group_by("code", use_threads=False)
        table = firsts.aggregate([("at", "first"), ("price", "first")])
        for code, first, amount in zip(*(column.to_pylist() for column in table.columns), strict=True):
            seen = self._seen.setdefault(code, Seen())
            if first < seen.at:
                seen.at, seen.price = first, amount
