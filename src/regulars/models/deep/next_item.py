"""The task of sequence models, and its losses: at each place of a window, tell the item that came next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional

from regulars.core.arrays import Indices
from regulars.models.deep.layers import full_softmax
from regulars.models.deep.trainer import device
from regulars.models.deep.windows import Events, Windows, last_places

HELD_OUT = 1000  # shoppers whose last event is validated on, at most
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Loss:
    """`softmax` over all items or a sample of `negatives` (0 = all), or `gbce` with calibration `t`."""

    kind: str
    negatives: int
    calibration: float


class SequenceNet(Protocol):
    """A net whose state after each place times an item's vector is the score of being next."""

    length: int

    def vectors(self) -> torch.Tensor:
        """Item vectors `(n_items, d)`."""

    def __call__(
        self, vectors: torch.Tensor, items: torch.Tensor, gaps: torch.Tensor, sizes: torch.Tensor
    ) -> torch.Tensor:
        """States `(n, width, d)` after each place of left-justified items, which enter as these vectors."""


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
        vectors = self.net.vectors()
        states, wanted = self.net(vectors, items, gaps, sizes)[real], targets[real]
        if self.kind.kind == "softmax" and not self.kind.negatives:
            return full_softmax(states, vectors, wanted)
        return sampled_loss(states, vectors, wanted, self.kind)

    def validate(self) -> float:
        """NDCG without a cut-off of the events held out, among all items."""
        if not len(self.wanted):
            return math.nan
        total, vectors = 0.0, self.net.vectors()
        for start in range(0, len(self.wanted), 256):
            part = slice(start, start + 256)
            items, gaps, sizes = (column[part] for column in self.held)
            states = self.net(vectors, items, gaps, sizes)[torch.arange(len(sizes)), sizes - 1]
            scores, wanted = states @ vectors.T, self.wanted[part]
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
