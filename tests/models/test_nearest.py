"""Nearest columns against their definition: ties, threads, catalogues wide and narrow, scales that are not even."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars.models.nearest import nearest


def defined(x: np.ndarray, k: int, shrink: float, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The `k` best of each row of x'x / (left right' + shrink), no self, ties to the lower id."""
    below = np.multiply.outer(left, right) + shrink
    likeness = np.divide(x.T @ x, below, out=np.zeros_like(below), where=below > 0)
    np.fill_diagonal(likeness, 0.0)
    kept = np.zeros_like(likeness)
    for row, values in enumerate(likeness):
        best = np.lexsort((np.arange(len(values)), -np.round(values, 9)))[:k]
        kept[row, best] = values[best]
    return np.asarray(kept)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 9, 100]), st.sampled_from([0.0, 3.0]), st.integers(1, 4))
def test_ties_of_plain_counts_go_to_the_lower_id(seed: int, k: int, shrink: float, threads: int) -> None:
    """Columns of 1, 4, 9 or 16 ones have whole lengths, so that equal quotients are equal in float32 too."""
    rng = np.random.default_rng(seed)
    x = np.zeros((16, 30))
    for column in x.T:
        column[rng.permutation(16)[: rng.choice([1, 4, 9, 16])]] = 1.0
    norms = np.sqrt(x.sum(axis=0))
    found = nearest(sp.csr_array(x.astype(np.float32)), k, shrink, threads)
    np.testing.assert_allclose(found.toarray(), defined(x, k, shrink, norms, norms), rtol=1e-6)


@pytest.mark.parametrize("shape", [(200, 30), (30, 5000), (2000, 300)], ids=["full", "wide", "long"])
@pytest.mark.parametrize("threads", [1, 3])
def test_uneven_scales(shape: tuple[int, int], threads: int) -> None:
    x = sp.random_array(shape, density=0.02, rng=np.random.default_rng(3), dtype=np.float32).tocsr()
    left, right = np.random.default_rng(4).uniform(0.5, 2.0, (2, shape[1])).astype(np.float32)
    found = nearest(x, 7, 0.1, threads, (left, right))
    expected = defined(x.toarray().astype(np.float64), 7, 0.1, left.astype(np.float64), right.astype(np.float64))
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5)
    assert found.has_sorted_indices


def test_threads_do_not_show_to_the_last_bit() -> None:
    x = sp.random_array((900, 2500), density=0.01, rng=np.random.default_rng(5), dtype=np.float32).tocsr()
    one, three = nearest(x, 20, 1.0, threads=1), nearest(x, 20, 1.0, threads=3)
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(one, part), getattr(three, part))


def test_heaps_bound_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    x = sp.random_array((50, 40), density=0.2, rng=np.random.default_rng(6), dtype=np.float32).tocsr()
    whole = nearest(x, 5, 0.0, threads=4)
    monkeypatch.setattr("regulars.models.nearest.MOST_HEAPS", 1)
    monkeypatch.setattr("regulars.models.nearest._join", None)  # one worker has nothing to join
    assert (nearest(x, 5, 0.0, threads=4) != whole).nnz == 0
