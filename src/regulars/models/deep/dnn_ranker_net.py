"""The ranker as a torch module, what it learns from, and its fit; imported by a fit only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from regulars.core.arrays import Matrix, as_csr
from regulars.core.clock import Instant
from regulars.core.data import Dataset
from regulars.models.deep.dnn_ranker import FARTHEST
from regulars.models.deep.layers import bag
from regulars.models.deep.ncf import tower_widths
from regulars.models.deep.pairs import NUMBERS, ItemSide, ShopperSide, pair_numbers, shopper_side
from regulars.models.deep.plan import Hooks, Plan
from regulars.models.deep.trainer import device, seeded, train
from regulars.models.features import Codes
from regulars.models.sequences import LIKING

HELD_OUT = 1000  # shoppers whose labels are validated on, at most
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Sizes:
    """The sizes of a net."""

    factors: int
    crosses: int
    hidden: int
    layers: int
    n_attributes: int


@dataclass(frozen=True)
class Sampling:
    """What a batch is made of: shoppers, and items drawn against each that was taken."""

    negatives: int
    batch: int
    id_dropout: float


@dataclass(frozen=True)
class Log:
    """What is learned from: items and shoppers as before the cut, and what each of these shoppers took after it."""

    items: ItemSide
    shoppers: ShopperSide
    labels: Matrix


@dataclass(frozen=True)
class Pairs:
    """Shoppers, pairs of one of them and an item, and whether it was taken."""

    shoppers: ShopperSide
    row: NDArray[np.int64]
    item: NDArray[np.int64]
    taken: NDArray[np.bool_]
    keep_id: NDArray[np.bool_]  # (n_items,)


class RankerNet(nn.Module):
    """The net; parameters that serve are named as the saved model's arrays are."""

    middle: torch.Tensor
    spread: torch.Tensor

    def __init__(self, sizes: Sizes, features: Matrix, known: NDArray[np.bool_]) -> None:
        super().__init__()
        self.layers, self.feature_rows, self.known = sizes.layers, features, known
        d, width = sizes.factors, 4 * sizes.factors + NUMBERS

        def zeros(*size: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(*size))

        self.ids, self.features = zeros(len(known), d), zeros(features.shape[1], d)
        self.wide_ids, self.wide_features = zeros(len(known), 1), zeros(features.shape[1], 1)
        self.wide_numbers, self.attributes = zeros(NUMBERS), zeros(sizes.n_attributes, d)
        self.cross, self.cross_bias = zeros(sizes.crosses, width, width), zeros(sizes.crosses, width)
        widths = tower_widths(sizes.hidden, sizes.layers)
        for layer, pair in enumerate(pairwise([width, *widths])):
            self.register_parameter(f"deep{layer}", zeros(*pair))
            self.register_parameter(f"deep{layer}_bias", zeros(pair[1]))
        self.cross_head, self.deep_head, self.bias = zeros(width), zeros(widths[-1]), zeros(1)
        self.register_buffer("middle", torch.zeros(NUMBERS))
        self.register_buffer("spread", torch.ones(NUMBERS))

    def begin(self, numbers: NDArray[np.float32]) -> None:
        """Draw the weights to begin with; `numbers` of some pairs set the scale of each number."""
        middle, spread = numbers.mean(axis=0), numbers.std(axis=0)
        self.middle.copy_(torch.as_tensor(middle))
        self.spread.copy_(torch.as_tensor(np.where(spread > 1e-3, spread, np.float32(1))))
        for name, parameter in self.named_parameters():
            if name in ("ids", "features", "attributes"):
                nn.init.normal_(parameter, std=0.1)
            elif name == "cross":
                nn.init.normal_(parameter, std=0.1 * parameter.shape[1] ** -0.5)
            elif name.startswith("deep") and parameter.ndim == 2:
                nn.init.normal_(parameter, std=(2 / len(parameter)) ** 0.5)
            elif name.endswith("_head"):
                nn.init.normal_(parameter, std=0.3 * len(parameter) ** -0.5)

    def entered(self, items: NDArray[Any], keep_id: NDArray[np.bool_]) -> tuple[torch.Tensor, torch.Tensor]:
        """What these items enter the net with `(len(items), factors)`, and their part of the wide sum."""
        where, rows = self._whole(items), self.feature_rows[items]
        kept = torch.as_tensor(keep_id[items], device=where.device)[:, None]
        deep = functional.embedding(where, self.ids) * kept + bag(self.features, rows)
        wide = functional.embedding(where, self.wide_ids) * kept + bag(self.wide_features, rows)
        return deep, wide[:, 0]

    def forward(self, pairs: Pairs, numbers: NDArray[np.float32]) -> torch.Tensor:
        """Logits `(n_pairs,)`; `numbers` are those of the pairs."""
        shoppers = pairs.shoppers
        items, place = np.unique(np.concatenate((pairs.item, shoppers.taken.ravel())), return_inverse=True)
        entered, wide = self.entered(np.maximum(items, 0), pairs.keep_id)  # -1, beyond a history, weighs nothing
        mine, theirs = self._whole(place[: len(pairs.item)]), self._whole(place[len(pairs.item) :])
        shares = torch.as_tensor(shoppers.shares, device=mine.device)
        mean = functional.embedding_bag(theirs.view(shares.shape), entered, per_sample_weights=shares, mode="sum")
        row, its = self._whole(pairs.row), functional.embedding(mine, entered)
        mean, told = (functional.embedding(row, each) for each in (mean, bag(self.attributes, shoppers.told)))
        scaled = (torch.as_tensor(numbers, device=mine.device) - self.middle) / self.spread
        scaled = scaled.clamp(-FARTHEST, FARTHEST)
        first = torch.cat((its, mean, told, its * mean, scaled), dim=1)
        x = hidden = first
        for weight, bias in zip(self.cross, self.cross_bias, strict=True):
            x = first * (x @ weight + bias) + x
        for layer in range(self.layers):
            hidden = functional.relu(hidden @ getattr(self, f"deep{layer}") + getattr(self, f"deep{layer}_bias"))
        linear = wide[mine] + scaled @ self.wide_numbers + self.bias
        return x @ self.cross_head + hidden @ self.deep_head + linear

    def served(self) -> dict[str, NDArray[Any]]:
        """The arrays that serve; ids without an event before the cut count nothing."""
        inside = ("ids", "features", "wide_ids", "wide_features")
        with torch.no_grad():
            entered, wide = self.entered(np.arange(len(self.known)), self.known)
        parts = {name: tensor for name, tensor in self.state_dict().items() if name not in inside}
        parts |= {"entered": entered, "wide_items": wide}
        return {name: tensor.cpu().numpy() for name, tensor in parts.items()}

    def _whole(self, numbers: NDArray[Any]) -> torch.Tensor:
        return torch.as_tensor(numbers, device=self.ids.device).long()


class TakenOrDrawn:
    """The task: tell what a shopper took after the cut from items drawn at random."""

    def __init__(self, net: RankerNet, log: Log, sampling: Sampling, rng: np.random.Generator) -> None:
        self.net, self.log, self.sampling = net, log, sampling
        self.described = np.diff(net.feature_rows.indptr) > 0
        order = rng.permutation(len(log.shoppers))
        n_held = min(HELD_OUT, int(HELD_OUT_SHARE * len(order)))
        self.held, self.rest = np.sort(order[:n_held]), np.sort(order[n_held:])
        self.seed = int(rng.integers(2**62))  # validation draws the same items each time

    def batches(self, rng: np.random.Generator) -> Iterator[Pairs]:
        """Shoppers in random order, with items drawn anew."""
        yield from self._pairs(rng.permutation(self.rest), rng, self.sampling.id_dropout)

    def _pairs(self, order: NDArray[np.int64], rng: np.random.Generator, id_dropout: float) -> Iterator[Pairs]:
        n_items = len(self.net.known)
        for start in range(0, len(order), self.sampling.batch):
            rows = order[start : start + self.sampling.batch]
            labels = self.log.labels[rows]
            mine = np.repeat(np.arange(len(rows)), np.diff(labels.indptr))
            row = np.repeat(mine, self.sampling.negatives)
            drawn = rng.integers(n_items, size=len(row))
            others = labels.toarray()[row, drawn] == 0
            dropped = self.described & (rng.random(n_items) < id_dropout)
            yield Pairs(
                self.log.shoppers[rows],
                np.concatenate((mine, row[others])),
                np.concatenate((labels.indices, drawn[others])).astype(np.int64),
                np.arange(len(mine) + int(others.sum())) < len(mine),
                self.net.known & ~dropped,
            )

    def numbers(self, pairs: Pairs) -> NDArray[np.float32]:
        """Numbers of the pairs, of what was known before the cut."""
        return pair_numbers(self.log.items, pairs.shoppers, pairs.row, pairs.item)

    def loss(self, batch: Pairs) -> torch.Tensor:
        """Mean binary cross-entropy."""
        logits = self.net(batch, self.numbers(batch))
        return functional.binary_cross_entropy_with_logits(logits, torch.as_tensor(batch.taken).to(logits))

    def validate(self) -> float:
        """Mean log-likelihood of the pairs of the shoppers held out."""
        rng = np.random.default_rng(self.seed)
        totals = [(self.loss(pairs).item() * len(pairs.row), len(pairs.row))
                  for pairs in self._pairs(self.held, rng, 0.0)]  # fmt: skip
        return -sum(total for total, _ in totals) / sum(n for _, n in totals) if totals else math.nan


def cut(data: Dataset, share: float, rng: np.random.Generator) -> tuple[Dataset, Matrix, Instant]:
    """The log before its last `share` of events, who takes what in these `(n_users, n_items)`, when they begin."""
    rows = data.interactions
    good = np.flatnonzero((rows.weight > 0) & LIKING[rows.kind])
    order = good[np.lexsort((rng.random(len(good)), rows.at[good]))]
    later = np.zeros(len(rows), dtype=np.bool_)
    later[order[len(order) - int(share * len(order)) :]] = True
    begins = int(rows.at[later].min(initial=data.as_of))
    before = replace(data, as_of=begins, interactions=rows[~later & (rows.at <= begins)])
    cells = (np.ones(int(later.sum()), dtype=np.float32), (rows.user_idx[later], rows.item_idx[later]))
    return before, as_csr(sp.coo_array(cells, shape=data.shape)), begins


def asked(before: Dataset, labels: Matrix, at: Instant, settings: tuple[int, float, Codes]) -> ShopperSide:
    """The shoppers with labels, as they were known before."""
    chosen = np.flatnonzero(np.diff(labels.indptr)).astype(np.int32)
    return shopper_side(before.histories(chosen), at, *settings)


def fit(net: RankerNet, log: Log, sampling: Sampling, plan: Plan,
        going: tuple[np.random.Generator, Hooks, str]) -> dict[str, NDArray[Any]]:  # fmt: skip
    """Train and return what serves by name; without anything to learn from, logits are zeros."""
    rng, hooks, of = going
    task = TakenOrDrawn(net, log, sampling, rng)
    first = next(task.batches(np.random.default_rng(task.seed)), None)
    if first is None:
        return net.served()
    with seeded(int(rng.integers(2**62))), torch.no_grad():
        net.begin(task.numbers(first))
    net.to(device())
    train(net, task, plan, rng, hooks, of)
    return net.served()
