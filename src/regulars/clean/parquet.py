"""From a Parquet file of interactions straight to a Dataset, for people who use the library without a shop.

Parquet keeps most columns of texts as codes into a dictionary: these are taken as they are, so no id of any row is
ever made a text of its own. Rows are put in order by counting, which is linear; columns that say nothing are views
of one number.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Instants, Matrix
from regulars.core.data import PURCHASE, Dataset, IdMap, Interactions, Items, Shown, Users
from regulars.core.errors import InputError
from regulars.core.jit import kernel

MOST_ROWS = 2**31 - 1  # row numbers are int32
READERS = 2  # threads that read row groups


def dataset_from_parquet(
    path: Path, *, user: str, item: str, weight: str | None = None, at: str | None = None
) -> tuple[Dataset, IdMap[str]]:
    """One purchase a row; the ids of users in the order of the Dataset's (`items.ids` holds those of items).

    `user` and `item` name columns of texts or whole numbers, `weight` one of numbers (left out: 1), `at` one of
    timestamps (without a zone: UTC) or whole microseconds; without it a user's rows keep their order, at instant 0.
    A missing column, another type, an empty cell or a weight that is not finite is an `InputError`.
    """
    table = _read(path, [user, item], [name for name in (weight, at) if name is not None])
    users, user_ids = _codes(table[user], f"{path}: {user}")
    items, item_ids = _codes(table[item], f"{path}: {item}")
    weights = np.ones(len(users), np.float32) if weight is None else _weights(table[weight], f"{path}: {weight}")
    when = None if at is None else _instants(table[at], f"{path}: {at}")
    del table
    pa.default_memory_pool().release_unused()  # arrow keeps what it has read into, a third of all
    with ThreadPoolExecutor(2) as pool:  # kernels release the GIL
        summed = pool.submit(_matrix, users, items, weights, (len(user_ids), len(item_ids)))
        bought = pool.submit(_purchases, users, items, weights, when, len(user_ids))
    nobody = np.zeros(0, dtype=np.int32)
    dataset = Dataset(
        as_of=0 if when is None else int(when.max(initial=-1)) + 1,
        users=Users(IdMap(range(len(user_ids))), [{}] * len(user_ids), [()] * len(user_ids)),
        items=Items.bare(item_ids),
        interactions=bought.result(),
        shown=Shown(nobody, nobody, nobody.astype(np.int64), nobody.astype(np.int16), nobody.astype(np.bool_)),
    )
    vars(dataset)["user_items"] = summed.result()  # where the cached property would keep it
    return dataset, IdMap(user_ids)


def _read(path: Path, ids: list[str], numbers: list[str]) -> pa.Table:
    try:
        known = pq.read_schema(path).names
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(str(path), got=str(error), wanted="a Parquet file") from error
    missing = [name for name in ids + numbers if name not in known]
    if missing:
        raise InputError(str(path), got=f"the columns {', '.join(known)}", wanted=f"{', '.join(missing)} too")
    file = pq.ParquetFile(path, memory_map=True, read_dictionary=ids)
    if file.metadata.num_rows > MOST_ROWS:
        raise InputError(str(path), got=f"{file.metadata.num_rows} rows", wanted=f"at most {MOST_ROWS}")
    groups, columns = file.metadata.num_row_groups, ids + numbers
    if groups < READERS:
        return file.read(columns=columns)

    def part(of: NDArray[np.int64]) -> pa.Table:
        own = pq.ParquetFile(path, memory_map=True, read_dictionary=ids)
        return own.read_row_groups(of.tolist(), columns=columns, use_threads=False)

    with ThreadPoolExecutor(READERS) as pool:  # by columns, most of the time goes into the longest one
        return pa.concat_tables(pool.map(part, np.array_split(np.arange(groups), READERS)))


def _full(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """The column, when no cell is empty."""
    if column.null_count:
        first = pc.index(column.is_null(), True).as_py()
        raise InputError(where, got=f"{column.null_count} empty cells, the first in row {first}",
                         wanted="a value in every row")  # fmt: skip
    return column


def _codes(column: pa.ChunkedArray, where: str) -> tuple[Indices, list[str]]:
    """A column of ids as rows of the distinct ids, in the order of first sight (of dictionaries, chunk by chunk)."""
    coded = _full(column, where)
    kind = coded.type.value_type if pa.types.is_dictionary(coded.type) else coded.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise InputError(where, got=f"a column of {kind}", wanted="texts or whole numbers")
    if not pa.types.is_dictionary(coded.type):
        coded = coded.dictionary_encode()
    coded = coded.unify_dictionaries()
    if not coded.num_chunks:
        return np.zeros(0, dtype=np.int32), []
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in coded.chunks]).astype(np.int32, copy=False)
    ids = coded.chunk(0).dictionary.cast(pa.string())
    if _full(pa.chunked_array([ids]), where) and len(used := np.flatnonzero(np.bincount(codes))) == len(ids):
        return codes, ids.to_pylist()
    rows = np.zeros(len(ids), dtype=np.int32)  # a dictionary may hold what no row has
    rows[used] = np.arange(len(used), dtype=np.int32)
    return rows[codes], ids.take(pa.array(used)).to_pylist()


def _weights(column: pa.ChunkedArray, where: str) -> Floats:
    kind = _full(column, where).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InputError(where, got=f"a column of {kind}", wanted="numbers")
    weights: Floats = column.to_numpy().astype(np.float32, copy=False)
    finite = np.isfinite(weights)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InputError(where, got=f"{weights[row]} in row {row}", wanted="finite numbers")
    return weights


def _instants(column: pa.ChunkedArray, where: str) -> Instants:
    kind = _full(column, where).type
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64())
    elif not pa.types.is_integer(kind):
        raise InputError(where, got=f"a column of {kind}", wanted="timestamps, or whole microseconds UTC")
    instants: Instants = column.to_numpy().astype(np.int64, copy=False)
    return instants


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
