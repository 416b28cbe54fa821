"""Mult-VAE: a variational autoencoder of histories with a multinomial likelihood (Liang et al. 2018).

A shopper's history x, divided by its Euclidean length, becomes a latent normal with mean m and variance s^2 (tanh
layer); z drawn from it becomes scores of all items (tanh layer, then one linear). In training, parts of x are
dropped and the loss is -sum_i x_i log softmax(scores)_i + beta KL(N(m, s^2) || N(0, 1)), with beta rising from 0 to a
cap over the first steps; in the authors' code, 0.2 is reached after 40,000 steps of 500 shoppers. Each item of a
history counts the same, however often it was taken.

Ten in a hundred shoppers, 1,000 at most, are held out as a whole: the net is shown four fifths of their items, and
NDCG@100 of the rest says when to stop. torch is needed by `fit` only. The last layer is an inner product of the
hidden state and a row an item, with the bias as one coordinate more, so the best items are found by search.
Fit O(epochs x shoppers x hidden (n_items + latent)), score O(hidden (history + latent + n_items)).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Floats, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.models.base import Can, Model, check_range
from regulars.models.deep.plan import NO_HOOKS, Hooks, Plan, check_shapes, fingerprint, require_torch
from regulars.models.history import history_weights

CLIP = 100.0  # the loss is a sum over a history, and so is its gradient
LEAST = np.float32(1e-12)


class MultVAE(Model):
    """A variational autoencoder: a history is pressed into few numbers, and all items told from these."""

    name = "mult-vae"
    can = frozenset({Can.FACTORS})
    hooks: Hooks = NO_HOOKS

    enter_: Floats
    enter_bias_: Floats
    mean_: Floats
    mean_bias_: Floats
    leave_: Floats
    leave_bias_: Floats
    items_: Floats  # the last layer, a row an item; its bias is the last column

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self, *, hidden: int = 600, latent: int = 200, dropout: float = 0.5, beta: float = 0.2,
        anneal_steps: int = 40_000, epochs: int = 200, patience: int = 10, batch: int = 500,
        learning_rate: float = 1e-3, weight_decay: float = 0.0, context_weight: float = 1.0, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("mult-vae: hidden", hidden, 1, 65_536, whole=True)
        check_range("mult-vae: latent", latent, 1, 65_536, whole=True)
        check_range("mult-vae: dropout", dropout, 0.0, 0.95)
        check_range("mult-vae: beta", beta, 0.0, 1000.0)
        check_range("mult-vae: anneal_steps", anneal_steps, 0, whole=True)
        check_range("mult-vae: epochs", epochs, 1, whole=True)
        check_range("mult-vae: patience", patience, 1, whole=True)
        check_range("mult-vae: batch", batch, 1, whole=True)
        check_range("mult-vae: learning_rate", learning_rate, 1e-9, 10.0)
        check_range("mult-vae: weight_decay", weight_decay, 0.0, 10.0)
        check_range("mult-vae: context_weight", context_weight, 0.0, 1000.0)
        check_range("mult-vae: threads", threads, 0, whole=True)
        self.hidden, self.latent, self.dropout, self.beta = hidden, latent, dropout, beta
        self.anneal_steps, self.epochs, self.patience, self.batch = anneal_steps, epochs, patience, batch
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.context_weight, self.threads = context_weight, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Torch itself, the net six times (weights, gradient, moments, average, best), a batch's scores, cells."""
        net = 6 * self.hidden * (2 * shape[1] + 3 * self.latent)
        return 300 + (4 * (net + 5 * self.batch * shape[1]) + 40 * nnz) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        require_torch(self.name)
        from regulars.models.deep import mult_vae_net as torch_side

        taken = data.user_items
        sizes = torch_side.Sizes(len(data.items), self.hidden, self.latent)
        noise = torch_side.Noise(self.dropout, self.beta, self.anneal_steps)
        plan = Plan(self.name, self.epochs, self.patience, self.learning_rate, self.weight_decay, self.threads, CLIP)
        of = fingerprint(self.get_params(), taken.indptr, taken.indices)
        task = (sizes, noise, self.batch)
        for name, array in torch_side.fit(task, torch_side.hold_out(taken, rng), plan, rng, self.hooks, of).items():
            setattr(self, f"{name}_", array)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As every model, and the arrays must be those of the settings: a folder that lacks a layer is refused."""
        model = super().load(folder)
        items, wide, narrow = model.n_items_, model.hidden, model.latent
        check_shapes(folder, model, {
            "enter_": (items, wide), "enter_bias_": (wide,), "mean_": (wide, narrow), "mean_bias_": (narrow,),
            "leave_": (narrow, wide), "leave_bias_": (wide,), "items_": (items, wide + 1),
        })  # fmt: skip
        return model

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """The last hidden state of the latent mean, and 1 for the bias `(n, hidden + 1)`."""
        self._check_fitted()
        self._check_width(histories)
        entered = np.tanh(self._shown(histories) @ self.enter_ + self.enter_bias_)
        left = np.tanh((entered @ self.mean_ + self.mean_bias_) @ self.leave_ + self.leave_bias_)
        return np.pad(left, ((0, 0), (0, 1)), constant_values=1.0)

    def _shown(self, histories: Histories) -> Matrix:
        """Each history as a row of Euclidean length 1, with the item looked at now."""
        indptr, items, weights = history_weights(histories, 0.0, self.context_weight)
        owner = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        lengths = np.sqrt(np.bincount(owner, weights=weights * weights, minlength=len(histories)))
        scaled = weights / np.maximum(lengths[owner].astype(np.float32), LEAST)
        return sp.csr_array((scaled, items, indptr), shape=histories.user_items.shape)

    @property
    def item_vectors(self) -> Floats:
        """The last layer, a row an item, its bias in the last column `(n_items, hidden + 1)`."""
        self._check_fitted()
        return self.items_

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Log-odds `(n, n_items)` of the next item taken, up to a shopper's own constant."""
        return self.user_vectors(histories, now) @ self.item_vectors.T
