"""How much a cell says of its row: tf-idf and BM25, as for words in texts (Robertson & Zaragoza 2009, equation 3.15).

Rows are what is compared, columns what they are compared by: items by their shoppers, or shoppers by their items.
A column that many rows have says little: idf = ln(1 + (n - df + 1/2) / (df + 1/2)), never below 0.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Floats, Matrix
from regulars.core.errors import SettingError
from regulars.models.base import check_range

WEIGHTINGS = ("none", "tf-idf", "bm25")


def check_weighting(model: str, weighting: str, k1: float, b: float) -> None:
    """Refuse an unknown weighting or a number outside its range."""
    if weighting not in WEIGHTINGS:
        raise SettingError(f"{model}: weighting", got=repr(weighting), wanted=" or ".join(WEIGHTINGS))
    check_range(f"{model}: k1", k1, 0.0)
    check_range(f"{model}: b", b, 0.0, 1.0)


def idf(rows: Matrix) -> Floats:
    """What each column tells `(n_columns,)`."""
    df = np.bincount(rows.indices, minlength=rows.shape[1])
    told: Floats = np.log1p((rows.shape[0] - df + 0.5) / (df + 0.5)).astype(np.float32)
    return told


def mean_length(rows: Matrix) -> float:
    """The mean sum of a row, 1 where there is nothing."""
    return float(rows.data.sum(dtype=np.float64)) / max(1, rows.shape[0]) or 1.0


def weighted(rows: Matrix, weighting: str, told: Floats, k1: float, b: float, mean: float) -> Matrix:
    """The cells by what they tell; `told` is `idf`, `mean` is `mean_length`, of the rows that were learned from."""
    if weighting == "none":
        return rows
    if weighting == "tf-idf":
        counts = np.sqrt(rows.data)
    else:
        lengths = np.asarray(rows.sum(axis=1), dtype=np.float32) / np.float32(mean)
        room = np.float32(k1) * (np.float32(1 - b) + np.float32(b) * lengths)
        counts = rows.data * np.float32(k1 + 1) / (rows.data + np.repeat(room, np.diff(rows.indptr)))
    return sp.csr_array((counts * told[rows.indices], rows.indices, rows.indptr), shape=rows.shape)
