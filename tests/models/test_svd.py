"""Singular vectors against LAPACK's, and the product against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars.models import svd
from regulars.models.svd import multiply, right_vectors


def clicks(n_users: int, n_items: int, share: float = 0.1, seed: int = 0) -> sp.csr_array:
    return sp.random_array((n_users, n_items), density=share, rng=seed, dtype=np.float32, format="csr")


@pytest.mark.parametrize("small", [800, 0], ids=["exact", "iterated"])
def test_the_span_is_that_of_lapack(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svd, "SMALL", small)
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 6, 300)
    matrix = sp.csr_array(clicks(300, 120) + (groups[:, None] == rng.integers(0, 6, 120)) * 0.5, dtype=np.float32)
    vectors = right_vectors(matrix, 6, rng)
    exact = np.linalg.svd(matrix.toarray().astype(np.float64))[2][:6].T
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(6), atol=1e-5)
    np.testing.assert_allclose(np.abs(np.einsum("ij,ij->j", vectors, exact)), 1.0, atol=1e-3)  # in this order
    np.testing.assert_allclose(vectors @ vectors.T, exact @ exact.T, atol=1e-3)
    others = np.linalg.svd(matrix.toarray())[2][6:12].T
    assert np.abs(vectors.T @ others).max() < 0.01  # and of no other vectors


@pytest.mark.parametrize("small", [800, 0], ids=["exact", "iterated"])
def test_no_more_vectors_than_the_rank(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svd, "SMALL", small)
    rows = np.repeat(clicks(3, 90, 0.5).toarray(), 20, axis=0)
    vectors = right_vectors(sp.csr_array(rows), 10, np.random.default_rng(0))
    assert vectors.shape == (90, 3)
    np.testing.assert_allclose(rows @ vectors @ vectors.T, rows, atol=1e-5)
    assert right_vectors(sp.csr_array((5, 90), dtype=np.float32), 10, np.random.default_rng(0)).shape == (90, 0)


def test_the_same_seed_gives_the_same_vectors() -> None:
    matrix = clicks(400, 900)
    one, same, other = (right_vectors(matrix, 4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 20), st.integers(0, 2**31))
def test_a_product_is_scipys(n_rows: int, n_columns: int, width: int, seed: int) -> None:
    matrix, rng = clicks(n_rows, n_columns, 0.3, seed), np.random.default_rng(seed)
    block, out = (rng.standard_normal((n, width), dtype=np.float32) for n in (n_columns, n_rows))
    wanted = -2.0 * out + 3.0 * (matrix @ block)
    np.testing.assert_allclose(multiply(matrix, block), matrix @ block, atol=1e-5)
    result = multiply(matrix, block, out, scale=3.0, keep=-2.0, threads=2)
    assert result is out
    np.testing.assert_allclose(out, wanted, atol=1e-4)
