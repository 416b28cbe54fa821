"""Explicit matrix factorisation: ratings as R ~ m + b_u + b_i + U V', by sampling or alternating least squares.

`gibbs` draws factors and all that governs them from their posterior (`mf_chain.py`) and answers with the mean over
some draws of the items, each with the shopper's exact factors under it: an answer that overfits little and has no
penalty to tune. With `side`, what is known beside ratings enters the prior means: of a shopper, which items they
met, rated or not; of an item, who met it, and its tags, category and brand. So a shopper without a rating, or an
item, is placed by that.

`als` minimises the squared error over rated cells plus reg n (|factors|^2 + bias^2) for each row with n ratings
(Zhou et al. 2008, "Large-scale parallel collaborative filtering for the Netflix prize"). Biases are factors too:
each half solves a row's factors and its bias together, with the other side's [V, 1] or [U, 1] fixed.
Both O(nnz d^2 + n d^3) an epoch with d factors and n rows on both sides, score O(n_items d) and a solve of one row.
"""

from __future__ import annotations

import logging

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories, Items
from regulars.core.errors import SettingError
from regulars.models.base import Can, Model, all_cores, check_flag, check_range
from regulars.models.features import one_hot, unit
from regulars.models.mf_chain import Chain, Given, Prior, solved

log = logging.getLogger(__name__)
SOLVERS = ("gibbs", "als")


class MF(Model):
    """Predicted ratings; a shopper of whom nothing is known is given the items' own levels."""

    name = "mf"
    can = frozenset({Can.FACTORS, Can.RATINGS})
    revision = 2  # 1 was fitted by least squares
    # Learned, each with one entry a draw (`als`: one): vectors_ (n_items, d) with the bias last; of shoppers' prior
    # links_ (n_items or 0, d), levels_ (d,), precisions_ (d, d); noise_ the precision of a rating.

    def __init__(
        self, *, factors: int = 8, solver: str = "gibbs", epochs: int = 200, draws: int = 20, side: bool = True,
        reg: float = 0.1, biases: bool = True, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("mf: factors", factors, 1, 4096, whole=True)
        if solver not in SOLVERS:
            raise SettingError("mf: solver", got=repr(solver), wanted=" or ".join(SOLVERS))
        check_range("mf: epochs", epochs, 1, whole=True)
        check_range("mf: draws", draws, 1, whole=True)
        check_flag("mf: side", side)
        check_range("mf: reg", reg, 0.0)
        check_flag("mf: biases", biases)
        check_range("mf: threads", threads, 0, whole=True)
        self.factors, self.solver, self.epochs, self.draws = factors, solver, epochs, draws
        self.side, self.reg, self.biases, self.threads = side, reg, biases, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The draws that are kept, both sides' vectors, and ratings and what was met both ways."""
        kept = self.draws * (2 if self.side else 1) if self.solver == "gibbs" else 1
        return (4 * kept * shape[1] * (self.factors + 1) + 64 * sum(shape) * (self.factors + 1) + 72 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        rows = data.interactions
        ratings = _ratings(rows.user_idx, rows.item_idx, rows.rating, data.shape)
        if ratings.nnz == 0:
            log.warning("mf: the data holds no rating, so every score is 0")
        self.mean_ = float(ratings.data.mean(dtype=np.float64)) if self.biases and ratings.nnz else 0.0
        ratings.data -= np.float32(self.mean_)
        deviation = float(np.sqrt((ratings.data.astype(np.float64) ** 2).mean())) if ratings.nnz else 0.0
        self.scale_ = deviation if self.solver == "gibbs" and deviation > 0 else 1.0
        ratings.data /= np.float32(self.scale_)
        if self.solver == "als" or deviation == 0:
            self._alternate(ratings, rng)
        else:
            self._sample(ratings, data, rng)

    def _alternate(self, ratings: Matrix, rng: np.random.Generator) -> None:
        """Least squares in turns; the one way for ratings that are all the same, where no chain has a scale."""
        by_item: Matrix = ratings.T.tocsr()
        d = self.factors + 1
        y = _start(rng, 1.0 / np.sqrt(self.factors), ratings.shape[1], d)
        for _ in range(self.epochs):
            x = self._half(ratings, y, self.threads)
            y = self._half(by_item, x, self.threads)
        y[np.diff(by_item.indptr) == 0] = 0.0
        self.vectors_, self.links_, self.levels_ = y[None], np.zeros((1, 0, d), np.float32), np.zeros((1, d))
        self.precisions_, self.noise_ = np.zeros((1, d, d)), np.ones(1)

    def _half(self, ratings: Matrix, fixed: Floats, threads: int) -> Floats:
        """Solve each row's factors and bias by least squares."""
        start = np.zeros((ratings.shape[0], fixed.shape[1]), dtype=np.float32)
        given = Given(np.zeros((fixed.shape[1],) * 2), (self.reg * np.diff(ratings.indptr)).astype(np.float32))
        return solved(ratings, fixed, start, given, self.biases, threads or all_cores())

    def _sample(self, ratings: Matrix, data: Dataset, rng: np.random.Generator) -> None:
        """Run the chain; keep draws evenly out of the second half of its sweeps."""
        d = self.factors + 1
        events = data.interactions
        met = _met(events.user_idx, events.item_idx, data.shape)
        shoppers = Prior([unit(met.copy())] if self.side else [met[:, :0]], d)
        items = Prior([unit(met.T.tocsr()), *_told(data.items)] if self.side else [met.T.tocsr()[:, :0]], d)
        chain = Chain(
            ratings, shoppers, items, _start(rng, 0.1, data.shape[1], d),
            biases=self.biases, threads=self.threads or all_cores(),
        )  # fmt: skip
        middle = (self.epochs - 1) / 2
        wanted = set(np.linspace(self.epochs - 1, middle, self.draws).round().tolist())
        draws = []
        for epoch in range(self.epochs):
            chain.sweep(rng)
            if epoch in wanted:
                links = shoppers.weights.astype(np.float32)
                draws.append((chain.vectors, links, shoppers.mean, shoppers.precision, chain.noise))
        vectors, links_, levels, precisions, noise = zip(*draws, strict=True)
        self.vectors_, self.links_, self.levels_ = np.stack(vectors), np.stack(links_), np.stack(levels)
        self.precisions_, self.noise_ = np.stack(precisions), np.array(noise)

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """[factors under each draw, mean bias, 1] of these shoppers, solved from what they rated and met."""
        self._check_fitted()
        self._check_width(histories)
        rows = np.repeat(np.arange(len(histories), dtype=np.int32), np.diff(histories.indptr))
        rating = histories.rating
        if rating is None:
            rating = np.full(len(rows), np.nan, dtype=np.float32)
        ratings = _ratings(rows, histories.item_idx, rating, histories.user_items.shape)
        ratings.data = (ratings.data - np.float32(self.mean_)) / np.float32(self.scale_)
        met = unit(_met(rows, histories.item_idx, histories.user_items.shape))
        under = [self._shoppers(draw, ratings, met) for draw in range(len(self.vectors_))]
        bias = np.mean([each[:, -1:] for each in under], axis=0)
        return np.hstack((*(each[:, :-1] for each in under), bias, np.ones_like(bias)), dtype=np.float32)

    def _shoppers(self, draw: int, ratings: Matrix, met: Matrix) -> Floats:
        """Factors and biases `(n, d)` under one draw: their posterior mean, or ALS' solution."""
        links, level = self.links_[draw], self.levels_[draw].astype(np.float32)
        start = np.repeat(level[None], ratings.shape[0], axis=0)
        if len(links):
            start += met @ links
        reg = self.reg * np.diff(ratings.indptr) if self.solver == "als" else np.zeros(ratings.shape[0])
        given = Given(self.precisions_[draw], reg.astype(np.float32), float(self.noise_[draw]))
        return solved(ratings, self.vectors_[draw], start, given, self.biases, threads=1)

    @property
    def item_vectors(self) -> Floats:
        """[factors of each draw, 1, mean + bias] of the items `(n_items, draws factors + 2)`, on ratings' scale."""
        self._check_fitted()
        scale = np.float32(self.scale_)
        factors = np.hstack([each[:, :-1] for each in self.vectors_]) * (scale / np.float32(len(self.vectors_)))
        bias = scale * self.vectors_[:, :, -1:].mean(axis=0)
        return np.hstack((factors, np.full_like(bias, scale), np.float32(self.mean_) + bias), dtype=np.float32)

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Predicted ratings `(n, n_items)`, not clipped to the scale."""
        return self.user_vectors(histories, now) @ self.item_vectors.T


def _start(rng: np.random.Generator, deviation: float, n_items: int, d: int) -> Floats:
    """Factors to begin with, without biases."""
    start = rng.normal(0.0, deviation, (n_items, d)).astype(np.float32)
    start[:, -1] = 0.0
    return start


def _ratings(user_idx: Indices, item_idx: Indices, rating: NDArray[np.float32], shape: tuple[int, int]) -> Matrix:
    """CSR of the last rating of each cell; rows of the input are in time order."""
    rated = np.flatnonzero(~np.isnan(rating))
    cells = user_idx[rated].astype(np.int64) * shape[1] + item_idx[rated]
    _, last = np.unique(cells[::-1], return_index=True)
    kept = rated[len(rated) - 1 - last]
    indptr = np.concatenate(([0], np.cumsum(np.bincount(user_idx[kept], minlength=shape[0]))))
    matrix: Matrix = sp.csr_array((rating[kept].astype(np.float32), item_idx[kept], indptr), shape=shape)
    return matrix


def _met(user_idx: Indices, item_idx: Indices, shape: tuple[int, int]) -> Matrix:
    """CSR of ones where a shopper had to do with an item."""
    cells = (np.ones(len(user_idx), dtype=np.float32), (user_idx, item_idx))
    met: Matrix = sp.coo_array(cells, shape=shape).tocsr()
    met.data[:] = 1.0
    return met


def _told(items: Items) -> list[Matrix]:
    """What the catalogue says of items, a block a kind of word, rows of length 1."""
    prefixes = [[path[:depth] for depth in range(1, len(path) + 1)] for path in items.category]
    brands = [[brand] if brand else [] for brand in items.brand]
    return [unit(one_hot(items.tags)), unit(one_hot(prefixes)), unit(one_hot(brands))]
