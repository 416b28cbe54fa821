"""Neighbours of rows with a bound on work, against all inner products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from regulars.core.data import Items
from regulars.models import neighbours
from regulars.models.features import item_features, price_bands
from regulars.models.nearest import nearest
from regulars.models.neighbours import nearest_rows, strongest


def titles(n: int, seed: int = 0) -> sp.csr_array:
    """Items as `content` sees them: four words out of many, in one of few categories."""
    rng = np.random.default_rng(seed)
    words = [" ".join(f"word{number}" for number in row) for row in rng.integers(0, 500, (n, 4))]
    items = replace(
        Items.bare(str(idx) for idx in range(n)), title=words, category=[(str(idx % 40),) for idx in range(n)]
    )
    return item_features(items, text=1.0, category=0.5, brand=0.25, price=0.15)


def test_cheap_rows_are_exact() -> None:
    rows = titles(300)
    assert (nearest_rows(rows, 20) != nearest(sp.csr_array(rows.T), 20, 0.0)).nnz == 0


def test_a_tenth_of_the_work_finds_nearly_all() -> None:
    rows = titles(3000)
    cost = int((np.bincount(rows.indices).astype(np.int64) ** 2).sum())
    found, exact = nearest_rows(rows, 20, walk=cost // 10), (rows @ rows.T).toarray()
    np.fill_diagonal(exact, 0.0)
    near = found.tocoo()
    np.testing.assert_allclose(near.data, exact[near.row, near.col], atol=1e-5)  # what is scored is exact
    border = np.sort(exact, axis=1)[:, -20]
    assert (near.data >= border[near.row] - 1e-5).sum() >= 0.95 * 20 * 3000


def test_threads_do_not_show() -> None:
    rows = titles(2500)
    one, two = (nearest_rows(rows, 10, threads, walk=400_000) for threads in (1, 2))
    assert (one != two).nnz == 0


def test_features_longer_than_the_bound_still_give_neighbours() -> None:
    rows = sp.csr_array(np.ones((400, 1), dtype=np.float32))
    found = nearest_rows(rows, 5, walk=400 * 50)
    assert sorted(found[[399]].indices) == [0, 1, 2, 3, 4]  # all alike: ties go to the lower id
    assert sorted(found[[0]].indices) == [1, 2, 3, 4, 5]


def test_stored_zeros_meet_nobody(priced: sp.csr_array) -> None:
    bare = priced.copy()
    bare.eliminate_zeros()
    assert bare.nnz < priced.nnz
    found, plain = (nearest(sp.csr_array(rows.T), 5, 0.0) for rows in (priced, bare))
    assert (found != plain).nnz == 0


@pytest.fixture(name="priced")
def _priced() -> sp.csr_array:
    """Price bands of prices on a border, where the upper band has share 0."""
    items = replace(Items.bare(str(idx) for idx in range(30)), price=2 ** np.repeat([10, 11, 12], 10))
    return price_bands(items)


def test_strongest_by_sorting() -> None:
    values = np.random.default_rng(0).integers(1, 5, (20, 12)).astype(np.float32)
    kept = strongest(sp.csr_array(values), 4).toarray()
    for row, left in zip(values, kept, strict=True):
        best = np.lexsort((np.arange(12), -row))[:4]
        assert np.flatnonzero(left).tolist() == sorted(best)
        assert left[best].tolist() == row[best].tolist()


def test_a_shortlist_is_bounded_and_keeps_the_best() -> None:
    total = np.random.default_rng(1).random(500).astype(np.float32)
    total[100:200] = 0.5
    seen, before = np.arange(501, dtype=np.int32), total.copy()
    n_kept = neighbours._shorten(total, seen, 500, 60, np.empty(neighbours.BANDS + 1, dtype=np.int32))
    assert n_kept == 60
    best = np.argsort(-before)[:50]
    assert set(best) <= set(seen[:n_kept].tolist())
    assert np.flatnonzero(total).tolist() == sorted(seen[:n_kept].tolist())
