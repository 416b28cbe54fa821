"""A Markov chain over ratings' factors, its priors and all: Bayesian matrix factorisation with side information.

r_ui ~ N(u'v, 1 / noise) with a bias as the last element on each side, and for the rows of each side
u ~ N(mean + x'W, precision^-1), where x are features of the row and W what they say of factors (Salakhutdinov &
Mnih 2008, "Bayesian probabilistic matrix factorization using MCMC"; with features Simm et al. 2017, "Macau").
Mean and precision are Gaussian-Wishart, a block of W is N(0, (shrink precision)^-1), noise and shrink are Gamma, all
of them vague for ratings of deviation 1: nothing is left to tune but how many factors. Where x says which items a
shopper met, u is what SVD++ (Koren 2008) makes of it: a part of the items met, and a part of the shopper's own.

A row is drawn exactly by perturbing its data: with s drawn from its prior and e from the noise, s + argmin over d of
noise |r + e - (s + d)'V|^2 + d' precision d is a draw from the posterior (Papandreou & Yuille 2010, "Gaussian
sampling by local perturbations"), so the solver of ALS does both. W is drawn a feature at a time.
O(nnz (d^2 + features) + n d^3) a sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Matrix
from regulars.core.jit import fast_kernel, in_chunks
from regulars.models.normal import solve_rows

Doubles = NDArray[np.float64]
VAGUE = 0.01  # rows that the prior of a mean is worth


@dataclass(frozen=True)
class Given:
    """What a row's factors are solved under: the prior's precision, more of it for each row, the cells' weight."""

    precision: Doubles  # (d, d)
    reg: Floats  # (n,) added to the diagonal
    noise: float = 1.0


def solved(ratings: Matrix, fixed: Floats, start: Floats, given: Given, biases: bool, threads: int) -> Floats:
    """Each row's factors and bias `(n, d)`, bias last: the prior's `start` moved by the row's ratings.

    `fixed` is the other side's; its own bias is taken off the ratings.
    """
    indptr, indices = ratings.indptr.astype(np.int64), ratings.indices.astype(np.int32)
    seen = ending(fixed, 1.0 if biases else 0.0)
    target = ratings.data - fixed[indices, -1]
    moved = np.zeros((len(indptr) - 1, fixed.shape[1]), dtype=np.float32)
    weight = np.full(len(indices), given.noise, dtype=np.float32)

    def work(first: int, stop: int) -> None:
        take_products(first, stop, indptr, indices, start, seen, target)
        target[indptr[first] : indptr[stop]] *= np.float32(given.noise)
        solve_rows(first, stop, indptr, (indices, weight, target), seen, (given.precision, given.reg), moved)

    in_chunks(work, len(moved), threads=threads, chunk=512)
    vectors: Floats = start + moved
    if not biases:
        vectors[:, -1] = 0.0
    return vectors


def ending(vectors: Floats, last: float) -> Floats:
    """A copy whose last column is this number, by which the other side's bias is multiplied."""
    copy = vectors.copy()
    copy[:, -1] = last
    return copy


@fast_kernel
def take_products(
    first: int, stop: int, indptr: NDArray[np.int64], indices: NDArray[np.int32], rows: Floats, columns: Floats,
    out: Floats,
) -> None:  # fmt: skip
    """Take rows[row]'columns[index] off each cell of `out`."""
    for row in range(first, stop):
        for cell in range(indptr[row], indptr[row + 1]):
            total = 0.0
            for k in range(rows.shape[1]):
                total += rows[row, k] * columns[indices[cell], k]
            out[cell] -= total


class Prior:
    """What is believed of one side's rows before their ratings: mean, precision, and what features say."""

    def __init__(self, blocks: Sequence[Matrix], d: int) -> None:
        self.mean, self.precision = np.zeros(d), np.eye(d)
        self._ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
        self._rows: Matrix = sp.csr_array(sp.hstack(blocks, format="csr"), dtype=np.float32)
        self._columns = self._rows.tocsc()
        self.weights = np.zeros((self._rows.shape[1], d))
        self._shrink = np.ones(len(self.weights))

    def levels(self) -> Floats:
        """The mean of each row `(n, d)`."""
        levels: Floats = (self.mean + self._rows @ self.weights).astype(np.float32)
        return levels

    def starts(self, rng: np.random.Generator) -> Floats:
        """A draw of each row `(n, d)`."""
        return self.levels() + self._noise(rng, self._rows.shape[0]).astype(np.float32)

    def renew(self, vectors: Floats, rng: np.random.Generator) -> None:
        """Draw mean and precision given the rows' vectors, then what each feature says, and how much it may."""
        left = vectors - self._rows @ self.weights
        self._renew_rows(left, rng)
        if len(self.weights):
            self._renew_weights(left - self.mean, rng)

    def _renew_rows(self, left: Doubles, rng: np.random.Generator) -> None:
        n, d = left.shape
        centre = left.mean(axis=0) if n else np.zeros(d)
        spread = np.eye(d) + (left - centre).T @ (left - centre)
        spread += n * VAGUE / (n + VAGUE) * np.outer(centre, centre)
        spread += (self.weights * self._shrink[:, None]).T @ self.weights
        self.precision = wishart(spread, d + n + len(self.weights), rng)
        self.mean = n / (n + VAGUE) * centre + self._noise(rng, 1)[0] / np.sqrt(n + VAGUE)

    def _renew_weights(self, left: Doubles, rng: np.random.Generator) -> None:
        columns = self._columns
        noise = self._noise(rng, len(self.weights))
        draw_weights(columns.indptr, columns.indices, columns.data, left, self._shrink, noise, self.weights)
        size = np.einsum("ij,jk,ik->i", self.weights, self.precision, self.weights)
        for block in np.split(np.arange(len(size)), self._ends):
            if len(block):
                shape = 1.0 + block.size * self.weights.shape[1] / 2
                self._shrink[block] = rng.gamma(shape) / (1.0 + size[block].sum() / 2)

    def _noise(self, rng: np.random.Generator, n: int) -> Doubles:
        """Rows `(n, d)` of N(0, precision^-1)."""
        lower = np.linalg.cholesky(self.precision)
        noise: Doubles = np.linalg.solve(lower.T, rng.standard_normal((n, len(lower))).T).T
        return noise


@fast_kernel
def draw_weights(
    indptr: NDArray[np.int32], indices: NDArray[np.int32], cells: Floats, left: Doubles, shrink: Doubles,
    noise: Doubles, weights: Doubles,
) -> None:  # fmt: skip
    """Draw each feature's weights in turn, those of the others given; `left` is what no feature explains.

    A feature is a column of `cells`; `noise` is N(0, precision^-1), a row a feature. O(nnz d).
    """
    d = left.shape[1]
    moved = np.empty(d)
    for feature in range(len(indptr) - 1):
        known = 0.0
        for k in range(d):
            moved[k] = 0.0
        for cell in range(indptr[feature], indptr[feature + 1]):
            known += cells[cell] * cells[cell]
            for k in range(d):
                moved[k] += cells[cell] * left[indices[cell], k]
        total = known + shrink[feature]
        for k in range(d):
            fresh = (moved[k] + known * weights[feature, k]) / total + noise[feature, k] / np.sqrt(total)
            moved[k] = fresh - weights[feature, k]
            weights[feature, k] = fresh
        for cell in range(indptr[feature], indptr[feature + 1]):
            for k in range(d):
                left[indices[cell], k] -= cells[cell] * moved[k]


def wishart(inverse_scale: Doubles, freedom: int, rng: np.random.Generator) -> Doubles:
    """A draw of the Wishart distribution with this inverse scale matrix (Bartlett's decomposition)."""
    d = len(inverse_scale)
    lower = np.tril(rng.standard_normal((d, d)), -1)
    lower[np.diag_indices(d)] = np.sqrt(rng.chisquare(freedom - np.arange(d)))
    root = np.linalg.solve(np.linalg.cholesky(inverse_scale).T, lower)
    drawn: Doubles = root @ root.T
    return drawn


class Chain:
    """Where the chain stands: the items' vectors, what is believed of shoppers and items, and of noise."""

    def __init__(
        self, ratings: Matrix, shoppers: Prior, items: Prior, vectors: Floats, *, biases: bool, threads: int
    ) -> None:
        self.shoppers, self.items, self.vectors, self.noise = shoppers, items, vectors, 1.0
        self._by_shopper, self._by_item = ratings, ratings.T.tocsr()
        self._unrated = np.diff(self._by_item.indptr) == 0
        self._biases, self._threads = biases, threads

    def sweep(self, rng: np.random.Generator) -> None:
        """Draw everything once, each given the rest."""
        x = self._drawn(self._by_shopper, self.vectors, self.shoppers, rng)
        y = self._drawn(self._by_item, x, self.items, rng)
        self.shoppers.renew(x, rng)
        self.items.renew(y, rng)
        self.noise = self._renewed_noise(x, y, rng)
        y[self._unrated] = self.items.levels()[self._unrated]  # their mean says as much as a draw, and more quietly
        self.vectors = y

    def _drawn(self, ratings: Matrix, fixed: Floats, prior: Prior, rng: np.random.Generator) -> Floats:
        """Draw one side's vectors, the other's given."""
        given = Given(prior.precision, np.zeros(ratings.shape[0], dtype=np.float32), self.noise)
        shaken = ratings.copy()
        shaken.data += rng.standard_normal(ratings.nnz, dtype=np.float32) / np.float32(np.sqrt(self.noise))
        return solved(shaken, fixed, prior.starts(rng), given, self._biases, self._threads)

    def _renewed_noise(self, x: Floats, y: Floats, rng: np.random.Generator) -> float:
        """Draw the precision of a rating."""
        ratings = self._by_item
        error = ratings.data - x[ratings.indices, -1]
        take_products(0, len(y), ratings.indptr.astype(np.int64), ratings.indices, y, ending(x, 1.0), error)
        return float(rng.gamma(1.0 + len(error) / 2) / (1.0 + (error.astype(np.float64) ** 2).sum() / 2))
