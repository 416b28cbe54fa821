"""The one training loop: early stopping, checkpoints, progress, seeds, clipping, a stop on a loss not finite.

What is validated and kept is not the net after its last step but an average of its weights over the last tenth of
the steps so far (Polyak averaging), which does the work of a falling learning rate without knowing when to stop.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from threadpoolctl import threadpool_limits

from regulars.core.errors import TrainingError
from regulars.models.base import all_cores
from regulars.models.deep.plan import Epoch, Hooks, Plan, Progress

log = logging.getLogger(__name__)

CHECKPOINT = "training.safetensors"
LEAST_STEPS = 10  # of an epoch: small data are gone through several times before the next validation
AVERAGED = 0.999  # the longest memory of the averaged weights
Tensors = dict[str, torch.Tensor]


class Task(Protocol):
    """What is trained: batches of an epoch in random order, the mean loss of one, and a figure to stop by."""

    def batches(self, rng: np.random.Generator) -> Iterator[Any]:
        """Go through the training data once."""

    def loss(self, batch: Any) -> torch.Tensor:
        """Mean loss of a batch, with gradients."""

    def validate(self) -> float:
        """A figure of the net as it is, higher is better; NaN where nothing is held out."""


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(net: torch.nn.Module, task: Task, plan: Plan, rng: np.random.Generator, hooks: Hooks, of: str
          ) -> list[Epoch]:  # fmt: skip
    """Train `net` in place up to its best epoch and return the whole curve; `of` is the data's fingerprint.

    Equal seeds give equal numbers on one machine and thread count. torch's own random state is left as it was.
    """
    seed = int(rng.integers(2**62))
    with seeded(seed), _threads(plan.threads):
        training = _Training(net, task, plan, seed, of)
        if hooks.checkpoints is not None:
            training.resume(hooks.checkpoints)
        while not training.done:
            began = time.perf_counter()
            epoch = training.epoch()
            left = (plan.epochs - epoch.number) * (time.perf_counter() - began)
            log.info("%s: epoch %d of at most %d, loss %.4f, validation %.4f, at most %.0f s left", plan.name,
                     epoch.number, plan.epochs, epoch.loss, epoch.validation, left)  # fmt: skip
            if hooks.checkpoints is not None:
                training.save(hooks.checkpoints)
            if hooks.watch is not None:
                hooks.watch(Progress(epoch, plan.epochs, left))
        net.load_state_dict(training.best)
    net.eval()
    return training.curve


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A random state of torch's own, given back afterwards."""
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """So many threads for torch, given back afterwards; kernels share them out, so each multiplies on one.

    The limit of BLAS is the process's: a fit beside this one that sets another may cost time, and a last digit.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n or all_cores())
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


class _Training:
    """Everything that changes from epoch to epoch, which is what a checkpoint holds."""

    def __init__(self, net: torch.nn.Module, task: Task, plan: Plan, seed: int, of: str) -> None:
        self.net, self.task, self.plan, self.of = net, task, plan, f"{of}-{seed:x}"
        self.rng = np.random.default_rng(seed)
        self.optimizer = torch.optim.AdamW(
            net.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay, betas=(0.9, 0.98), fused=True
        )
        self.step = 0
        self.curve: list[Epoch] = []
        self.average = self._weights()
        self.best = self._weights()

    @property
    def done(self) -> bool:
        """Whether all epochs are over, or the last ones brought nothing better (or nothing can tell)."""
        if len(self.curve) >= self.plan.epochs:
            return True
        figures = [epoch.validation for epoch in self.curve if math.isfinite(epoch.validation)]
        since = len(figures) - 1 - _best_of(figures) if figures else len(self.curve)
        return since >= self.plan.patience

    def epoch(self) -> Epoch:
        """Go through the data, then validate the averaged weights and keep them if they are the best."""
        self.net.train()
        losses: list[float] = []
        while True:
            before = len(losses)
            losses.extend(self._step(batch) for batch in self.task.batches(self.rng))
            if len(losses) >= LEAST_STEPS or len(losses) == before:
                break
        self.curve.append(Epoch(len(self.curve) + 1, float(np.mean(losses)) if losses else 0.0, self._validate()))
        if _best_of([epoch.validation for epoch in self.curve]) == len(self.curve) - 1:
            self.best = {name: tensor.clone() for name, tensor in self.average.items()}
        return self.curve[-1]

    def _step(self, batch: Any) -> float:
        plan, self.step = self.plan, self.step + 1
        for group in self.optimizer.param_groups:
            group["lr"] = plan.learning_rate * min(1.0, self.step / plan.warm_up)
        self.optimizer.zero_grad()
        loss = self.task.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        length = torch.nn.utils.clip_grad_norm_(self.net.parameters(), plan.clip)
        value = loss.item()
        if not (math.isfinite(value) and math.isfinite(length.item())):
            raise TrainingError(
                f"{plan.name}: step {self.step} (epoch {len(self.curve) + 1})",
                got=f"a loss of {value:g} and a gradient of length {length.item():g}", wanted="finite ones",
                remedy="Lower learning_rate, and look for extreme numbers in the data.",
            )  # fmt: skip
        self.optimizer.step()
        keep = min(AVERAGED, (1 + self.step) / (10 + self.step))
        for name, tensor in self.net.state_dict().items():
            self.average[name].lerp_(tensor, 1 - keep)
        return value

    def _validate(self) -> float:
        """The figure of the averaged weights; the net goes on from its own afterwards."""
        own = self._weights()
        self.net.load_state_dict(self.average)
        self.net.eval()
        with torch.no_grad():
            figure = self.task.validate()
        self.net.load_state_dict(own)
        return figure

    def _weights(self) -> Tensors:
        return {name: tensor.detach().clone() for name, tensor in self.net.state_dict().items()}

    def save(self, folder: Path) -> None:
        """Replace the checkpoint at once: a kill leaves the old one or the new one."""
        tensors = {f"net.{name}": tensor for name, tensor in self._weights().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for place, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{key}": tensor for key, tensor in state.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        state = {"of": self.of, "step": self.step, "random": self.rng.bit_generator.state,
                 "curve": [[epoch.number, epoch.loss, epoch.validation] for epoch in self.curve]}  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"{CHECKPOINT}.new"
        save_file(tensors, unfinished, metadata={"state": json.dumps(state)})
        os.replace(unfinished, folder / CHECKPOINT)

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint where there is one; one of other data or settings is refused."""
        path = folder / CHECKPOINT
        if not path.exists():
            return
        try:
            with safe_open(path, framework="pt") as file:
                state = json.loads((file.metadata() or {})["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise self._foreign(path, str(error)) from error
        if state["of"] != self.of:
            raise self._foreign(path, "that of other data, settings or seed")
        self._restore(state, tensors)

    def _foreign(self, path: Path, got: str) -> TrainingError:
        return TrainingError(str(path), got=got, wanted=f"a checkpoint of this {self.plan.name} training",
                             remedy="Name another folder, or remove the file to start afresh.")  # fmt: skip

    def _restore(self, state: dict[str, Any], tensors: Tensors) -> None:
        def under(prefix: str) -> Tensors:
            return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

        self.net.load_state_dict(under("net."))
        for mine, saved in ((self.average, under("average.")), (self.best, under("best."))):
            for name, tensor in saved.items():
                mine[name].copy_(tensor)
        moments: dict[int, Tensors] = {}
        for name, tensor in under("optimizer.").items():
            place, _, key = name.partition(".")
            moments.setdefault(int(place), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
        self.rng.bit_generator.state = state["random"]
        self.step, self.curve = state["step"], [Epoch(*each) for each in state["curve"]]


def _best_of(figures: list[float]) -> int:
    """The epoch with the first best figure; without figures, the last one."""
    known = [figure if math.isfinite(figure) else -math.inf for figure in figures]
    return known.index(max(known)) if max(known) > -math.inf else len(known) - 1
