"""Content: items like those the shopper had to do with, by what stands in the catalogue.

Blocks - words, character n-grams, category path, tags, brand, price band - are each TF-IDF weighted and scaled to
length 1 (Salton & Buckley 1988), then put side by side, so that likeness is a weighted mean of cosines. The nearest
items of each item are found at the fit; a score is the history's weighted sum of likenesses, item looked at included.
Fit O(sum over features of df^2) row by row, exact; from some 10,000 items on, where features that many titles share
would make it quadratic, a fixed share of that work and nearly the same neighbours (`neighbours.nearest_rows`).
Score O(history x neighbours): works for items nobody bought yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Cells, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories, Items
from regulars.models.base import Can, Model, check_range
from regulars.models.history import history_weights, row_sums
from regulars.models.links import add_links, leading_links
from regulars.models.neighbours import nearest_rows, strongest
from regulars.models.text import gram_counts, word_counts

STRONGEST = 48  # features of one text that are kept: the rest add cost, hardly likeness


class Content(Model):
    """Mean likeness to the shopper's items, in [0, 1]; 0 where nothing is known of either."""

    name = "content"
    can = frozenset({Can.LINKS, Can.BECAUSE})

    def __init__(
        self, *, neighbours: int = 100, text: float = 1.0, category: float = 0.5, brand: float = 0.25,
        price: float = 0.15, power: float = 0.5, context_weight: float = 1.0, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("content: neighbours", neighbours, 1, whole=True)
        check_range("content: text", text, 0.0)
        check_range("content: category", category, 0.0)
        check_range("content: brand", brand, 0.0)
        check_range("content: price", price, 0.0)
        check_range("content: power", power, 0.0, 4.0)
        check_range("content: context_weight", context_weight, 0.0)
        check_range("content: threads", threads, 0, whole=True)
        self.neighbours, self.text, self.category, self.brand = neighbours, text, category, brand
        self.price, self.power, self.context_weight, self.threads = price, power, context_weight, threads

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        near = nearest_rows(self._features(data.items), self.neighbours, self.threads)
        self.links_: Matrix = near.T.tocsr()  # row: an item of the history, columns: the items it speaks for
        self.links_.sort_indices()

    def _features(self, items: Items) -> Matrix:
        """Every item as one sparse row of length 1 (of length 0 when nothing is known of it)."""
        texts = [f"{title}. {text}" for title, text in zip(items.title, items.description, strict=True)]
        prefixes = [[path[:depth] for depth in range(1, len(path) + 1)] for path in items.category]
        blocks = (
            (self.text, unit(strongest(tf_idf(used(word_counts(texts))), STRONGEST))),
            (self.text, unit(strongest(tf_idf(used(gram_counts(texts))), STRONGEST))),
            (self.category, unit(tf_idf(one_hot(prefixes)))),
            (self.category, unit(tf_idf(one_hot(items.tags)))),
            (self.brand, unit(one_hot([[brand] if brand else [] for brand in items.brand]))),
            (self.price, unit(price_bands(items))),
        )
        return unit(sp.csr_array(sp.hstack([np.float32(np.sqrt(w)) * block for w, block in blocks], format="csr")))

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Mean likeness to the history's items, by their weights to the power `power` `(n, n_items)`."""
        return add_links(*self.linked(histories, now))

    def linked(self, histories: Histories, now: Instant) -> tuple[Cells, Matrix]:
        """The history's weights as shares of their sum, and each item's likenesses."""
        self._check_fitted()
        self._check_width(histories)
        indptr, items, weights = history_weights(histories, self.power, self.context_weight)
        totals = np.repeat(row_sums((indptr, items, weights)), np.diff(indptr))
        shares = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)
        return (indptr, items, shares), self.links_

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """The history item that adds most to each item's score, -1 where none is like it."""
        return leading_links(*self.linked(history, now), item_idx)


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


def tf_idf(counts: Matrix) -> Matrix:
    """(1 + ln tf) ln((n + 1) / (df + 1/2)): what is everywhere says nothing."""
    n_items, n_columns = counts.shape
    spread = np.bincount(counts.indices, minlength=n_columns)[counts.indices]
    rarity = np.log((n_items + 1.0) / (spread + 0.5)).astype(np.float32)
    counts.data = (1.0 + np.log(counts.data)) * rarity
    return counts


def unit(rows: Matrix) -> Matrix:
    """Scale every row to length 1; empty rows stay empty."""
    owner = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    length = np.sqrt(np.bincount(owner, weights=rows.data.astype(np.float64) ** 2, minlength=rows.shape[0]))
    rows.data = (rows.data / np.maximum(length[owner], 1e-12)).astype(np.float32)
    return rows
