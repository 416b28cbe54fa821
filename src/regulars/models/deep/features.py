"""What a net may know of an item beside an id, as sparse rows to embed; nothing here needs torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Mask, Matrix
from regulars.core.data import Items
from regulars.models.features import one_hot, price_bands, tf_idf, unit
from regulars.models.text import word_counts

SHARED_BY = 2  # items at least: a feature of one alone would be its id over again


def item_features(items: Items, known: Mask, most: int) -> Matrix:
    """Words of title and tags, category path, brand and price band `(n_items, n_features)`, each block of length 1.

    A feature stays if items share it and one of them is `known`, so that training tells what it means; of each
    block's the `most` common.
    """
    texts = [f"{title} {' '.join(tags)}" for title, tags in zip(items.title, items.tags, strict=True)]
    prefixes = [[path[:depth] for depth in range(1, len(path) + 1)] for path in items.category]
    blocks = (
        tf_idf(_shared(word_counts(texts), known, most)),
        tf_idf(_shared(one_hot(prefixes), known, most)),
        _shared(one_hot([[brand] if brand else [] for brand in items.brand]), known, most),
        _shared(price_bands(items), known, most),
    )
    return sp.csr_array(sp.hstack([unit(block) for block in blocks], format="csr"), dtype=np.float32)


def _shared(rows: Matrix, known: Mask, most: int) -> Matrix:
    """The columns that tell something, in their order."""
    spread = np.bincount(rows.indices, minlength=rows.shape[1])
    trained = np.bincount(rows[np.flatnonzero(known)].indices, minlength=rows.shape[1])
    kept = np.flatnonzero((spread >= SHARED_BY) & (trained > 0))
    common = np.sort(kept[np.argsort(-spread[kept], kind="stable")[:most]])
    place = np.full(rows.shape[1], -1)
    place[common] = np.arange(len(common))
    return _columns(rows, place[rows.indices], len(common))


def _columns(rows: Matrix, column: NDArray[Any], n_columns: int) -> Matrix:
    """Each cell in another column; those of column -1 are dropped."""
    keep = column >= 0
    indptr = np.concatenate(([0], np.cumsum(keep)))[rows.indptr]
    return sp.csr_array((rows.data[keep], column[keep], indptr), shape=(rows.shape[0], n_columns))
