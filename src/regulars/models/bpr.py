"""BPR: factors that rank what a shopper took above what they did not (Rendle et al. 2009).

Maximise sum ln s(x_u'(y_i - y_j) + b_i - b_j) - reg/2 |x_u|^2 - item_reg/2 (|y_i|^2 + |y_j|^2 + b_i^2 + b_j^2) over
pairs (u, i) that happened and items j drawn evenly (draws that u has are left out), by stochastic gradient steps:
`epochs` passes over all pairs in an order drawn afresh, the rate falling linearly to a tenth. One thread: the same
seed gives the same numbers.

A shopper never seen is folded in by the best x for the same loss with the items fixed, against `N_AGAINST` items that
were drawn at the fit: a convex problem, solved by Newton's method. Fit O(epochs x pairs x d); a request
O(steps x (history x N_AGAINST x d + (history + N_AGAINST) d^2 + d^3)).
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.special import expit

from regulars.core.arrays import Floats, Indices, Matrix, Scores, Starts, cells_of
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import ModelError
from regulars.core.jit import fast_kernel
from regulars.models.base import Can, Model, check_range

N_AGAINST = 256  # items that a fold-in ranks a history above
NEWTON_STEPS = 8
DONE = 1e-4  # a step shorter than this ends the fold-in
FAR = np.float32(1e6)  # no score of a training that goes well; also what fast arithmetic can tell from infinity


class BPR(Model):
    """Inner products of factors, and an item's bias, learned pair against pair."""

    name = "bpr"
    can = frozenset({Can.FACTORS})

    def __init__(
        self, *, factors: int = 64, rate: float = 0.05, reg: float = 0.01, item_reg: float = 0.01, epochs: int = 60
    ) -> None:
        check_range("bpr: factors", factors, 1, 4096, whole=True)
        check_range("bpr: rate", rate, 1e-9)
        check_range("bpr: reg", reg, 1e-6)
        check_range("bpr: epochs", epochs, 1, whole=True)
        check_range("bpr: item_reg", item_reg, 0.0)
        self.factors, self.rate, self.reg, self.item_reg, self.epochs = factors, rate, reg, item_reg, epochs

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Both sides' factors, and the pairs with their order."""
        return (8 * sum(shape) * (self.factors + 2) + 24 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        _, y, bias = self.learn(data.user_items, rng)
        y[np.bincount(data.user_items.indices, minlength=len(y)) == 0] = 0.0
        self.vectors_ = np.hstack((y, bias[:, None]))
        self.against_ = np.sort(rng.permutation(len(y))[:N_AGAINST]).astype(np.int32)

    def learn(self, user_items: Matrix, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """Run the epochs; factors of the shoppers and of the items, biases of the items."""
        indptr, items, _ = cells_of(user_items)
        users = np.repeat(np.arange(user_items.shape[0], dtype=np.int32), np.diff(indptr))
        spread = 0.1 / np.sqrt(self.factors)
        x, y = (rng.normal(0.0, spread, (n, self.factors)).astype(np.float32) for n in user_items.shape)
        bias = np.zeros(len(y), dtype=np.float32)
        for epoch in range(self.epochs):
            rate = self.rate * (1.0 - 0.9 * epoch / self.epochs)
            order = rng.permutation(len(items)).astype(np.int32)
            against = rng.integers(0, max(1, len(y)), len(items), dtype=np.int32)
            steps = np.array([rate, self.reg, self.item_reg], dtype=np.float32)
            bad = _epoch(order, users, (indptr, items), against, (x, y, bias), steps)
            if bad >= 0:
                raise ModelError("bpr", got=f"a loss that is not finite in step {epoch * len(items) + bad + 1}",
                                 wanted="a finite one", remedy="Lower the rate.")  # fmt: skip
        return x, y, bias

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """[x, 1] of these shoppers `(n, factors + 1)`, folded in; x is 0 without a history."""
        self._check_fitted()
        self._check_width(histories)
        found = np.ones((len(histories), self.factors + 1), dtype=np.float32)
        given = histories.user_items
        for row in range(len(histories)):
            taken = given.indices[given.indptr[row] : given.indptr[row + 1]]
            found[row, :-1] = self._folded(taken)
        return found

    def _folded(self, taken: Indices) -> Floats:
        """The x that ranks `taken` best above the items drawn at the fit, but for those that are taken."""
        against = self.against_[~np.isin(self.against_, taken)]
        x = np.zeros(self.factors)
        if not len(taken) or not len(against):
            return x.astype(np.float32)
        high, low = (self.vectors_[idx].astype(np.float64) for idx in (taken, against))
        for _ in range(NEWTON_STEPS):
            step = _newton_step(x, high, low, self.reg * len(taken))
            x += step
            if np.abs(step).max() < DONE:
                break
        return x.astype(np.float32)

    @property
    def item_vectors(self) -> Floats:
        """[y, bias] of the items `(n_items, factors + 1)`."""
        self._check_fitted()
        vectors: Floats = self.vectors_
        return vectors

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Inner products plus biases `(n, n_items)`; the biases alone without a history."""
        return self.user_vectors(histories, now) @ self.item_vectors.T


def _newton_step(
    x: NDArray[np.float64], high: NDArray[np.float64], low: NDArray[np.float64], reg: float
) -> NDArray[np.float64]:
    """One step towards the least sum of the mean over `low` of -ln s(high - low), plus reg/2 |x|^2."""
    q, p = high[:, :-1], low[:, :-1]
    doubt = expit((low[:, -1] + p @ x)[None, :] - (high[:, -1] + q @ x)[:, None]) / len(low)
    slope = reg * x - doubt.sum(axis=1) @ q + doubt.sum(axis=0) @ p
    bend = doubt * (1.0 - doubt * len(low))
    cross = q.T @ (bend @ p)
    system = (q.T * bend.sum(axis=1)) @ q + (p.T * bend.sum(axis=0)) @ p - cross - cross.T
    system.ravel()[:: len(x) + 1] += reg
    step: NDArray[np.float64] = scipy.linalg.solve(system, -slope, assume_a="pos")
    return step


@fast_kernel
def _epoch(
    order: Indices, users: Indices, rows: tuple[Starts, Indices], against: Indices,
    learned: tuple[Floats, Floats, Floats], steps: Floats,
) -> int:  # fmt: skip
    """A gradient step for each pair, but where the draw is one the shopper has; the first step gone wrong, or -1."""
    indptr, items = rows
    x, y, bias = learned
    rate, reg, item_reg = steps
    d = x.shape[1]
    for at in range(len(order)):
        user, item, other = users[order[at]], items[order[at]], against[at]
        low, high = indptr[user], indptr[user + 1]
        while low < high:
            middle = (low + high) // 2
            if items[middle] < other:
                low = middle + 1
            else:
                high = middle
        if low < indptr[user + 1] and items[low] == other:
            continue
        mine, its, theirs = x[user], y[item], y[other]
        ahead = bias[item] - bias[other]
        for f in range(d):
            ahead += mine[f] * (its[f] - theirs[f])
        if not abs(ahead) < FAR:
            return at
        pull = np.float32(1.0) / (np.float32(1.0) + np.exp(ahead))
        for f in range(d):
            was = mine[f]
            mine[f] += rate * (pull * (its[f] - theirs[f]) - reg * was)
            its[f] += rate * (pull * was - item_reg * its[f])
            theirs[f] -= rate * (pull * was + item_reg * theirs[f])
        bias[item] += rate * (pull - item_reg * bias[item])
        bias[other] -= rate * (pull + item_reg * bias[other])
    return -1
