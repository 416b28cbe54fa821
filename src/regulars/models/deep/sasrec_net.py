"""SASRec as a torch module, its losses, and its fit; imported by a fit only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from regulars.core.arrays import Indices
from regulars.models.deep.layers import dropout, full_softmax
from regulars.models.deep.plan import Hooks, Plan
from regulars.models.deep.trainer import device, seeded, train
from regulars.models.deep.windows import GAPS, Events, Windows, last_places

HELD_OUT = 1000  # shoppers whose last event is validated on, at most
HELD_OUT_SHARE = 0.1
NORM_FLOOR = 1e-5


@dataclass(frozen=True)
class Shape:
    """The sizes of a net."""

    n_items: int
    factors: int
    layers: int
    heads: int
    length: int
    time_gaps: bool


@dataclass(frozen=True)
class Loss:
    """`softmax` over all items or a sample of `negatives` (0 = all), or `gbce` with calibration `t`."""

    kind: str
    negatives: int
    calibration: float


class SASRecNet(nn.Module):
    """Causal self-attention over items, layer norm first; parameters are named as the saved model's arrays are."""

    def __init__(self, shape: Shape, dropout_rate: float) -> None:
        super().__init__()
        d, layers = shape.factors, shape.layers
        self.heads, self.length, self.dropout_rate = shape.heads, shape.length, dropout_rate

        def random(*size: int, scale: float = 0.02) -> nn.Parameter:
            return nn.Parameter(torch.randn(*size) * scale)

        self.items = random(shape.n_items, d)
        self.positions = random(shape.length, d)
        self.gaps = random(GAPS if shape.time_gaps else 0, d)
        self.attention = random(layers, d, 4 * d, scale=d**-0.5)  # query, key, value, out
        self.attention_bias = nn.Parameter(torch.zeros(layers, 4 * d))
        self.inner = random(layers, d, d, scale=d**-0.5)
        self.inner_bias = nn.Parameter(torch.zeros(layers, d))
        self.outer = random(layers, d, d, scale=d**-0.5)
        self.outer_bias = nn.Parameter(torch.zeros(layers, d))
        self.norms = nn.Parameter(torch.tensor([1.0, 0.0]).view(2, 1).repeat(2 * layers + 1, 1, d))  # gain, bias

    def forward(self, items: torch.Tensor, gaps: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """States after each place `(n, width, factors)` of left-justified items; past `sizes` they mean nothing."""
        width = items.shape[1]
        places = self.length - sizes[:, None] + torch.arange(width, device=items.device)
        x = functional.embedding(items, self.items) * math.sqrt(self.items.shape[1])
        x = x + functional.embedding(places.clamp(max=self.length - 1), self.positions)
        if len(self.gaps):
            x = x + functional.embedding(gaps, self.gaps)
        x = self._drop(x)
        for layer in range(len(self.attention)):
            x = x + self._drop(self._attend(self._norm(x, 2 * layer), layer))
            x = x + self._drop(self._feed(self._norm(x, 2 * layer + 1), layer))
        return self._norm(x, -1)

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return dropout(x, self.dropout_rate) if self.training else x

    def _norm(self, x: torch.Tensor, which: int) -> torch.Tensor:
        gain, bias = self.norms[which]
        return functional.layer_norm(x, (x.shape[-1],), gain, bias, NORM_FLOOR)

    def _attend(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        n, width, d = x.shape
        weight, bias = self.attention[layer], self.attention_bias[layer]
        mixed = x @ weight[:, : 3 * d] + bias[: 3 * d]
        query, key, value = mixed.view(n, width, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return seen.transpose(1, 2).reshape(n, width, d) @ weight[:, 3 * d :] + bias[3 * d :]

    def _feed(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        hidden = self._drop(functional.relu(x @ self.inner[layer] + self.inner_bias[layer]))
        return hidden @ self.outer[layer] + self.outer_bias[layer]


class SequenceNet(Protocol):
    """A net whose state after each place times `items` is the score of being next."""

    items: nn.Parameter
    length: int

    def __call__(self, items: torch.Tensor, gaps: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """States `(n, width, d)` after each place of left-justified items."""


class NextItem:
    """The task: at each place of a window, tell the item that came next."""

    def __init__(
        self, net: SequenceNet, windows: Windows, held: tuple[Events, Indices], loss: Loss, batch: int
    ) -> None:
        self.net, self.windows, self.kind, self.batch, self.device = net, windows, loss, batch, device()
        self.held = [self._on(each) for each in last_places(held[0], net.length)]
        self.wanted = self._on(held[1])

    def batches(self, rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """Windows of like size together, so that little is padding; batches in random order."""
        windows = self.windows
        order = np.lexsort((rng.random(len(windows)), windows.sizes))
        parts = np.split(order, range(self.batch, len(order), self.batch)) if len(order) else []
        for place in rng.permutation(len(parts)):
            rows = parts[place]
            width = windows.sizes[rows].max()
            columns = (windows.items, windows.gaps, windows.targets)
            yield (*(self._on(column[rows, :width]) for column in columns), self._on(windows.sizes[rows]))

    def loss(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Mean over the targets of the batch."""
        items, gaps, targets, sizes = batch
        real = targets >= 0
        states, wanted = self.net(items, gaps, sizes)[real], targets[real]
        if self.kind.kind == "softmax" and not self.kind.negatives:
            return full_softmax(states, self.net.items, wanted)
        return sampled_loss(states, self.net.items, wanted, self.kind)

    def validate(self) -> float:
        """NDCG without a cut-off of the events held out, among all items."""
        if not len(self.wanted):
            return math.nan
        total = 0.0
        for start in range(0, len(self.wanted), 256):
            part = slice(start, start + 256)
            items, gaps, sizes = (column[part] for column in self.held)
            states = self.net(items, gaps, sizes)[torch.arange(len(sizes)), sizes - 1]
            scores, wanted = states @ self.net.items.T, self.wanted[part]
            above = (scores > scores.gather(1, wanted[:, None])).sum(1)
            total += float((1 / torch.log2(above + 2.0)).sum())
        return total / len(self.wanted)

    def _on(self, array: Any) -> torch.Tensor:
        return torch.as_tensor(array, device=self.device).long()


def sampled_loss(states: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor, loss: Loss) -> torch.Tensor:
    """Each state's wanted item against one uniform sample for the whole batch; a sampled wanted item does not count.

    Sampled softmax adds log((n_items - 1) / negatives) to the sample's scores, the log-Q correction of Bengio &
    Senecal 2008: its sum then estimates that of all items. gBCE (Petrov & Macdonald 2023, eq. 12 and 17) weighs the
    wanted item's log-sigmoid by beta = a (t (1 - 1/a) + 1/a), with a the share of negatives that was sampled.
    """
    n_items = len(items)
    n = min(loss.negatives or n_items, n_items)
    sample = (
        torch.randint(n_items, (n,), device=items.device)
        if n < n_items
        else torch.arange(n_items, device=items.device)
    )
    mine = (states * functional.embedding(wanted, items)).sum(1)
    others = states @ functional.embedding(sample, items).T
    others = others.masked_fill(sample == wanted[:, None], -torch.inf)
    share = min(1.0, n / max(1, n_items - 1))
    if loss.kind == "softmax":
        total = torch.logaddexp(mine, torch.logsumexp(others, dim=1) - math.log(share))
        return (total - mine).mean()
    beta = share * (loss.calibration * (1 - 1 / share) + 1 / share)
    return (functional.softplus(others).sum(1) - beta * functional.logsigmoid(mine)).mean()


def split(events: Events, rng: np.random.Generator) -> np.ndarray:
    """Which shoppers' last event is held out: a random few of those with at least three events."""
    able = np.flatnonzero(events.sizes >= 3)
    chosen = np.zeros(len(events.sizes), dtype=np.bool_)
    chosen[rng.permutation(able)[: min(HELD_OUT, int(HELD_OUT_SHARE * len(able)))]] = True
    return chosen


def fit(task_settings: tuple[Shape, float, Loss, int], windows: Windows, held: tuple[Events, Indices], plan: Plan,
        rng: np.random.Generator, hooks: Hooks, of: str) -> dict[str, np.ndarray]:  # fmt: skip
    """Train and return the net's arrays by name; without anything to learn from, item vectors are zeros."""
    shape, dropout_rate, loss, batch = task_settings
    with seeded(int(rng.integers(2**62))):
        net = SASRecNet(shape, dropout_rate).to(device())
    if len(windows):
        train(net, NextItem(net, windows, held, loss, batch), plan, rng, hooks, of)
    else:
        net.items.data.zero_()
    return {name: tensor.cpu().numpy() for name, tensor in net.state_dict().items()}
