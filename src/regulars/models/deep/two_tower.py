"""Two towers: a shopper's vector out of history and attributes, an item's out of id and features.

An item enters as its id's embedding plus those of its features (title words and tags, category path, brand, price
band), and both towers share it (Covington et al. 2016). Ids are left out at random in training, so that features
alone place an item without events (DropoutNet, Volkovs et al. 2017). The shopper's tower sees the mean of the last
items, the r-th newest weighing r^-decay, a few of them one by one, and attributes. Each tower adds a hidden layer to
what enters and scales the sum to length 1; inner products are divided by a temperature in training.

The loss is a softmax over the items of the batch with log-Q correction (Yi et al. 2019): an item's odds of being in
a batch, which are known exactly here, are taken out of its score. Events of one instant (a basket) have no order:
each epoch draws one.

torch is needed by `fit` only. Item vectors are computed once, at the fit; a shopper's costs O(length factors).
Fit O(epochs x events x factors (length + hidden + batch)), score O(factors (length + hidden + n_items)).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Matrix, Scores, Starts
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import SettingError
from regulars.models.base import Can, Model, check_range
from regulars.models.deep.features import item_features
from regulars.models.deep.plan import NO_HOOKS, Hooks, Plan, check_shapes, fingerprint, require_torch
from regulars.models.deep.windows import liked, seen
from regulars.models.features import Codes, attribute_codes, attribute_rows
from regulars.models.sequences import LIKING, power_law

BATCH = 256  # shoppers whose vectors are computed together
LEAST = np.float32(1e-6)  # of a squared length


class TwoTower(Model):
    """Cosines of the shopper's vector and item vectors."""

    name = "two-tower"
    can = frozenset({Can.FACTORS})
    hooks: Hooks = NO_HOOKS

    entered_: Floats  # (n_items, factors) what enters the towers: an item's id and features, added up
    items_: Floats  # (n_items, factors) the item tower's vectors
    attributes_: Floats
    attribute_codes_: Codes
    shopper_enter_: Floats  # the shopper tower's hidden layer: mean, last items, attributes
    shopper_enter_bias_: Floats
    shopper_leave_: Floats
    shopper_bias_: Floats

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self, *, factors: int = 64, hidden: int = 128, length: int = 50, last: int = 3, decay: float = 0.5,
        temperature: float = 0.1, id_dropout: float = 0.2, attribute_dropout: float = 0.2, features: int = 50_000,
        epochs: int = 50, patience: int = 3, batch: int = 512, learning_rate: float = 2e-3,
        weight_decay: float = 0.0, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("two-tower: factors", factors, 1, 4096, whole=True)
        check_range("two-tower: hidden", hidden, 1, 4096, whole=True)
        check_range("two-tower: length", length, 1, 4096, whole=True)
        check_range("two-tower: last", last, 0, 64, whole=True)
        check_range("two-tower: decay", decay, 0.0, 10.0)
        check_range("two-tower: temperature", temperature, 0.001, 100.0)
        check_range("two-tower: id_dropout", id_dropout, 0.0, 1.0)
        check_range("two-tower: attribute_dropout", attribute_dropout, 0.0, 1.0)
        check_range("two-tower: features", features, 0, whole=True)
        check_range("two-tower: epochs", epochs, 1, whole=True)
        check_range("two-tower: patience", patience, 1, whole=True)
        check_range("two-tower: batch", batch, 1, whole=True)
        check_range("two-tower: learning_rate", learning_rate, 1e-9, 10.0)
        check_range("two-tower: weight_decay", weight_decay, 0.0, 10.0)
        check_range("two-tower: threads", threads, 0, whole=True)
        if last > length:
            raise SettingError("two-tower: last", got=f"{last} of a length of {length}", wanted="at most length")
        self.factors, self.hidden, self.length, self.last, self.decay = factors, hidden, length, last, decay
        self.temperature, self.id_dropout, self.attribute_dropout = temperature, id_dropout, attribute_dropout
        self.features, self.epochs, self.patience, self.batch = features, epochs, patience, batch
        self.learning_rate, self.weight_decay, self.threads = learning_rate, weight_decay, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Torch itself, the embeddings six times, a batch's scores and histories, features, events."""
        tables = 6 * self.factors * (shape[1] + min(4 * self.features, 20 * shape[1]))
        batch = self.batch * (4 * self.batch + self.length * (self.factors + 8))
        return 300 + (4 * (tables + batch + 12 * nnz) + 400 * shape[1]) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        require_torch(self.name)
        from regulars.models.deep import two_tower_net as torch_side

        self.attribute_codes_ = attribute_codes(data.users.attributes)
        attributes = attribute_rows(data.users.attributes, len(data.users), self.attribute_codes_)
        log, held = torch_side.hold_out(liked(data), moments(data), attributes, self.length, rng)
        known = np.bincount(log.events.item_idx, minlength=len(data.items)) > 0
        features = item_features(data.items, known, self.features)
        sizes = torch_side.Sizes(len(data.items), features.shape[1], attributes.shape[1], self.factors, self.hidden,
                                 self.last, self.length)  # fmt: skip
        task = torch_side.Settings(self.decay, self.temperature, self.id_dropout, self.attribute_dropout, self.batch)
        plan = Plan(self.name, self.epochs, self.patience, self.learning_rate, self.weight_decay, self.threads)
        matrices = [part for rows in (features, attributes) for part in (rows.data, rows.indices, rows.indptr)]
        of = fingerprint(self.get_params(), log.events.indptr, log.events.item_idx, log.moment, *matrices)
        net = torch_side.TwoTowerNet(sizes, features, task)
        for name, array in torch_side.fit(net, log, held, plan, (rng, self.hooks, of)).items():
            setattr(self, f"{name}_", array)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As every model, and the arrays must be those of the settings: a folder that lacks a layer is refused."""
        model = super().load(folder)
        d, items = model.factors, model.n_items_
        n_codes = len(getattr(model, "attribute_codes_", ()))
        check_shapes(folder, model, {
            "entered_": (items, d), "items_": (items, d), "attributes_": (n_codes, d), "attribute_codes_": (n_codes,),
            "shopper_enter_": ((2 + model.last) * d, model.hidden), "shopper_enter_bias_": (model.hidden,),
            "shopper_leave_": (model.hidden, d), "shopper_bias_": (d,),
        })  # fmt: skip
        return model

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """The shopper tower `(n, factors)`, rows of length 1 (or 0 where the fit had nothing to learn from)."""
        self._check_fitted()
        self._check_width(histories)
        events = seen(histories, now)
        told = attribute_rows(histories.attributes, len(histories), self.attribute_codes_)
        vectors = np.zeros((len(histories), self.factors), dtype=np.float32)
        for start in range(0, len(histories), BATCH):
            part = slice(start, min(start + BATCH, len(histories)))
            taken = newest(events.item_idx, events.indptr[:-1][part], events.indptr[1:][part], self.length)
            vectors[part] = self._forward(taken, told[part])
        return vectors

    def _forward(self, taken: Indices, told: Matrix) -> Floats:
        """Vectors of shoppers, equal to those of `TwoTowerNet`; `taken` is what `newest` gives."""
        entered = self.entered_[np.maximum(taken[:, : self.last], 0)] * (taken[:, : self.last, None] >= 0)
        weights = recency(taken, self.decay)
        mean = (weights[:, None] @ self.entered_[np.maximum(taken, 0)])[:, 0]
        known = np.concatenate((mean, entered.reshape(len(taken), -1), told @ self.attributes_), axis=1)
        hidden = np.maximum(known @ self.shopper_enter_ + self.shopper_enter_bias_, np.float32(0))
        out = mean + hidden @ self.shopper_leave_ + self.shopper_bias_
        vectors: Floats = out / np.sqrt((out * out).sum(axis=1, keepdims=True) + LEAST)
        return vectors

    @property
    def item_vectors(self) -> Floats:
        """The item tower `(n_items, factors)`, rows of length 1; items without events by their features alone."""
        self._check_fitted()
        return self.items_

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Cosines `(n, n_items)`; an item of which nothing is known has 0."""
        return self.user_vectors(histories, now) @ self.item_vectors.T


def moments(data: Dataset) -> NDArray[np.int64]:
    """For each event of `liked`: a number that grows with time and shopper, equal for those of one instant."""
    rows = data.interactions
    keep = (rows.weight > 0) & LIKING[rows.kind]
    users, at = rows.user_idx[keep], rows.at[keep]
    later = np.ones(len(users), dtype=np.bool_)
    later[1:] = (users[1:] != users[:-1]) | (at[1:] != at[:-1])
    return np.cumsum(later)


def newest(item_idx: Indices, starts: Starts, ends: Starts, length: int) -> Indices:
    """The last items of `starts[r]:ends[r]` as row `r` of `(n, length)`, newest first, -1 beyond the first."""
    if not len(item_idx):
        return np.full((len(starts), length), -1, dtype=np.int32)
    place = ends[:, None] - 1 - np.arange(length)
    real = place >= starts[:, None]
    return np.where(real, item_idx[np.where(real, place, 0)], np.int32(-1))


def recency(taken: Indices, decay: float) -> Floats:
    """Shares r^-decay of the r-th newest item `(n, length)`, of sum 1 (or 0 without an item)."""
    weights = power_law(taken.shape[1], decay) * (taken >= 0)
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), LEAST), dtype=np.float32)
