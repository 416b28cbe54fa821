"""Factors drawn to a regression on features: for items nobody took and shoppers who did nothing yet.

The regression-based latent factor model of Agarwal & Chen 2009 on implicit feedback; its mapping from features to
factors (Gantner et al. 2010) is learned along with them. Minimise over factors x, y and regressions W, V

    sum_ui w_ui (p_ui - x_u'y_i)^2 + l |I| sum_u |x_u - W'a_u|^2 + l |U| sum_i |y_i - V'f_i|^2
    + ridge (l |I| |W|^2 + l |U| |V|^2),    l = `pull`,

with p as in `als` and w its c = 1 + alpha r where p is 1; elsewhere w_ui = e_u e_i, with e = n / (n + exposure) of
the n items that a shopper, or shoppers that an item has: that a new item was not taken says nothing of it. So without
events a vector is the regression's exactly, with few it is between the two, and with many it is its own.
a are the shopper's attributes and a 1 (of whom nothing is known: the usual shopper), f the features of `content`.
An item needs features or events to have a vector, a shopper neither; both are solved exactly from what there is.

Half-epochs solve one side by Cholesky, and its regression by conjugate gradients from the last epoch's.
Fit O(cells d^2 + rows d^3 + cells of features d) an epoch; score as `als`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from regulars.core.arrays import Floats, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.jit import in_chunks
from regulars.models.als import gram_of, spread_of
from regulars.models.base import Can, Model, all_cores, check_range
from regulars.models.features import Codes, attribute_codes, attribute_rows, item_features
from regulars.models.normal import solve_rows
from regulars.models.ridge import ridge

STEPS = 6  # of conjugate gradients an epoch; the next epoch goes on
ENOUGH = 1e-3


class RLFM(Model):
    """Inner products of shopper and item factors, known from features alone where there is nothing else."""

    name = "rlfm"
    can = frozenset({Can.FACTORS})

    item_factors_: Floats  # (n_items, factors)
    exposed_: Floats  # (n_items,) e of each item
    attribute_codes_: Codes
    attribute_map_: Floats  # (n_codes + 1, factors) W, the usual shopper last
    spread_: NDArray[np.float64]  # (factors, factors)

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self, *, factors: int = 32, alpha: float = 10.0, pull: float = 0.01, exposure: float = 5.0,
        ridge: float = 0.1, epochs: int = 10, text: float = 1.0, category: float = 0.5, brand: float = 0.25,
        price: float = 0.15, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("rlfm: factors", factors, 1, 4096, whole=True)
        check_range("rlfm: alpha", alpha, 1e-6)
        check_range("rlfm: pull", pull, 1e-9)
        check_range("rlfm: exposure", exposure, 0.0)
        check_range("rlfm: ridge", ridge, 1e-6)
        check_range("rlfm: epochs", epochs, 1, whole=True)
        check_range("rlfm: text", text, 0.0)
        check_range("rlfm: category", category, 0.0)
        check_range("rlfm: brand", brand, 0.0)
        check_range("rlfm: price", price, 0.0)
        check_range("rlfm: threads", threads, 0, whole=True)
        self.factors, self.alpha, self.pull, self.exposure = factors, alpha, pull, exposure
        self.ridge, self.epochs, self.threads = ridge, epochs, threads
        self.text, self.category, self.brand, self.price = text, category, brand, price

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Factors and their regressions with room to solve, the matrix both ways, some 200 features an item."""
        return (24 * sum(shape) * self.factors + 40 * nnz + 200 * shape[1] * (8 + self.factors)) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        features = item_features(
            data.items, text=self.text, category=self.category, brand=self.brand, price=self.price
        )
        self.attribute_codes_ = attribute_codes(data.users.attributes)
        told = self._told(data.users.attributes, len(data.users))
        taken, takers = data.user_items, data.user_items.T.tocsr()
        users, items = self._exposed(taken), self._exposed(takers)
        y = rng.normal(0.0, 0.1 / np.sqrt(self.factors), (len(data.items), self.factors)).astype(np.float32)
        to_users = np.zeros((told.shape[1], self.factors), dtype=np.float32)
        to_items = np.zeros((features.shape[1], self.factors), dtype=np.float32)
        with threadpool_limits(limits=self.threads or all_cores(), user_api="blas"):
            for _ in range(self.epochs):
                x = self._solve(taken, (users, items), y, told @ to_users, self.threads)
                to_users = ridge(told, x, users, self.ridge, to_users, steps=STEPS, enough=ENOUGH)
                y = self._solve(takers, (items, users), x, features @ to_items, self.threads)
                to_items = ridge(features, y, items, self.ridge, to_items, steps=STEPS, enough=ENOUGH)
        new = np.flatnonzero(items == 0)
        y[new] = features[new] @ to_items
        self.item_factors_, self.exposed_, self.attribute_map_ = y, items, to_users
        self.spread_ = spread_of((x - told @ to_users)[users > 0])

    def _told(self, attributes: Sequence[dict[str, Any]], n_shoppers: int) -> Matrix:
        """Attributes `(n_shoppers, n_codes + 1)`, and a 1 of everybody in the last column."""
        rows = attribute_rows(attributes, n_shoppers, self.attribute_codes_)
        return sp.csr_array(sp.hstack([rows, np.ones((n_shoppers, 1), dtype=np.float32)], format="csr"))

    def _exposed(self, matrix: Matrix) -> Floats:
        """How much a row's zeros say, in [0, 1): e = n / (n + exposure)."""
        n = np.diff(matrix.indptr)
        exposed: Floats = (n / np.maximum(n + self.exposure, 1e-9)).astype(np.float32)
        return exposed

    def _solve(
        self, matrix: Matrix, exposed: tuple[Floats, Floats], fixed: Floats, means: Floats, threads: int
    ) -> Floats:
        """Each row's factors given those of the other side; a row without cells has its mean.

        A row's system is divided by its e, so that all share one Gram of the other side.
        """
        mine, other = exposed
        rows = np.repeat(np.arange(len(mine)), np.diff(matrix.indptr))
        scale: Floats = (1.0 / np.maximum(mine, 1e-6)).astype(np.float32)
        target = (np.float32(1) + np.float32(self.alpha) * matrix.data) * scale[rows]
        weight = target - other[matrix.indices]
        reg: Floats = np.float32(self.pull * matrix.shape[1]) * scale
        out = (reg[:, None] * means).astype(np.float32)
        gram = gram_of(fixed * np.sqrt(other)[:, None])
        starts, cells = matrix.indptr.astype(np.int64), (matrix.indices.astype(np.int32, copy=False), weight, target)

        def work(start: int, stop: int) -> None:
            solve_rows(start, stop, starts, cells, fixed, (gram, reg), out)

        in_chunks(work, len(out), threads=threads or all_cores(), chunk=512)
        out[mine == 0] = means[mine == 0]
        return out

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """The factors of these shoppers `(n, factors)`, out of what they took and what they tell."""
        self._check_fitted()
        self._check_width(histories)
        means = self._told(histories.attributes, len(histories)) @ self.attribute_map_
        taken = histories.user_items
        return self._solve(taken, (self._exposed(taken), self.exposed_), self.item_factors_, means, 1)

    @property
    def item_vectors(self) -> Floats:
        """Item factors `(n_items, factors)`."""
        self._check_fitted()
        factors: Floats = self.item_factors_
        return factors

    @property
    def spread(self) -> NDArray[np.float64]:
        """Covariance of what shoppers' factors have beyond the regression on what they tell."""
        self._check_fitted()
        return self.spread_

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Predicted preference `(n, n_items)`."""
        return self.user_vectors(histories, now) @ self.item_factors_.T
