"""Next basket: what a shopper keeps buying, what shoppers like them buy, and what everybody buys now.

TIFU-KNN (Hu et al. 2020, "Modeling personalized item frequency information for next-basket recommendation"): a
shopper is a vector of decayed shares of baskets that held an item; its nearest shoppers' mean is added to it. Two
parts are ours: the own share is weighed by how often buyers of the item come back for it, and popularity, counted in
everyone's last basket, is a part of its own. A basket is all that is bought at one instant. With a the number of
baskets since, a basket counts decay^(a mod group) group_decay^(a div group), and

score_i = own_i again_i + neighbour_weight near_i + popularity_weight popular_i.

Fit O(events log events). Score O(history x buyers of an item + neighbours x their items + n_items).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import PURCHASE, Dataset, Histories
from regulars.core.errors import SettingError
from regulars.core.topk import NOTHING, top_k
from regulars.models.base import Model, check_range
from regulars.models.neighbours import strongest

PARTS = ("both", "repeat", "explore")
BUYERS = 20_000  # of one item, that neighbours are looked for among: the ones who buy it most
CELLS = 16_000_000  # likenesses held at once


class NextBasket(Model):
    """Decayed personal frequency, the nearest shoppers' and everybody's; repeats and discoveries also apart."""

    name = "next-basket"

    def __init__(
        self, *, decay: float = 0.9, group: int = 7, group_decay: float = 0.8, again_prior: float = 20.0,
        neighbours: int = 300, neighbour_weight: float = 1.0, popularity_weight: float = 5.0, part: str = "both",
    ) -> None:  # fmt: skip
        check_range("next-basket: decay", decay, 0.0, 1.0)
        check_range("next-basket: group", group, 1, whole=True)
        check_range("next-basket: group_decay", group_decay, 0.0, 1.0)
        check_range("next-basket: again_prior", again_prior, 0.0)
        check_range("next-basket: neighbours", neighbours, 0, whole=True)
        check_range("next-basket: neighbour_weight", neighbour_weight, 0.0)
        check_range("next-basket: popularity_weight", popularity_weight, 0.0)
        if part not in PARTS:
            raise SettingError("next-basket: part", got=repr(part), wanted=" or ".join(map(repr, PARTS)))
        self.decay, self.group, self.group_decay, self.again_prior = decay, group, group_decay, again_prior
        self.neighbours, self.neighbour_weight = neighbours, neighbour_weight
        self.popularity_weight, self.part = popularity_weight, part

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Purchases as columns while they are sorted, shares by shopper, and the buyers of every item."""
        return (16 * sum(shape) + 130 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        baskets = _Baskets(data.histories())
        shares = self._shares(baskets)
        counts = baskets.shares(np.ones(len(baskets.item)))
        self.again_ = _again(counts, baskets.n_baskets, self.again_prior)
        last = baskets.age == 0
        buyers = max(1, int((baskets.n_baskets > 0).sum()))
        popular = np.bincount(baskets.item[last], minlength=data.shape[1]) / buyers
        self.popular_ = popular.astype(np.float32)
        self.shares_ = shares
        self.buyers_ = strongest(sp.csr_array(_unit(shares).T), BUYERS)

    def score(self, histories: Histories, now: Instant) -> Scores:
        """About the chance that the next basket holds an item `(n, n_items)`; -inf outside the part asked for."""
        self._check_fitted()
        self._check_width(histories)
        own = self._shares(_Baskets(histories))
        scores = np.asarray((own * self.again_[None, :]).toarray(), dtype=np.float32)
        if self.neighbours and self.neighbour_weight and self.shares_.shape[0]:
            step = max(1, CELLS // self.shares_.shape[0])
            for start in range(0, len(scores), step):
                scores[start : start + step] += np.float32(self.neighbour_weight) * self._near(
                    own[start : start + step]
                )
        scores += np.float32(self.popularity_weight) * self.popular_
        if self.part != "both":
            bought = np.zeros(scores.shape, dtype=np.bool_)
            bought[np.repeat(np.arange(len(scores)), np.diff(own.indptr)), own.indices] = True
            scores[bought != (self.part == "repeat")] = NOTHING
        return scores

    def _near(self, own: Matrix) -> Scores:
        """The mean shares of the shoppers most like each row."""
        likeness = np.asarray((_unit(own) @ self.buyers_).toarray(), dtype=np.float32)
        ids, likest = top_k(likeness, min(self.neighbours, likeness.shape[1]))
        found = likest > 0
        indptr = np.concatenate(([0], np.cumsum(found.sum(axis=1))))
        weights = np.repeat(1 / np.maximum(np.diff(indptr), 1), np.diff(indptr)).astype(np.float32)
        near = sp.csr_array((weights, ids[found], indptr), shape=likeness.shape)
        return np.asarray((near @ self.shares_).toarray(), dtype=np.float32)

    def _shares(self, baskets: _Baskets) -> Matrix:
        """Decayed shares of the baskets of each shopper that held each item."""
        old, young = np.divmod(baskets.age, self.group)
        return baskets.shares(self.decay**young * self.group_decay**old)


class _Baskets:
    """Purchases as distinct (shopper, basket, item), with the number of baskets since."""

    def __init__(self, histories: Histories) -> None:
        bought = np.flatnonzero(histories.kind == PURCHASE)
        rows = np.repeat(np.arange(len(histories)), np.diff(histories.indptr))[bought]
        at = histories.at[bought]
        order = np.lexsort((at, rows))
        row, at, item = rows[order], at[order], histories.item_idx[bought][order]
        fresh = np.ones(len(row), dtype=np.bool_)
        fresh[1:] = (row[1:] != row[:-1]) | (at[1:] != at[:-1])
        basket = np.cumsum(fresh) - 1
        self.shape = histories.user_items.shape
        self.n_baskets = np.bincount(row[fresh], minlength=self.shape[0])
        _, first = np.unique(basket * self.shape[1] + item, return_index=True)
        self.row, self.item = row[first], item[first]
        self.age = np.cumsum(self.n_baskets)[self.row] - 1 - basket[first]

    def shares(self, weights: NDArray[np.float64]) -> Matrix:
        """Summed weights of the baskets that held an item, over the number of baskets: shoppers x items."""
        shares = (weights / self.n_baskets[self.row]).astype(np.float32)
        cells: Matrix = sp.coo_array((shares, (self.row, self.item)), shape=self.shape).tocsr()
        return cells


def _again(shares: Matrix, n_baskets: NDArray[np.int64], prior: float) -> Floats:
    """How often the buyers of an item have it in a second basket, over how often that is so of any item."""
    counts = shares.data * np.repeat(n_baskets, np.diff(shares.indptr))
    buyers = np.bincount(shares.indices, minlength=shares.shape[1])
    again = np.bincount(shares.indices[counts > 1.5], minlength=shares.shape[1])
    mean = again.sum() / max(1, buyers.sum())
    if mean == 0:
        return np.ones(len(buyers), dtype=np.float32)
    rate = (again + prior * mean) / np.maximum(buyers + prior, 1)
    relative: Floats = (rate / mean).astype(np.float32)
    return relative


def _unit(rows: Matrix) -> Matrix:
    """Rows of length 1; empty ones stay empty."""
    norms = np.sqrt(np.asarray((rows * rows).sum(axis=1), dtype=np.float32))
    scale = np.repeat(1 / np.maximum(norms, np.float32(1e-30)), np.diff(rows.indptr)).astype(np.float32)
    unit: Matrix = sp.csr_array((rows.data * scale, rows.indices, rows.indptr), shape=rows.shape)
    return unit
