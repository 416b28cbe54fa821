"""Refund netting against a plain search piece by piece."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regulars.clean.refunds import Netting, net_refunds
from regulars.clean.sessions import NO_CODE
from regulars.core.data import PURCHASE, REFUND, VIEW

Row = tuple[int, int, int, int, int]  # user, item, kind, pieces, order code

rows_of_a_shop = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from([PURCHASE, REFUND, VIEW]), st.integers(1, 4),
              st.integers(0, 2)),
    max_size=40,
)  # fmt: skip


def netted(rows: list[Row]) -> Netting:
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    user, item, kind, pieces, code = table.T
    return net_refunds(
        user.astype(np.int32), item.astype(np.int32), kind.astype(np.int8), pieces.astype(np.float32), code
    )


def piece_by_piece(rows: list[Row]) -> tuple[list[int], int, int]:
    left = [row[3] for row in rows]
    matched = unmatched = 0
    for now, (user, item, kind, pieces, code) in enumerate(rows):
        if kind != REFUND:
            continue
        found_all = True
        for _ in range(pieces):
            earlier = [
                row for row in range(now)
                if rows[row][:3] == (user, item, PURCHASE) and left[row] > 0
            ]  # fmt: skip
            named = [row for row in earlier if code != NO_CODE and rows[row][4] == code]
            if not earlier:
                found_all = False
                break
            left[max(named or earlier)] -= 1
        matched, unmatched = matched + found_all, unmatched + (not found_all)
    return left, matched, unmatched


@given(rows_of_a_shop)
def test_netting_is_that_of_a_search_piece_by_piece(rows: list[Row]) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    found = netted(rows)
    assert (found.quantity.tolist(), found.matched, found.unmatched) == piece_by_piece(rows)


@given(rows_of_a_shop)
def test_no_more_is_taken_than_is_given_back(rows: list[Row]) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    gross = sum(row[3] for row in rows if row[2] == PURCHASE)
    refunded = sum(row[3] for row in rows if row[2] == REFUND)
    kept = sum(q for q, row in zip(netted(rows).quantity.tolist(), rows, strict=True) if row[2] == PURCHASE)
    assert 0 <= gross - kept <= refunded


def test_the_latest_purchase_goes_first_and_several_may_go() -> None:
    rows = [(0, 0, PURCHASE, 5, 0), (0, 0, PURCHASE, 2, 0), (0, 0, REFUND, 3, 0)]
    assert netted(rows).quantity.tolist() == [5 - 1, 0, 3]


def test_the_named_order_goes_before_a_later_one() -> None:
    rows = [(0, 0, PURCHASE, 2, 11), (0, 0, PURCHASE, 2, 12), (0, 0, REFUND, 3, 11)]
    assert netted(rows).quantity.tolist() == [0, 2 - 1, 3]


def test_a_later_purchase_and_another_item_stay_whole() -> None:
    rows = [(0, 0, REFUND, 1, 0), (0, 0, PURCHASE, 1, 0), (0, 1, PURCHASE, 1, 0), (1, 0, PURCHASE, 1, 0)]
    found = netted(rows)
    assert found.quantity.tolist() == [1, 1, 1, 1]
    assert (found.matched, found.unmatched) == (0, 1)


def test_parts_of_pieces_leave_no_dust() -> None:
    table = [(0, 0, PURCHASE), *[(0, 0, REFUND)] * 3]
    user, item, kind = np.array(table).T
    pieces = np.array([0.3, 0.1, 0.1, 0.1], dtype=np.float32)
    found = net_refunds(
        user.astype(np.int32), item.astype(np.int32), kind.astype(np.int8), pieces, np.zeros(4, dtype=np.int64)
    )
    assert found.quantity[0] == 0
    assert found.matched == 3
