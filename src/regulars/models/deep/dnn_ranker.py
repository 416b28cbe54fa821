"""A ranker of candidates: DCN-V2 beside a wide linear part, over features of a shopper and an item.

The pair enters as the item's embedding (its id and features added up, as in `two-tower`), the mean of the history's
embeddings, the attributes' embedding, the product of the first two, and numbers: popularity of late and ever,
activity and pauses, shares of the history in the item's category and brand, nearness in price, how often it was taken
together with the history's items, and whether it was taken before (`pairs`). Cross layers x0 * (W x + b) + x (Wang et
al. 2021, eq. 1) and a tower of halving layers run side by side; their last layer and a linear part over numbers and
the item (Cheng et al. 2016) add up to a logit.

It learns from the last `label_share` of all events: features are of what was known before them, labels are what was
taken in them, against items drawn uniformly. Events of one instant have no order, so the cut draws one. Catalogue and
attributes are those of the Dataset's instant, as no earlier ones are in it. Once trained, the features of all the log
serve.

torch is needed by `fit` only. `score` runs the net for each item, O(n_items (crosses + 1) (4 factors + 11)^2) a
shopper: a tenth of a second or more for 100,000 items. It is meant for a few hundred candidates, by
`score_candidates`. Fit O(epochs x labels (1 + negatives) (crosses + 1) (4 factors + 11)^2).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import InputError
from regulars.core.topk import NOTHING
from regulars.models.base import Model, check_range
from regulars.models.deep.features import item_features
from regulars.models.deep.ncf import tower_widths
from regulars.models.deep.pairs import (
    GROUPS,
    NUMBERS,
    OF_ITEM,
    ItemSide,
    ShopperSide,
    item_side,
    pair_numbers,
    shopper_side,
)
from regulars.models.deep.plan import NO_HOOKS, Hooks, Plan, check_shapes, fingerprint, require_torch
from regulars.models.features import Codes, attribute_codes

CELLS = 1 << 15  # pairs that go through the net together
FARTHEST = 5.0  # spreads from the middle that a number counts at most


class DNNRanker(Model):
    """Logits of taking an item, of a deep and cross network on features of the pair."""

    name = "dnn-ranker"
    hooks: Hooks = NO_HOOKS

    entered_: Floats  # (n_items, factors) an item's id and features, added up
    wide_items_: Floats  # (n_items,)
    wide_numbers_: Floats
    attributes_: Floats
    attribute_codes_: Codes
    middle_: Floats  # of each number, and what it is divided by
    spread_: Floats
    cross_: Floats
    cross_bias_: Floats
    cross_head_: Floats
    deep_head_: Floats
    bias_: Floats
    item_numbers_: Floats
    groups_: Indices
    price_: Floats
    links_: Matrix

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self, *, factors: int = 16, crosses: int = 2, hidden: int = 64, layers: int = 2, length: int = 50,
        decay: float = 0.5, id_dropout: float = 0.2, features: int = 50_000, label_share: float = 0.2,
        negatives: int = 10, epochs: int = 30, patience: int = 3, batch: int = 64, learning_rate: float = 2e-3,
        weight_decay: float = 1e-5, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("dnn-ranker: factors", factors, 1, 1024, whole=True)
        check_range("dnn-ranker: crosses", crosses, 1, 16, whole=True)
        check_range("dnn-ranker: hidden", hidden, 1, 4096, whole=True)
        check_range("dnn-ranker: layers", layers, 1, 16, whole=True)
        check_range("dnn-ranker: length", length, 1, 4096, whole=True)
        check_range("dnn-ranker: decay", decay, 0.0, 10.0)
        check_range("dnn-ranker: id_dropout", id_dropout, 0.0, 1.0)
        check_range("dnn-ranker: features", features, 0, whole=True)
        check_range("dnn-ranker: label_share", label_share, 0.01, 0.9)
        check_range("dnn-ranker: negatives", negatives, 1, 1000, whole=True)
        check_range("dnn-ranker: epochs", epochs, 1, whole=True)
        check_range("dnn-ranker: patience", patience, 1, whole=True)
        check_range("dnn-ranker: batch", batch, 1, whole=True)
        check_range("dnn-ranker: learning_rate", learning_rate, 1e-9, 10.0)
        check_range("dnn-ranker: weight_decay", weight_decay, 0.0, 10.0)
        check_range("dnn-ranker: threads", threads, 0, whole=True)
        self.factors, self.crosses, self.hidden, self.layers, self.length = factors, crosses, hidden, layers, length
        self.decay, self.id_dropout, self.features, self.label_share = decay, id_dropout, features, label_share
        self.negatives, self.epochs, self.patience, self.batch = negatives, epochs, patience, batch
        self.learning_rate, self.weight_decay, self.threads = learning_rate, weight_decay, threads

    @property
    def width(self) -> int:
        """How many numbers of a pair enter the net."""
        return 4 * self.factors + NUMBERS

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Torch itself, the embeddings six times, a batch's pairs and its rows of all items, links, histories."""
        tables = 6 * self.factors * (shape[1] + min(4 * self.features, 20 * shape[1]))
        batch = self.batch * (4 * shape[1] + 20 * self.negatives * self.width * (self.crosses + 4))
        return 300 + (4 * (tables + batch + 12 * nnz + 2 * shape[0] * self.length) + 2400 * shape[1]) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        require_torch(self.name)
        from regulars.models.deep import dnn_ranker_net as torch_side

        before, labels, cut = torch_side.cut(data, self.label_share, rng)
        self.attribute_codes_ = attribute_codes(data.users.attributes)
        known = np.bincount(before.user_items.indices, minlength=len(data.items)) > 0
        features = item_features(data.items, known, self.features)
        shoppers = torch_side.asked(before, labels, cut, (self.length, self.decay, self.attribute_codes_))
        log = torch_side.Log(item_side(before, cut, self.threads), shoppers, labels[np.diff(labels.indptr) > 0])
        sizes = torch_side.Sizes(self.factors, self.crosses, self.hidden, self.layers, len(self.attribute_codes_))
        net = torch_side.RankerNet(sizes, features, known)
        plan = Plan(self.name, self.epochs, self.patience, self.learning_rate, self.weight_decay, self.threads)
        told = features.indptr, features.indices, features.data
        of = fingerprint(self.get_params(), labels.indptr, labels.indices, shoppers.taken, *told)
        task = torch_side.Sampling(self.negatives, self.batch, self.id_dropout)
        for name, array in torch_side.fit(net, log, task, plan, (rng, self.hooks, of)).items():
            setattr(self, f"{name}_", array)
        now = item_side(data, data.as_of, self.threads)
        self.item_numbers_, self.groups_, self.price_, self.links_ = now.numbers, now.groups, now.price, now.links

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As every model, and the arrays must be those of the settings: a folder that lacks a layer is refused."""
        model = super().load(folder)
        d, items, width = model.factors, model.n_items_, model.width
        n_codes = len(getattr(model, "attribute_codes_", ()))
        widths = tower_widths(model.hidden, model.layers)
        shapes: dict[str, tuple[int, ...]] = {
            "entered_": (items, d), "wide_items_": (items,), "wide_numbers_": (NUMBERS,), "middle_": (NUMBERS,),
            "spread_": (NUMBERS,), "attributes_": (n_codes, d), "attribute_codes_": (n_codes,), "bias_": (1,),
            "cross_": (model.crosses, width, width), "cross_bias_": (model.crosses, width), "cross_head_": (width,),
            "deep_head_": (widths[-1],), "item_numbers_": (items, OF_ITEM), "groups_": (items, GROUPS),
            "price_": (items,), "links_": (items, items),
        }  # fmt: skip
        for layer, pair in enumerate(pairwise([width, *widths])):
            shapes |= {f"deep{layer}_": pair, f"deep{layer}_bias_": pair[1:]}
        check_shapes(folder, model, shapes)
        return model

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Logits `(n, n_items)` of taking each item rather than one drawn at random."""
        shoppers = self._shoppers(histories, now)
        scores = np.zeros((len(histories), self.n_items_), dtype=np.float32)
        step = max(1, CELLS // max(1, self.n_items_))
        for start in range(0, len(histories), step):
            some = shoppers[np.arange(start, min(start + step, len(histories)))]
            row = np.repeat(np.arange(len(some)), self.n_items_)
            item = np.tile(np.arange(self.n_items_), len(some))
            scores[start : start + step] = self._logits(some, row, item).reshape(len(some), -1)
        return scores

    def score_candidates(self, histories: Histories, now: Instant, item_idx: Indices) -> Scores:
        """The logits of `item_idx (n, k)` alone, each shopper's own; -inf where it is -1."""
        shoppers = self._shoppers(histories, now)
        if item_idx.ndim != 2 or len(item_idx) != len(histories) or item_idx.max(initial=-1) >= self.n_items_:
            raise InputError("item_idx", got=f"the shape {item_idx.shape}, up to {item_idx.max(initial=-1)}",
                             wanted=f"{len(histories)} rows of items below {self.n_items_}")  # fmt: skip
        scores = np.full(item_idx.shape, NOTHING, dtype=np.float32)
        step = max(1, CELLS // max(1, self.n_items_, item_idx.shape[1]))
        for start in range(0, len(histories), step):
            part = slice(start, start + step)
            row, place = np.nonzero(item_idx[part] >= 0)
            some = shoppers[np.arange(start, min(start + step, len(histories)))]
            scores[part][row, place] = self._logits(some, row, item_idx[part][row, place].astype(np.int64))
        return scores

    def _shoppers(self, histories: Histories, now: Instant) -> ShopperSide:
        self._check_fitted()
        self._check_width(histories)
        return shopper_side(histories, now, self.length, self.decay, self.attribute_codes_)

    def _logits(self, shoppers: ShopperSide, row: NDArray[np.int64], item: NDArray[np.int64]) -> Scores:
        """The net's logits of pairs `(n_pairs,)`, equal to those of `RankerNet`."""
        side = ItemSide(self.item_numbers_, self.groups_, self.price_, self.links_)
        numbers = (pair_numbers(side, shoppers, row, item) - self.middle_) / self.spread_
        numbers = np.clip(numbers, -FARTHEST, FARTHEST)
        mean = (shoppers.shares[:, None] @ self.entered_[np.maximum(shoppers.taken, 0)])[:, 0][row]
        told = np.asarray(shoppers.told @ self.attributes_)[row]
        its = self.entered_[item]
        first: Floats = np.concatenate((its, mean, told, its * mean, numbers), axis=1)
        x = hidden = first
        for weight, bias in zip(self.cross_, self.cross_bias_, strict=True):
            x = first * (x @ weight + bias) + x
        for layer in range(self.layers):
            weight, bias = getattr(self, f"deep{layer}_"), getattr(self, f"deep{layer}_bias_")
            hidden = np.maximum(hidden @ weight + bias, np.float32(0))
        wide = self.wide_items_[item] + numbers @ self.wide_numbers_
        logits: Scores = x @ self.cross_head_ + hidden @ self.deep_head_ + wide + self.bias_
        return logits
