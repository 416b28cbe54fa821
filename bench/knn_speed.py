"""Item neighbours beside `implicit`: CPU seconds of a fit on a made-up 136k x 20k matrix of 10M cells, K = 100.

Both run turn by turn in one process with the same number of threads; `ratio` is the median over the turns of the
peer's CPU seconds over ours (what else the machine does then weighs on both). Both must find the same links: the
share of the peer's that are ours too is in the row (`implicit` keeps an item as a neighbour of itself and breaks ties
in its own way, so of each item its 99 others are compared).
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from measure import Row, apart, chosen
from regulars.models.nearest import nearest
from synthetic import synthetic

K = 100
TURNS = 5
PROTOCOL = f"136,000 x 20,000, 10,000,000 ones, K {K}, cosine; CPU seconds, {TURNS} turns one after the other, median"


def run(models: Sequence[str] | None = None) -> dict[str, Any]:
    """One row of ours and one of the peer, measured together in a process of its own."""
    chosen(models, ["item-knn"])
    figures = apart(measure, 1)
    peer = {"model": "item-knn", "by": "peer", "subset": "all", "seconds": figures.pop("peer_seconds"),
            "threads": figures["threads"], "settings": {"implicit": "CosineRecommender"}}  # fmt: skip
    return {"protocol": PROTOCOL, "rows": [{"model": "item-knn", "by": "ours", "subset": "all", **figures}, peer]}


def measure(threads: int, turns: int = TURNS, shape: tuple[int, int, int] = (136_000, 20_000, 10_000_000)) -> Row:
    """Medians of both, kernels compiled before."""
    from implicit.nearest_neighbours import CosineRecommender

    matrix = synthetic(*shape)
    theirs = sp.csr_matrix(matrix)
    nearest(matrix[:50], K, 0.0)

    def fit_peer() -> Any:
        peer = CosineRecommender(K=K, num_threads=threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it converts its own transposed copy, and says so
            peer.fit(theirs, show_progress=False)
        return peer.similarity

    mine, other = [], []
    for _ in range(turns):
        links, seconds = _clocked(lambda: nearest(matrix, K, 0.0, threads))
        mine.append(seconds)
        peer, seconds = _clocked(fit_peer)
        other.append(seconds)
    ratios = [peer_seconds / seconds for peer_seconds, seconds in zip(other, mine, strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 2), "ratio_low": round(min(ratios), 2),
        "ratio_high": round(max(ratios), 2), "seconds": round(statistics.median(mine), 2),
        "peer_seconds": round(statistics.median(other), 2), "same_links": round(shared(links, peer), 4),
        "threads": threads, "settings": {"k": K},
    }  # fmt: skip


def _clocked(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    return work(), time.process_time() - start


def shared(links: sp.csr_array, peer: Any) -> float:
    """The share of the peer's links, but those of an item to itself, that are among ours."""
    theirs = sp.csr_array(peer, dtype=np.float32)
    theirs.setdiag(0)
    theirs.eliminate_zeros()
    return float(((links > 0) * (theirs > 0)).nnz / max(1, theirs.nnz))
