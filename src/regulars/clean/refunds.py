"""Refunds taken off the purchases they give back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.clean.sessions import NO_CODE
from regulars.core.arrays import Floats, Indices
from regulars.core.data import PURCHASE, REFUND

_NOTHING_LEFT = 1e-6  # pieces


@dataclass(slots=True)
class _Bought:
    """A purchase with pieces that nobody has given back yet."""

    row: int
    left: float
    code: int


@dataclass(frozen=True, slots=True)
class Netting:
    """Net quantities `(n_rows,)`, and how many refunds found all, or not all, of their pieces."""

    quantity: Floats
    matched: int
    unmatched: int


def net_refunds(
    user_idx: Indices, item_idx: Indices, kind: NDArray[np.int8], quantity: Floats, order_code: NDArray[np.int64]
) -> Netting:
    """Take every refund off earlier purchases of the same item by the same shopper.

    Rows are sorted by (user_idx, at, offset). Pieces come from the order that the refund names, where it holds
    some, then from the latest purchases, over several if need be. A refund's own quantity stays as it is.
    """
    rows = _rows_of_refunded_pairs(user_idx, item_idx, kind)
    net = quantity.copy()
    matched = unmatched = 0
    bought: list[_Bought] = []
    pair = (-1, -1)
    columns = (user_idx[rows], item_idx[rows], kind[rows], quantity[rows], order_code[rows])
    for row, user, item, event, pieces, code in zip(
        rows.tolist(), *(column.tolist() for column in columns), strict=True
    ):
        if (user, item) != pair:
            pair, bought = (user, item), []
        if event == PURCHASE:
            bought.append(_Bought(row, pieces, code))
        elif _give_back(bought, abs(pieces), code, net) > _NOTHING_LEFT:
            unmatched += 1
        else:
            matched += 1
    return Netting(net, matched, unmatched)


def _rows_of_refunded_pairs(user_idx: Indices, item_idx: Indices, kind: NDArray[np.int8]) -> NDArray[np.int64]:
    """Purchases and refunds of every (shopper, item) with a refund, pair by pair, in time order."""
    rows = np.flatnonzero((kind == PURCHASE) | (kind == REFUND))
    pair = (user_idx[rows].astype(np.int64) << 32) | item_idx[rows]
    refunded = np.isin(pair, np.unique(pair[kind[rows] == REFUND]))
    rows, pair = rows[refunded], pair[refunded]
    return np.asarray(rows[np.argsort(pair, kind="stable")], dtype=np.int64)


def _give_back(bought: list[_Bought], pieces: float, code: int, net: Floats) -> float:
    """Take pieces off `bought` and `net`; return how many found no purchase."""
    same_order = [each for each in reversed(bought) if each.code == code] if code != NO_CODE else []
    for purchase in same_order:
        pieces -= _take(purchase, pieces, net)
    while pieces > _NOTHING_LEFT and bought:
        pieces -= _take(bought[-1], pieces, net)
        if bought[-1].left <= _NOTHING_LEFT:
            bought.pop()
    return pieces


def _take(purchase: _Bought, pieces: float, net: Floats) -> float:
    taken = min(purchase.left, pieces)
    purchase.left -= taken
    net[purchase.row] = purchase.left if purchase.left > _NOTHING_LEFT else 0.0
    return taken
