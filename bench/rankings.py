"""Rankings of a trained shop, for benches that bring their own test sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from regulars.app import App
from regulars.evaluate import offline
from regulars.rank.bundle import Bundle
from regulars.rank.slates import Request, State, slates


def rank_for(
    app: App, bundle: Bundle, name: str, user_ids: Sequence[str], exclude: Sequence[Sequence[str]], k: int
) -> list[list[str]]:
    """Item ids that a version (`slate`), or one of its models alone, ranks for shoppers now."""
    now = app.clock.now()
    keys = app.identities.keys([f"u:{user_id}" for user_id in user_ids])
    if name == "slate":
        state = State(bundle, app.live, app.settings, now, explain=False)
        requests = [
            Request(user_key=key, recommendation_id=f"{row}", limit=k, exclude=tuple(shut))
            for row, (key, shut) in enumerate(zip(keys, exclude, strict=True))
        ]
        return [[item.item_id for item in slate.items] for slate in slates(requests, state)]
    histories = app.live.histories(keys, bundle.items, now)
    shut = [bundle.items.index(row, "skip") for row in exclude]
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in shut])))
    indices = np.concatenate([*shut, np.zeros(0, dtype=np.int32)])
    cells = np.ones(len(indices), dtype=np.float32)
    matrix = sp.csr_array((cells, indices, indptr), shape=(len(keys), len(bundle.items)))
    ranked = offline.rank_histories(bundle.models[name], histories, now, matrix, k)
    return [[bundle.items[idx] for idx in row if idx >= 0] for row in ranked.tolist()]
