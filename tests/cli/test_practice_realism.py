"""The practice shop beside real logs: small files with known figures, and the real ones."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regulars import practice_realism
from regulars.core.clock import DAY
from regulars.core.errors import InputError
from regulars.practice_realism import Log, online_retail, realism, retailrocket
from regulars.simulate.realism import funnel, repeat_gaps, skew

START = datetime(2010, 1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Both logs, a few rows each."""
    retail = {
        "stock_code": ["a", "A", "b", "b", "c", "a"],
        "quantity": pa.array([1, 2, 1, -1, 5, 1], pa.int32()),
        "invoice_time": [START + timedelta(days=days) for days in (0, 300, 301, 302, 303, 310)],
        "customer_id": pa.array([1, 1, 1, 1, None, 1], pa.int32()),
    }
    rocket = {
        "user_id": pa.array([1, 1, 1, 2, 2], pa.int32()),
        "item_id": pa.array([7, 7, 7, 7, 8], pa.int32()),
        "event": pa.array(["view", "cart", "buy", "view", "cart"]).dictionary_encode(),
        "time": [START] * 5,
    }
    for path, columns in ((practice_realism.PURCHASES, retail), (practice_realism.BEHAVIOUR, rocket)):
        (tmp_path / path).parent.mkdir()
        pq.write_table(pa.table(columns), tmp_path / path)
    return tmp_path


def test_only_what_a_known_customer_bought_in_the_last_days_counts(folder: Path) -> None:
    log = online_retail(folder / practice_realism.PURCHASES)  # days 300, 301 and 310; refund and nobody's line out
    assert log.item.tolist() == [log.item[0], log.item[1], log.item[0]]
    gaps = repeat_gaps(log.user, log.item, log.at)
    assert gaps.repeat_share == pytest.approx(1 / 3)
    assert gaps.quartiles == (10.0, 10.0, 10.0)


def test_who_buys_nothing_is_left_out(folder: Path) -> None:
    log = retailrocket(folder / practice_realism.BEHAVIOUR).distinct()
    assert set(log.user.tolist()) == {1}
    steps = funnel(log.user, log.item, log.kind)
    assert (steps.views, steps.carts, steps.purchases) == (1, 1, 1)


def test_distinct_keeps_each_triple_once() -> None:
    kind = np.array(["view", "view", "purchase", "view"])
    log = Log(np.array([1, 1, 1, 2]), np.array([3, 3, 3, 3]), kind, np.arange(4) * DAY)
    assert sorted(log.distinct().kind.tolist()) == ["purchase", "view"]
    assert skew(log.distinct().item).gini == 0


def test_tables_and_json_hold_the_same(folder: Path) -> None:
    found = realism(folder, "default", 30, 60)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    ours, theirs = values["gaps"]
    assert theirs == "online_retail_0910"
    assert values["gaps"][theirs]["repeat_share"] == pytest.approx(1 / 3)
    text = found.text()
    assert "buyers only" in text
    for name in (ours, theirs, "retailrocket_mb"):
        assert name in text
    assert f"{values['bought'][ours]['gini']:.2f}" in text


def test_nobody_repeats_is_null_in_json(folder: Path) -> None:
    pq.write_table(
        pq.read_table(folder / practice_realism.PURCHASES).slice(0, 1), folder / practice_realism.PURCHASES
    )
    found = realism(folder, "default", 30, 60)
    assert math.isnan(found.gaps["online_retail_0910"].quartiles[0])
    assert found.to_json()["gaps"]["online_retail_0910"]["quartiles"] == [None, None, None]


def test_a_missing_file_and_a_missing_column_are_named(folder: Path) -> None:
    path = folder / practice_realism.BEHAVIOUR
    pq.write_table(pa.table({"user_id": [1]}), path)
    with pytest.raises(InputError, match=r"retailrocket_mb.*events\.parquet.*wanted Parquet with user_id, item_id"):
        realism(folder, "default", 30, 60)
    path.unlink()
    with pytest.raises(InputError, match="--data"):
        retailrocket(path)


def test_the_published_counts_of_the_real_logs(data_folder: Path) -> None:
    rocket = pq.read_table(data_folder / practice_realism.BEHAVIOUR)
    assert len(rocket) == 97_381  # the data's own README
    assert set(rocket["event"].cast(pa.string()).to_pylist()) == set(practice_realism.KINDS)
    retail = online_retail(data_folder / practice_realism.PURCHASES)
    assert retail.at.max() - retail.at.min() <= practice_realism.DAYS * DAY
    assert 0.4 < skew(retail.item).top_tenth < 0.6
