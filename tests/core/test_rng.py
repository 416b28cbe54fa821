"""Draws are a pure function of their key: known answers, evenness, independence of neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.core.rng import generator, hashes, key_of, uniforms


def test_known_answers_of_splitmix64() -> None:
    """With counter 0 a hash is the first output of SplitMix64 seeded with the key (reference C code by Vigna)."""
    assert int(hashes(0, 0)) == 0xE220A8397B1DCDAF
    assert int(hashes(1234567, 0)) == 6457827717110365317


def test_keys_tell_parts_apart_and_stay() -> None:
    keys = [key_of("a", 1), key_of("a", "1"), key_of("a1"), key_of("1", "a"), key_of("a"), key_of("a", 1, "")]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**64 for key in keys)
    assert key_of("seed", np.int64(3)) == key_of("seed", 3)  # type: ignore[arg-type]
    assert key_of() == int.from_bytes(bytes.fromhex("e4a6a0577479b2b4"), "little")  # BLAKE2b-64 of nothing
    with pytest.raises(TypeError):
        key_of(0.5)  # type: ignore[arg-type]


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_a_draw_does_not_depend_on_its_neighbours(key: int, counters: list[int]) -> None:
    together = uniforms(key, counters, 7)
    assert ((together >= 0) & (together < 1)).all()
    assert together.tolist() == [float(uniforms(key, counter, 7)) for counter in counters]


def test_counters_are_broadcast_and_ordered() -> None:
    table = hashes(5, np.arange(4)[:, None], np.arange(3)[None, :])
    assert table.shape == (4, 3)
    assert len(set(table.ravel().tolist())) == 12  # (1, 2) is not (2, 1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_uniforms_are_even_and_uncorrelated(axis: int) -> None:
    """64 cells, 100,000 draws along the key or either counter: chi-square with 63 degrees, P < 1e-6 above 132."""
    n = 100_000
    if axis == 0:
        draws = np.array([float(uniforms(key_of("k", row), 1)) for row in range(n // 10)])
    else:
        draws = uniforms(9, np.arange(n), 3) if axis == 1 else uniforms(9, 3, np.arange(n))
    counts = np.bincount((draws * 64).astype(int), minlength=64)
    expected = len(draws) / 64
    assert ((counts - expected) ** 2 / expected).sum() < 132
    correlation = np.corrcoef(draws[:-1], draws[1:])[0, 1]
    assert abs(correlation) < 5 / np.sqrt(len(draws))


def test_generators_by_key() -> None:
    assert generator("a", 1).random() == generator("a", 1).random()
    assert generator("a", 1).random() != generator("a", 2).random()
