"""The draw: a slate, position by position, with the exact probability of each choice.

At position p the remaining candidates are ordered by score less `diversity` for each item of the same category
above. A greedy position takes the first. An exploring position draws: `epsilon` takes the first with
probability 1 - eps, else one of the best `pool` evenly; `softmax` draws from the best `pool` in proportion to
exp(score / temperature). The propensity of an item is P(item | items above, request): the product over
positions is the slate's. Rules that remove or pin have run before; a pin has propensity 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Mask
from regulars.core.jit import kernel
from regulars.core.settings import RankSettings

GREEDY, EPSILON, SOFTMAX = 0, 1, 2
MODES = {"off": GREEDY, "epsilon": EPSILON, "softmax": SOFTMAX}


@dataclass(frozen=True)
class Drawn:
    """Slates of `n` requests: columns of the candidate lists by position, -1 pads."""

    place: Indices  # (n, limit)
    propensity: NDArray[np.float64]  # (n, limit)
    explored: Mask  # (n, limit) the item is not the one a greedy position would have taken


def draw(
    scores: Floats,
    category: Indices,
    pinned: Indices,
    limits: Indices,
    rank: RankSettings,
    chance: NDArray[np.float64],
) -> Drawn:
    """Draw slates for `n` requests at once.

    `scores (n, width)` logits, -inf = not available; `category (n, width)`, -1 = none; `pinned (n, n_pins)`
    columns that come first, -1 pads; `limits (n,)`; `chance (n, max(limits))` uniform numbers in [0, 1).
    """
    n, longest = len(scores), int(limits.max(initial=1))
    drawn = Drawn(
        place=np.full((n, longest), -1, dtype=np.int32),
        propensity=np.zeros((n, longest), dtype=np.float64),
        explored=np.zeros((n, longest), dtype=np.bool_),
    )
    _draw_rows(
        np.ascontiguousarray(scores, dtype=np.float32), np.ascontiguousarray(category, dtype=np.int32),
        np.ascontiguousarray(pinned, dtype=np.int32), limits.astype(np.int32), chance,
        MODES[rank.explore], rank.explore_positions, rank.epsilon, rank.temperature, rank.explore_pool,
        rank.diversity, drawn.place, drawn.propensity, drawn.explored,
    )  # fmt: skip
    return drawn


@kernel
def _spread(scores: Floats) -> float:
    """Best less mean of the available scores: the unit of `diversity` and `temperature`."""
    best, total, n = -np.inf, 0.0, 0
    for score in scores:
        if score > -np.inf:
            best = max(best, score)
            total += score
            n += 1
    return best - total / n if n > 0 else 0.0


@kernel
def _best_remaining(scores: Floats, taken: Mask, penalty: Floats, pool: int, best: Indices, worth: Floats) -> int:
    """Write the best `pool` remaining columns to `best`, first ones on ties, and return how many there are."""
    size = 0
    for column in range(len(scores)):
        if taken[column] or not scores[column] > -np.inf:
            continue
        score = scores[column] - penalty[column]
        if size == pool and not score > worth[size - 1]:
            continue
        place = size if size < pool else pool - 1
        while place > 0 and score > worth[place - 1]:
            worth[place], best[place] = worth[place - 1], best[place - 1]
            place -= 1
        worth[place], best[place] = score, column
        size = min(size + 1, pool)
    return size


@kernel
def _choose(
    mode: int, worth: Floats, size: int, epsilon: float, temperature: float, chance: float
) -> tuple[int, float]:
    """Pick one of the first `size` by one uniform number; return it and its probability."""
    if mode == EPSILON:
        even = epsilon / size
        if chance >= epsilon:
            return 0, 1.0 - epsilon + even
        choice = min(int(chance / even), size - 1) if even > 0 else 0
        return choice, even + (1.0 - epsilon if choice == 0 else 0.0)
    total = 0.0
    for place in range(size):
        total += np.exp((worth[place] - worth[0]) / temperature)
    below = 0.0
    for place in range(size):
        share = np.exp((worth[place] - worth[0]) / temperature) / total
        below += share
        if chance < below or place == size - 1:
            return place, share
    return 0, 1.0


@kernel
def _like_it(category: Indices, column: int, by: float, penalty: Floats) -> None:
    """Take `by` off everything of the chosen item's category."""
    if category[column] < 0 or by <= 0:
        return
    for other in range(len(category)):
        if category[other] == category[column]:
            penalty[other] += by


@kernel
def _draw_rows(  # noqa: PLR0913 - a kernel takes plain arrays and numbers
    scores: Floats, category: Indices, pinned: Indices, limits: Indices, chance: NDArray[np.float64],
    mode: int, explore_positions: int, epsilon: float, temperature: float, pool: int,
    diversity: float, place: Indices, propensity: NDArray[np.float64], explored: Mask,
) -> None:  # fmt: skip
    width = scores.shape[1]
    best, worth = np.empty(max(pool, 1), dtype=np.int32), np.empty(max(pool, 1), dtype=np.float32)
    for row in range(len(scores)):
        taken, penalty = np.zeros(width, dtype=np.bool_), np.zeros(width, dtype=np.float32)
        unit = _spread(scores[row])
        heat = max(temperature * unit, 1e-6)
        for position in range(limits[row]):
            column, chosen_p, chosen = -1, 1.0, 0
            if position < pinned.shape[1]:
                column = pinned[row, position]
            if column < 0:
                exploring = mode != GREEDY and position >= limits[row] - explore_positions
                size = _best_remaining(scores[row], taken, penalty, pool if exploring else 1, best, worth)
                if size == 0:
                    break
                if exploring:
                    chosen, chosen_p = _choose(mode, worth, size, epsilon, heat, chance[row, position])
                column = best[chosen]
            place[row, position], propensity[row, position] = column, chosen_p
            explored[row, position] = chosen > 0
            taken[column] = True
            _like_it(category[row], column, diversity * unit, penalty)
