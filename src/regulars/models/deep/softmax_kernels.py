"""Cross-entropy over all items with its gradients, worked on in tiles that fit a core's cache.

The gradient is ready when the loss is: dL/dscores = softmax(scores) - onehot(wanted). Scores of some rows are held
until their sums are known, as exponentials less the row's highest; to divide by a row's sum is left to the state.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats
from regulars.core.jit import fast_kernel, inlined_kernel, two_to

ROWS, TILE = 128, 1024  # a tile of scores is half a megabyte
HELD = 1 << 24  # scores held at once by each thread: with more than 131,072 items there are fewer rows
_LEAST = np.float32(-3e38)
_LOG2_E = np.float32(np.log2(np.e))
# 2^f for f in [-1/2, 1/2]: the Taylor series of exp(f log 2), off by 3e-7 at most
_TERMS = (
    np.float32(np.log(2) ** 6 / 720), np.float32(np.log(2) ** 5 / 120), np.float32(np.log(2) ** 4 / 24),
    np.float32(np.log(2) ** 3 / 6), np.float32(np.log(2) ** 2 / 2), np.float32(np.log(2)),
)  # fmt: skip


@inlined_kernel
def _highest(row: Floats, highest: np.float32) -> np.float32:
    for i in range(len(row)):
        highest = max(highest, row[i])
    return highest


@inlined_kernel
def _to_exponentials(row: Floats, highest: np.float32) -> np.float32:
    """exp(row - highest) in place, and its sum."""
    total = np.float32(0)
    for i in range(len(row)):
        power = max((row[i] - highest) * _LOG2_E, np.float32(-126))
        whole = np.floor(power + np.float32(0.5))
        f = power - whole
        value = _TERMS[0] * f + _TERMS[1]
        value = value * f + _TERMS[2]
        value = value * f + _TERMS[3]
        value = value * f + _TERMS[4]
        value = value * f + _TERMS[5]
        row[i] = (value * f + np.float32(1)) * two_to(np.int32(whole))
        total += row[i]
    return total


@inlined_kernel
def _add(to: Floats, more: Floats) -> None:
    for i in range(to.shape[0]):
        for j in range(to.shape[1]):
            to[i, j] += more[i, j]


@fast_kernel
def cross_entropy(
    states: Floats, items: Floats, wanted: NDArray[np.int64], by_states: Floats, by_items: Floats
) -> float:
    """Sum of the losses of `states (n, d)`; gradients overwrite `by_states`, and are added to `by_items`."""
    n_items, d = items.shape
    n_tiles = (n_items + TILE - 1) // TILE
    most = max(1, min(ROWS, HELD // (n_tiles * TILE)))
    held = np.empty((n_tiles, most * TILE), dtype=np.float32)
    product, scaled = np.empty((TILE, d), dtype=np.float32), np.empty((most, d), dtype=np.float32)
    highest, total = np.empty(most, dtype=np.float32), np.empty(most, dtype=np.float32)
    loss = 0.0
    for start in range(0, len(states), most):
        n = min(most, len(states) - start)
        rows, out = states[start : start + n], by_states[start : start + n]
        highest[:], total[:], out[:] = _LEAST, 0, 0
        for tile in range(n_tiles):
            first, last = tile * TILE, min((tile + 1) * TILE, n_items)
            scores = held[tile, : n * (last - first)].reshape((n, last - first))
            np.dot(rows, items[first:last].T, scores)
            for r in range(n):
                highest[r] = _highest(scores[r], highest[r])
        for tile in range(n_tiles):
            first, last = tile * TILE, min((tile + 1) * TILE, n_items)
            scores = held[tile, : n * (last - first)].reshape((n, last - first))
            for r in range(n):
                total[r] += _to_exponentials(scores[r], highest[r])
            np.dot(scores, items[first:last], product[:n])
            _add(out, product[:n])
        for r in range(n):
            total[r] = max(total[r], np.float32(1))  # less is no sum but not a number, which the loss shows
            item, share, own = wanted[start + r], np.float32(1) / total[r], np.float32(0)
            for j in range(d):
                own += rows[r, j] * items[item, j]
                scaled[r, j] = rows[r, j] * share
                out[r, j] = out[r, j] * share - items[item, j]
                by_items[item, j] -= rows[r, j]
            loss += np.log(total[r]) + highest[r] - own
        for tile in range(n_tiles):
            first, last = tile * TILE, min((tile + 1) * TILE, n_items)
            scores = held[tile, : n * (last - first)].reshape((n, last - first))
            np.dot(scores.T, scaled[:n], product[: last - first])
            _add(by_items[first:last], product[: last - first])
    return loss


def bytes_held(n_items: int, d: int, threads: int) -> int:
    """What a call on all threads holds beside its arguments and results."""
    return threads * (4 * min(HELD, ROWS * (n_items + TILE)) + 4 * n_items * d)
