"""Exact search by inner product: the best 20 of 100,000 items x 64, 100 of them excluded for each shopper.

`one`: a call for one shopper, CALLS times with another shopper each, ours and the peers in turn; milliseconds by the
wall clock, and CPU milliseconds beside them (on a busy machine only those mean something). `batch`: one call for 1000
shoppers; `rps` are shoppers a second, the median of TURNS. All vectors are standard normal: their lengths hardly
differ, so that pruning by length finds nothing to prune. One thread. Every answer must be ours, item by item, but
where two scores agree to six digits.

Peers: `faiss` has no list of exclusions for each shopper, so it is asked for 120 and the excluded are dropped;
`implicit` filters itself; `numpy` multiplies, masks and partitions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from measure import Row, apart, chosen
from regulars.core.topk import InnerProducts

N_ITEMS, FACTORS, EXCLUDED, K = 100_000, 64, 100, 20
SHOPPERS, CALLS, TURNS = 1000, 2500, 5
PROTOCOL = (
    f"{N_ITEMS:,} standard normal items x {FACTORS}, {EXCLUDED} excluded for each shopper, top {K}, one thread; one: "
    f"{CALLS} calls in turn; batch: {SHOPPERS} shoppers a call, median of {TURNS}"
)
Search = Callable[[NDArray[np.float32], NDArray[np.int32]], NDArray[Any]]


def run(models: Sequence[str] | None = None) -> dict[str, Any]:
    """Rows of ours and of the peers for `one` and `batch` (`--models one` picks a subset)."""
    rows = [row for subset in chosen(models, ["one", "batch"]) for row in apart(measure, subset)["rows"]]
    return {"protocol": PROTOCOL, "rows": rows}


def measure(subset: str) -> Row:
    """All searches in one process, turn by turn."""
    rng = np.random.default_rng(0)
    items = rng.normal(size=(N_ITEMS, FACTORS)).astype(np.float32)
    users = rng.normal(size=(SHOPPERS, FACTORS)).astype(np.float32)
    banned = np.array([rng.choice(N_ITEMS, EXCLUDED, replace=False) for _ in users], dtype=np.int32)
    found = searches(items)
    with threadpool_limits(1):
        agree = {name: _same(items, users, search(users, banned), found["topk"](users, banned))
                 for name, search in found.items()}  # fmt: skip
        clocks = _one_by_one(found, users, banned) if subset == "one" else _batches(found, users, banned)
    rows = []
    for name, clock in clocks.items():
        by = {"by": "ours"} if name == "topk" else {"by": "peer", "settings": {"library": name}}
        rows.append({"model": name, "subset": subset, **by, **clock, "same_items": agree[name], "threads": 1})
    return {"rows": rows}


def searches(items: NDArray[np.float32]) -> Mapping[str, Search]:
    """Each takes vectors `(n, d)` and excluded items `(n, width)`, and returns the ids of the best `(n, K)`."""
    import faiss
    from implicit.cpu.topk import topk as implicit_topk

    faiss.omp_set_num_threads(1)
    ours, flat = InnerProducts(items), faiss.IndexFlatIP(items.shape[1])
    flat.add(items)

    def by_faiss(users: NDArray[np.float32], banned: NDArray[np.int32]) -> NDArray[Any]:
        _, ids = flat.search(users, K + banned.shape[1])
        return np.array([row[~np.isin(row, shut)][:K] for row, shut in zip(ids, banned, strict=True)])

    def by_implicit(users: NDArray[np.float32], banned: NDArray[np.int32]) -> NDArray[Any]:
        starts = np.arange(len(banned) + 1, dtype=np.int32) * banned.shape[1]
        cells = np.ones(banned.size, dtype=np.float32), banned.ravel(), starts
        shut = sp.csr_matrix(cells, shape=(len(banned), len(items)))
        ids: NDArray[Any] = implicit_topk(items, users, K, filter_query_items=shut, num_threads=1)[0]
        return ids

    def by_numpy(users: NDArray[np.float32], banned: NDArray[np.int32]) -> NDArray[Any]:
        found = np.empty((len(users), K), dtype=np.int64)
        for start in range(0, len(users), 100):
            scores = users[start : start + 100] @ items.T
            np.put_along_axis(scores, banned[start : start + 100], -np.inf, axis=1)
            best = np.argpartition(scores, -K, axis=1)[:, -K:]
            order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
            found[start : start + 100] = np.take_along_axis(best, order, axis=1)
        return found

    return {
        "topk": lambda users, banned: ours.top_k(users, K, banned=banned)[0],
        "faiss": by_faiss, "implicit": by_implicit, "numpy": by_numpy,
    }  # fmt: skip


def _one_by_one(found: Mapping[str, Search], users: Any, banned: Any) -> dict[str, Row]:
    wall: dict[str, list[float]] = {name: [] for name in found}
    cpu: dict[str, list[float]] = {name: [] for name in found}
    for call in range(CALLS):
        row = slice(call % len(users), call % len(users) + 1)
        for name, search in found.items():
            start, busy = time.perf_counter(), time.process_time()
            search(users[row], banned[row])
            cpu[name].append(1e3 * (time.process_time() - busy))
            wall[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: {
            "calls": CALLS, "p50_ms": round(float(np.median(wall[name])), 3),
            "p99_ms": round(float(np.quantile(wall[name], 0.99)), 3),
            "cpu_p50_ms": round(float(np.median(cpu[name])), 3),
            "cpu_p99_ms": round(float(np.quantile(cpu[name], 0.99)), 3),
        }
        for name in found
    }  # fmt: skip


def _batches(found: Mapping[str, Search], users: Any, banned: Any) -> dict[str, Row]:
    wall: dict[str, list[float]] = {name: [] for name in found}
    cpu: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(TURNS):
        for name, search in found.items():
            start, busy = time.perf_counter(), time.process_time()
            search(users, banned)
            cpu[name].append(time.process_time() - busy)
            wall[name].append(time.perf_counter() - start)
    return {
        name: {
            "users": len(users), "rps": round(len(users) / statistics.median(wall[name])),
            "cpu_rps": round(len(users) / statistics.median(cpu[name])),
        }
        for name in found
    }  # fmt: skip


def _same(items: Any, users: Any, theirs: NDArray[Any], ours: NDArray[Any]) -> float:
    """The share of places with the same item, or with one that scores the same to six digits."""
    left, right = (np.einsum("nkd,nd->nk", items[ids].astype(np.float64), users) for ids in (theirs, ours))
    return round(float(((theirs == ours) | np.isclose(left, right, rtol=1e-6)).mean()), 6)
