"""Features as sparse rows: blocks of length 1, only what tells something, hashes equal in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from regulars.core.data import Items
from regulars.models.deep.features import item_features
from regulars.models.features import attribute_codes, attribute_rows

CATALOGUE = replace(
    Items.bare("abcd"),
    title=["green tea", "tea pot", "pot", "hammer"],
    tags=[("gift",), ("gift", "tea"), (), ()],
    category=[("home", "tea"), ("home", "tea"), ("home",), ()],
    brand=["Acme", "", "Acme", "Solo"],
    price=np.array([100, 100, 25600, -1]),
)
ALL = np.ones(4, dtype=np.bool_)


def test_each_block_has_length_one_and_a_feature_of_one_item_is_none() -> None:
    rows = item_features(CATALOGUE, ALL, 100)
    # tea, pot, gift; home, home > tea; Acme; the price band of the first two, the other edge of which weighs 0
    assert rows.shape[0] == 4
    np.testing.assert_allclose((rows.toarray() ** 2).sum(axis=1), [4, 3, 3, 0], rtol=1e-5)


def test_what_no_known_item_has_is_no_feature() -> None:
    only = replace(Items.bare("abc"), title=["tea", "strange", "strange"])
    assert item_features(only, np.array([True, False, False]), 100).shape == (3, 0)
    assert item_features(only, np.array([True, True, False]), 100).toarray().tolist() == [[0], [1], [1]]


@pytest.mark.parametrize("most", [0, 1])
def test_the_common_features_stay(most: int) -> None:
    words = replace(Items.bare("abc"), title=["tea pot", "tea pot", "tea"])
    rows = item_features(words, np.ones(3, dtype=np.bool_), most)
    assert rows.toarray().tolist() == [[1] * most] * 3


def test_bare_items_and_none() -> None:
    assert item_features(Items.bare("abc"), np.ones(3, dtype=np.bool_), 9).nnz == 0
    assert item_features(Items.bare(""), np.zeros(0, dtype=np.bool_), 9).shape[0] == 0


def test_attributes_shared_by_two_are_told_and_others_are_not() -> None:
    told: list[dict[str, Any]] = [
        {"city": "Oslo", "age": 34}, {"city": "Oslo", "likes": ["tea", "tea"]}, {"likes": ("tea",), "age": 34.2},
        {"city": None},
    ]  # fmt: skip
    codes = attribute_codes(told)
    assert len(codes) == 3  # Oslo, tea, and 34 to two digits
    rows = attribute_rows([*told, {"city": "Rome"}, {"Oslo": "city"}], 6, codes)
    np.testing.assert_allclose((rows.toarray() ** 2).sum(axis=1), [1, 1, 1, 0, 0, 0], rtol=1e-6)
    assert np.diff(rows.indptr).tolist() == [2, 2, 2, 0, 0, 0]


def test_a_switch_is_no_number() -> None:
    assert len(attribute_codes([{"vip": True}, {"vip": 1}])) == 0


@pytest.mark.parametrize("codes", [np.zeros(0, dtype=np.uint64), attribute_codes([{"a": 1}] * 2)])
def test_shoppers_who_tell_nothing(codes: np.ndarray) -> None:
    rows = attribute_rows((), 3, codes)
    assert (rows.shape, rows.nnz) == ((3, len(codes)), 0)


def test_hashes_are_the_same_in_another_process() -> None:
    script = """
from regulars.models.features import attribute_codes
print(attribute_codes([{"city": "Oslo", "tags": ["a", "b"]}] * 2).tolist())
"""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                         env={**os.environ, "PYTHONHASHSEED": seed})  # fmt: skip
    assert run.stdout == f"{attribute_codes([{'tags': ['b', 'a'], 'city': 'Oslo'}] * 2).tolist()}\n"
