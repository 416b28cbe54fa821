"""What stands in the catalogue about an item, and what a shopper tells, as sparse rows.

Blocks of an item - words, character n-grams, category path, tags, brand, price band - are each TF-IDF weighted and
scaled to length 1 (Salton & Buckley 1988), then put side by side, so that likeness is a weighted mean of cosines.
Names are told apart by hashes that are the same on every machine, never by Python's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Matrix
from regulars.core.data import Items
from regulars.core.rng import key_of
from regulars.models.neighbours import strongest
from regulars.models.text import COLUMNS, chunks, gram_counts, word_counts

STRONGEST = 48  # features of one text that are kept: the rest add cost, hardly likeness
SHARED_BY = 2  # shoppers at least: what one alone tells would be an id over again
Codes = NDArray[np.uint64]


def item_features(items: Items, *, text: float, category: float, brand: float, price: float) -> Matrix:
    """Every item as one sparse row of length 1 (of length 0 when nothing is known of it); weights are of blocks."""
    texts = [f"{title}. {more}" for title, more in zip(items.title, items.description, strict=True)]
    prefixes = [[path[:depth] for depth in range(1, len(path) + 1)] for path in items.category]
    blocks = (
        (text, telling(texts, word_counts)),
        (text, telling(texts, gram_counts)),
        (category, unit(tf_idf(one_hot(prefixes)))),
        (category, unit(tf_idf(one_hot(items.tags)))),
        (brand, unit(one_hot([[brand] if brand else [] for brand in items.brand]))),
        (price, unit(price_bands(items))),
    )
    return unit(sp.csr_array(sp.hstack([np.float32(np.sqrt(w)) * block for w, block in blocks], format="csr")))


def telling(texts: Sequence[str], counts_of: Callable[[Sequence[str]], Matrix]) -> Matrix:
    """TF-IDF of the strongest features of each text, rows of length 1.

    More than a chunk of texts is counted twice, a chunk at a time: for how many have each feature, then for the
    features kept. So it never holds all features of more than a chunk.
    """
    parts = list(chunks(texts))
    if len(parts) < 2:
        return unit(strongest(tf_idf(used(counts_of(texts))), STRONGEST))
    spread = np.zeros(COLUMNS, dtype=np.int64)
    for part in parts:
        spread += np.bincount(counts_of(part).indices, minlength=COLUMNS)
    rows = [strongest(tf_idf(counts_of(part), (len(texts), spread)), STRONGEST) for part in parts]
    return unit(used(sp.csr_array(sp.vstack(rows, format="csr"))))


def one_hot(names: Iterable[Sequence[object]]) -> Matrix:
    """One row an item, one column a distinct name."""
    codes: dict[object, int] = {}
    columns: list[int] = []
    indptr = [0]
    for row in names:
        columns.extend(sorted({codes.setdefault(name, len(codes)) for name in row}))
        indptr.append(len(columns))
    cells = (np.ones(len(columns), dtype=np.float32), columns, indptr)
    return sp.csr_array(cells, shape=(len(indptr) - 1, max(1, len(codes))), dtype=np.float32)


def used(counts: Matrix) -> Matrix:
    """Without the columns that no row uses: of millions of hashes a small catalogue needs a few thousand."""
    occurs = np.zeros(counts.shape[1], dtype=np.bool_)
    occurs[counts.indices] = True
    place = np.cumsum(occurs, dtype=np.int32) - 1
    cells = (counts.data, place[counts.indices], counts.indptr)
    return sp.csr_array(cells, shape=(counts.shape[0], max(1, int(place[-1]) + 1)))


def price_bands(items: Items) -> Matrix:
    """Half-octaves of price, shared between the two nearest bands so that no border cuts neighbours apart."""
    known = np.flatnonzero(items.price > 0)
    band = 2.0 * np.log2(items.price[known])
    low = np.floor(band)
    upper = (band - low).astype(np.float32)
    rows, columns = np.concatenate((known, known)), np.concatenate((low, low + 1)).astype(np.int32)
    bands = sp.coo_array((np.concatenate((1 - upper, upper)), (rows, columns)), shape=(len(items), 130))
    return sp.csr_array(bands, dtype=np.float32)


def tf_idf(counts: Matrix, among: tuple[int, NDArray[np.int64]] | None = None) -> Matrix:
    """(1 + ln tf) ln((n + 1) / (df + 1/2)), in place; n and each column's df are those of `among`, else of itself."""
    n_items, df = among or (counts.shape[0], np.bincount(counts.indices, minlength=counts.shape[1]))
    rarity = np.log((n_items + 1.0) / (df[counts.indices] + 0.5)).astype(np.float32)
    counts.data = (1.0 + np.log(counts.data)) * rarity
    return counts


def unit(rows: Matrix) -> Matrix:
    """Scale every row to length 1; empty rows stay empty."""
    owner = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    length = np.sqrt(np.bincount(owner, weights=rows.data.astype(np.float64) ** 2, minlength=rows.shape[0]))
    rows.data = (rows.data / np.maximum(length[owner], 1e-12)).astype(np.float32)
    return rows


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
