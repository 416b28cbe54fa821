"""GRU4Rec as a torch module, its losses, and its fit; imported by a fit only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from regulars.core.arrays import Floats, Indices
from regulars.models.deep import next_item
from regulars.models.deep.layers import begin, dropout
from regulars.models.deep.plan import Hooks, Plan
from regulars.models.deep.trainer import device, seeded, train
from regulars.models.deep.windows import Events, Windows

NEVER = -1e9  # a score that a softmax gives no share, whatever stands beside it
TINY = 1e-24  # the official implementation's floor under a logarithm


@dataclass(frozen=True)
class Shape:
    """The sizes of a net, and what it drops in training."""

    n_items: int
    factors: int
    length: int
    dropout: float
    embedding_dropout: float


@dataclass(frozen=True)
class Loss:
    """`cross-entropy` or `bpr-max`, and how negatives are drawn (0 = all items)."""

    kind: str
    negatives: int
    sample_power: float
    logq: float
    penalty: float
    elu: float


class GRU4RecNet(nn.Module):
    """One recurrent layer over item vectors that are also those of the scores."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, self.length = shape, shape.length
        self.items = nn.Parameter(_uniform(shape.n_items, shape.factors + 1))
        nn.init.zeros_(self.items.data[:, -1])  # the bias
        self.gru = nn.GRU(shape.factors, shape.factors, batch_first=True)
        for name, weights in self.gru.named_parameters():
            weights.data = torch.zeros(len(weights)) if "bias" in name else torch.cat(
                [_uniform(shape.factors, shape.factors) for _ in range(3)])  # fmt: skip

    def vectors(self) -> torch.Tensor:
        """Item vectors as they are scored."""
        return self.items

    def forward(
        self, vectors: torch.Tensor, items: torch.Tensor, gaps: torch.Tensor, sizes: torch.Tensor
    ) -> torch.Tensor:
        """States after each place and 1 `(n, width, factors + 1)`; pauses and sizes change nothing."""
        x = self._drop(functional.embedding(items, vectors)[..., :-1], self.shape.embedding_dropout)
        states = self._drop(self.gru(x)[0], self.shape.dropout)
        return functional.pad(states, (0, 1), value=1.0)

    def _drop(self, x: torch.Tensor, rate: float) -> torch.Tensor:
        return dropout(x, rate) if self.training else x

    def served(self) -> dict[str, Floats]:
        """The arrays of the saved model, by name."""
        gru = self.gru.state_dict()
        learned = {
            "items": self.items.detach(), "input": gru["weight_ih_l0"].T, "input_bias": gru["bias_ih_l0"],
            "state": gru["weight_hh_l0"].T, "state_bias": gru["bias_hh_l0"],
        }  # fmt: skip
        return {name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in learned.items()}


def _uniform(rows: int, columns: int) -> torch.Tensor:
    """Uniform numbers within (6 / (rows + columns))^1/2, as the official implementation begins."""
    return nn.init.xavier_uniform_(torch.empty(rows, columns))


class NextClick(next_item.NextItem):
    """The task: at each place of a window, tell the item that came next from a sample of others."""

    def __init__(
        self, net: GRU4RecNet, windows: Windows, held: tuple[Events, Indices], loss: Loss, batch: int
    ) -> None:
        super().__init__(net, windows, held, next_item.Loss("softmax", 0, 0.0), batch)
        self.settings, n_items = loss, len(net.items)
        taken = np.bincount(windows.targets[windows.targets >= 0], minlength=n_items)
        weights = np.maximum(taken, 1) ** loss.sample_power  # an item without an event is a negative, too
        self.share = torch.as_tensor(weights / weights.sum(), device=self.device)
        self.up_to = self.share.cumsum(0)

    def loss(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Mean over the targets of the batch."""
        settings = self.settings
        if settings.kind == "cross-entropy" and not settings.negatives:
            return super().loss(batch)
        items, gaps, targets, sizes = batch
        real = targets >= 0
        vectors = self.net.vectors()
        states, wanted = self.net(vectors, items, gaps, sizes)[real], targets[real]
        sample, counts = self._sample()
        mine = (states * functional.embedding(wanted, vectors)).sum(1)
        others = states @ functional.embedding(sample, vectors).T
        same = sample == wanted[:, None]
        if settings.kind == "cross-entropy":
            return cross_entropy(mine, others - settings.logq * counts.log(), same)
        return bpr_max(mine, others, same, settings)

    def _sample(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Negatives for a batch, and how often each was to be expected among them."""
        n, n_items = self.settings.negatives, len(self.share)
        if not n or n >= n_items:
            every = torch.arange(n_items, device=self.device)
            return every, torch.ones(n_items, device=self.device)
        drawn = torch.rand(n, dtype=self.up_to.dtype, device=self.device)
        sample = torch.searchsorted(self.up_to, drawn).clamp(max=n_items - 1)
        return sample, (n * self.share[sample]).float()


def cross_entropy(mine: torch.Tensor, others: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Mean of -log softmax of the wanted item's score beside others'; one of the `same` item does not count."""
    rest = torch.logsumexp(others.masked_fill(same, NEVER), dim=1)
    return functional.softplus(rest - mine).mean()


def bpr_max(mine: torch.Tensor, others: torch.Tensor, same: torch.Tensor, loss: Loss) -> torch.Tensor:
    """Mean of -log sum_j s_j sigmoid(r - r_j) + penalty sum_j s_j r_j^2, s the softmax of negatives' scores r_j.

    The regularized loss of Hidasi & Karatzoglou 2018; before it, scores go through an ELU where one is set.
    """
    if loss.elu:
        mine, others = functional.elu(mine, loss.elu), functional.elu(others, loss.elu)
    shares = torch.softmax(others.masked_fill(same, NEVER), dim=1) * ~same
    passed = (shares * torch.sigmoid(mine[:, None] - others)).sum(1)
    return (loss.penalty * (shares * others**2).sum(1) - torch.log(passed + TINY)).mean()


def fit(task: tuple[Shape, Loss, int], windows: Windows, held: tuple[Events, Indices], plan: Plan,
        rng: np.random.Generator, hooks: Hooks, of: str) -> dict[str, Floats]:  # fmt: skip
    """Train and return the served arrays by name; without anything to learn from, all items score 0."""
    shape, loss, batch = task
    with seeded(int(rng.integers(2**62))):
        net = GRU4RecNet(shape).to(device())
    if hooks.warm is not None:
        last: Any = hooks.warm.model
        begin(net, hooks.warm, {
            "items": last.items_, "gru.weight_ih_l0": last.input_.T, "gru.bias_ih_l0": last.input_bias_,
            "gru.weight_hh_l0": last.state_.T, "gru.bias_hh_l0": last.state_bias_,
        })  # fmt: skip
    if len(windows):
        train(net, NextClick(net, windows, held, loss, batch), plan, rng, hooks, of)
    else:
        net.items.data.zero_()
    return net.served()
