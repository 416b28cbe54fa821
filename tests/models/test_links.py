"""Sums over links, and what a sum leans on, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from regulars.core.arrays import cells_of
from regulars.models.links import add_links, leading_links


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
    np.testing.assert_allclose(add_links(cells_of(weights), links), (weights @ links).toarray(), rtol=1e-5)


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
