"""What training on a CPU needs faster than torch has it; imported by fits only."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regulars.core.arrays import Matrix
from regulars.core.jit import in_chunks
from regulars.models.base import Warm
from regulars.models.deep.softmax_kernels import ROWS, cross_entropy

log = logging.getLogger(__name__)

CELLS = 1 << 19  # scores that are held at once without our kernel: they fit the cache of a core


def dropout(x: torch.Tensor, rate: float) -> torch.Tensor:
    """Zero each number with probability `rate` (in steps of 1/256) and scale the rest up.

    One random byte a number: on a CPU, where `torch.nn.functional.dropout` draws a float each, a tenth of its time.
    """
    dropped = round(256 * rate)
    if not dropped:
        return x
    words = torch.empty(x.numel() // 8 + 1, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
    return x * kept * (256 / (256 - dropped))


def begin(net: torch.nn.Module, warm: Warm, learned: Mapping[str, NDArray[Any]]) -> None:
    """Give a net the parameters that the last model learned; rows of `items` go by item, new ones stay random.

    Where one has another shape now, all stay as they are: half a net is none.
    """
    state = net.state_dict()
    if any(array.shape != tuple(state[name].shape) for name, array in learned.items() if name != "items"):
        log.info("%s: begins afresh: its parameters have other shapes now", warm.model.name)
        return
    with torch.no_grad():
        for name, array in learned.items():
            if name == "items":
                known = torch.as_tensor(np.flatnonzero(warm.places >= 0))
                state[name][known] = torch.as_tensor(array[warm.places[warm.places >= 0]], device=state[name].device)
            else:
                state[name].copy_(torch.as_tensor(np.array(array)))


def bag(table: torch.Tensor, rows: Matrix) -> torch.Tensor:
    """`rows @ table`, with the table's gradient."""
    if not rows.nnz:
        return table.new_zeros(rows.shape[0], table.shape[1])
    places, starts = (torch.as_tensor(each, device=table.device).long() for each in (rows.indices, rows.indptr[:-1]))
    weights = torch.as_tensor(rows.data, device=table.device)
    return torch.nn.functional.embedding_bag(places, table, starts, per_sample_weights=weights, mode="sum")


class _FullSoftmax(torch.autograd.Function):
    """Cross-entropy over all items, a few rows at a time, with the gradients made on the way."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        ours = states.device.type == "cpu" and states.dtype == items.dtype == torch.float32
        total, by_states, by_items = (on_cpu if ours else on_any)(states, items, wanted)
        ctx.save_for_backward(by_states, by_items)
        return total / len(states)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        by_states, by_items = ctx.saved_tensors
        scale = grads[0] / len(by_states)
        return by_states * scale, by_items * scale, None


def on_cpu(states: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor
            ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """By our kernel, each thread with rows of its own.

    Measured beside `on_any` in one run: 1.3 to 1.8 times as fast on one thread, 1.7 to 2.5 times on two (3,416 to
    43,097 items, 64 factors).
    """
    rows, columns, targets = (each.detach().contiguous().numpy() for each in (states, items, wanted))
    threads = max(1, min(torch.get_num_threads(), len(rows) // ROWS))
    ends = np.linspace(0, len(rows), threads + 1).astype(int)
    by_rows, by_columns = np.empty_like(rows), np.zeros((threads, *columns.shape), dtype=np.float32)
    losses = np.zeros(threads)

    def work(part: int, _: int) -> None:
        own = slice(ends[part], ends[part + 1])
        losses[part] = cross_entropy(rows[own], columns, targets[own], by_rows[own], by_columns[part])

    in_chunks(work, threads, threads=threads, chunk=1)
    gradient = by_columns[0] if threads == 1 else by_columns.sum(axis=0)
    return states.new_tensor(losses.sum()), torch.from_numpy(by_rows), torch.from_numpy(gradient)


def on_any(states: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor
           ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Sum of the losses, and its gradients by states and items, by torch on any device."""
    by_states, by_items = torch.empty_like(states), torch.zeros_like(items)
    total = states.new_zeros(())
    step = max(16, CELLS // len(items))
    for start in range(0, len(states), step):
        part = slice(start, start + step)
        scores = states[part] @ items.T
        rows = torch.arange(len(scores), device=scores.device)
        mine = scores[rows, wanted[part]]
        highest = scores.amax(1, keepdim=True)
        scores.sub_(highest).exp_()
        sums = scores.sum(1, keepdim=True)
        total += (sums.log() + highest).sum() - mine.sum()
        scores.div_(sums)
        scores[rows, wanted[part]] -= 1
        torch.mm(scores, items, out=by_states[part])
        by_items.addmm_(scores.T, states[part])
    return total, by_states, by_items


def full_softmax(states: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the wanted items among all."""
    loss: torch.Tensor = _FullSoftmax.apply(states, items, wanted)  # type: ignore[no-untyped-call]
    return loss
