"""A source's statistics as the receiving shop sees them: in its own rows of items and shoppers, in its own words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Floats, Indices, Mask, Matrix
from regulars.core.data import Dataset
from regulars.models.features import unit
from regulars.models.gram import Gram
from regulars.models.source import Keys, Source, words_of
from regulars.models.svd import multiply

RIDGE = 1.0  # of the regression from words to factors: items hold rows of length 1, so an item's worth
STEPS = 100  # of conjugate gradients at most
ENOUGH = 1e-4  # of a residual, against the right side
STILL = 1e-12


@dataclass(frozen=True)
class Given:
    """What a source says of this shop's items and shoppers; parts that have nothing in common with it are empty."""

    shared_items: Mask  # (n_items,) the source has them too
    gram: Gram  # the source's counts of them, over this shop's items
    shopper_keys: Keys  # rising
    shopper_factors: Floats  # (n_shared, d), mean 0 over this shop's shoppers
    known: Mask  # (n_users,) this shop's shoppers that the source knows
    text_vectors: Floats  # (n_items, d) of length 1, or 0 where no word is known

    @classmethod
    def of(cls, source: Source, data: Dataset) -> Given:
        """Read a source for a Dataset.

        Factors lose their mean, so that they tell shoppers apart and do not stand in for what is popular here.
        """
        places = data.items.ids.index(source.items.ids, "skip")
        rows = rows_of(source.shopper_keys, data.user_keys)
        known, factors = rows >= 0, source.shopper_factors
        if known.any():
            factors = factors - factors[rows[known]].mean(axis=0, dtype=np.float64).astype(np.float32)
        shared = np.zeros(len(data.items), dtype=np.bool_)
        shared[places[places >= 0]] = True
        vectors = text_vectors(source.words, source.item_factors, words_of(data.items))
        return cls(
            shared, _placed(source.gram, places, len(data.items)), source.shopper_keys, factors, known, vectors
        )

    def factors_of(self, keys: Keys) -> Floats:
        """Factors of shoppers by their keys `(n, d)`, zeros for those the source does not know."""
        return known_rows(self.shopper_keys, self.shopper_factors, keys)


def rows_of(keys: Keys, wanted: Keys) -> Indices:
    """Where each of `wanted` stands in rising `keys`, -1 where it does not."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.int32)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1).astype(np.int32)


def known_rows(keys: Keys, rows: Floats, wanted: Keys) -> Floats:
    """The rows of `wanted` keys, zeros for unknown ones."""
    place = rows_of(keys, wanted)
    out = np.zeros((len(wanted), rows.shape[1]), dtype=np.float32)
    out[place >= 0] = rows[place[place >= 0]]
    return out


def with_prior(gram: Gram, prior: Gram, weight: float) -> Gram:
    """`gram + weight * prior`, as if each of the prior's shoppers counted `weight` times; float64 counts."""
    both = Gram(gram.n_items)
    both.counts = sp.csr_array(gram.counts + weight * prior.counts) if weight else gram.counts
    both.n_users = gram.n_users
    return both


def _placed(gram: Gram, places: Indices, n_items: int) -> Gram:
    """The counts of the items that have a place here, at these places."""
    cells = gram.counts.tocoo()
    rows, columns = places[cells.coords[0]], places[cells.coords[1]]
    here = (rows >= 0) & (columns >= 0)
    placed = Gram(n_items)
    placed.n_users = gram.n_users
    placed.counts = sp.coo_array((cells.data[here], (rows[here], columns[here])), shape=(n_items, n_items)).tocsr()
    placed.counts.sort_indices()
    return placed


def text_vectors(source_words: Matrix, source_factors: Floats, words: Matrix) -> Floats:
    """Directions `(n_items, d)` that the words of items point to, learned where both words and factors are known.

    A ridge regression from the source's tf-idf rows to its items' factors, both of length 1; what it says of an item
    is scaled to length 1, for its cosine with others. Zeros for an item without a word that the source uses.
    """
    used = np.flatnonzero(np.bincount(source_words.indices, minlength=source_words.shape[1]))
    theirs, ours = sp.csr_array(source_words[:, used]), sp.csr_array(words[:, used])
    rarity = np.log((theirs.shape[0] + 1.0) / (np.bincount(theirs.indices, minlength=len(used)) + 0.5))
    theirs, ours = (unit(_tf(rows, rarity)) for rows in (theirs, ours))
    told = _ridge(theirs, _unit_rows(source_factors), RIDGE)
    return _unit_rows(multiply(ours, told))


def _tf(counts: Matrix, rarity: np.ndarray) -> Matrix:
    cells = ((1.0 + np.log(counts.data)) * rarity[counts.indices]).astype(np.float32)
    return sp.csr_array((cells, counts.indices, counts.indptr), shape=counts.shape)


def _unit_rows(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(length > STILL, rows / np.maximum(length, STILL), 0).astype(np.float32)


def _ridge(rows: Matrix, wanted: Floats, ridge: float) -> Floats:
    """(R'R + ridge I)^-1 R'Y by conjugate gradients (Hestenes & Stiefel 1952), each column with its own steps."""
    back = rows.T.tocsr()
    left = np.ascontiguousarray(multiply(back, np.ascontiguousarray(wanted)))
    solved, step = np.zeros_like(left), left.copy()
    size = np.einsum("ij,ij->j", left, left, dtype=np.float64)
    enough = ENOUGH**2 * size
    for _ in range(STEPS):
        if (size <= enough).all():
            break
        through = multiply(back, multiply(rows, step)) + np.float32(ridge) * step
        along = np.einsum("ij,ij->j", step, through, dtype=np.float64)
        length = np.divide(size, along, out=np.zeros_like(size), where=along > 0)
        solved += step * length.astype(np.float32)
        left -= through * length.astype(np.float32)
        after = np.einsum("ij,ij->j", left, left, dtype=np.float64)
        turn = np.divide(after, size, out=np.zeros_like(size), where=size > 0)
        step = left + step * turn.astype(np.float32)
        size = after
    return solved
