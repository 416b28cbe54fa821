"""Tables of every kind give one Dataset; ids come back as they were; what cannot be used is counted and said."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.clean.parquet import dataset_from_parquet
from regulars.clean.roles import Roles, roles_of
from regulars.core.data import Dataset
from regulars.core.errors import InputError, RowsLeftOut
from regulars.frames import arrow_of, dataset_of, read

LONG = "一位名字特别长的顾客" * 20
START = datetime(2025, 1, 1, tzinfo=UTC)


def log(n: int = 200) -> dict[str, list[Any]]:
    """Shoppers with long Chinese names, items by number, a time each, a rating."""
    rng = np.random.default_rng(0)
    return {
        "customer_id": [f"{LONG}-{number}" for number in rng.integers(0, 12, n)],
        "product_id": rng.integers(0, 30, n).tolist(),
        "timestamp": [START + timedelta(seconds=int(second)) for second in rng.permutation(10 * n)[:n]],
        "rating": rng.integers(1, 6, n).astype(float).tolist(),
    }


def same(found: Dataset, wanted: Dataset) -> None:
    """The same rows, ids and instants."""
    assert found.shape == wanted.shape
    assert found.as_of == wanted.as_of
    assert found.names is not None
    assert wanted.names is not None
    assert list(found.names.users.ids) == list(wanted.names.users.ids)
    assert list(found.names.items.ids) == list(wanted.names.items.ids)
    assert list(found.items.ids.ids) == list(wanted.items.ids.ids)
    for name in wanted.interactions.__dataclass_fields__:
        ours, theirs = getattr(found.interactions, name), getattr(wanted.interactions, name)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
        assert ours.dtype == theirs.dtype, name
    assert (found.user_items != wanted.user_items).nnz == 0


class OnlyInterchange:
    """A frame of a library that knows the dataframe interchange alone."""

    def __init__(self, frame: Any) -> None:
        self._frame, self.columns = frame, frame.column_names

    def __dataframe__(self, *words: Any, **options: Any) -> Any:
        return self._frame.__dataframe__(*words, **options)


def csv(folder: Path, name: str, options: Any = None) -> Path:
    pyarrow.csv.write_csv(pa.table(log()), folder / name, options)
    return folder / name


def parquet(folder: Path) -> Path:
    pq.write_table(pa.table(log()), folder / "log.parquet", row_group_size=70)
    return folder / "log.parquet"


def jsonl(folder: Path) -> Path:
    rows = [dict(zip(log(), row, strict=True)) for row in zip(*log().values(), strict=True)]
    text = "".join(json.dumps(row | {"timestamp": row["timestamp"].isoformat()}) + "\n" for row in rows)
    (folder / "log.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return folder / "log.jsonl.gz"


def xlsx(folder: Path) -> Path:
    book = openpyxl.Workbook()
    book.active.append(list(log()))
    for row in zip(*log().values(), strict=True):
        book.active.append([cell.replace(tzinfo=None) if isinstance(cell, datetime) else cell for cell in row])
    book.save(folder / "log.xlsx")
    return folder / "log.xlsx"


def odd_pandas(folder: Path) -> pd.DataFrame:
    """Categories, an index of its own, and a column that nobody could turn."""
    frame = pd.DataFrame(log()).assign(note=[{1}, "text"] * 100)
    return frame.astype({"customer_id": "category"}).set_index(np.arange(200)[::-1])


KINDS: dict[str, Callable[[Path], Any]] = {
    "pandas": lambda folder: pd.DataFrame(log()),
    "pandas, odd": odd_pandas,
    "polars": lambda folder: pl.DataFrame(log()),
    "polars, categories": lambda folder: pl.DataFrame(log()).with_columns(pl.col("customer_id").cast(pl.Categorical)),
    "arrow": lambda folder: pa.table(log()),
    "arrow, chunks": lambda folder: pa.concat_tables([pa.table(log()).slice(0, 90), pa.table(log()).slice(90)]),
    "arrow, a batch": lambda folder: pa.table(log()).to_batches()[0],
    "duckdb": lambda folder: duckdb.from_arrow(pa.table(log())),
    "interchange": lambda folder: OnlyInterchange(pa.table(log())),
    "mapping": lambda folder: log(),
    "arrays": lambda folder: (
        {name: np.array(column) for name, column in log().items() if name != "timestamp"}
        | {"timestamp": [moment.timestamp() for moment in log()["timestamp"]]}
    ),
    "csv": lambda folder: csv(folder, "log.csv"),
    "csv, semicolons": lambda folder: str(csv(folder, "semi.csv", pyarrow.csv.WriteOptions(delimiter=";"))),
    "jsonl.gz": jsonl,
    "parquet": parquet,
    "xlsx": xlsx,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_table_gives_the_same_dataset(kind: str, tmp_path: Path) -> None:
    found = dataset_of(KINDS[kind](tmp_path))
    columns = log()
    users, items = (list(dict.fromkeys(columns[name])) for name in ("customer_id", "product_id"))
    wanted = Dataset.from_events(
        [users.index(user) for user in columns["customer_id"]], [items.index(item) for item in columns["product_id"]],
        (len(users), len(items)), weight=columns["rating"],
        at=[int((moment - START) / timedelta(microseconds=1)) + int(START.timestamp()) * 10**6
            for moment in columns["timestamp"]],
    )  # fmt: skip
    assert found.names is not None
    assert list(found.names.users.ids) == users
    assert list(found.names.items.ids) == items
    assert {type(each) for each in found.names.items.ids} == {int}
    np.testing.assert_array_equal(found.interactions.at, wanted.interactions.at)
    np.testing.assert_array_equal(found.interactions.item_idx, wanted.interactions.item_idx)
    np.testing.assert_array_equal(found.interactions.weight, wanted.interactions.weight)
    same(found, dataset_of(log()))
    assert (found.names.user, found.names.item) == ("customer_id", "product_id")


def test_the_strict_reader_of_parquet_agrees(tmp_path: Path) -> None:
    strict, users = dataset_from_parquet(
        parquet(tmp_path), user="customer_id", item="product_id", weight="rating", at="timestamp"
    )
    found = dataset_of(tmp_path / "log.parquet")
    assert found.names is not None
    assert list(users.ids) == list(found.names.users.ids)
    for name in ("user_idx", "item_idx", "at", "weight"):
        np.testing.assert_array_equal(getattr(strict.interactions, name), getattr(found.interactions, name))


@given(st.lists(st.tuples(st.sampled_from("ab顾客"), st.integers(-5, 5), st.integers(0, 10**9)), min_size=1))
def test_no_row_is_lost_or_made_up(rows: list[tuple[str, int, int]]) -> None:
    found = dataset_of({"user": [row[0] for row in rows], "item": [row[1] for row in rows],
                        "time": [row[2] for row in rows]})  # fmt: skip
    assert found.names is not None
    told = zip(found.interactions.user_idx, found.interactions.item_idx, found.interactions.at, strict=True)
    back = [(found.names.users[user], found.names.items[item], at // 10**6) for user, item, at in told]
    assert sorted(back) == sorted(rows)


# ---- times, weights and ids -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times",
    [
        [86_400, 172_800], [86_400.0, 172_800.0],
        ["1970-01-02", "1970-01-03"], ["1970-01-02 00:00", "1970-01-03 00:00"],
        ["1970-01-02T00:00:00Z", "1970-01-03T02:00:00+02:00"], ["86400", "172800"],
        [date(1970, 1, 2), date(1970, 1, 3)], [datetime(1970, 1, 2), datetime(1970, 1, 3)],
        np.array(["1970-01-02", "1970-01-03"], dtype="datetime64[ns]"),
    ],
)  # fmt: skip
def test_times_in_any_writing(times: Any) -> None:
    found = dataset_of({"user": ["a", "a"], "item": [2, 1], "time": times})
    assert found.interactions.at.tolist() == [86_400 * 10**6, 2 * 86_400 * 10**6]


def test_milliseconds_are_told_by_their_size() -> None:
    """So are microseconds."""
    times = [1_700_000_000_000, 1_700_000_000, 1_700_000_000_000_000]
    found = dataset_of({"user": ["a"] * 3, "item": [3, 2, 1], "time": times})
    assert found.interactions.at.tolist() == [1_700_000_000 * 10**6] * 3


def test_without_times_rows_keep_their_order() -> None:
    found = dataset_of({"user": ["b", "a", "b"], "item": ["z", "y", "x"]})
    assert found.as_of == 0
    assert found.interactions.at.tolist() == [0, 0, 0]
    assert [found.items.ids[idx] for idx in found.interactions.item_idx] == ["z", "x", "y"]


def test_a_least_weight_leaves_rows_out_on_purpose() -> None:
    found, reading = read({"user": [1, 1, 2], "item": [1, 2, 3], "stars": [5, 3, 4]}, at_least=4)
    assert len(found.interactions) == 2
    assert (reading.below, dict(reading.bad)) == (1, {})
    assert "1 rows left out: their stars is below 4" in reading.about(found)
    with pytest.raises(InputError, match="no column of weights, wanted one that is at least 4"):
        read({"user": [1], "item": [1]}, at_least=4)
    with pytest.raises(InputError, match="3 rows, 3 of them below 6, wanted a row that can be used"):
        read({"user": [1, 1, 2], "item": [1, 2, 3], "stars": [5, 3, 4]}, at_least=6)


def test_a_column_may_be_left_out_on_purpose() -> None:
    table = {"user": [1, 2], "item": [1, 2], "rating": [5.0, None], "time": ["no", "time"]}
    found = dataset_of(table, weight="", time="")
    assert found.interactions.weight.tolist() == [1.0, 1.0]
    assert found.as_of == 0


@pytest.mark.parametrize(
    ("ids", "back"),
    [
        ([3, 1], [3, 1]), ([3.0, 1.0], [3, 1]), (["3", "01"], ["3", "01"]), ([" a", "a"], [" a", "a"]),
        (np.array([2**63 + 1, 5], dtype=np.uint64), [2**63 + 1, 5]),
        ([date(2025, 1, 2), date(2025, 1, 1)], ["2025-01-02", "2025-01-01"]),
        ([b"a", b"b"], ["a", "b"]),
    ],
)  # fmt: skip
def test_ids_come_back_as_they_were(ids: Any, back: list[Any]) -> None:
    found = dataset_of({"user": ids, "item": ids})
    assert found.names is not None
    assert list(found.names.users.ids) == list(found.names.items.ids) == back


@pytest.mark.parametrize(("written", "back"), [("7", 7), ("007", "007"), ("-3", -3), ("茶", "茶")])
def test_a_file_of_text_has_numbers_where_all_ids_are(tmp_path: Path, written: str, back: int | str) -> None:
    (tmp_path / "log.csv").write_text(f"user,item\n{written},1\n", encoding="utf-8")
    found = dataset_of(tmp_path / "log.csv")
    assert found.names is not None
    assert (found.names.users[0], found.names.items[0]) == (back, 1)


# ---- what cannot be used --------------------------------------------------------------------------------------


def test_bad_rows_are_counted_and_never_take_a_good_one() -> None:
    table = {
        "user": ["a", None, "c", "d", "", "f"], "item": [1.0, 2.0, 2.5, float("nan"), 5.0, 6.0],
        "time": ["2025-01-01", "2025-01-01", "2025-01-01", "2025-01-01", "2025-01-01", "last week"],
    }  # fmt: skip
    found, reading = read(table)
    assert found.shape == (1, 1)
    assert dict(reading.bad) == {"user: empty": 2, "item: neither a text nor a whole number": 1, "item: empty": 1,
                                 "time: not a time": 1}  # fmt: skip
    assert [row.line for row in reading.examples] == [2, 3, 4]
    with pytest.warns(RowsLeftOut, match="5 of 6 rows left out .*2 user: empty.*the first in line 2"):
        dataset_of(table)


def test_bad_rows_of_a_file_keep_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(
        b"user,item,time\na,x,2025-01-01\na,y\n,x,2025-01-01\nb,x,soon\n\xff,x,2025-01-01\nb,y,2025-01-02\n"
    )
    found, reading = read(path)
    assert len(found.interactions) == 2
    assert reading.rows == 6
    assert {row.line for row in reading.examples} == {3, 4, 5}
    assert sum(reading.bad.values()) == 4
    assert "2 cells where the header has 3" in reading.text()


def test_nanoseconds_are_no_time() -> None:
    """They would be taken as microseconds of a year that nobody lives to see."""
    with pytest.raises(InputError, match="time: in the future"):
        dataset_of({"user": [1], "item": [1], "time": [1_700_000_000 * 10**9]})


class Rowless:
    """A lazy frame."""

    columns = ("user", "item")

    def collect(self) -> None:
        """Nothing to give."""


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"user": [1]}, "got the columns user, wanted one of items, such as item_id"),
        ({"item": [1], "time": [1]}, "one of shoppers, such as user_id .*Name it: user=COLUMN, or --user COLUMN"),
        ({"user": [], "item": []}, "got 0 rows, wanted a row that can be used"),
        ({"user": [None], "item": [1]}, "1 of 1 rows left out"),
        ({"user": [1, "a"], "item": [1, 2]}, "Turn mixed ids into texts first"),
        ({"user": [[1], [2]], "item": [1, 2]}, "user: got a column of list"),
        ({"user": [timedelta(1)], "item": [1]}, "user: got a column of duration"),
        ({"user": [1, 2], "item": [1]}, "wanted columns of one type each"),
        ([1, 2], "got list, wanted a table with named columns, or a file"),
        (
            pl.DataFrame({"user": [1], "item": [1]}).lazy(),
            "got a LazyFrame, which holds no rows yet.*Collect it first",
        ),
        (Rowless(), "got a Rowless"),
        ("no-such-file.csv", "no-such-file.csv: got No such file"),
    ],
)
def test_what_is_no_table_is_said(table: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        dataset_of(table)


@pytest.mark.parametrize(
    ("columns", "roles"),
    [
        ("userId, movieId, rating, timestamp", Roles("userId", "movieId", "timestamp", "rating")),
        ("Invoice, StockCode, Quantity, InvoiceDate, Customer ID",
         Roles("Customer ID", "StockCode", "InvoiceDate", "Quantity")),
        ("session_id, item_id, time", Roles("session_id", "item_id", "time", None)),
        ("session_id, user_id, item_id", Roles("user_id", "item_id", None, None)),
        ("visitorid, itemid, event, timestamp", Roles("visitorid", "itemid", "timestamp", None)),
        ("reviewerID, asin, overall, unixReviewTime", Roles("reviewerID", "asin", "unixReviewTime", "overall")),
        ("用户, 商品, 时间, 评分", Roles("用户", "商品", "时间", "评分")),
        ("artist_id, user_id, plays", Roles("user_id", "artist_id", None, "plays")),
    ],
)  # fmt: skip
def test_roles_by_the_usual_words(columns: str, roles: Roles) -> None:
    assert roles_of(columns.split(", "), "table", {}) == roles


def test_named_roles_are_checked() -> None:
    found = roles_of(["a", "b", "c"], "table", {"user": "b", "item": "a", "time": "c"})
    assert found == Roles("b", "a", "c", None)
    with pytest.raises(InputError, match=r"got user='usr', wanted one of the columns user, item\. Try 'user'"):
        roles_of(["user", "item"], "table", {"user": "usr"})
    with pytest.raises(InputError, match="wanted another column for each role"):
        roles_of(["user", "item"], "table", {"user": "item", "item": "item"})


def test_only_wanted_columns_are_turned() -> None:
    frame = pd.DataFrame({"user": [1], "item": [2], "note": [object()]})
    assert arrow_of(frame, ["user", "item"]).column_names == ["user", "item"]


def test_real_logs_are_read_without_a_word_said(data_folder: Path) -> None:
    found = dataset_of(data_folder / "ml100k" / "ratings.parquet")
    assert found.shape == (943, 1682)
    assert found.names is not None
    assert found.names.item == "item_id"
    plays = dataset_of(pl.read_parquet(data_folder / "lastfm_hetrec" / "interactions.parquet"))
    assert plays.shape == (1892, 17632)
    steam, reading = read(data_folder / "steam_200k" / "purchases.parquet", weight="hours_played")
    assert len(steam.interactions) == reading.rows - reading.bad["hours_played: empty"]
