"""One request to a sequence model: the state after a history of 50, then the best 20 of 100,000 items; no torch.

The net is SASRec of the default size with made-up weights: how long a request takes does not depend on what they are.
Weights are normal, of the sizes that a fit begins with; item vectors all have like lengths, so the search finds
little to prune. Each call has a history of its own, of 50 items with times, all of them excluded from the answer.
One thread, milliseconds by the wall clock, and CPU milliseconds beside them (on a busy machine only those mean
something). `state` is the part before the search. The scores of every item must be torch's within 1e-4 for the
first requests, or the bench stops.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from measure import Row, apart
from regulars.core.clock import DAY
from regulars.core.data import Histories
from regulars.core.topk import InnerProducts
from regulars.models.deep.sasrec import SASRec
from regulars.models.deep.sasrec_net import SASRecNet, Shape

N_ITEMS, LENGTH, K = 100_000, 50, 20
CALLS = 2000
CHECKED = 20
PROTOCOL = (
    f"SASRec of the default size, {N_ITEMS:,} items, histories of {LENGTH}, top {K} without the history, one request "
    f"at a time, {CALLS} requests, one thread"
)


def run() -> dict[str, Any]:
    """Rows `all` (state and search) and `state`."""
    return {"protocol": PROTOCOL, "rows": apart(measure)["rows"]}


def measure() -> Row:
    """Time every request, then compare some with torch."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    net = SASRecNet(Shape(N_ITEMS, 64, 2, 2, LENGTH, time_gaps=True, frequency=0.0), 0.0).eval()
    model = served(net)
    asked = [history(rng) for _ in range(CALLS)]
    search = InnerProducts(model.item_vectors)
    clocks = np.empty((CALLS, 2, 2))
    with threadpool_limits(1):
        for call, one in enumerate([asked[0], *asked]):  # the first compiles and does not count
            begun = clock()
            vector = model.user_vectors(one, 0)
            between = clock()
            search.top_k(vector, K, banned=one.item_idx[None])
            clocks[call - 1] = between - begun, clock() - begun
    for one in asked[:CHECKED]:
        difference = np.abs(model.score(one, 0)[0] - by_torch(net, one)).max()
        if difference > 1e-4:
            raise SystemExit(f"scores: got {difference:g} from torch's, wanted 1e-4 at most")
    return {"rows": [figures("all", clocks[:, 1]), figures("state", clocks[:, 0])]}


def clock() -> Any:
    """Wall and CPU milliseconds."""
    return np.array([1000 * time.perf_counter(), 1000 * time.thread_time()])


def figures(subset: str, clocks: Any) -> Row:
    row: Row = {"model": "sasrec", "by": "ours", "subset": subset, "threads": 1}
    for name, each in (("", clocks[:, 0]), ("cpu_", clocks[:, 1])):
        row |= {f"{name}p{share}_ms": round(float(np.percentile(each, share)), 3) for share in (50, 99)}
    return row


def served(net: SASRecNet) -> SASRec:
    """The net's arrays in the model that a shop serves."""
    model = SASRec(length=LENGTH, time_gaps=True)
    for name, tensor in net.named_parameters():  # `told` is of no feature
        setattr(model, f"{name}_", tensor.detach().numpy())
    model.n_items_ = N_ITEMS
    return model


def history(rng: np.random.Generator) -> Histories:
    items, at = rng.choice(N_ITEMS, LENGTH, replace=False), np.cumsum(rng.integers(0, DAY, LENGTH))
    return Histories.from_sequences([items], N_ITEMS, at=[at])


def by_torch(net: SASRecNet, one: Histories) -> Any:
    """Scores `(n_items,)` of torch's own forward pass."""
    from regulars.models.deep.windows import last_places, seen

    items, gaps, sizes = (torch.as_tensor(each).long() for each in last_places(seen(one, 0), LENGTH))
    with torch.no_grad():
        return (net(items, gaps, sizes)[0, -1] @ net.items.T).numpy()
