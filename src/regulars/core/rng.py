"""Randomness is an argument: generators and plain uniforms that are a pure function of their key.

`uniforms` is a counter-based hash (SplitMix64 finaliser, Steele et al. 2014), so a draw depends on its key
alone, never on how many draws others made before it.
"""

from __future__ import annotations

import hashlib
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def key_of(*parts: str | int) -> int:
    """Hash a key such as (seed, 'draw', recommendation_id) to 64 bits, the same on every machine."""
    text = "\x1f".join(f"str:{part}" if isinstance(part, str) else f"int:{index(part)}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(*parts: str | int) -> np.random.Generator:
    """Return a generator for this key alone."""
    return np.random.Generator(np.random.PCG64(key_of(*parts)))


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))


def hashes(key: int, *counters: Any) -> NDArray[np.uint64]:
    """Hash integer arrays (broadcast together) under a key to 64 well-mixed bits each."""
    state = np.asarray(np.uint64(key))
    with np.errstate(over="ignore"):
        for counter in counters:  # the state grows to the counters' common shape, the first mixes are over few
            numbers = np.asarray(counter).astype(np.int64).view(np.uint64)
            state = _mix(np.asarray(state + _GOLDEN + numbers * _MIX_2, dtype=np.uint64))
    return np.asarray(state)


def uniforms(key: int, *counters: Any) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), one for each (key, counters...) tuple; counters are broadcast together."""
    return np.asarray((hashes(key, *counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53)
