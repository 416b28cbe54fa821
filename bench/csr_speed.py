"""10M events with ids of texts in a Parquet file -> users x items matrix: seconds and peak memory.

The file (user, item, weight; 136,000 x 20,000 as in knn-speed and als-speed, in random order, pyarrow's defaults) is
written before and lies in the page cache. Ours gives a whole Dataset, its matrix and the ids; the peers give their
quickest way to the same matrix and ids (polars by categoricals, pandas by categories, pyarrow underneath). Each run
is a process of its own, kernels compiled before; `seconds` are by the wall clock and the best of TURNS, `cpu_seconds`
the same run's. `same_sum` says whether the matrix holds all weights.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from measure import Row, apart, chosen, clocked, peak_mb
from synthetic import N_ITEMS, N_USERS, NNZ, synthetic

TURNS = 3
THREADS = os.cpu_count() or 1  # of reading; matrix and rows are then made on one each
PROTOCOL = f"{NNZ:,} events in Parquet, {N_USERS:,} x {N_ITEMS:,} ids of texts, best of {TURNS} processes each"


def run(models: Sequence[str] | None = None) -> dict[str, Any]:
    """One row of ours and one a peer."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        apart(write, path)
        for name in chosen(models, list(READERS)):
            by = {"by": "ours"} if name == "dataset" else {"by": "peer"}
            best = min((apart(measure, path, name) for _ in range(TURNS)), key=lambda row: float(row["seconds"]))
            rows.append({"model": name, **by, "subset": "all", **best})
    return {"protocol": PROTOCOL, "rows": rows}


def write(path: Path) -> Row:
    """The file, and a small one of the same columns."""
    matrix = sp.coo_array(synthetic())
    rng = np.random.default_rng(0)
    order = rng.permutation(matrix.nnz)
    users = pa.DictionaryArray.from_arrays(
        matrix.coords[0][order].astype(np.int32), [f"customer-{n:07d}" for n in range(N_USERS)]
    )
    items = pa.DictionaryArray.from_arrays(
        matrix.coords[1][order].astype(np.int32), [f"SKU-{n:06d}" for n in range(N_ITEMS)]
    )
    weights = rng.integers(1, 5, matrix.nnz).astype(np.float32)
    table = pa.table({"user": users.cast(pa.string()), "item": items.cast(pa.string()), "weight": weights})
    pq.write_table(table, path)
    pq.write_table(table.slice(0, 1000), _small(path))
    return {"mb": round(path.stat().st_size / 1e6)}


def _small(path: Path) -> Path:
    return path.with_name("few.parquet")


def measure(path: Path, name: str) -> Row:
    """One reading, after one of the small file."""
    pa.set_cpu_count(THREADS)
    READERS[name](_small(path))
    row: Row = {}
    before = peak_mb()
    with clocked(row):
        matrix, n_ids = READERS[name](path)
    wanted = float(pq.read_table(path, columns=["weight"])["weight"].to_numpy().sum(dtype=np.float64))
    return {
        **row, "start_mb": before, "same_sum": bool(matrix.data.sum(dtype=float) == wanted),
        "users": matrix.shape[0], "ids": n_ids, "cells": int(matrix.nnz), "threads": THREADS,
    }  # fmt: skip


def by_dataset(path: Path) -> tuple[Any, int]:
    """The product's."""
    from regulars.clean.parquet import dataset_from_parquet

    dataset, users = dataset_from_parquet(path, user="user", item="item", weight="weight")
    return dataset.user_items, len(users) + len(dataset.items.ids)


def by_polars(path: Path) -> tuple[Any, int]:
    """Categoricals, each column's of its own: their codes are the rows."""
    import polars as pl

    frame = pl.read_parquet(path)
    codes = [frame[name].cast(pl.Categorical(pl.Categories.random())).to_physical() for name in ("user", "item")]
    rows, columns = (each.to_numpy().astype(np.int32) for each in codes)
    matrix = sp.coo_array((frame["weight"].to_numpy(), (rows, columns))).tocsr()
    return matrix, sum(matrix.shape)


def by_pandas(path: Path) -> tuple[Any, int]:
    """Categories: their codes are the rows."""
    import pandas as pd

    frame = pd.read_parquet(path)
    users, items = frame["user"].astype("category").cat, frame["item"].astype("category").cat
    matrix = sp.coo_array((frame["weight"].to_numpy(), (users.codes.to_numpy(), items.codes.to_numpy())))
    return matrix.tocsr(), len(users.categories) + len(items.categories)


READERS: Mapping[str, Callable[[Path], tuple[Any, int]]] = {
    "dataset": by_dataset, "polars": by_polars, "pandas": by_pandas,
}  # fmt: skip
