"""What a net may know of an item or a shopper beside an id, as sparse rows to embed; nothing here needs torch.

Names are told apart by hashes that are the same on every machine, never by Python's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Mask, Matrix
from regulars.core.data import Items
from regulars.core.rng import key_of
from regulars.models.content import one_hot, price_bands, tf_idf, unit
from regulars.models.text import word_counts

SHARED_BY = 2  # items or shoppers at least: a feature of one alone would be its id over again
Codes = NDArray[np.uint64]


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


def attribute_codes(attributes: Sequence[dict[str, Any]]) -> Codes:
    """The sorted hashes of what at least two shoppers tell."""
    codes, counts = np.unique(_hashed(attributes)[1], return_counts=True)
    return codes[counts >= SHARED_BY]


def attribute_rows(attributes: Sequence[dict[str, Any]], n_shoppers: int, codes: Codes) -> Matrix:
    """What each shopper tells `(n_shoppers, n_codes)`, rows of length 1; without attributes, empty rows."""
    owner, hashed = _hashed(attributes)
    column = np.searchsorted(codes, hashed)
    known = np.flatnonzero(column < len(codes))
    known = known[codes[column[known]] == hashed[known]]
    cells = (np.ones(len(known), dtype=np.float32), (owner[known], column[known]))
    rows = sp.coo_array(cells, shape=(n_shoppers, len(codes))).tocsr()
    return unit(rows)


def _hashed(attributes: Sequence[dict[str, Any]]) -> tuple[NDArray[np.int64], Codes]:
    """Whose each attribute is, and its hash."""
    pairs = [(row, key_of(*told)) for row, each in enumerate(attributes) for told in sorted(set(_told(each)))]
    owner = np.fromiter((row for row, _ in pairs), dtype=np.int64, count=len(pairs))
    return owner, np.fromiter((code for _, code in pairs), dtype=np.uint64, count=len(pairs))


def _told(attributes: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values as text: numbers to two digits, each entry of a list apart, nothing of what is unknown."""
    for name, value in attributes.items():
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if each is not None:
                number = isinstance(each, (int, float)) and not isinstance(each, bool)
                yield name, f"{each:.2g}" if number else str(each)
