"""Four rows at a time are what numpy makes of them, for every width."""

from __future__ import annotations

import numpy as np
import pytest

from regulars.core.jit import fast_kernel
from regulars.core.lanes import LANES, Four, add_four, dots_of_four


@fast_kernel
def both(flat: np.ndarray, rows: Four, vector: np.ndarray, times: Four, out: np.ndarray) -> Four:
    add_four(flat, rows, times, out)
    return dots_of_four(flat, rows, vector)


@pytest.mark.parametrize("d", [1, LANES - 1, LANES, LANES + 1, 3 * LANES, 5 * LANES + 7])
@pytest.mark.parametrize("chosen", [(0, 1, 2, 3), (6, 2, 2, 0)])  # the same row twice counts twice
def test_products_and_sums_are_numpys(d: int, chosen: tuple[int, ...]) -> None:
    rng = np.random.default_rng(d)
    matrix, vector, out = (rng.normal(size=shape).astype(np.float32) for shape in ((7, d), d, d))
    times = np.float32(0.5), np.float32(-2.0), np.float32(0.0), np.float32(3.0)
    places = chosen[0] * d, chosen[1] * d, chosen[2] * d, chosen[3] * d
    wanted = out + np.array(times) @ matrix[list(chosen)]
    said = both(matrix.ravel(), places, vector, times, out)
    assert np.allclose(said, matrix[list(chosen)] @ vector, atol=1e-5)
    assert np.allclose(out, wanted, atol=1e-5)
