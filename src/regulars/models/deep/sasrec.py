"""SASRec: self-attention over a shopper's last items tells the next one (Kang & McAuley 2018).

Two departures from the paper, both known to matter more than anything added to it since. The loss is a softmax over
all items (or a sample with log-Q correction), or gBCE (Petrov & Macdonald 2023, "gSASRec"), instead of one negative;
and every event is a target, in windows cut over the whole sequence. Layer norm comes first in each block and once
more at the end. Positions are learned, counted from the newest item. `time_gaps` adds a learned vector for the
pause before each item, in powers of two of a second.

torch is needed by `fit` only. Scores are the inner product of the last place's state with the item vectors; the
state is computed here in numpy, by the last layer for the last place alone.
Fit O(epochs x events x factors (layers (length + factors) + n_items)), with `negatives` for n_items where a sample
is drawn; score O(layers length factors (length + factors) + n_items factors).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from regulars.core.arrays import Floats, Indices, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import SettingError
from regulars.models.base import Can, Model, all_cores, check_flag, check_range
from regulars.models.deep.features import item_features
from regulars.models.deep.plan import NO_HOOKS, Hooks, Plan, check_shapes, fingerprint, require_torch
from regulars.models.deep.softmax_kernels import bytes_held
from regulars.models.deep.windows import GAPS, hold_out, last_places, liked, seen, training_windows

LOSSES = ("softmax", "gbce")
BATCH = 256  # shoppers whose states are computed together
NORM_FLOOR = np.float32(1e-5)


class SASRec(Model):
    """Inner products of the state after the last item and item vectors."""

    name = "sasrec"
    can = frozenset({Can.FACTORS})
    hooks: Hooks = NO_HOOKS

    items_: Floats
    positions_: Floats
    gaps_: Floats
    attention_: Floats  # of each layer: query, key, value and out, side by side
    attention_bias_: Floats
    inner_: Floats
    inner_bias_: Floats
    outer_: Floats
    outer_bias_: Floats
    decays_: Floats  # log-odds of how much a head's mean keeps from place to place
    high_: Floats
    norms_: Floats  # gain and bias: two norms a layer, and the last

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self, *, factors: int = 64, layers: int = 2, heads: int = 2, length: int = 50, dropout: float = 0.2,
        loss: str = "softmax", negatives: int = 0, calibration: float = 0.75, time_gaps: bool = False,
        frequency: float = 0.0, features: int = 0,
        epochs: int = 60, patience: int = 3, batch: int = 128, learning_rate: float = 1e-3,
        weight_decay: float = 0.0, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("sasrec: factors", factors, 1, 4096, whole=True)
        check_range("sasrec: layers", layers, 1, 64, whole=True)
        check_range("sasrec: heads", heads, 1, 64, whole=True)
        check_range("sasrec: length", length, 1, 4096, whole=True)
        check_range("sasrec: dropout", dropout, 0.0, 0.95)
        check_range("sasrec: negatives", negatives, 0, whole=True)
        check_range("sasrec: calibration", calibration, 0.0, 1.0)
        check_flag("sasrec: time_gaps", time_gaps)
        check_range("sasrec: frequency", frequency, 0.0, 1.0)
        check_range("sasrec: features", features, 0, whole=True)
        check_range("sasrec: epochs", epochs, 1, whole=True)
        check_range("sasrec: patience", patience, 1, whole=True)
        check_range("sasrec: batch", batch, 1, whole=True)
        check_range("sasrec: learning_rate", learning_rate, 1e-9, 10.0)
        check_range("sasrec: weight_decay", weight_decay, 0.0, 10.0)
        check_range("sasrec: threads", threads, 0, whole=True)
        if factors % heads:
            raise SettingError("sasrec: factors", got=f"{factors} for {heads} heads", wanted="a multiple of heads")
        if loss not in LOSSES:
            raise SettingError("sasrec: loss", got=repr(loss), wanted=" or ".join(LOSSES))
        self.factors, self.layers, self.heads, self.length, self.dropout = factors, layers, heads, length, dropout
        self.loss, self.negatives, self.calibration, self.time_gaps = loss, negatives, calibration, time_gaps
        self.epochs, self.patience, self.batch, self.threads = epochs, patience, batch, threads
        self.learning_rate, self.weight_decay, self.frequency = learning_rate, weight_decay, frequency
        self.features = features

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Torch itself, the net six times (weights, gradient, moments, average, best), activations, windows."""
        places = self.batch * self.length
        told = min(4 * self.features, 20 * shape[1]) + bool(self.features) * shape[1]
        net = 6 * self.factors * (shape[1] + told + self.length + 6 * self.layers * self.factors)
        activations = places * self.factors * (24 * self.layers + 8) + 4 * places * self.negatives
        in_pieces = self.loss == "softmax" and not self.negatives
        scores = bytes_held(shape[1], self.factors, self.threads or all_cores()) if in_pieces else 0
        return 300 + (4 * (net + activations + 6 * (nnz + shape[0] * min(self.length, 10))) + scores) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        require_torch(self.name)
        from regulars.models.deep import next_item
        from regulars.models.deep import sasrec_net as torch_side

        events = liked(data)
        rest, asked, wanted = hold_out(events, next_item.split(events, rng))
        shape = torch_side.Shape(
            len(data.items), self.factors, self.layers, self.heads, self.length, self.time_gaps, self.frequency
        )
        loss = next_item.Loss(self.loss, self.negatives, self.calibration)
        plan = Plan(self.name, self.epochs, self.patience, self.learning_rate, self.weight_decay, self.threads)
        features = None
        if self.features:
            known = np.bincount(rest.item_idx, minlength=len(data.items)) > 0
            features = item_features(data.items, known, self.features)
        told = () if features is None else (features.indptr, features.indices, features.data)
        of = fingerprint(self.get_params(), events.indptr, events.item_idx, events.gap, *told)
        task = (shape, self.dropout, loss, self.batch)
        windows = training_windows(rest, self.length)
        hooks = replace(self.hooks, warm=self.warm)
        learned = torch_side.fit(task, features, windows, (asked, wanted), plan, rng, hooks, of)
        for name, array in learned.items():
            setattr(self, f"{name}_", array)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As every model, and the arrays must be those of the settings: a folder that lacks a layer is refused."""
        model = super().load(folder)
        d, layers = model.factors, model.layers
        square, row = (layers, d, d), (layers, d)
        check_shapes(folder, model, {
            "items_": (model.n_items_, d), "positions_": (model.length, d), "gaps_": (GAPS * model.time_gaps, d),
            "attention_": (layers, d, 4 * d), "attention_bias_": (layers, 4 * d), "inner_": square,
            "inner_bias_": row, "outer_": square, "outer_bias_": row, "norms_": (2 * layers + 1, 2, d),
            "decays_": (layers * bool(model.frequency), model.heads), "high_": (layers * bool(model.frequency), d),
        })  # fmt: skip
        return model

    def user_vectors(self, histories: Histories, now: Instant) -> Floats:
        """The state after the last item `(n, factors)`; zeros without a history."""
        self._check_fitted()
        self._check_width(histories)
        events = seen(histories, now)
        states = np.zeros((len(histories), self.factors), dtype=np.float32)
        some = np.flatnonzero(events.sizes)
        items, gaps, sizes = last_places(events, self.length)
        for start in range(0, len(some), BATCH):
            rows = some[start : start + BATCH]
            states[rows] = self._forward(items[rows], gaps[rows], sizes[rows])
        return states

    def _forward(self, items: Indices, gaps: Indices, sizes: Indices) -> Floats:
        """States after the last place `(n, factors)`, equal to those of `SASRecNet` there."""
        width = int(sizes.max())
        items, gaps = items[:, :width], gaps[:, :width]
        x = self.items_[items] * np.float32(math.sqrt(self.factors))
        x += self.positions_[np.minimum(self.length - sizes[:, None] + np.arange(width), self.length - 1)]
        if self.time_gaps:
            x += self.gaps_[gaps]
        every = np.arange(width, dtype=np.int32)
        ahead = np.where(np.tri(width, dtype=np.bool_), np.float32(0), np.float32(-np.inf))
        for layer in range(self.layers - 1):
            normed = _norm(x, self.norms_[2 * layer])
            x = x + self._mix(self._attend(normed, None, ahead, layer), normed, every, layer)
            x = x + self._feed(_norm(x, self.norms_[2 * layer + 1]), layer)
        layer, last = self.layers - 1, (np.arange(len(x)), sizes - 1)
        normed = _norm(x, self.norms_[2 * layer])
        taken = self._attend(normed, normed[last][:, None], ahead[sizes - 1][:, None, None], layer)
        x = x[last] + self._mix(taken, normed, (sizes - 1)[:, None], layer)[:, 0]
        x = x + self._feed(_norm(x, self.norms_[2 * layer + 1]), layer)
        return _norm(x, self.norms_[-1])

    def _attend(self, x: Floats, asking: Floats | None, ahead: Floats, layer: int) -> Floats:
        """Attention of the places `asking` (None = all of `x`) to all of `x (n, width, d)`; `ahead` is added."""
        d, weight, bias = self.factors, self.attention_[layer], self.attention_bias_[layer]
        known = x @ weight[:, d : 3 * d] + bias[d : 3 * d]
        query = (x if asking is None else asking) @ weight[:, :d] + bias[:d]
        query, key, value = (self._by_head(each) for each in (query, known[..., :d], known[..., d:]))
        scores = query @ key.swapaxes(2, 3) / np.float32(math.sqrt(d / self.heads)) + ahead
        scores = np.exp(scores - scores.max(axis=3, keepdims=True))
        taken = (scores / scores.sum(axis=3, keepdims=True)) @ value
        n, _, places, _ = taken.shape
        mixed: Floats = taken.swapaxes(1, 2).reshape(n, places, d) @ weight[:, 3 * d :] + bias[3 * d :]
        return mixed

    def _mix(self, attended: Floats, x: Floats, places: Indices, layer: int) -> Floats:
        """Attention at these places, `(n, places)` or the same for all rows, with what the filter makes of `x`."""
        if not self.frequency:
            return attended
        ago = places[..., None, :, None] - np.arange(x.shape[1])  # (.., 1, places, width)
        decays = 1 / (1 + np.exp(-self.decays_[layer]))[:, None, None]
        weights = np.where(ago >= 0, decays ** np.maximum(ago, 0), np.float32(0)).astype(np.float32)
        slow = (weights / weights.sum(axis=-1, keepdims=True)) @ self._by_head(x)
        slow = slow.swapaxes(1, 2).reshape(attended.shape)
        own = np.take_along_axis(x, places[:, :, None], axis=1) if places.ndim == 2 else x
        mixed: Floats = (1 - self.frequency) * attended + self.frequency * (
            slow + self.high_[layer] ** 2 * (own - slow)
        )
        return mixed.astype(np.float32, copy=False)

    def _by_head(self, x: Floats) -> Floats:
        """`(n, places, d)` as `(n, heads, places, d / heads)`."""
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)

    def _feed(self, x: Floats, layer: int) -> Floats:
        hidden = np.maximum(x @ self.inner_[layer] + self.inner_bias_[layer], np.float32(0))
        fed: Floats = hidden @ self.outer_[layer] + self.outer_bias_[layer]
        return fed

    @property
    def item_vectors(self) -> Floats:
        """Item vectors `(n_items, factors)`."""
        self._check_fitted()
        return self.items_

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Log-odds `(n, n_items)` of being next, up to a shopper's own constant; 0 without a history."""
        return self.user_vectors(histories, now) @ self.item_vectors.T


def _norm(x: Floats, gain_and_bias: Floats) -> Floats:
    """Layer norm over the last axis."""
    x = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((x * x).mean(axis=-1, keepdims=True) + NORM_FLOOR)
    gain, bias = gain_and_bias
    normed: Floats = x / spread * gain + bias
    return normed
