"""Factors on the sphere, each pair against many items at once: cosine contrastive loss (Mao et al. 2021, SimpleX).

A shopper is the direction of what they took, e = sum of p_k over the history, and scores an item by cos(e, q). The
item to be found is left out of its own history, so that what is learned holds for shoppers never seen. Losses:
`ccl`      1 - cos(e, q_i) + weight / n sum_j max(0, cos(e, q_j) - margin), the paper's equation 1;
`softmax`  -ln of the share of exp(cos(e, q_i) / heat) among i and the n items j (Wu et al. 2024, sampled softmax),
over pairs (u, i) that happened, against n items drawn evenly for each block of shoppers, which turns all of it into
matrix products. Adagrad (Duchi et al. 2011). Fit O(epochs x pairs x negatives x d), score one product.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from regulars.core.arrays import Cells, Floats, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import ModelError, SettingError
from regulars.models.base import Can, Model, all_cores, check_range
from regulars.models.history import history_weights

LOSSES = ("ccl", "softmax")
BLOCK = 1024  # pairs, about, that share their negatives
EPS = np.float32(1e-12)


class ContrastiveMF(Model):
    """Cosine between what a history points at and an item."""

    name = "mf-ccl"
    can = frozenset({Can.FACTORS})

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self, *, factors: int = 64, loss: str = "softmax", negatives: int = 1000, margin: float = 0.4,
        weight: float = 100.0, heat: float = 0.1, rate: float = 0.05, epochs: int = 20, context_weight: float = 1.0,
        threads: int = 1,
    ) -> None:  # fmt: skip
        if loss not in LOSSES:
            raise SettingError("mf-ccl: loss", got=repr(loss), wanted=" or ".join(LOSSES))
        check_range("mf-ccl: factors", factors, 1, 4096, whole=True)
        check_range("mf-ccl: negatives", negatives, 1, whole=True)
        check_range("mf-ccl: margin", margin, 0.0, 1.0)
        check_range("mf-ccl: weight", weight, 0.0)
        check_range("mf-ccl: heat", heat, 0.01)
        check_range("mf-ccl: rate", rate, 1e-9)
        check_range("mf-ccl: epochs", epochs, 1, whole=True)
        check_range("mf-ccl: context_weight", context_weight, 0.0)
        check_range("mf-ccl: threads", threads, 0, whole=True)
        self.factors, self.loss, self.negatives, self.margin = factors, loss, negatives, margin
        self.weight, self.heat, self.rate, self.epochs = weight, heat, rate, epochs
        self.context_weight, self.threads = context_weight, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Both item tables with their squared gradients, and what a block of pairs and its negatives takes."""
        block = (2 * BLOCK) * (3 * self.negatives + 8 * self.factors)
        return (16 * shape[1] * self.factors + 4 * block + 16 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        n_items = data.shape[1]
        spread = 1.0 / np.sqrt(self.factors)
        sources, targets = (rng.normal(0.0, spread, (n_items, self.factors)).astype(np.float32) for _ in range(2))
        squares = np.full_like(sources, 1e-6), np.full_like(targets, 1e-6)
        step = 0
        with threadpool_limits(limits=self.threads or all_cores(), user_api="blas"):
            for _ in range(self.epochs):
                for block in _blocks(data.user_items, rng):
                    step += 1
                    against = rng.integers(0, n_items, self.negatives, dtype=np.int32)
                    loss, moves = self._gradients(block, sources, targets, against)
                    if not np.isfinite(loss):
                        raise ModelError("mf-ccl", got=f"a loss of {loss} in step {step}", wanted="a finite one",
                                         remedy="Lower the rate.")  # fmt: skip
                    for table, total, (items, slope) in zip((sources, targets), squares, moves, strict=True):
                        _descend(table, total, items, slope, np.float32(self.rate))
        unused = np.bincount(data.user_items.indices, minlength=n_items) == 0
        sources[unused] = targets[unused] = 0.0
        self.sources_, self.targets_ = sources, _unit(targets)[0]

    def _gradients(
        self, block: Matrix, sources: Floats, targets: Floats, against: Indices
    ) -> tuple[float, tuple[tuple[Indices, Floats], tuple[Indices, Floats]]]:
        """Mean loss of a block's pairs; rows of `sources` and of `targets`, with the slopes of the summed loss."""
        owner = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        items = block.indices
        its = sources[items]
        ones = sp.csr_array((np.ones(len(items), np.float32), np.arange(len(items)), block.indptr))
        history, long = _unit((ones @ its)[owner] - its)
        found, found_long = _unit(targets[items])
        others, others_long = _unit(targets[against])
        near, far = np.einsum("ij,ij->i", history, found), history @ others.T
        loss, pull, push = self._slopes(near, far)
        by_history = push @ others - pull[:, None] * found
        slope = _through_unit(by_history, history, long)
        by_source = (ones @ slope)[owner] - slope
        by_target = np.vstack((
            _through_unit(-pull[:, None] * history, found, found_long),
            _through_unit(push.T @ history, others, others_long),
        ))  # fmt: skip
        return loss, ((items, by_source), (np.concatenate((items, against)), by_target))

    def _slopes(self, near: Floats, far: Floats) -> tuple[float, Floats, Floats]:
        """Mean loss; how much each pair's cosine should rise, and each other cosine fall `(n_pairs, n_others)`."""
        if self.loss == "ccl":
            over = np.maximum(far - np.float32(self.margin), np.float32(0.0))
            share = np.float32(self.weight / far.shape[1])
            loss = float((1.0 - near + share * over.sum(axis=1)).mean())
            return loss, np.ones_like(near), share * (over > 0).astype(np.float32)
        heat = np.float32(self.heat)
        shares = np.exp((far - near[:, None]) / heat)  # cosines over a heat of 0.01 or more: no overflow
        total = np.float32(1.0) + shares.sum(axis=1)
        shares /= (heat * total)[:, None]
        return float(np.log(total).mean()), (np.float32(1.0) - np.float32(1.0) / total) / heat, shares

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """Directions of these histories `(n, factors)`, 0 without one."""
        self._check_fitted()
        self._check_width(histories)
        weights: Cells = history_weights(histories, 0.0, self.context_weight)
        rows = sp.csr_array((weights[2], weights[1], weights[0]), shape=histories.user_items.shape)
        return _unit(np.asarray(rows @ self.sources_, dtype=np.float32))[0]

    @property
    def item_vectors(self) -> Floats:
        """Directions of the items `(n_items, factors)`; 0 for those that nobody took."""
        self._check_fitted()
        vectors: Floats = self.targets_
        return vectors

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Cosines `(n, n_items)`."""
        return self.user_vectors(histories, now) @ self.item_vectors.T


def _blocks(user_items: Matrix, rng: np.random.Generator) -> Iterator[Matrix]:
    """Shoppers with two items or more in a random order, cut where about `BLOCK` pairs are together."""
    lengths = np.diff(user_items.indptr)
    order = rng.permutation(np.flatnonzero(lengths > 1))
    ends = np.cumsum(lengths[order])
    cuts = np.flatnonzero(np.diff(ends // BLOCK, prepend=0))
    for shoppers in np.split(order, cuts):
        if len(shoppers):
            yield user_items[shoppers]


def _unit(rows: Floats) -> tuple[Floats, Floats]:
    """Rows of length 1, 0 where they are 0, and the lengths they had."""
    long = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return rows / np.maximum(long, EPS)[:, None], long


def _through_unit(slope: Floats, unit: Floats, long: Floats) -> Floats:
    """The slope by a row before it was brought to length 1."""
    along = np.einsum("ij,ij->i", slope, unit)
    found: Floats = (slope - along[:, None] * unit) / np.maximum(long, np.float32(1e-6))[:, None]
    return found


def _descend(table: Floats, squares: Floats, items: Indices, slope: Floats, rate: np.float32) -> None:
    """One Adagrad step of some rows; an item that stands there twice gets the sum of its slopes."""
    touched, place = np.unique(items, return_inverse=True)
    gather = sp.csr_array((np.ones(len(items), np.float32), (place, np.arange(len(items)))))
    total = gather @ slope
    squares[touched] += total * total
    table[touched] -= rate * total / np.sqrt(squares[touched])
