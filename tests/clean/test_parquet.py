"""Parquet to Dataset: the same as from plain columns, the real ids, and clear words for what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regulars.clean.parquet import dataset_from_parquet
from regulars.core.arrays import as_csr
from regulars.core.data import Dataset
from regulars.core.errors import InputError
from regulars.models.popular import Popular


def write(folder: Path, **options: Any) -> tuple[Path, dict[str, np.ndarray]]:
    """500 rows of 40 users and 15 items, many pairs twice, in random order."""
    rng = np.random.default_rng(0)
    columns = {
        "who": np.array([f"user-{n}" for n in rng.integers(0, 40, 500)]),
        "what": np.array([f"item-{n}" for n in rng.integers(0, 15, 500)]),
        "much": rng.integers(0, 4, 500).astype(np.float64),  # some 0: no sign of liking
        "when": rng.integers(1, 10**6, 500) * 10**6,
    }
    pq.write_table(pa.table(columns), folder / "events.parquet", **options)
    return folder / "events.parquet", columns


def indexed(names: np.ndarray, known: list[str]) -> np.ndarray:
    return np.array([known.index(name) for name in names])


@pytest.mark.parametrize("options", [{}, {"row_group_size": 70}, {"use_dictionary": False}])
@pytest.mark.parametrize("timed", [True, False])
def test_it_is_the_dataset_of_the_plain_columns(tmp_path: Path, options: dict[str, Any], timed: bool) -> None:
    path, columns = write(tmp_path, **options)
    found, users = dataset_from_parquet(path, user="who", item="what", weight="much", at="when" if timed else None)
    assert set(users.ids) == set(columns["who"])
    assert set(found.items.ids.ids) == set(columns["what"])
    user_idx, item_idx = indexed(columns["who"], list(users.ids)), indexed(columns["what"], list(found.items.ids.ids))
    when = columns["when"] if timed else None
    wanted = Dataset.from_events(user_idx, item_idx, found.shape, weight=columns["much"], at=when)
    assert found.as_of == wanted.as_of
    for name in wanted.interactions.__dataclass_fields__:
        ours, theirs = getattr(found.interactions, name), getattr(wanted.interactions, name)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
        assert ours.dtype == theirs.dtype, name
    matrix = as_csr(wanted.user_items)
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(found.user_items, part), getattr(matrix, part), err_msg=part)
    assert (found.matrix() != found.user_items).nnz == 0  # what was handed over is what it would make itself


def test_a_model_learns_from_it(tmp_path: Path) -> None:
    path, columns = write(tmp_path)
    dataset, users = dataset_from_parquet(path, user="who", item="what")
    history = dataset.histories(users.index([columns["who"][0]]))
    model = Popular().fit(dataset)
    best = model.score(history, 0)[0].argmax()
    names, counts = np.unique(columns["what"], return_counts=True)
    assert dataset.items.ids[int(best)] in names[counts == counts.max()]


def test_whole_numbers_dictionaries_and_timestamps_are_read(tmp_path: Path) -> None:
    codes = pa.DictionaryArray.from_arrays(pa.array([2, 0, 2], pa.int8()), pa.array(["a", "nobody's", "c"]))
    when = pa.array([3, 1, 2], pa.timestamp("s"))
    pq.write_table(pa.table({"u": pa.array([7, 5, 7]), "i": codes, "t": when}), tmp_path / "f.parquet")
    dataset, users = dataset_from_parquet(tmp_path / "f.parquet", user="u", item="i", at="t")
    assert list(users.ids) == ["5", "7"] or list(users.ids) == ["7", "5"]
    assert sorted(dataset.items.ids.ids) == ["a", "c"]
    seven = dataset.histories(users.index(["7"]))
    assert seven.at.tolist() == [2_000_000, 3_000_000]
    assert {dataset.items.ids[idx] for idx in seven.item_idx} == {"c"}
    assert dataset.as_of == 3_000_001


def test_no_rows_are_an_empty_dataset(tmp_path: Path) -> None:
    pq.write_table(pa.table({"u": pa.array([], pa.string()), "i": pa.array([], pa.string())}), tmp_path / "f.parquet")
    dataset, users = dataset_from_parquet(tmp_path / "f.parquet", user="u", item="i")
    assert dataset.shape == (0, 0)
    assert len(users) == len(dataset.interactions) == dataset.user_items.nnz == 0


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({"u": ["a"]}, {}, "got the columns u, wanted i too"),
        ({"u": ["a", None, "b"], "i": ["x", "y", "z"]}, {}, "u: got 1 empty cells, the first in row 1"),
        ({"u": [0.5], "i": ["x"]}, {}, "u: got a column of double, wanted texts or whole numbers"),
        ({"u": ["a"], "i": ["x"], "w": ["much"]}, {"weight": "w"}, "w: got a column of string, wanted numbers"),
        ({"u": ["a"], "i": ["x"], "w": [float("nan")]}, {"weight": "w"}, "w: got nan in row 0, wanted finite"),
        ({"u": ["a"], "i": ["x"], "t": ["today"]}, {"at": "t"}, "t: got a column of string, wanted timestamps"),
        ({"u": ["a"], "i": ["x"], "t": [None]}, {"at": "t"}, "t: got 1 empty cells"),
    ],
)
def test_what_cannot_be_used_is_said(
    tmp_path: Path, columns: dict[str, list[Any]], options: dict[str, str], words: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    with pytest.raises(InputError, match=words):
        dataset_from_parquet(tmp_path / "f.parquet", user="u", item="i", **options)


def test_another_file_or_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("user,item\n")
    for name in ("text.parquet", "none.parquet"):
        with pytest.raises(InputError, match="wanted a Parquet file"):
            dataset_from_parquet(tmp_path / name, user="u", item="i")
