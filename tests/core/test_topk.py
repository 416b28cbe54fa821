"""Selection equals a full sort, ties by id, and never returns what is masked."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from regulars.core.arrays import cells_of
from regulars.core.errors import InputError
from regulars.core.topk import BAND, BLOCK, COARSE, HEAD, MANY, ROWS, InnerProducts, order, top_cells, top_k, top_sums

# few distinct values, so that ties and masks are common
LEVELS = st.sampled_from([-np.inf, -2.0, -1.0, 0.0, 0.5, 3.0])
SCORES = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12), elements=LEVELS)


def by_sorting(scores: NDArray[np.float32], k: int) -> tuple[list[list[int]], list[list[float]]]:
    """The plain definition: sort by (-score, id), drop -inf, cut at k, pad."""
    ids, values = [], []
    for row in scores.tolist():
        ranked = sorted((-score, idx) for idx, score in enumerate(row) if score > -np.inf)[:k]
        pad = k - len(ranked)
        ids.append([idx for _, idx in ranked] + [-1] * pad)
        values.append([-score for score, _ in ranked] + [-np.inf] * pad)
    return ids, values


@given(SCORES, st.integers(1, 15))
def test_top_k_is_a_full_sort(scores: NDArray[np.float32], k: int) -> None:
    before = scores.copy()
    ids, values = top_k(scores, k)
    wanted_ids, wanted = by_sorting(scores, k)
    assert ids.dtype == np.int32
    assert values.dtype == np.float32
    assert ids.tolist() == wanted_ids
    assert values.tolist() == wanted
    np.testing.assert_array_equal(scores, before)


@given(SCORES, st.data(), st.integers(1, 15))
def test_what_is_not_allowed_never_appears(scores: NDArray[np.float32], data: st.DataObject, k: int) -> None:
    allowed = data.draw(hnp.arrays(np.bool_, scores.shape[1]))
    masked = np.where(allowed, scores, np.float32(-np.inf))
    np.testing.assert_array_equal(top_k(scores, k, allowed), top_k(masked, k))
    banned = data.draw(hnp.arrays(np.int32, (len(scores), 2), elements=st.integers(-1, max(scores.shape[1] - 1, -1))))
    for row, shut in enumerate(banned.tolist()):
        masked[row, [idx for idx in shut if idx >= 0]] = -np.inf
    np.testing.assert_array_equal(top_k(scores, k, allowed, banned), top_k(masked, k))


@given(
    hnp.arrays(np.float32, (3, 2), elements=st.integers(-2, 2)),
    hnp.arrays(np.float32, (9, 2), elements=st.integers(-2, 2)),
    hnp.arrays(np.bool_, 9), hnp.arrays(np.int32, (3, 2), elements=st.integers(-1, 8)),
    st.integers(1, 12), st.sampled_from([-np.inf, 0.0, 1.0]),
)  # fmt: skip
def test_search_by_inner_product_is_top_k_of_the_dense_product(
    users: NDArray[np.float32], items: NDArray[np.float32], allowed: NDArray[np.bool_],
    banned: NDArray[np.int32], k: int, above: float,
) -> None:  # fmt: skip
    dense, search = users @ items.T, InnerProducts(items)
    np.testing.assert_array_equal(search.top_k(users, k), top_k(dense, k))
    np.testing.assert_array_equal(search.top_k(users, k, allowed=allowed), top_k(dense, k, allowed))
    for row, shut in enumerate(banned.tolist()):
        dense[row, [idx for idx in shut if idx >= 0]] = -np.inf
    dense[dense <= above] = -np.inf
    found = search.top_k(users, k, allowed=allowed, banned=banned, above=above)
    np.testing.assert_array_equal(found, top_k(dense, k, allowed))


@given(
    SCORES, st.data(), st.integers(1, 15), st.sampled_from([-np.inf, 0.0, 0.5]),
)  # fmt: skip
def test_few_cells_are_the_top_of_the_dense_row(
    scores: NDArray[np.float32], data: st.DataObject, k: int, above: float
) -> None:
    n, n_items = scores.shape
    allowed = data.draw(hnp.arrays(np.bool_, n_items))
    banned = data.draw(hnp.arrays(np.int32, (n, 2), elements=st.integers(-1, max(n_items - 1, -1))))
    met = [data.draw(st.permutations(np.flatnonzero(row > -np.inf).tolist())) for row in scores]
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in met]))).astype(np.int64)
    item_idx = np.array([idx for row in met for idx in row], dtype=np.int32)
    numbers = np.array([scores[row, idx] for row, items in enumerate(met) for idx in items], dtype=np.float32)
    wanted = np.where(allowed & (scores > above), scores, np.float32(-np.inf))
    for row, shut in enumerate(banned.tolist()):
        wanted[row, [idx for idx in shut if idx >= 0]] = -np.inf
    found = top_cells((indptr, item_idx, numbers), k, allowed, banned, above)
    np.testing.assert_array_equal(found, top_k(wanted, k))


@pytest.mark.parametrize("n_items", [1, 5, BAND - 1, BAND, 2 * BAND + 3])
@pytest.mark.parametrize("above", [0.0, 1.5])
def test_sums_over_links_are_the_top_of_the_dense_product(n_items: int, above: float) -> None:
    rng = np.random.default_rng(n_items)
    links = sp.random_array((30, n_items), density=0.3, rng=rng, dtype=np.float32).tocsr()
    weights = sp.random_array((4, 30), density=0.4, rng=rng, dtype=np.float32).tocsr()
    for matrix in (links, weights):
        matrix.data[:] = np.ceil(matrix.data * 3)  # whole numbers: many ties
        matrix.sort_indices()
    allowed = rng.random(n_items) < 0.7
    banned = rng.integers(-1, n_items, (4, 5), dtype=np.int32)
    dense = (weights @ links).toarray()
    dense[dense <= above] = -np.inf
    found = top_sums(cells_of(weights), links, 20, allowed, banned, above)
    np.testing.assert_array_equal(found, top_k(dense, 20, allowed, banned))


def test_search_by_inner_product_prunes_nothing_it_needs() -> None:
    """Lengths over six orders of magnitude: most items are never looked at, the answer is the full product's."""
    rng = np.random.default_rng(0)
    items = (rng.normal(size=(3000, 16)) * 10.0 ** rng.uniform(-3, 3, (3000, 1))).astype(np.float32)
    users = rng.normal(size=(20, 16)).astype(np.float32)
    ids, scores = InnerProducts(items).top_k(users, 25)
    wanted_ids, wanted = top_k(users @ items.T, 25)
    np.testing.assert_allclose(scores, wanted, rtol=1e-5)
    assert (ids == wanted_ids).mean() > 0.99  # near ties may swap: two ways of summing


@pytest.mark.parametrize(
    ("n", "n_items"),
    [*itertools.product([MANY, ROWS + 3], [3, BLOCK - 1, BLOCK, 2 * BLOCK + 5]), (MANY, HEAD + COARSE + 5)],
)
@pytest.mark.parametrize("whole", [True, False])  # whole numbers: equal scores everywhere
def test_many_rows_at_once_find_what_each_finds_alone(n: int, n_items: int, whole: bool) -> None:
    rng = np.random.default_rng(n_items)
    users, items = (rng.normal(size=(rows, 9)).astype(np.float32) for rows in (n, n_items))
    if whole:
        users, items = np.rint(users), np.rint(items)
    users[1] = 0  # every score is 0
    items[rng.random(n_items) < 0.2] = 0
    allowed, search = rng.random(n_items) < 0.6, InnerProducts(items)
    banned = rng.integers(-1, n_items, (n, 30), dtype=np.int32)
    for above in (-np.inf, 0.0, 2.5):
        together = search.top_k(users, 20, allowed=allowed, banned=banned, above=above)
        alone = [
            search.top_k(users[row : row + 1], 20, allowed=allowed, banned=banned[row : row + 1], above=above)
            for row in range(n)
        ]
        np.testing.assert_array_equal(together[0], np.concatenate([ids for ids, _ in alone]))
        np.testing.assert_allclose(together[1], np.concatenate([scores for _, scores in alone]), rtol=1e-6)
        if whole:
            dense = users @ items.T
            dense[dense <= above] = -np.inf
            np.testing.assert_array_equal(together, top_k(dense, 20, allowed, banned))


def test_many_rows_prune_nothing_they_need() -> None:
    """Lengths over six orders of magnitude: most blocks are never multiplied, the answer is the full product's."""
    rng = np.random.default_rng(0)
    items = (rng.integers(-3, 4, (4 * BLOCK, 6)) * 4.0 ** rng.integers(-5, 5, (4 * BLOCK, 1))).astype(np.float32)
    users = rng.integers(-3, 4, (MANY, 6)).astype(np.float32)
    np.testing.assert_array_equal(InnerProducts(items).top_k(users, 25), top_k(users @ items.T, 25))


def test_a_large_row_with_many_ties() -> None:
    scores = np.random.default_rng(0).integers(0, 50, (2, 5000)).astype(np.float32)
    assert top_k(scores, 300)[0].tolist() == by_sorting(scores, 300)[0]


def test_transposed_and_double_input() -> None:
    scores = np.asfortranarray(np.array([[1.0, 3.0, 2.0], [5.0, 4.0, 6.0]]))
    assert top_k(scores.astype(np.float32), 2)[0].tolist() == [[1, 2], [2, 0]]
    assert top_k(scores, 2)[0].tolist() == [[1, 2], [2, 0]]


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(k: int) -> None:
    with pytest.raises(InputError, match=r"k: got .*, wanted an integer in \[1, inf\)"):
        top_k(np.zeros((1, 2), dtype=np.float32), k)


@given(hnp.arrays(np.float32, 8, elements=LEVELS), st.permutations(range(8)))
def test_order_sorts_by_score_then_id(scores: NDArray[np.float32], ids: list[int]) -> None:
    found = order(scores, np.array(ids))
    assert found.tolist() == sorted(range(8), key=lambda place: (-scores[place], ids[place]))


@pytest.mark.parametrize("n", [1, MANY])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_item_that_is_no_number_hides_no_other(n: int, bad: float) -> None:
    rng = np.random.default_rng(0)
    items, users = rng.normal(size=(HEAD + 60, 8)).astype(np.float32), rng.normal(size=(n, 8)).astype(np.float32)
    wanted = InnerProducts(items).top_k(users, 5)
    out = np.setdiff1d(np.arange(len(items)), wanted[0])[-1]
    items[out, 3] = bad
    users[:, 3] = -np.abs(users[:, 3])  # of an infinite one: the worst score there is
    items[:out, 3] = items[out + 1 :, 3] = 0
    found = InnerProducts(items).top_k(users, 5)
    rest = np.delete(items, out, axis=0)
    ids, scores = top_k(users @ rest.T, 5)
    np.testing.assert_array_equal(found[0], ids + (ids >= out))
    np.testing.assert_allclose(found[1], scores, rtol=1e-5)


@pytest.mark.parametrize("n", [1, MANY])
@pytest.mark.parametrize(("of_users", "of_items"), [(66, 0), (0, 66), (99, -99), (-99, 99), (0, -99), (-120, 66)])
def test_numbers_at_the_ends_of_float32_are_ranked_too(n: int, of_users: int, of_items: int) -> None:
    rng = np.random.default_rng(0)
    items = (rng.integers(-3, 4, (HEAD + 60, 6)) * np.float32(2.0**of_items)).astype(np.float32)
    users = (rng.integers(-3, 4, (n, 6)) * np.float32(2.0**of_users)).astype(np.float32)
    np.testing.assert_array_equal(InnerProducts(items).top_k(users, 9)[0], top_k(users @ items.T, 9)[0])
