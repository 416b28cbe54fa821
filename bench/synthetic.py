"""A made-up users x items matrix of the size and skew of a large shop's, for claims about speed alone."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

N_USERS, N_ITEMS, NNZ = 136_000, 20_000, 10_000_000
SPREAD = 1.0  # standard deviation of the logarithm of a user's activity
FLATTEN = 50.0  # the item of rank r is chosen in proportion to 1 / (r + FLATTEN)


def synthetic(n_users: int = N_USERS, n_items: int = N_ITEMS, nnz: int = NNZ, seed: int = 0) -> sp.csr_array:
    """Float32 ones, exactly `nnz` of them: log-normal activity of users, Zipf-Mandelbrot popularity of items.

    Items are in random order, so that an id tells nothing of popularity.
    """
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(0.0, SPREAD, n_users)
    popularity = np.cumsum(1.0 / (rng.permutation(n_items) + FLATTEN))
    cells = np.zeros(0, dtype=np.int64)
    while len(cells) < nnz:
        draws = rng.multinomial(nnz, activity / activity.sum())
        users = np.repeat(np.arange(n_users), draws)
        items = np.searchsorted(popularity, rng.random(nnz) * popularity[-1])
        cells = np.sort(np.concatenate((cells, users * n_items + items)))
        cells = cells[np.append(True, cells[1:] != cells[:-1])]
    kept = np.sort(rng.permutation(len(cells))[:nnz])
    users, items = np.divmod(cells[kept], n_items)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(users, minlength=n_users))))
    parts = np.ones(nnz, dtype=np.float32), items.astype(np.int32), indptr.astype(np.int32)
    return sp.csr_array(parts, shape=(n_users, n_items))
