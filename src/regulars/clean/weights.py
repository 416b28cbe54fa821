"""What an event says about liking: its kind's declared weight, halved every half-life. Batch and live use this."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Instants
from regulars.core.clock import Instant
from regulars.core.data import EVENT_TYPES
from regulars.core.settings import CleanSettings


def event_weights(kind: NDArray[np.integer[Any]], at: Instants, now: Instant, clean: CleanSettings) -> Floats:
    """`weights[kind] * 0.5 ** ((now - at) / half_life)`, float32, one number an event.

    `kind` indexes `EVENT_TYPES`; an event later than `now` (clocks disagree) counts as new; a half-life of 0s
    means that nothing fades.
    """
    declared = np.array([clean.weights.get(name, 0.0) for name in EVENT_TYPES], dtype=np.float32)
    weights = np.asarray(declared[kind], dtype=np.float32)
    if clean.half_life > 0:
        age = np.maximum(now - at, 0).astype(np.float32)
        age *= np.float32(-1 / clean.half_life)
        weights *= np.exp2(age, out=age)
    return weights
