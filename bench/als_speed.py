"""Implicit ALS beside `implicit`: CPU seconds of an epoch, 136k x 20k made-up with 10M ones, and MovieLens-1M.

Both minimise the same loss (confidence 1 + ALPHA of what was bought, a constant penalty REG; `implicit` is given the
confidence itself) and run turn by turn, an epoch each, in one process with the same number of threads. It takes
its default of three conjugate-gradient steps. `ratio` is the peer's median CPU seconds over ours, the first epoch
left out as warm-up; it stands only where our loss (float64, all cells, after the last epoch) is no higher than the
peer's, else the figure is called `ratio_at_higher_loss`.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from measure import Row, apart, chosen
from regulars.models.als import ALS
from synthetic import synthetic

ALPHA, REG = 10.0, 0.1
EPOCHS = 6
SUBSETS: Mapping[str, int] = {"k64": 64, "k128": 128, "k256": 256, "ml1m": 64}  # factors
PROTOCOL = (
    f"k*: 136,000 x 20,000, 10,000,000 ones; ml1m: all pairs; confidence 1 + {ALPHA:g}, penalty {REG:g} |x|^2; CPU "
    f"seconds an epoch, {EPOCHS} epochs turn by turn, the first left out, ratio of medians; loss after the last"
)


def run(data: Path, models: Sequence[str] | None = None) -> dict[str, Any]:
    """A row of ours and one of the peer for each subset (`--models k64,ml1m` picks some), each on its own."""
    rows: list[Row] = []
    for subset in chosen(models, list(SUBSETS)):
        figures = apart(measure, data, subset, 1)
        peer = {"model": "als", "by": "peer", "subset": subset, "seconds": figures.pop("peer_seconds"),
                "loss": figures.pop("peer_loss"), "threads": figures["threads"],
                "settings": {"implicit": "AlternatingLeastSquares", "cg_steps": 3}}  # fmt: skip
        rows += [{"model": "als", "by": "ours", "subset": subset, **figures}, peer]
    return {"protocol": PROTOCOL, "rows": rows}


def measure(data: Path, subset: str, threads: int) -> Row:
    """Medians and losses of both on one matrix, kernels compiled before."""
    matrix = ml1m(data) if subset == "ml1m" else synthetic()
    return beside(matrix, SUBSETS[subset], threads)


def beside(matrix: sp.csr_array, factors: int, threads: int, epochs: int = EPOCHS) -> Row:
    """Run both, an epoch each in turn: the peer's fit calls back after every epoch, and then ours has its turn."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = ALS(factors=factors, alpha=ALPHA, reg=REG, reg_power=0.0, epochs=epochs, threads=threads)
    model.fit(matrix[:50])
    ours = model.passes(matrix, np.random.default_rng(0))
    mine: list[float] = []
    last: list[Any] = []

    def turn() -> None:
        start = time.process_time()
        last[:] = next(ours)
        mine.append(time.process_time() - start)

    peer = AlternatingLeastSquares(
        factors=factors, alpha=1.0, regularization=REG, iterations=epochs, num_threads=threads, random_state=0
    )
    with threadpool_limits(threads, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of BLAS threads, which are limited here
        other = _turns(peer, sp.csr_matrix(matrix * ALPHA + (matrix > 0)), turn)
    loss, peer_loss = model.loss(matrix, *last), model.loss(matrix, peer.user_factors, peer.item_factors)
    seconds, peer_seconds = statistics.median(mine[1:]), statistics.median(other[1:])
    return {
        ("ratio" if loss <= peer_loss else "ratio_at_higher_loss"): round(peer_seconds / seconds, 2),
        "seconds": round(seconds, 3), "peer_seconds": round(peer_seconds, 3), "loss": round(loss),
        "peer_loss": round(peer_loss), "threads": threads, "settings": model.get_params(),
    }  # fmt: skip


def _turns(peer: Any, confidence: Any, turn: Callable[[], None]) -> list[float]:
    """CPU seconds of each of the peer's epochs; `turn` is called after each and not counted."""
    spent: list[float] = []
    since = [time.process_time()]

    def after(epoch: int, seconds: float, loss: float | None) -> None:
        spent.append(time.process_time() - since[0])
        turn()
        since[0] = time.process_time()

    peer.fit(confidence, show_progress=False, callback=after)
    return spent


def ml1m(data: Path) -> sp.csr_array:
    """All pairs of MovieLens-1M as ones."""
    table = pq.read_table(data / "ml1m" / "interactions.parquet", columns=["user_id", "movie_id"])
    (_, users), (_, films) = (np.unique(table[name].to_numpy(), return_inverse=True) for name in table.column_names)
    return sp.csr_array(sp.coo_array((np.ones(len(users), dtype=np.float32), (users, films))))
