"""How a bench measures one model: in a process of its own, with its seconds, threads and peak memory."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.core.data import Histories
from regulars.core.topk import NOTHING, top_k

Row = dict[str, Any]


def apart(measure: Callable[..., Row], *args: Any) -> Row:
    """`measure(*args)` in a fresh process, with that process's peak memory in the row it returns."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_with_peak, measure, args).result()


def _with_peak(measure: Callable[..., Row], args: Sequence[Any]) -> Row:
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")  # to stderr
    logging.getLogger("regulars").setLevel(logging.INFO)  # a long training tells where it is
    row = measure(*args)
    return {**row, "peak_mb": max(row.get("peak_mb", 0), peak_mb())}


def peak_mb() -> int:
    """The most memory that this process has held, in MB.

    Linux's own high-water mark where there is one: what `getrusage` says begins with the size of the parent.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)
    except (OSError, StopIteration):
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


@contextmanager
def clocked(row: Row, name: str = "", digits: int = 2) -> Iterator[None]:
    """Write wall seconds and CPU seconds of the block into the row, rounded."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    row[f"{name}seconds"] = round(time.perf_counter() - wall, digits)
    row[f"{name}cpu_seconds"] = round(time.process_time() - cpu, digits)


def chosen(models: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """The models asked for, all without a wish; an unknown one stops the bench."""
    unknown = [name for name in models or () if name not in known]
    if unknown:
        raise SystemExit(f"--models: got {', '.join(unknown)}, wanted some of {', '.join(known)}")
    return [name for name in known if not models or name in models]


def ranked(
    score: Callable[[Histories], NDArray[np.float32]], histories: Histories, k: int, *, mask_seen: bool,
    cells: int = 16_000_000,
) -> NDArray[np.int32]:  # fmt: skip
    """The best `k` of all items for each shopper `(n, k)`, a batch of dense scores at a time; -1 pads."""
    seen = histories.user_items
    step = max(1, cells // max(1, seen.shape[1]))
    top = np.empty((len(histories), k), dtype=np.int32)
    for start in range(0, len(histories), step):
        part = histories.rows(start, min(start + step, len(histories)))
        scores = score(part)
        if mask_seen:
            rows = np.repeat(np.arange(len(part)), np.diff(part.user_items.indptr))
            scores[rows, part.user_items.indices] = NOTHING
        top[start : start + len(part)], _ = top_k(scores, k)
    return top


def next_item(top: NDArray[np.int32], target: NDArray[Any], ks: Sequence[int], hit: str = "hr") -> Row:
    """`hr@k` (under the name `hit`), `ndcg@k` and `mrr@k` of one wanted item a shopper; to four places."""
    found = top == np.asarray(target)[:, None]
    rank = np.where(found.any(axis=1), found.argmax(axis=1), top.shape[1])
    row: Row = {"users": len(top)}
    for k in ks:
        inside = rank < k
        row[f"{hit}@{k}"] = round(float(inside.mean()), 4)
        row[f"ndcg@{k}"] = round(float((inside / np.log2(rank + 2)).mean()), 4)
        row[f"mrr@{k}"] = round(float((inside / (rank + 1)).mean()), 4)
    return row


def across_seeds(rows: Sequence[Row], metrics: Sequence[str]) -> Row:
    """One row out of one for each seed: the mean of each metric, and its lowest and highest value."""
    whole = {**rows[0], "seeds": len(rows)}
    for name in metrics:
        values = [float(row[name]) for row in rows]
        whole[name] = round(sum(values) / len(values), 4)
        if len(rows) > 1:
            whole[f"{name}_low"], whole[f"{name}_high"] = min(values), max(values)
    for name in ("seconds", "cpu_seconds", "score_seconds"):
        if name in whole:
            whole[name] = round(sum(row[name] for row in rows) / len(rows), 2)
    return whole
