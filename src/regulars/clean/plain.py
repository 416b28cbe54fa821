"""Plain columns -> a Dataset without a shop: users and items as codes, and what is known of each row.

Rows are put in order by counting, which is linear; columns that say nothing are views of one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Instants, Matrix
from regulars.core.data import PURCHASE, Dataset, IdMap, Interactions, Items, Names, Shown, Users
from regulars.core.jit import kernel

MOST_ROWS = 2**31 - 1  # row numbers are int32


def dataset_of_codes(
    users: Indices, items: Indices, known: tuple[int, Sequence[str]], *, weights: Floats, at: Instants | None,
    names: Names | None = None,
) -> Dataset:  # fmt: skip
    """One purchase a row `(n_rows,)`; `known` is the number of users and the ids of items.

    Without `at` a user's rows keep their order, at instant 0.
    """
    n_users, item_ids = known
    with ThreadPoolExecutor(2) as pool:  # kernels release the GIL
        summed = pool.submit(_matrix, users, items, weights, (n_users, len(item_ids)))
        bought = pool.submit(_purchases, users, items, weights, at, n_users)
    nobody = np.zeros(0, dtype=np.int32)
    dataset = Dataset(
        as_of=0 if at is None else int(at.max(initial=-1)) + 1,
        users=Users(IdMap(range(n_users)), [{}] * n_users, [()] * n_users),
        items=Items.bare(item_ids),
        interactions=bought.result(),
        shown=Shown(nobody, nobody, nobody.astype(np.int64), nobody.astype(np.int16), nobody.astype(np.bool_)),
        names=names,
    )
    vars(dataset)["user_items"] = summed.result()  # where the cached property would keep it
    return dataset


@kernel
def _starts(keys: Indices, n_keys: int) -> NDArray[np.int64]:
    """Where the rows of each key begin once they lie by key, `(n_keys + 1,)`."""
    starts = np.zeros(n_keys + 1, dtype=np.int64)
    for row in range(len(keys)):
        starts[keys[row] + 1] += 1
    for key in range(n_keys):
        starts[key + 1] += starts[key]
    return starts


@kernel
def _counting_order(keys: Indices, n_keys: int) -> Indices:
    """What `argsort(keys, kind="stable")` gives for keys in [0, n_keys), in two passes."""
    place, order = _starts(keys, n_keys), np.empty(len(keys), dtype=np.int32)
    for row in range(len(keys)):
        order[place[keys[row]]] = row
        place[keys[row]] += 1
    return order


@kernel
def _by_item(
    users: Indices, items: Indices, weights: Floats, n_items: int
) -> tuple[NDArray[np.int64], Indices, Floats]:
    """Where each item's rows end, and users and weights laid out by item."""
    place = _starts(items, n_items)
    whose, much = np.empty(len(users), dtype=np.int32), np.empty(len(users), dtype=np.float32)
    for row in range(len(users)):
        here = place[items[row]]
        whose[here], much[here] = users[row], weights[row]
        place[items[row]] += 1
    return place, whose, much


@kernel
def _add_up(
    item_ends: NDArray[np.int64], whose: Indices, much: Floats, n_users: int
) -> tuple[NDArray[np.int64], Indices, Floats]:
    """The parts of a canonical CSR (starts, columns, sums): what lay by item is laid out by user."""
    starts = _starts(whose, n_users)
    ends = starts.copy()
    columns, sums = np.empty(len(whose), dtype=np.int32), np.empty(len(whose), dtype=np.float32)
    item = 0
    for row in range(len(whose)):
        while row >= item_ends[item]:
            item += 1
        user = whose[row]
        end = ends[user]
        if end > starts[user] and columns[end - 1] == item:
            sums[end - 1] += much[row]
        else:
            columns[end], sums[end] = item, much[row]
            ends[user] = end + 1
    kept = 0
    for user in range(n_users):  # close the gaps that summing left
        first, starts[user] = starts[user], kept
        for cell in range(first, ends[user]):
            columns[kept], sums[kept] = columns[cell], sums[cell]
            kept += 1
    starts[n_users] = kept
    return starts, columns[:kept], sums[:kept]


def _matrix(users: Indices, items: Indices, weights: Floats, shape: tuple[int, int]) -> Matrix:
    """Summed weights, as `Dataset.user_items`: a radix sort, by item and then by user, without a comparison."""
    liked = weights > 0
    if not liked.all():
        users, items, weights = users[liked], items[liked], weights[liked]
    starts, columns, sums = _add_up(*_by_item(users, items, weights, shape[1]), shape[0])
    matrix: Matrix = sp.csr_array((sums, columns, starts.astype(np.int32)), shape=shape)
    return matrix


def _purchases(users: Indices, items: Indices, weights: Floats, when: Instants | None, n_users: int) -> Interactions:
    """Rows by user, then instant; columns that are the same in every row are read-only views of one number."""
    if when is None:
        order = _counting_order(users, n_users)
    else:
        order = np.argsort(when, kind="stable").astype(np.int32)
        order = order[_counting_order(users[order], n_users)]
    n = len(users)

    def all_of(value: Any) -> NDArray[Any]:
        return np.broadcast_to(value, n)

    sizes, liked = np.bincount(users, minlength=n_users), weights[order]
    return Interactions(
        user_idx=np.repeat(np.arange(n_users, dtype=np.int32), sizes), item_idx=items[order],
        kind=all_of(np.int8(PURCHASE)), at=all_of(np.int64(0)) if when is None else when[order], weight=liked,
        quantity=all_of(np.float32(1)), value=all_of(np.int64(0)), rating=liked,
        session_idx=all_of(np.int32(-1)), order_idx=all_of(np.int32(-1)), from_slate=all_of(np.bool_(False)),
    )  # fmt: skip
