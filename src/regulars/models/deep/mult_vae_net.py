"""Mult-VAE as a torch module, and its fit; imported by a fit only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from regulars.core.arrays import Matrix
from regulars.models.deep.layers import dropout
from regulars.models.deep.plan import Hooks, Plan
from regulars.models.deep.trainer import device, seeded, train

HELD_OUT = 1000  # shoppers to validate on, at most
HELD_OUT_SHARE = 0.1
FEWEST = 10  # fewer cannot say when to stop: none are held out then
HIDDEN_PART = 5  # one in so many of their items is to be found
K = 100  # of the NDCG
PIECE = 256  # shoppers validated together
SERVED = ("enter", "enter_bias", "mean", "mean_bias", "leave", "leave_bias", "items")


@dataclass(frozen=True)
class Sizes:
    """The sizes of a net."""

    n_items: int
    hidden: int
    latent: int


@dataclass(frozen=True)
class Noise:
    """What keeps the net from learning histories by heart."""

    dropout: float
    beta: float  # the cap of the KL term's weight
    anneal_steps: int  # over which it rises to that


@dataclass(frozen=True)
class Split:
    """Histories to train on; of the shoppers held out, what is shown and what is to be found."""

    rest: Matrix
    shown: Matrix
    wanted: Matrix


@dataclass(frozen=True)
class Batch:
    """Some histories as cells: items one after another, where each row begins, and every cell's row and weight."""

    items: torch.Tensor
    starts: torch.Tensor
    row: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def of(cls, rows: Matrix, where: torch.device) -> Batch:
        """Rows of a CSR, each scaled to Euclidean length 1, every cell counting the same."""
        counts = np.diff(rows.indptr)
        whole = (rows.indices, rows.indptr[:-1], np.repeat(np.arange(len(counts)), counts))
        items, starts, row = (torch.as_tensor(each, device=where).long() for each in whole)
        weights = torch.as_tensor(np.repeat(np.maximum(counts, 1) ** -0.5, counts), device=where).float()
        return cls(items, starts, row, weights)

    def __len__(self) -> int:
        return len(self.starts)


class MultVAENet(nn.Module):
    """Encoder and decoder with one hidden layer each; parameters are named as the saved model's arrays are."""

    steps: torch.Tensor  # training steps taken: kept with the weights, so that a resumed training knows its beta

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()

        def glorot(rows: int, columns: int) -> nn.Parameter:
            return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns)))

        def zeros(size: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(size))

        self.enter, self.enter_bias = glorot(sizes.n_items, sizes.hidden), zeros(sizes.hidden)
        self.mean, self.mean_bias = glorot(sizes.hidden, sizes.latent), zeros(sizes.latent)
        self.spread, self.spread_bias = glorot(sizes.hidden, sizes.latent), zeros(sizes.latent)
        self.leave, self.leave_bias = glorot(sizes.latent, sizes.hidden), zeros(sizes.hidden)
        self.items = glorot(sizes.n_items, sizes.hidden + 1)
        nn.init.zeros_(self.items.data[:, -1])
        self.register_buffer("steps", torch.zeros(()))

    def encode(self, batch: Batch, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance `(n, latent)` of histories with these weights."""
        entered = functional.embedding_bag(batch.items, self.enter, batch.starts, mode="sum",
                                           per_sample_weights=weights)  # fmt: skip
        entered = torch.tanh(entered + self.enter_bias)
        return entered @ self.mean + self.mean_bias, entered @ self.spread + self.spread_bias

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Scores `(n, n_items)`."""
        left = torch.tanh(latent @ self.leave + self.leave_bias)
        return functional.pad(left, (0, 1), value=1.0) @ self.items.T

    def forward(self, batch: Batch) -> torch.Tensor:
        """Scores `(n, n_items)` without noise."""
        return self.decode(self.encode(batch, batch.weights)[0])


class Retell:
    """The task: tell histories again after they went through the narrow middle."""

    def __init__(self, net: MultVAENet, split: Split, noise: Noise, size: int) -> None:
        self.net, self.split, self.noise, self.size, self.device = net, split, noise, size, device()

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Shoppers in random order, once each."""
        able = rng.permutation(np.flatnonzero(np.diff(self.split.rest.indptr) > 0))
        for start in range(0, len(able), self.size):
            yield Batch.of(self.split.rest[able[start : start + self.size]], self.device)

    def loss(self, batch: Batch) -> torch.Tensor:
        """The mean over shoppers of the negative ELBO, with one draw of z and the weight that KL has by now."""
        noise, steps = self.noise, self.net.steps
        steps += 1
        beta = noise.beta * min(1.0, steps.item() / max(1, noise.anneal_steps))
        mean, log_variance = self.net.encode(batch, dropout(batch.weights, noise.dropout))
        scores = self.net.decode(mean + torch.randn_like(mean) * torch.exp(log_variance / 2))
        missed = -functional.log_softmax(scores, dim=1)[batch.row, batch.items].sum()
        return (missed + beta * divergence(mean, log_variance)) / len(batch)

    def validate(self) -> float:
        """NDCG@100 of what is to be found, among the items not shown."""
        shown, wanted = self.split.shown, self.split.wanted
        if not shown.shape[0]:
            return math.nan
        total = 0.0
        for start in range(0, shown.shape[0], PIECE):
            asked = Batch.of(shown[start : start + PIECE], self.device)
            scores = self.net(asked)
            scores[asked.row, asked.items] = -torch.inf
            relevant = torch.as_tensor(wanted[start : start + PIECE].toarray() > 0, device=self.device)
            total += float(ndcg(scores, relevant).sum())
        return total / int(shown.shape[0])


def divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """The sum of KL(N(mean, variance) || N(0, 1))."""
    return 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum()


def ndcg(scores: torch.Tensor, relevant: torch.Tensor) -> torch.Tensor:
    """NDCG@100 of each row `(n,)`; an ideal list has all relevant items (one at least) in front."""
    k = min(K, scores.shape[1])
    gains = 1 / torch.log2(torch.arange(2.0, k + 2, device=scores.device))
    found = relevant.gather(1, scores.topk(k, dim=1).indices)
    ideal = gains.cumsum(0)[relevant.sum(1).clamp(max=k) - 1]
    return (found * gains).sum(1) / ideal


def hold_out(taken: Matrix, rng: np.random.Generator) -> Split:
    """Hold a random few shoppers of at least five items out, and hide a random fifth of their items."""
    able = np.flatnonzero(np.diff(taken.indptr) >= HIDDEN_PART)
    n = min(HELD_OUT, int(HELD_OUT_SHARE * len(able)))
    chosen = np.sort(rng.permutation(able)[: n if n >= FEWEST else 0])
    held = taken[chosen]
    counts = np.diff(held.indptr)
    owner = np.repeat(np.arange(len(chosen)), counts)
    place = np.empty(held.nnz, dtype=np.int64)
    place[np.lexsort((rng.random(held.nnz), owner))] = np.arange(held.nnz) - held.indptr[:-1][owner]
    hidden = place < (counts // HIDDEN_PART)[owner]
    shown, wanted = (_only(held, keep) for keep in (~hidden, hidden))
    return Split(taken[np.setdiff1d(np.arange(taken.shape[0]), chosen)], shown, wanted)


def _only(rows: Matrix, keep: np.ndarray) -> Matrix:
    """These cells of a CSR."""
    kept = np.concatenate(([0], np.cumsum(keep)))[rows.indptr]
    return type(rows)((rows.data[keep], rows.indices[keep], kept), shape=rows.shape)


def fit(task: tuple[Sizes, Noise, int], split: Split, plan: Plan, rng: np.random.Generator, hooks: Hooks, of: str
        ) -> dict[str, Any]:  # fmt: skip
    """Train and return the served arrays by name; without any history to learn from, all items score 0."""
    sizes, noise, size = task
    with seeded(int(rng.integers(2**62))):
        net = MultVAENet(sizes).to(device())
    if split.rest.nnz:
        train(net, Retell(net, split, noise, size), plan, rng, hooks, of)
    else:
        net.items.data.zero_()
    learned = net.state_dict()
    return {name: learned[name].cpu().numpy() for name in SERVED}
