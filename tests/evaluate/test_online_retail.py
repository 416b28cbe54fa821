"""The whole path of an evaluation against published numbers of a real shop (UCI Online Retail II, 2009-10).

Popularity and own purchase frequency, recall@20 / NDCG@20 / HR@20 over 1,828 shoppers ("all") and 1,747 ("new").
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from evaluate.conftest import make_dataset
from regulars.core.arrays import Indices, Matrix, Scores
from regulars.core.clock import from_datetime
from regulars.core.data import Dataset
from regulars.core.topk import top_k
from regulars.evaluate import split
from regulars.evaluate.offline import Ranker, table

CUT = from_datetime(datetime(2010, 10, 1))
PUBLISHED = {
    ("all", "popular"): (0.109, 0.121, 0.694),
    ("all", "repeat"): (0.334, 0.350, 0.902),
    ("new", "popular"): (0.053, 0.051, 0.440),
}


@pytest.fixture(scope="module")
def shop(data_folder: Path) -> Dataset:
    """Cleaned lines, one an (invoice, item), with the invoice as order."""
    lines = pq.read_table(data_folder / "online_retail_0910" / "transactions.parquet")
    lines = lines.set_column(1, "stock_code", pc.utf8_upper(lines["stock_code"]))
    keep = pc.and_(pc.greater(lines["quantity"], 0), pc.greater(lines["unit_price"], 0))
    keep = pc.and_(keep, pc.match_substring_regex(lines["stock_code"], r"^\d{5}"))
    lines = lines.filter(pc.and_(keep, pc.is_valid(lines["customer_id"])))
    at = lines["invoice_time"].cast("int64")
    _, order = np.unique(lines["invoice"].to_numpy(zero_copy_only=False), return_inverse=True)
    rows = zip(lines["customer_id"].to_pylist(), lines["stock_code"].to_pylist(), at.to_pylist(), strict=True)
    return make_dataset(list(rows), as_of=int(pc.max(at).as_py()), order_idx=order.astype(np.int32))


@pytest.fixture(scope="module")
def asked(shop: Dataset) -> tuple[Dataset, split.Targets]:
    """What is known before the cut (ids seen only later are not), and what is asked after it."""
    events = shop.interactions[shop.interactions.at < CUT]
    rows = zip(
        [shop.users.keys[int(idx)] for idx in events.user_idx],
        [shop.items.ids[int(idx)] for idx in events.item_idx],
        events.at.tolist(),
        strict=True,
    )
    before = make_dataset(list(rows), as_of=CUT - 1, order_idx=events.order_idx)
    wanted = shop.interactions[shop.interactions.at >= CUT]
    pairs = [
        (shop.users.keys[int(user)], shop.items.ids[int(item)])
        for user, item in zip(wanted.user_idx, wanted.item_idx, strict=True)
    ]
    relevant = split.from_pairs(before.users.keys, before.items.ids, pairs, on_unknown="skip")
    return before, split.targets_of(relevant, before)


def by_scores(scores: Scores) -> Ranker:
    def rank(users: Indices, exclude: Matrix | None) -> Indices:
        chosen = scores[users]
        if exclude is not None:
            chosen[exclude.toarray() > 0] = -np.inf
        return top_k(chosen, 20)[0]

    return rank


def test_published_numbers(asked: tuple[Dataset, split.Targets]) -> None:
    before, targets = asked
    rows = before.interactions
    invoices = np.zeros(before.shape, dtype=np.float32)
    distinct = np.unique(np.column_stack([rows.user_idx, rows.item_idx, rows.order_idx]), axis=0)
    np.add.at(invoices, (distinct[:, 0], distinct[:, 1]), 1)
    buyers = (invoices > 0).sum(axis=0).astype(np.float32)
    rankers = {
        "popular": by_scores(np.tile(buyers, (len(invoices), 1))),
        "repeat": by_scores((invoices + buyers / (2 * len(invoices))).astype(np.float32)),
    }
    found = {(row["subset"], row["model"]): row for row in table(rankers, targets, rng=np.random.default_rng(0))}
    assert found["all", "popular"]["users"] == 1828
    assert found["new", "popular"]["users"] == 1747
    for name, expected in PUBLISHED.items():
        row = found[name]
        assert (row["recall@20"], row["ndcg@20"], row["hr@20"]) == pytest.approx(expected, abs=0.0011), name
    assert found["all", "repeat"]["vs_popular_low"] > 0.2
    cohorts = sum(found[name, "popular"]["users"] for name in split.COHORTS)
    assert cohorts == 1828
