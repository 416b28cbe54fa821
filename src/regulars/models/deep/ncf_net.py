"""GMF, MLP and NeuMF as a torch module, and their fit; imported by a fit only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from regulars.core.arrays import Indices, Matrix
from regulars.core.data import Dataset
from regulars.models.deep.ncf import tower_widths
from regulars.models.deep.plan import Hooks, Plan
from regulars.models.deep.trainer import device, seeded, train

HELD_OUT = 1000  # shoppers with one item held out to validate on, at most
HELD_OUT_SHARE = 0.1
NEGATIVES_A_POSITIVE = 4.0  # the weight of negatives in `bce` (He et al. 2017, section 4.1)
PRETRAINED_SHARE = 0.5  # eq. 13: how much each part's last weights count


@dataclass(frozen=True)
class Sizes:
    """The sizes of a net."""

    n_items: int
    factors: int
    mlp_factors: int
    layers: int


@dataclass(frozen=True)
class Sampling:
    """What a batch is made of."""

    loss: str
    negatives: int
    left_out: float
    batch: int


@dataclass(frozen=True)
class Batch:
    """Some shoppers: items of their input one after another, where each one's begin, and what was left out."""

    shown: torch.Tensor
    starts: torch.Tensor
    row: torch.Tensor  # of each item left out
    wanted: torch.Tensor
    owned: torch.Tensor  # (n, n_items) what each took


class NCFNet(nn.Module):
    """The parts asked for; parameters are named as the saved model's arrays are."""

    def __init__(self, sizes: Sizes, part: str) -> None:
        super().__init__()
        self.part, self.layers = part, sizes.layers
        d, m = sizes.factors, sizes.mlp_factors

        def random(*size: int, scale: float = 0.05) -> nn.Parameter:
            return nn.Parameter(torch.randn(*size) * scale)

        if part != "mlp":
            self.gmf_history, self.gmf_items = random(sizes.n_items, d), random(sizes.n_items, d)
            self.gmf_head = nn.Parameter(torch.ones(d))
        if part != "gmf":
            self.mlp_history, self.mlp_items = random(sizes.n_items, m), random(sizes.n_items, m)
            self.mlp_enter, self.mlp_enter_bias = random(2 * m, m, scale=m**-0.5), nn.Parameter(torch.zeros(m))
            widths = tower_widths(m, sizes.layers)
            for layer, (wide, narrow) in enumerate(pairwise(widths), start=1):
                self.register_parameter(f"mlp_layer{layer}", random(wide, narrow, scale=(2 / wide) ** 0.5))
                self.register_parameter(f"mlp_layer{layer}_bias", nn.Parameter(torch.zeros(narrow)))
            self.mlp_head = random(widths[-1], scale=widths[-1] ** -0.5)

    def shoppers(self, shown: torch.Tensor, starts: torch.Tensor) -> dict[str, torch.Tensor]:
        """The vector of each shopper, for each part."""
        counts = torch.diff(starts, append=starts.new_tensor([len(shown)])).clamp(min=1)
        scale = counts.rsqrt()[:, None]
        tables = {name: getattr(self, f"{name}_history") for name in ("gmf", "mlp") if hasattr(self, f"{name}_head")}
        return {name: functional.embedding_bag(shown, table, starts, mode="sum") * scale
                for name, table in tables.items()}  # fmt: skip

    def all_pairs(self, shoppers: dict[str, torch.Tensor], items: torch.Tensor) -> torch.Tensor:
        """Logits `(n, len(items))` of every shopper with every item."""
        logits: Any = 0.0
        if "gmf" in shoppers:
            logits = (shoppers["gmf"] * self.gmf_head) @ self.gmf_items[items].T
        if "mlp" in shoppers:
            mine, theirs = self._entered(shoppers["mlp"], items)
            logits = logits + self._tower(mine[:, None] + theirs)
        return logits  # type: ignore[no-any-return]

    def pairs(self, shoppers: dict[str, torch.Tensor], row: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Logits `(len(items),)` of shopper `row[k]` with item `items[k]`."""
        logits: Any = 0.0
        if "gmf" in shoppers:
            mine = functional.embedding(row, shoppers["gmf"] * self.gmf_head)
            logits = (mine * functional.embedding(items, self.gmf_items)).sum(1)
        if "mlp" in shoppers:
            mine, theirs = self._entered(shoppers["mlp"], torch.arange(len(self.mlp_items), device=row.device))
            logits = logits + self._tower(functional.embedding(row, mine) + functional.embedding(items, theirs))
        return logits  # type: ignore[no-any-return]

    def _entered(self, shoppers: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The first layer before its bend: a shopper's part and an item's."""
        m = shoppers.shape[1]
        theirs = functional.embedding(items, self.mlp_items) @ self.mlp_enter[m:] + self.mlp_enter_bias
        return shoppers @ self.mlp_enter[:m], theirs

    def _tower(self, entered: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(entered)
        for layer in range(1, self.layers):
            weight, bias = getattr(self, f"mlp_layer{layer}"), getattr(self, f"mlp_layer{layer}_bias")
            hidden = functional.relu(hidden @ weight + bias)
        return hidden @ self.mlp_head


class LeftOut:
    """The task: tell items left out of histories from items never taken."""

    def __init__(self, net: NCFNet, rest: Matrix, held: tuple[Indices, Indices], sampling: Sampling) -> None:
        self.net, self.rest, self.held, self.sampling, self.device = net, rest, held, sampling, device()

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Shoppers in random order, with a random part of each history left out."""
        able = rng.permutation(np.flatnonzero(np.diff(self.rest.indptr) > 0))
        for start in range(0, len(able), self.sampling.batch):
            rows = self.rest[able[start : start + self.sampling.batch]]
            batch = self._batch(rows, rng.random(rows.nnz) < self.sampling.left_out)
            if len(batch.wanted):
                yield batch

    def _batch(self, rows: Matrix, left_out: NDArray[np.bool_]) -> Batch:
        owner = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        counts = np.bincount(owner[~left_out], minlength=rows.shape[0])

        def whole(numbers: Any) -> torch.Tensor:
            return torch.as_tensor(numbers, device=self.device).long()

        return Batch(
            shown=whole(rows.indices[~left_out]), starts=whole(np.cumsum(counts) - counts),
            row=whole(owner[left_out]), wanted=whole(rows.indices[left_out]),
            owned=torch.as_tensor(rows.toarray() > 0, device=self.device),
        )  # fmt: skip

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean over the items left out."""
        n_items = self.rest.shape[1]
        n = min(self.sampling.negatives, n_items)
        every = torch.arange(n_items, device=self.device)
        sample = torch.randint(n_items, (n,), device=self.device) if n < n_items else every
        shoppers = self.net.shoppers(batch.shown, batch.starts)
        mine = self.net.pairs(shoppers, batch.row, batch.wanted)
        others, owned = self.net.all_pairs(shoppers, sample), batch.owned[:, sample]
        if self.sampling.loss == "softmax":
            rest = torch.logsumexp(others.masked_fill(owned, -torch.inf), dim=1) + math.log(n_items / n)
            return (torch.logaddexp(mine, functional.embedding(batch.row, rest[:, None])[:, 0]) - mine).mean()
        positives = torch.bincount(batch.row, minlength=len(others)) / len(batch.row)
        said = functional.softplus(others).masked_fill(owned, 0.0).sum(1) / (~owned).sum(1).clamp(min=1)
        return functional.softplus(-mine).mean() + NEGATIVES_A_POSITIVE * (positives * said).sum()

    def validate(self) -> float:
        """NDCG without a cut-off of the items held out, among those not in the history."""
        rows, wanted = self.held
        total = 0.0
        for start in range(0, len(rows), 64):
            part = slice(start, start + 64)
            batch = self._batch(self.rest[rows[part]], np.zeros(self.rest[rows[part]].nnz, dtype=np.bool_))
            shoppers = self.net.shoppers(batch.shown, batch.starts)
            scores = self.net.all_pairs(shoppers, torch.arange(self.rest.shape[1], device=self.device))
            scores = scores.masked_fill(batch.owned, -torch.inf)
            mine = scores.gather(1, torch.as_tensor(wanted[part], device=self.device).long()[:, None])
            total += float((1 / torch.log2((scores > mine).sum(1) + 2.0)).sum())
        return total / len(rows) if len(rows) else math.nan


@dataclass(frozen=True)
class Trainer:
    """Data and settings of one fit, of one part or of NeuMF out of its parts."""

    data: tuple[Matrix, Indices, Indices]
    sizes: Sizes
    sampling: Sampling
    plan: Plan
    of: str

    def fit(self, part: str, pretrain: bool, rng: np.random.Generator, hooks: Hooks) -> dict[str, NDArray[Any]]:
        """The trained net's arrays by name."""
        parts = (
            [self.trained(each, {}, rng, hooks) for each in ("gmf", "mlp")] if part == "neumf" and pretrain else []
        )
        trained = self.trained(part, joined(parts), rng, hooks)
        return {name: tensor.cpu().numpy() for name, tensor in trained.items()}

    def trained(
        self, part: str, begun: dict[str, torch.Tensor], rng: np.random.Generator, hooks: Hooks
    ) -> dict[str, torch.Tensor]:
        """One training, from the weights `begun` with where there are any."""
        with seeded(int(rng.integers(2**62))):
            net = NCFNet(self.sizes, part).to(device())
        net.load_state_dict(begun, strict=bool(begun))
        rest, rows, wanted = self.data
        folder = hooks.checkpoints / part if hooks.checkpoints is not None else None
        task = LeftOut(net, rest, (rows, wanted), self.sampling)
        train(net, task, self.plan, rng, replace(hooks, checkpoints=folder), f"{self.of}-{part}")
        return net.state_dict()


def joined(parts: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """What NeuMF begins with: both parts, each with half a say."""
    heads = ("gmf_head", "mlp_head")
    return {name: tensor * PRETRAINED_SHARE if name in heads else tensor
            for part in parts for name, tensor in part.items()}  # fmt: skip


def hold_out(data: Dataset, rng: np.random.Generator) -> tuple[Matrix, Indices, Indices]:
    """Binary rows without the last item of a random few shoppers; those shoppers, and their items.

    Of items taken at the same instant, a random one is the last.
    """
    rest: Matrix = data.user_items.copy()
    rest.data[:] = 1.0
    able = np.flatnonzero(np.diff(rest.indptr) >= 3)
    chosen = np.sort(rng.permutation(able)[: min(HELD_OUT, int(HELD_OUT_SHARE * len(able)))]).astype(np.int32)
    events = data.interactions
    mine = np.flatnonzero(np.isin(events.user_idx, chosen) & (events.weight > 0))
    order = mine[np.lexsort((rng.random(len(mine)), events.at[mine], events.user_idx[mine]))]
    last = order[np.append(np.diff(events.user_idx[order]) != 0, True)] if len(order) else order
    wanted = events.item_idx[last]
    rest[chosen, wanted] = 0.0
    rest.eliminate_zeros()
    return rest, chosen, wanted
