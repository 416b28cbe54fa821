"""The training loop: equal curves after a kill, equal seeds, early stopping, and clear stops."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regulars.core.errors import TrainingError
from regulars.models.deep.layers import dropout
from regulars.models.deep.plan import NO_HOOKS, Epoch, Hooks, Plan, Progress
from regulars.models.deep.trainer import CHECKPOINT, LEAST_STEPS, train

PLAN = Plan("toy", epochs=6, patience=6, learning_rate=0.05)


class Line:
    """Learn y = 3 x of noisy points, with dropout, so that both random states matter."""

    def __init__(self, net: torch.nn.Linear, *, poison_at: int = 0) -> None:
        self.net, self.poison_at, self.steps = net, poison_at, 0
        self.x = torch.linspace(-1, 1, 64)[:, None]

    def batches(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        order = rng.permutation(64)
        yield from (self.x[part] for part in np.split(order, 4))

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        scale = float("nan") if self.steps == self.poison_at else 1.0
        loss: torch.Tensor = scale * ((self.net(dropout(batch, 0.25)) - 3 * batch) ** 2).mean()
        return loss

    def validate(self) -> float:
        return -float(((self.net(self.x) - 3 * self.x) ** 2).mean())


def fitted(hooks: Hooks = NO_HOOKS, seed: int = 1, plan: Plan = PLAN, of: str = "data") -> tuple[list[Epoch], float]:
    torch.manual_seed(0)
    net = torch.nn.Linear(1, 1)
    curve = train(net, Line(net), plan, np.random.default_rng(seed), hooks, of)
    return curve, net.weight.item()


def killed_in_epoch_four(folder: Path) -> None:
    def watch(progress: Progress) -> None:
        if progress.epoch.number == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    fitted(Hooks(folder, watch))


def test_a_killed_training_goes_on_to_the_same_curve(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=killed_in_epoch_four, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    told: list[int] = []
    resumed = fitted(Hooks(tmp_path, lambda progress: told.append(progress.epoch.number)))
    assert told == [4, 5, 6]  # and not from the start
    assert resumed == fitted()
    assert fitted(Hooks(tmp_path)) == resumed  # a finished one is not trained again


def test_an_interrupted_save_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    fitted(Hooks(tmp_path), plan=replace(PLAN, epochs=2))
    (tmp_path / f"{CHECKPOINT}.new").write_bytes(b"half of")
    assert fitted(Hooks(tmp_path)) == fitted()


@pytest.mark.parametrize("change", ["seed", "data", "damage"])
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, change: str) -> None:
    fitted(Hooks(tmp_path), plan=replace(PLAN, epochs=1))
    if change == "damage":
        path = tmp_path / CHECKPOINT
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(
        TrainingError, match=r"training.safetensors: got .*, wanted a checkpoint of this toy training"
    ):
        fitted(Hooks(tmp_path), seed=2 if change == "seed" else 1, of="other" if change == "data" else "data")


def test_equal_seeds_give_equal_numbers_and_others_do_not() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert fitted()[0] == fitted()[0] != fitted(seed=2)[0]
    torch.manual_seed(0)  # what `fitted` itself seeds
    torch.nn.Linear(1, 1)
    after = torch.get_rng_state()
    fitted()
    assert torch.equal(torch.get_rng_state(), after)  # torch's own state is left as it was
    assert not torch.equal(before, after)


def test_it_stops_when_nothing_gets_better_and_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = iter([0.1, 0.5, 0.3, 0.2, 0.4, 0.9])
    weights: list[float] = []

    def validate(line: Line) -> float:
        weights.append(line.net.weight.item())
        return next(figures)

    monkeypatch.setattr(Line, "validate", validate)
    curve, weight = fitted(plan=replace(PLAN, patience=3))
    assert [epoch.validation for epoch in curve] == [0.1, 0.5, 0.3, 0.2, 0.4]
    assert weight == weights[1]


def test_where_nothing_is_held_out_it_trains_for_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Line, "validate", lambda line: float("nan"))
    curve, weight = fitted(plan=replace(PLAN, patience=4))
    assert len(curve) == 4
    assert weight != fitted(plan=replace(PLAN, patience=3))[1]  # the last weights are kept


def test_a_loss_that_is_not_finite_stops_and_names_the_step() -> None:
    net = torch.nn.Linear(1, 1)
    at = 2 * LEAST_STEPS  # epochs repeat their 4 batches until there are enough steps: 12 an epoch
    with pytest.raises(TrainingError, match=rf"toy: step {at} \(epoch 2\): got a loss of nan.*Lower learning_rate"):
        train(net, Line(net, poison_at=at), PLAN, np.random.default_rng(0), NO_HOOKS, "")


def test_steps_are_clipped() -> None:
    """A gradient of any length moves plain averages no further than a short one: Adam's first step is the rate."""
    net = torch.nn.Linear(1, 1)
    line = Line(net)
    line.x = line.x * 1e6
    curve = train(net, line, replace(PLAN, epochs=1), np.random.default_rng(0), NO_HOOKS, "")
    assert np.isfinite(curve[0].loss)


def test_dropout_keeps_the_mean_and_drops_the_share() -> None:
    torch.manual_seed(0)
    dropped = dropout(torch.ones(200, 1001), 0.25)
    n = dropped.numel()
    share = (dropped == 0).float().mean().item()
    assert abs(share - 0.25) < 5 * (0.25 * 0.75 / n) ** 0.5  # five standard errors
    np.testing.assert_allclose(np.unique(dropped.numpy()), [0, 4 / 3])
    assert torch.equal(dropout(torch.ones(3), 0.0), torch.ones(3))
