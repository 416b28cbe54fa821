"""What training on a CPU needs faster than torch has it; imported by fits only."""

from __future__ import annotations

from typing import Any

import torch

from regulars.core.arrays import Matrix

CELLS = 1 << 19  # scores that are held at once: they fit the cache of a core


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


def bag(table: torch.Tensor, rows: Matrix) -> torch.Tensor:
    """`rows @ table`, with the table's gradient."""
    if not rows.nnz:
        return table.new_zeros(rows.shape[0], table.shape[1])
    places, starts = (torch.as_tensor(each, device=table.device).long() for each in (rows.indices, rows.indptr[:-1]))
    weights = torch.as_tensor(rows.data, device=table.device)
    return torch.nn.functional.embedding_bag(places, table, starts, per_sample_weights=weights, mode="sum")


class _FullSoftmax(torch.autograd.Function):
    """Cross-entropy over all items a few rows at a time: scores and their gradient never leave the cache for long.

    The gradient is ready when the loss is: dL/dscores = softmax(scores) - onehot(wanted).
    """

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
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
        ctx.save_for_backward(by_states, by_items)
        return total / len(states)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        by_states, by_items = ctx.saved_tensors
        scale = grads[0] / len(by_states)
        return by_states * scale, by_items * scale, None


def full_softmax(states: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the wanted items among all."""
    loss: torch.Tensor = _FullSoftmax.apply(states, items, wanted)  # type: ignore[no-untyped-call]
    return loss
