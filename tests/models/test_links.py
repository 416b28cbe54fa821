"""Sums over links, and what a sum leans on, against dense matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from regulars.core.arrays import cells_of
from regulars.models.base import dense
from regulars.models.links import add_few_links, add_links, leading_links


def sparse(shape: tuple[int, int], density: float, seed: int) -> sp.csr_array:
    matrix = sp.random_array(shape, density=density, rng=np.random.default_rng(seed), dtype=np.float32).tocsr()
    matrix.sort_indices()
    return matrix


@pytest.mark.parametrize(
    ("n_rows", "density"), [(0, 0.1), (1, 0.0), (7, 0.02), (7, 1.0)], ids=["nobody", "nothing", "thin", "full"]
)
@pytest.mark.parametrize("n_items", [1, 5, 400])
def test_sums_are_the_product(n_rows: int, density: float, n_items: int) -> None:
    weights, links = sparse((n_rows, n_items), density, 1), sparse((n_items, n_items), 0.2, 2)
    indptr, item_idx, sums = add_few_links(cells_of(weights), links)
    assert [len(set(item_idx[a:b])) for a, b in itertools.pairwise(indptr)] == np.diff(indptr).tolist()
    found = dense((indptr, item_idx, sums), n_items, 0.0)
    np.testing.assert_allclose(found, (weights @ links).toarray(), rtol=1e-5)
    np.testing.assert_array_equal(found, add_links(cells_of(weights), links))


def test_items_that_share_their_slots_keep_apart() -> None:
    """A full row of a power of two of items: every chain of the hash table is walked."""
    n_items = 1 << 12
    links = sp.csr_array(np.ones((2, n_items), dtype=np.float32))
    weights = sp.csr_array(np.array([[1.0, 2.0]], dtype=np.float32))
    _, item_idx, sums = add_few_links(cells_of(weights), links)
    assert sorted(item_idx.tolist()) == list(range(n_items))
    assert (sums == 3.0).all()


def test_the_leading_item_by_a_dense_table() -> None:
    weights, links = sparse((1, 60), 0.3, 3), sparse((60, 60), 0.1, 4)
    wanted = np.arange(60, dtype=np.int32)
    shares = links.toarray()[weights.indices] * weights.data[:, None]
    by_table = np.where(shares.max(axis=0) > 0, weights.indices[shares.argmax(axis=0)], -1)
    found = leading_links(cells_of(weights), links, wanted)
    np.testing.assert_array_equal(found, by_table)
    assert -1 in found
    assert len(set(found)) > 5


def test_nothing_leads_without_a_history() -> None:
    nothing = cells_of(sp.csr_array((1, 4), dtype=np.float32))
    assert leading_links(nothing, sparse((4, 4), 1.0, 5), np.arange(4, dtype=np.int32)).tolist() == [-1] * 4
