"""The bench of neighbours, on a matrix small enough for a test."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

import knn_speed as bench
from synthetic import synthetic


def test_ours_finds_the_links_of_the_peer() -> None:
    row = bench.measure(1, turns=1, shape=(400, 250, 12_000))
    assert row["same_links"] > 0.99
    assert row["ratio"] > 0


def test_links_that_only_one_has_are_no_shared_ones() -> None:
    ours = sp.csr_array(np.array([[0.0, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    theirs = sp.csr_matrix(np.array([[1.0, 0.5, 0.2], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    assert bench.shared(ours, theirs) == 0.5


def test_the_matrix_is_as_asked_and_the_same_for_a_seed() -> None:
    made = synthetic(300, 200, 5_000, seed=3)
    assert made.shape == (300, 200)
    assert made.nnz == 5_000
    assert made.has_sorted_indices
    assert (made != synthetic(300, 200, 5_000, seed=3)).nnz == 0
    assert (made != synthetic(300, 200, 5_000, seed=4)).nnz > 0
    by_item = np.sort(np.bincount(made.indices, minlength=200))
    assert by_item[-20:].mean() > 2 * by_item[:20].mean()
