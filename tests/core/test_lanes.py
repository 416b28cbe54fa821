"""Four rows at a time are what numpy makes of them, for every width."""

from __future__ import annotations

import numpy as np
import pytest

from regulars.core.jit import fast_kernel
from regulars.core.lanes import LANES, LINE, Four, add_four, aligned, dots_of_four, rounded


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


@pytest.mark.parametrize("d", [1, LANES - 1, 2 * LANES, 2 * LANES + 3])
def test_bfloat16_rows_count_as_what_they_stand_for(d: int) -> None:
    rng = np.random.default_rng(d)
    matrix, vector, out = (rng.normal(size=shape).astype(np.float32) for shape in ((4, d), d, d))
    short = rounded(matrix)
    stands_for = (short.astype(np.uint32) << 16).view(np.float32)
    times = np.float32(0.5), np.float32(-2.0), np.float32(1.0), np.float32(3.0)
    wanted = out + np.array(times) @ stands_for
    said = both(short.ravel(), (0, d, 2 * d, 3 * d), vector, times, out)
    assert np.allclose(said, stands_for @ vector, atol=1e-5)
    assert np.allclose(out, wanted, atol=1e-5)


def test_rounding_takes_the_nearest_and_of_two_the_even_one() -> None:
    import torch

    rng = np.random.default_rng(0)
    numbers = (rng.normal(size=(50, 7)) * 10.0 ** rng.uniform(-30, 30, (50, 7))).astype(np.float32)
    numbers[0] = [0.0, -0.0, 1.0, 1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8), 3e38]  # two ties: down and up
    wanted = torch.from_numpy(numbers).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(rounded(numbers), wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_aligned_arrays_are_zeros_on_a_line(dtype: type) -> None:
    for rows in (0, 1, 7, 1000):
        array = aligned((rows, 5), dtype)
        assert array.shape == (rows, 5)
        assert array.dtype == dtype
        assert not array.any()
        assert array.ctypes.data % LINE == 0 or not rows
        assert array.flags.c_contiguous
