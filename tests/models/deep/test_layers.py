"""What is made faster than torch has it gives what torch gives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional

from regulars.models.deep import layers
from regulars.models.deep.layers import full_softmax, on_any
from regulars.models.deep.softmax_kernels import ROWS, TILE, bytes_held

Scored = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def scored(n: int, n_items: int, d: int = 8, spread: float = 1.0) -> Scored:
    """States, items and wanted items of a given seed."""
    rng = torch.Generator().manual_seed(3)
    states, items = (spread * torch.randn(rows, d, generator=rng) for rows in (n, n_items))
    return states.requires_grad_(), items.requires_grad_(), torch.randint(n_items, (n,), generator=rng)


@pytest.mark.parametrize(
    ("n", "n_items"), [(1, 1), (50, 30), (2 * ROWS + 3, 40), (20, 2 * TILE + 5), (2 * ROWS, TILE)]
)  # fmt: skip
def test_the_full_softmax_is_cross_entropy_with_its_gradients(n: int, n_items: int, threads: int) -> None:
    check(n, n_items)


def test_many_items_are_met_in_fewer_rows() -> None:
    check(70, 300_000)


def check(n: int, n_items: int) -> None:
    """Loss and gradients are those of float64."""
    states, items, wanted = scored(n, n_items)
    oracle = functional.cross_entropy(states.double() @ items.double().T, wanted)
    by_states, by_items = torch.autograd.grad(oracle, (states, items))
    loss = full_softmax(states, items, wanted)
    mine = torch.autograd.grad(3 * loss, (states, items))
    torch.testing.assert_close(loss, oracle.float())
    torch.testing.assert_close(mine[0], 3 * by_states, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mine[1], 3 * by_items, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spread", [0.0, 0.1, 6.0])
def test_both_ways_are_equal_for_flat_and_steep_scores(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a spread of 6 a row's scores differ by more than a float's exponent holds."""
    monkeypatch.setattr(layers, "CELLS", 30 * 16)
    given = scored(70, 30, spread=spread)
    mine = layers.on_cpu(*given)
    with torch.no_grad():
        for one, other in zip(mine, on_any(*given), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("where", ["states", "items"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_not_finite_shows_in_loss_or_gradient(where: str, number: float) -> None:
    states, items, wanted = scored(5, 4)
    with torch.no_grad():
        (states if where == "states" else items)[0, 0] = number
    with np.errstate(all="ignore"):  # it counts where kernels run uncompiled
        loss = full_softmax(states, items, wanted)
    gradients = torch.autograd.grad(loss, (states, items))
    assert not all(bool(each.isfinite().all()) for each in (loss, *gradients))


def test_other_precisions_go_through_torch() -> None:
    states, items, wanted = (each.detach() for each in scored(20, 30))
    doubled = full_softmax(states.double(), items.double(), wanted)
    torch.testing.assert_close(doubled, functional.cross_entropy(states.double() @ items.T.double(), wanted))


def test_what_is_held_is_bounded_by_scores_and_gradients() -> None:
    assert bytes_held(1_000_000, 64, 2) < 2 * (1 << 26) + 2 * 4 * 64 * 1_000_000 + 1
    assert bytes_held(1000, 64, 1) < 2e6


def test_equal_threads_give_equal_numbers(threads: int) -> None:
    given = scored(3 * ROWS, 50)
    first, second = layers.on_cpu(*given), layers.on_cpu(*given)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
