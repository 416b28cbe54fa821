"""SASRec as a torch module, and its fit; imported by a fit only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from regulars.core.arrays import Indices, Matrix
from regulars.models.deep.layers import bag, begin, dropout
from regulars.models.deep.next_item import Loss, NextItem
from regulars.models.deep.plan import Hooks, Plan
from regulars.models.deep.trainer import device, seeded, train
from regulars.models.deep.windows import GAPS, Events, Windows

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
    frequency: float


class SASRecNet(nn.Module):
    """Causal self-attention over items, layer norm first; parameters are named as the saved model's arrays are."""

    def __init__(self, shape: Shape, dropout_rate: float, features: Matrix | None = None) -> None:
        super().__init__()
        d, layers = shape.factors, shape.layers
        self.feature_rows = features
        self.heads, self.length, self.dropout_rate = shape.heads, shape.length, dropout_rate
        self.frequency, filters = shape.frequency, layers if shape.frequency else 0

        def random(*size: int, scale: float = 0.02) -> nn.Parameter:
            return nn.Parameter(torch.randn(*size) * scale)

        self.items = random(shape.n_items, d)
        self.told = nn.Parameter(torch.zeros(0 if features is None else features.shape[1], d))
        self.positions = random(shape.length, d)
        self.gaps = random(GAPS if shape.time_gaps else 0, d)
        self.attention = random(layers, d, 4 * d, scale=d**-0.5)  # query, key, value, out
        self.attention_bias = nn.Parameter(torch.zeros(layers, 4 * d))
        self.inner = random(layers, d, d, scale=d**-0.5)
        self.inner_bias = nn.Parameter(torch.zeros(layers, d))
        self.outer = random(layers, d, d, scale=d**-0.5)
        self.outer_bias = nn.Parameter(torch.zeros(layers, d))
        self.decays = nn.Parameter(torch.linspace(0.0, 2.0, shape.heads).repeat(filters, 1))  # log-odds
        self.high = nn.Parameter(torch.full((filters, d), 0.5))
        self.norms = nn.Parameter(torch.tensor([1.0, 0.0]).view(2, 1).repeat(2 * layers + 1, 1, d))  # gain, bias

    def vectors(self) -> torch.Tensor:
        """Item vectors as they are entered and scored: an item's own, and those of its features."""
        return self.items if self.feature_rows is None else self.items + bag(self.told, self.feature_rows)

    def forward(
        self, vectors: torch.Tensor, items: torch.Tensor, gaps: torch.Tensor, sizes: torch.Tensor
    ) -> torch.Tensor:
        """States after each place `(n, width, factors)` of left-justified items; past `sizes` they mean nothing."""
        width = items.shape[1]
        places = self.length - sizes[:, None] + torch.arange(width, device=items.device)
        x = functional.embedding(items, vectors) * math.sqrt(self.items.shape[1])
        x = x + functional.embedding(places.clamp(max=self.length - 1), self.positions)
        if len(self.gaps):
            x = x + functional.embedding(gaps, self.gaps)
        x = self._drop(x)
        for layer in range(len(self.attention)):
            normed = self._norm(x, 2 * layer)
            mixed = self._attend(normed, layer)
            if self.frequency:
                mixed = (1 - self.frequency) * mixed + self.frequency * self._filter(normed, layer)
            x = x + self._drop(mixed)
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

    def _filter(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        """What is slow in each number over the places so far, and a learned share of what is not."""
        n, width, d = x.shape
        by_head = x.view(n, width, self.heads, d // self.heads).transpose(1, 2)
        slow = (smoothing(torch.sigmoid(self.decays[layer]), width) @ by_head).transpose(1, 2).reshape(n, width, d)
        return slow + self.high[layer] ** 2 * (x - slow)

    def _feed(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        hidden = self._drop(functional.relu(x @ self.inner[layer] + self.inner_bias[layer]))
        return hidden @ self.outer[layer] + self.outer_bias[layer]


def smoothing(decays: torch.Tensor, width: int) -> torch.Tensor:
    """Means over the places so far that forget at each of these rates, as matrices `(len(decays), width, width)`."""
    at = torch.arange(width, device=decays.device)
    ago = at[:, None] - at
    weights = torch.where(ago >= 0, decays[:, None, None] ** ago.clamp(min=0), 0.0)
    return weights / weights.sum(2, keepdim=True)


def fit(task_settings: tuple[Shape, float, Loss, int], features: Matrix | None, windows: Windows,
        held: tuple[Events, Indices], plan: Plan, rng: np.random.Generator, hooks: Hooks, of: str
        ) -> dict[str, np.ndarray]:  # fmt: skip
    """Train and return the net's arrays by name; without anything to learn from, item vectors are zeros."""
    shape, dropout_rate, loss, batch = task_settings
    with seeded(int(rng.integers(2**62))):
        net = SASRecNet(shape, dropout_rate, features).to(device())
    if hooks.warm is not None and features is None:  # an item's own vector and its features' were saved as one
        names = [name for name in net.state_dict() if name != "told"]
        begin(net, hooks.warm, {name: getattr(hooks.warm.model, f"{name}_") for name in names})
    if len(windows):
        train(net, NextItem(net, windows, held, loss, batch), plan, rng, hooks, of)
    else:
        net.items.data.zero_()
    learned = {**net.state_dict(), "items": net.vectors().detach()}
    return {name: tensor.cpu().numpy() for name, tensor in learned.items() if name != "told"}
