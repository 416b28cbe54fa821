"""Neural collaborative filtering (He et al. 2017) with a history in place of a user id, so that it serves anybody.

The paper's shopper is a vector of their own, found by id. A model here is given histories and never an id, so that
one is not there; with it the protocol's figures would be those of shoppers who were trained on, and no others.
A shopper is p = sum of e_j over the history / sqrt(its size), one e for each part (FISM's shopper, Kabbur et al.
2013). GMF scores h'(p * q_i), MLP puts p and q_i through a tower of halving layers, NeuMF adds both and is trained
from the two, trained alone before, with their last weights halved (eq. 13 there).

In training, a random part of each history is left out and told from the rest, so no item helps to find itself.
Negatives are one uniform sample for a batch of shoppers, less what each of them took: `bce` is the paper's loss with
the weight of its four negatives a positive; `softmax` sets each item left out against the whole sample.

torch is needed by `fit` only. A score costs the tower for each item: O(n_items mlp_factors^2) a shopper. Fit
O(epochs x shoppers x negatives (factors + mlp_factors^2)), and about as much again for the parts trained before.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Floats, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import SettingError
from regulars.models.base import Model, check_flag, check_range
from regulars.models.deep.plan import NO_HOOKS, Hooks, Plan, check_shapes, fingerprint, require_torch
from regulars.models.history import history_weights, row_sums

PARTS = ("neumf", "gmf", "mlp")
LOSSES = ("softmax", "bce")
LEAST = np.float32(1e-6)
CELLS = 1 << 18  # of scores computed together: a tower's first layer holds `mlp_factors` numbers for each


def tower_widths(first: int, layers: int) -> list[int]:
    """Each layer is half as wide as the one below."""
    return [max(1, first >> layer) for layer in range(layers)]


class NeuMF(Model):
    """A product of factors plus a small tower of layers over a shopper's history and an item."""

    name = "neumf"
    hooks: Hooks = NO_HOOKS

    gmf_history_: Floats
    gmf_items_: Floats
    gmf_head_: Floats
    mlp_history_: Floats
    mlp_items_: Floats
    mlp_enter_: Floats  # the tower's first layer: what a shopper brings, then what an item brings
    mlp_enter_bias_: Floats
    mlp_head_: Floats

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self, *, part: str = "neumf", factors: int = 64, mlp_factors: int = 32, layers: int = 2,
        pretrain: bool = True, left_out: float = 0.5, loss: str = "softmax", negatives: int = 1024,
        epochs: int = 100, patience: int = 3, batch: int = 128, learning_rate: float = 2e-3,
        weight_decay: float = 0.0, context_weight: float = 1.0, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("neumf: factors", factors, 1, 4096, whole=True)
        check_range("neumf: mlp_factors", mlp_factors, 1, 4096, whole=True)
        check_range("neumf: layers", layers, 1, 16, whole=True)
        check_flag("neumf: pretrain", pretrain)
        check_range("neumf: left_out", left_out, 0.01, 0.99)
        check_range("neumf: negatives", negatives, 1, whole=True)
        check_range("neumf: epochs", epochs, 1, whole=True)
        check_range("neumf: patience", patience, 1, whole=True)
        check_range("neumf: batch", batch, 1, whole=True)
        check_range("neumf: learning_rate", learning_rate, 1e-9, 10.0)
        check_range("neumf: weight_decay", weight_decay, 0.0, 10.0)
        check_range("neumf: context_weight", context_weight, 0.0, 1000.0)
        check_range("neumf: threads", threads, 0, whole=True)
        for setting, value, known in (("part", part, PARTS), ("loss", loss, LOSSES)):
            if value not in known:
                raise SettingError(f"neumf: {setting}", got=repr(value), wanted=f"one of {', '.join(known)}")
        self.part, self.factors, self.mlp_factors, self.layers, self.pretrain = (
            part, factors, mlp_factors, layers, pretrain)  # fmt: skip
        self.left_out, self.loss, self.negatives, self.batch, self.threads = left_out, loss, negatives, batch, threads
        self.epochs, self.patience, self.context_weight = epochs, patience, context_weight
        self.learning_rate, self.weight_decay = learning_rate, weight_decay

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Torch itself, the net six times, a batch's tower over its sample, and who owns what in a batch."""
        net = 12 * shape[1] * (self.factors + self.mlp_factors)
        tower = 6 * self.batch * min(self.negatives, shape[1]) * self.mlp_factors
        return 300 + (4 * (net + tower) + self.batch * shape[1] + 60 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        require_torch(self.name)
        from regulars.models.deep import ncf_net as torch_side

        taken: Matrix = data.user_items
        rest, asked, wanted = torch_side.hold_out(data, rng)
        sizes = torch_side.Sizes(len(data.items), self.factors, self.mlp_factors, self.layers)
        task = torch_side.Sampling(self.loss, self.negatives, self.left_out, self.batch)
        plan = Plan(self.name, self.epochs, self.patience, self.learning_rate, self.weight_decay, self.threads)
        of = fingerprint(self.get_params(), taken.indptr, taken.indices)
        trainer = torch_side.Trainer((rest, asked, wanted), sizes, task, plan, of)
        for name, array in trainer.fit(self.part, self.pretrain, rng, self.hooks).items():
            setattr(self, f"{name}_", array)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As every model, and the arrays must be those of the settings: a folder that lacks a layer is refused."""
        model = super().load(folder)
        items, d, m = model.n_items_, model.factors, model.mlp_factors
        shapes: dict[str, tuple[int, ...]] = {}
        if model.part != "mlp":
            shapes |= {"gmf_history_": (items, d), "gmf_items_": (items, d), "gmf_head_": (d,)}
        if model.part != "gmf":
            widths = tower_widths(m, model.layers)
            shapes |= {"mlp_history_": (items, m), "mlp_items_": (items, m), "mlp_enter_": (2 * m, m),
                       "mlp_enter_bias_": (m,), "mlp_head_": (widths[-1],)}  # fmt: skip
            for layer, pair in enumerate(pairwise(widths), start=1):
                shapes |= {f"mlp_layer{layer}_": pair, f"mlp_layer{layer}_bias_": pair[1:]}
        check_shapes(folder, model, shapes)
        return model

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Logits `(n, n_items)` of taking each item."""
        self._check_fitted()
        self._check_width(histories)
        scores = np.zeros((len(histories), self.n_items_), dtype=np.float32)
        for start, some in self.batches(histories, CELLS):
            owned = self._owned(some)
            part = scores[start : start + len(some)]
            if self.part != "mlp":
                part += (owned @ self.gmf_history_ * self.gmf_head_) @ self.gmf_items_.T
            if self.part != "gmf":
                part += self._tower(owned @ self.mlp_history_)
        return scores

    def _owned(self, histories: Histories) -> Matrix:
        """The history of each shopper as weights that make p of item vectors."""
        indptr, items, weights = cells = history_weights(histories, 0.0, self.context_weight)
        scale = 1 / np.sqrt(np.maximum(row_sums(cells), LEAST))
        return sp.csr_array((weights * np.repeat(scale, np.diff(indptr)), items, indptr), histories.user_items.shape)

    def _tower(self, shoppers: Floats) -> Scores:
        """The tower's logits `(n, n_items)`; its first layer is a sum of a shopper's part and an item's."""
        mine = shoppers @ self.mlp_enter_[: self.mlp_factors]
        theirs = self.mlp_items_ @ self.mlp_enter_[self.mlp_factors :] + self.mlp_enter_bias_
        hidden = np.maximum(mine[:, None] + theirs, np.float32(0))
        for layer in range(1, self.layers):
            weight, bias = getattr(self, f"mlp_layer{layer}_"), getattr(self, f"mlp_layer{layer}_bias_")
            hidden = np.maximum(hidden @ weight + bias, np.float32(0))
        logits: Scores = hidden @ self.mlp_head_
        return logits
