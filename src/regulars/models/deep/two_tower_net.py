"""The two towers as a torch module, the loss, and the fit; imported by a fit only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from regulars.core.arrays import Indices, Matrix
from regulars.models.deep import windows
from regulars.models.deep.layers import bag
from regulars.models.deep.next_item import split
from regulars.models.deep.plan import Hooks, Plan
from regulars.models.deep.trainer import device, seeded, train
from regulars.models.deep.two_tower import newest, recency
from regulars.models.deep.windows import Events

LEAST = 1e-6  # of a squared length
HELD_TOGETHER = 256


@dataclass(frozen=True)
class Sizes:
    """The sizes of a net."""

    n_items: int
    n_features: int
    n_attributes: int
    factors: int
    hidden: int
    last: int
    length: int


@dataclass(frozen=True)
class Settings:
    """How a net is asked and trained."""

    decay: float
    temperature: float
    id_dropout: float
    attribute_dropout: float
    batch: int


@dataclass(frozen=True)
class Log:
    """What is learned from: events, which of them are of one instant, and what shoppers told of themselves."""

    events: Events
    moment: NDArray[np.int64]
    attributes: Matrix


@dataclass(frozen=True)
class Shoppers:
    """What is known of `n` shoppers: items they took, newest first and -1 beyond the first, and attributes."""

    taken: Indices
    attributes: Matrix


@dataclass(frozen=True)
class Batch:
    """Shoppers, and the item that each took next."""

    shoppers: Shoppers
    wanted: Indices
    keep_id: NDArray[np.bool_]  # (n_items,)


class TwoTowerNet(nn.Module):
    """Both towers; parameters that serve are named as the saved model's arrays are."""

    def __init__(self, sizes: Sizes, features: Matrix, settings: Settings) -> None:
        super().__init__()
        self.sizes, self.feature_rows, self.settings = sizes, features, settings
        d, hidden = sizes.factors, sizes.hidden
        enter = (2 + sizes.last) * d
        self.ids = nn.Parameter(torch.zeros(sizes.n_items, d))
        self.features = nn.Parameter(torch.zeros(sizes.n_features, d))
        self.attributes = nn.Parameter(torch.zeros(sizes.n_attributes, d))
        self.item_enter, self.item_enter_bias = (
            nn.Parameter(torch.zeros(d, hidden)),
            nn.Parameter(torch.zeros(hidden)),
        )
        self.item_leave = nn.Parameter(torch.zeros(hidden, d))
        self.shopper_enter = nn.Parameter(torch.zeros(enter, hidden))
        self.shopper_enter_bias = nn.Parameter(torch.zeros(hidden))
        self.shopper_leave, self.shopper_bias = nn.Parameter(torch.zeros(hidden, d)), nn.Parameter(torch.zeros(d))

    def begin(self) -> None:
        """Draw the weights to begin with: what enters has about length 1, and each tower adds a third to it."""
        d, hidden = self.sizes.factors, self.sizes.hidden
        nn.init.normal_(self.shopper_bias, std=0.3 * d**-0.5)
        for table in (self.ids, self.features, self.attributes):
            nn.init.normal_(table, std=d**-0.5)
        nn.init.normal_(self.item_enter, std=d**-0.5)
        nn.init.normal_(self.shopper_enter, std=d**-0.5)
        for leave in (self.item_leave, self.shopper_leave):
            nn.init.normal_(leave, std=0.3 * hidden**-0.5)

    def entered(self, items: NDArray[Any], keep_id: NDArray[np.bool_]) -> torch.Tensor:
        """What these items enter the towers with `(len(items), factors)`: their features, and ids where kept."""
        ids = functional.embedding(self._whole(items), self.ids)
        kept = torch.as_tensor(keep_id[items], device=ids.device)[:, None]
        return ids * kept + bag(self.features, self.feature_rows[items])

    def items(self, entered: torch.Tensor) -> torch.Tensor:
        """The item tower, rows of length 1."""
        hidden = functional.relu(entered @ self.item_enter + self.item_enter_bias)
        return _unit(entered + hidden @ self.item_leave)

    def shoppers(self, entered: torch.Tensor, place: NDArray[Any], shoppers: Shoppers) -> torch.Tensor:
        """The shopper tower, rows of length 1; item `taken[r, c]` is row `place[r, c]` of `entered`."""
        rows, taken = self._whole(place), shoppers.taken
        weights = torch.as_tensor(recency(taken, self.settings.decay), device=rows.device)
        mean = functional.embedding_bag(rows, entered, per_sample_weights=weights, mode="sum")
        last = slice(0, self.sizes.last)
        real = torch.as_tensor(taken[:, last] >= 0, device=rows.device)[..., None]
        each = (functional.embedding(rows[:, last], entered) * real).flatten(1)
        known = torch.cat((mean, each, bag(self.attributes, shoppers.attributes)), dim=1)
        hidden = functional.relu(known @ self.shopper_enter + self.shopper_enter_bias)
        return _unit(mean + hidden @ self.shopper_leave + self.shopper_bias)

    def served(self, known: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """The arrays that serve; ids that are not `known` count nothing, and an item without features then has 0."""
        with torch.no_grad():
            entered = self.entered(np.arange(self.sizes.n_items), known)
            told = torch.as_tensor(known | (np.diff(self.feature_rows.indptr) > 0), device=entered.device)
            parts = {"entered": entered, "items": self.items(entered) * told[:, None], "attributes": self.attributes}
            parts |= {name: tensor for name, tensor in self.named_parameters() if name.startswith("shopper_")}
        return {name: tensor.detach().cpu().numpy() for name, tensor in parts.items()}

    def _whole(self, numbers: NDArray[Any]) -> torch.Tensor:
        return torch.as_tensor(numbers, device=self.ids.device).long()


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return rows * torch.rsqrt((rows * rows).sum(1, keepdim=True) + LEAST)


class NextTaken:
    """The task: which item of the batch a shopper took next."""

    def __init__(self, net: TwoTowerNet, log: Log, held: tuple[Shoppers, Indices]) -> None:
        self.net, self.log, self.held, self.settings = net, log, held, net.settings
        self.owner = np.repeat(np.arange(len(log.events.sizes)), log.events.sizes)
        counts = np.bincount(log.events.item_idx, minlength=net.sizes.n_items)
        self.known = counts > 0
        self.shares = torch.as_tensor(counts / max(1, counts.sum()), device=net.ids.device).float()
        self.described = np.diff(net.feature_rows.indptr) > 0

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Every event once as what came next, in random order; those of one instant in an order of their own."""
        log, settings = self.log, self.settings
        item_idx = log.events.item_idx[np.lexsort((rng.random(len(log.moment)), log.moment))]
        order = rng.permutation(len(item_idx))
        for start in range(0, len(order), settings.batch):
            events = order[start : start + settings.batch]
            owner = self.owner[events]
            told = log.attributes[owner]
            told.data *= np.repeat(rng.random(len(owner)) >= settings.attribute_dropout, np.diff(told.indptr))
            taken = newest(item_idx, log.events.indptr[owner], events, self.net.sizes.length)
            dropped = self.described & (rng.random(len(self.described)) < settings.id_dropout)
            yield Batch(Shoppers(taken, told), item_idx[events], ~dropped)

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean over the batch."""
        named = np.concatenate((batch.wanted[:, None], batch.shoppers.taken), axis=1)
        items, place = np.unique(named, return_inverse=True)
        place = place.reshape(len(batch.wanted), -1)
        entered = self.net.entered(np.maximum(items, 0), batch.keep_id)  # -1, beyond a history, weighs nothing
        mine = self.net.shoppers(entered, place[:, 1:], batch.shoppers)
        drawn, wanted = np.unique(place[:, 0], return_inverse=True)
        vectors = self.net.items(functional.embedding(torch.as_tensor(drawn, device=entered.device), entered))
        times = torch.as_tensor(np.bincount(wanted), device=entered.device)
        expected = len(wanted) * self.shares[torch.as_tensor(items[drawn], device=entered.device).long()]
        scores = mine @ vectors.T / self.settings.temperature
        return batch_softmax(scores, torch.as_tensor(wanted, device=scores.device).long(), (times / expected).log())

    def validate(self) -> float:
        """NDCG without a cut-off of the events held out, among all items."""
        shoppers, wanted = self.held
        if not len(wanted):
            return math.nan
        entered = self.net.entered(np.arange(self.net.sizes.n_items), self.known)
        vectors, total = self.net.items(entered), 0.0
        for start in range(0, len(wanted), HELD_TOGETHER):
            part = slice(start, start + HELD_TOGETHER)
            some = Shoppers(shoppers.taken[part], shoppers.attributes[part])
            scores = self.net.shoppers(entered, np.maximum(some.taken, 0), some) @ vectors.T
            mine = scores.gather(1, torch.as_tensor(wanted[part], device=scores.device).long()[:, None])
            total += float((1 / torch.log2((scores > mine).sum(1) + 2.0)).sum())
        return total / len(wanted)


def batch_softmax(scores: torch.Tensor, wanted: torch.Tensor, correction: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the wanted items, estimated from the items of a batch.

    `correction` is log(times drawn / times expected) of each item: the log-Q correction of Yi et al. 2019, eq. 6,
    with equal columns put together. The wanted item is no draw: its own score stays as it is, and counts once.
    """
    mine = scores.gather(1, wanted[:, None])[:, 0]
    own = torch.arange(scores.shape[1], device=scores.device) == wanted[:, None]
    others = torch.logsumexp((scores + correction).masked_fill(own, -torch.inf), dim=1)
    return (torch.logaddexp(mine, others) - mine).mean()


def hold_out(
    events: Events, moment: NDArray[np.int64], attributes: Matrix, length: int, rng: np.random.Generator
) -> tuple[Log, tuple[Shoppers, Indices]]:
    """What is left to train on, and the last event of a few shoppers to validate on."""
    chosen = split(events, rng)
    rest, asked, wanted = windows.hold_out(events, chosen)
    last = events.indptr[1:][chosen] - 1
    taken = newest(asked.item_idx, asked.indptr[:-1], asked.indptr[1:], length)
    return Log(rest, np.delete(moment, last), attributes), (
        Shoppers(taken, attributes[np.flatnonzero(chosen)]),
        wanted,
    )


def fit(net: TwoTowerNet, log: Log, held: tuple[Shoppers, Indices], plan: Plan,
        going: tuple[np.random.Generator, Hooks, str]) -> dict[str, NDArray[Any]]:  # fmt: skip
    """Train and return what serves by name; without anything to learn from, vectors are zeros."""
    rng, hooks, of = going
    if not len(log.moment):
        return net.served(np.zeros(net.sizes.n_items, dtype=np.bool_))
    with seeded(int(rng.integers(2**62))):
        net.begin()
    net.to(device())
    task = NextTaken(net, log, held)
    train(net, task, plan, rng, hooks, of)
    return net.served(task.known)
