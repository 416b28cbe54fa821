"""From a Parquet file of interactions straight to a Dataset, for people who use the library without a shop.

Parquet keeps most columns of texts as codes into a dictionary: these are taken as they are, so no id of any row is
ever made a text of its own. It wants a file without a fault; `regulars.frames` reads others too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from regulars.clean.plain import MOST_ROWS, dataset_of_codes
from regulars.core.arrays import Floats, Indices, Instants
from regulars.core.data import Dataset, IdMap
from regulars.core.errors import InputError

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
    dataset = dataset_of_codes(users, items, (len(user_ids), item_ids), weights=weights, at=when)
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
