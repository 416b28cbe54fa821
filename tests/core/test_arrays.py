"""The checks at the doors for arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from regulars.core.arrays import as_csr, expect
from regulars.core.errors import InputError


@pytest.mark.parametrize("form", [np.array, sp.csr_array, sp.csc_array, sp.coo_array, sp.csr_matrix, list])
def test_every_form_becomes_the_same_matrix(form: Any) -> None:
    csr = as_csr(form([[0, 2.5], [1, 0], [0, 0]]))
    assert isinstance(csr, sp.csr_array)
    assert csr.dtype == np.float32
    assert csr.toarray().tolist() == [[0, 2.5], [1, 0], [0, 0]]


def test_it_is_a_canonical_copy() -> None:
    given = sp.csr_array((np.array([1.0, 2.0, 3.0], dtype=np.float32), [1, 0, 1], [0, 3]), shape=(1, 2))
    csr = as_csr(given)
    assert csr.indices.tolist() == [0, 1]
    assert csr.data.tolist() == [2, 4]
    csr.data[:] = 0
    assert given.data.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.array([[np.nan]]), "NaN or infinity"), (np.array([[-np.inf]]), "NaN or infinity"),
        ("text", "wanted"), (np.array([["a"]]), "wanted"), (None, "wanted"), (np.ones(3), "wanted 2 axes"),
        (np.ones((2, 2, 2)), "wanted"), ([[1, 2], [3]], "wanted"),
    ],
)  # fmt: skip
def test_what_is_no_matrix_is_refused(matrix: Any, reason: str) -> None:
    with pytest.raises(InputError, match=f"^table: .*{reason}"):
        as_csr(matrix, "table")


def test_expect() -> None:
    array = np.zeros((2, 3))
    assert expect(array, "scores", ndim=2, length=2) is array
    with pytest.raises(InputError, match=r"scores: got 2 axes, shape \(2, 3\), wanted 1 axes"):
        expect(array, "scores", ndim=1)
    with pytest.raises(InputError, match="scores: got 2 rows, wanted 5 rows"):
        expect(array, "scores", ndim=2, length=5)
