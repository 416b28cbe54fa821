"""Gram: every way to the same shoppers gives the very same counts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from regulars.core.errors import InputError
from regulars.models import gram as gram_module
from regulars.models.gram import Gram

N_ITEMS = 7
shoppers = st.lists(st.sets(st.integers(0, N_ITEMS - 1)), max_size=12)


def matrix(baskets: list[set[int]], n_items: int = N_ITEMS) -> np.ndarray:
    dense = np.zeros((len(baskets), n_items), dtype=np.float32)
    for row, items in enumerate(baskets):
        dense[row, sorted(items)] = 1
    return dense


def counted(baskets: list[set[int]]) -> np.ndarray:
    dense = matrix(baskets).astype(np.int64)
    return dense.T @ dense


def same(gram: Gram, baskets: list[set[int]]) -> bool:
    """Equal counts, equal stored cells, equal numbers of shoppers."""
    fresh = Gram.from_matrix(matrix(baskets))
    return (
        np.array_equal(gram.counts.toarray(), counted(baskets))
        and gram.counts.nnz == fresh.counts.nnz == np.count_nonzero(counted(baskets))
        and gram.n_users == fresh.n_users == len(baskets)
    )


def items_of(basket: set[int]) -> np.ndarray:
    return np.array(sorted(basket), dtype=np.int32)


@given(shoppers)
def test_from_matrix_is_the_dense_product(baskets: list[set[int]]) -> None:
    assert same(Gram.from_matrix(matrix(baskets)), baskets)


@given(shoppers)
def test_adding_one_by_one_is_a_recount(baskets: list[set[int]]) -> None:
    gram = Gram(N_ITEMS)
    for basket in baskets:
        gram.add_user(items_of(basket))
    assert same(gram, baskets)


@given(shoppers.filter(bool), st.integers(0, 100))
def test_removing_leaves_no_trace(baskets: list[set[int]], pick: int) -> None:
    gram = Gram.from_matrix(matrix(baskets))
    gone = baskets[pick % len(baskets)]
    gram.remove_user(items_of(gone))
    rest = list(baskets)
    rest.remove(gone)
    assert same(gram, rest)


@given(shoppers, shoppers)
def test_merge_is_a_recount_of_both(left: list[set[int]], right: list[set[int]]) -> None:
    gram = Gram.from_matrix(matrix(left))
    gram.merge(Gram.from_matrix(matrix(right)))
    assert same(gram, left + right)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x = sp.random_array((300, 60), density=0.1, rng=np.random.default_rng(1), dtype=np.float32)
    whole = Gram.from_matrix(x)
    monkeypatch.setattr(gram_module, "BLOCK_CELLS", 100)
    cut = Gram.from_matrix(x)
    for part in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(whole.counts, part), getattr(cut.counts, part))


def test_weights_do_not_count_and_negative_cells_are_no_item() -> None:
    gram = Gram.from_matrix(np.array([[2.5, 0.1, 0.0], [3.0, -1.0, 0.0]]))
    assert gram.counts.toarray().tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert gram.counts.dtype == np.int64


def test_dense_is_the_same_numbers() -> None:
    gram = Gram.from_matrix(matrix([{0, 1}, {1, 2}]))
    assert np.array_equal(gram.dense(), gram.counts.toarray())
    assert gram.dense().dtype == np.float32


def test_a_stranger_cannot_be_removed() -> None:
    gram = Gram.from_matrix(matrix([{0, 1}, {2}]))
    before = gram.counts.toarray()
    with pytest.raises(InputError, match="no counted shopper"):
        gram.remove_user(items_of({1, 2}))
    with pytest.raises(InputError):
        Gram(N_ITEMS).remove_user(items_of(set()))
    assert np.array_equal(gram.counts.toarray(), before)


@pytest.mark.parametrize("items", [[0, 0], [-1], [N_ITEMS]])
def test_bad_items_are_refused(items: list[int]) -> None:
    with pytest.raises(InputError, match="distinct items"):
        Gram(N_ITEMS).add_user(np.array(items, dtype=np.int32))


def test_other_items_cannot_be_merged() -> None:
    with pytest.raises(InputError, match="3 items"):
        Gram(N_ITEMS).merge(Gram(3))
