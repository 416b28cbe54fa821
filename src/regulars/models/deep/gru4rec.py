"""GRU4Rec: a gated recurrent unit reads the last items one by one and tells the next (Hidasi & Karatzoglou 2018).

As the official implementation has it: one layer, item vectors shared by the input and the scores, each item with a
bias, and a sample of negatives for a whole batch, drawn by popularity to a power. `cross-entropy` is a softmax over
the item wanted and the sample, with `logq` of the log-Q correction; `bpr-max` is the paper's, on scores through an
ELU, with a penalty on the negatives' scores. Defaults are those of its parameters for RSC15 with 100 units, and its
own for what belongs to `bpr-max`.

It departs where training whole windows allows: gradients run through a window instead of one step; the other
targets of a batch are no negatives (there are thousands, from few sequences); the correction therefore concerns the
sample alone, whose expected counts are known; the carried state is not dropped out, only what it scores; and the
optimizer is the shared loop's AdamW instead of Adagrad, so learning rates are not comparable. Where the sample would
be as large as the catalogue, every item is a negative once.

torch is needed by `fit` only: the recurrence is computed here in numpy.
Fit O(epochs x events x factors (factors + negatives)), score O(length factors^2 + n_items factors).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from regulars.core.arrays import Floats, Indices, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import SettingError
from regulars.models.base import Can, Model, all_cores, check_range
from regulars.models.deep.plan import NO_HOOKS, Hooks, Plan, check_shapes, fingerprint, require_torch
from regulars.models.deep.softmax_kernels import bytes_held
from regulars.models.deep.windows import hold_out, last_places, liked, seen, training_windows

LOSSES = ("cross-entropy", "bpr-max")
BATCH = 256  # shoppers whose states are computed together


class GRU4Rec(Model):
    """Inner products of a recurrent net's state after the last item and item vectors."""

    name = "gru4rec"
    can = frozenset({Can.FACTORS})
    hooks: Hooks = NO_HOOKS

    items_: Floats  # item vectors; the last column is the bias, which counts in scores alone
    input_: Floats  # of the reset gate, the update gate and the new state, side by side
    input_bias_: Floats
    state_: Floats
    state_bias_: Floats

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self, *, factors: int = 100, length: int = 50, dropout: float = 0.4, embedding_dropout: float = 0.0,
        loss: str = "cross-entropy", negatives: int = 2048, sample_power: float = 0.5, logq: float = 1.0,
        penalty: float = 1.0, elu: float = 0.5, epochs: int = 60, patience: int = 3, batch: int = 64,
        learning_rate: float = 2e-3, weight_decay: float = 0.0, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("gru4rec: factors", factors, 1, 4096, whole=True)
        check_range("gru4rec: length", length, 1, 4096, whole=True)
        check_range("gru4rec: dropout", dropout, 0.0, 0.95)
        check_range("gru4rec: embedding_dropout", embedding_dropout, 0.0, 0.95)
        check_range("gru4rec: negatives", negatives, 0, whole=True)
        check_range("gru4rec: sample_power", sample_power, 0.0, 1.0)
        check_range("gru4rec: logq", logq, 0.0, 1.0)
        check_range("gru4rec: penalty", penalty, 0.0, 1000.0)
        check_range("gru4rec: elu", elu, 0.0, 1000.0)
        check_range("gru4rec: epochs", epochs, 1, whole=True)
        check_range("gru4rec: patience", patience, 1, whole=True)
        check_range("gru4rec: batch", batch, 1, whole=True)
        check_range("gru4rec: learning_rate", learning_rate, 1e-9, 10.0)
        check_range("gru4rec: weight_decay", weight_decay, 0.0, 10.0)
        check_range("gru4rec: threads", threads, 0, whole=True)
        if loss not in LOSSES:
            raise SettingError("gru4rec: loss", got=repr(loss), wanted=" or ".join(LOSSES))
        self.factors, self.length, self.dropout, self.embedding_dropout = factors, length, dropout, embedding_dropout
        self.loss, self.negatives, self.sample_power, self.logq = loss, negatives, sample_power, logq
        self.penalty, self.elu, self.epochs, self.patience, self.batch = penalty, elu, epochs, patience, batch
        self.learning_rate, self.weight_decay, self.threads = learning_rate, weight_decay, threads

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Torch itself, the net six times (weights, gradient, moments, average, best), activations, windows."""
        places = self.batch * self.length
        net = 6 * (self.factors + 1) * (shape[1] + 6 * self.factors)
        in_pieces = self.loss == "cross-entropy" and not self.negatives
        sample = 0 if in_pieces else min(self.negatives or shape[1], shape[1])
        activations = places * (16 * self.factors + 5 * sample)
        scores = bytes_held(shape[1], self.factors + 1, self.threads or all_cores()) if in_pieces else 0
        return 300 + (4 * (net + activations + 6 * (nnz + shape[0] * min(self.length, 10))) + scores) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        require_torch(self.name)
        from regulars.models.deep import gru4rec_net as torch_side
        from regulars.models.deep.next_item import split

        events = liked(data)
        rest, asked, wanted = hold_out(events, split(events, rng))
        shape = torch_side.Shape(len(data.items), self.factors, self.length, self.dropout, self.embedding_dropout)
        loss = torch_side.Loss(self.loss, self.negatives, self.sample_power, self.logq, self.penalty, self.elu)
        plan = Plan(self.name, self.epochs, self.patience, self.learning_rate, self.weight_decay, self.threads)
        of = fingerprint(self.get_params(), events.indptr, events.item_idx)
        task = (shape, loss, self.batch)
        windows = training_windows(rest, self.length)
        hooks = replace(self.hooks, warm=self.warm)
        for name, array in torch_side.fit(task, windows, (asked, wanted), plan, rng, hooks, of).items():
            setattr(self, f"{name}_", array)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As every model, and the arrays must be those of the settings: a folder that lacks one is refused."""
        model = super().load(folder)
        d = model.factors
        check_shapes(folder, model, {
            "items_": (model.n_items_, d + 1), "input_": (d, 3 * d), "input_bias_": (3 * d,),
            "state_": (d, 3 * d), "state_bias_": (3 * d,),
        })  # fmt: skip
        return model

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """The state after the last item, and 1 for the bias `(n, factors + 1)`; zeros without a history."""
        self._check_fitted()
        self._check_width(histories)
        events = seen(histories, now)
        vectors = np.zeros((len(histories), self.factors + 1), dtype=np.float32)
        some = np.flatnonzero(events.sizes)
        items, _, sizes = last_places(events, self.length)
        for start in range(0, len(some), BATCH):
            rows = some[start : start + BATCH]
            vectors[rows, :-1] = self._forward(items[rows], sizes[rows])
        vectors[some, -1] = 1.0
        return vectors

    def _forward(self, items: Indices, sizes: Indices) -> Floats:
        """States after the last place `(n, factors)`, equal to those of `GRU4RecNet` there."""
        state = np.zeros((len(items), self.factors), dtype=np.float32)
        for place in range(int(sizes.max())):
            rows = np.flatnonzero(sizes > place)
            state[rows] = self._step(self.items_[items[rows, place], :-1], state[rows])
        return state

    def _step(self, x: Floats, state: Floats) -> Floats:
        """The next state of a gated recurrent unit."""
        d = self.factors
        given = x @ self.input_ + self.input_bias_
        kept = state @ self.state_ + self.state_bias_
        gates = _sigmoid(given[:, : 2 * d] + kept[:, : 2 * d])
        reset, update = gates[:, :d], gates[:, d:]
        new = np.tanh(given[:, 2 * d :] + reset * kept[:, 2 * d :])
        stepped: Floats = new + update * (state - new)
        return stepped

    @property
    def item_vectors(self) -> Floats:
        """Item vectors, the bias in the last column `(n_items, factors + 1)`."""
        self._check_fitted()
        return self.items_

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Log-odds `(n, n_items)` of being next, up to a shopper's own constant; 0 without a history."""
        return self.user_vectors(histories, now) @ self.item_vectors.T


def _sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), for any x."""
    half = np.float32(0.5)
    squeezed: Floats = half * (np.tanh(half * x) + np.float32(1))
    return squeezed
