"""What friends took, and what goes with it: for shoppers of whom only their links to others are known.

score_i = n_i^-popularity_power sum_j f_j ([i = j] + goes_with s_ji), where f_j is how much of item j the linked
shoppers took, to a power and as a share of all they took, s_ji the cosine of `nearest.nearest`, and n_i how many
shoppers took the item: what everybody takes anyway says less of a circle of friends.
`goes_with` is chosen by evidence where it is not given: the s are counted over one half of the shoppers, and with
each weight of WEIGHTS the items of linked shoppers of the other half are ranked by what their friends took alone; the
one that finds most of them among the first TOP stays, and the s are counted again over all.
Fit that of `item-knn`, score O(friends' items x links of an item). Where nobody is linked, it says nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Cells, Indices, Matrix, Scores
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.topk import top_k
from regulars.models.base import Can, Model, check_range
from regulars.models.history import history_weights, row_sums
from regulars.models.links import add_links
from regulars.models.nearest import nearest

WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
UNTOLD = 1.0  # the weight where too few are linked to choose one
LEAST, MOST = 20, 2000  # linked shoppers that choose
TOP = 20
BATCH_CELLS = 8_000_000


class Friends(Model):
    """Sum over what the linked shoppers took, and over what goes with that."""

    name = "friends"
    can = frozenset({Can.LINKS})

    links_: Matrix  # (n_items, n_items) row: an item that friends took, columns: what it speaks for
    goes_with_: float
    linked_: bool  # whether anybody is

    def __init__(
        self, *, k: int = 50, shrink: float = 10.0, power: float = 1.0, popularity_power: float = 0.0,
        goes_with: float | None = None, threads: int = 1,
    ) -> None:  # fmt: skip
        check_range("friends: k", k, 1, whole=True)
        check_range("friends: shrink", shrink, 0.0)
        check_range("friends: power", power, 0.0, 4.0)
        check_range("friends: popularity_power", popularity_power, 0.0, 1.0)
        if goes_with is not None:
            check_range("friends: goes_with", goes_with, 0.0)
        check_range("friends: threads", threads, 0, whole=True)
        self.k, self.shrink, self.power, self.popularity_power = k, shrink, power, popularity_power
        self.goes_with, self.threads = goes_with, threads

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        self.linked_ = data.friends is not None and data.friends.nnz > 0
        self.goes_with_ = self._choose(data, rng) if self.goes_with is None else float(self.goes_with)
        self.links_ = self._weighted(self._near(data.user_items), self.goes_with_, _takers(data.user_items))

    def _near(self, user_items: Matrix) -> Matrix:
        """Cosines, row: an item, columns: the items it is a neighbour of."""
        shares = sp.csr_array(
            (user_items.data ** np.float32(self.power), user_items.indices, user_items.indptr), shape=user_items.shape
        )
        return nearest(shares, self.k, self.shrink, self.threads).T.tocsr()

    def _weighted(self, near: Matrix, goes_with: float, takers: Indices) -> Matrix:
        scale = np.maximum(takers, 1).astype(np.float32) ** np.float32(-self.popularity_power)
        both = sp.eye_array(len(takers), dtype=np.float32, format="csr") + np.float32(goes_with) * near
        links = sp.csr_array(both, dtype=np.float32)
        links.data *= scale[links.indices]
        links.sort_indices()
        return links

    def _choose(self, data: Dataset, rng: np.random.Generator) -> float:
        """The weight of WEIGHTS that finds most of what linked shoppers took, out of what their friends took."""
        counted = rng.random(len(data.users)) < 0.5
        asked = ~counted & (np.diff(data.user_items.indptr) > 0)
        if data.friends is not None:
            asked &= (data.friends @ np.diff(data.user_items.indptr)) > 0
        chosen = np.flatnonzero(asked).astype(np.int32)
        if data.friends is None or len(chosen) < LEAST:
            return UNTOLD
        if len(chosen) > MOST:
            chosen = np.sort(rng.choice(chosen, MOST, replace=False))
        half = data.user_items[np.flatnonzero(counted)]
        near, takers, asking = self._near(half), _takers(half), data.histories(chosen)
        found = [self._found(asking, self._weighted(near, weight, takers)) for weight in WEIGHTS]
        return WEIGHTS[int(np.argmax(found))]

    def _found(self, asking: Histories, links: Matrix) -> float:
        """Share of what shoppers took, of TOP at most, that is among the first TOP; friends are all that is known."""
        total, step = 0.0, max(1, BATCH_CELLS // max(1, links.shape[0]))
        for start in range(0, len(asking), step):
            part = asking.rows(start, min(start + step, len(asking)))
            ids, _ = top_k(add_links(self._shares(part), links), TOP)
            owned = np.column_stack((part.user_items.toarray() > 0, np.zeros(len(part), dtype=np.bool_)))
            hits = np.take_along_axis(owned, ids.astype(np.intp), axis=1).sum(axis=1)
            total += float((hits / np.minimum(owned.sum(axis=1), TOP)).sum())
        return total / len(asking)

    def _shares(self, histories: Histories) -> Cells:
        """What the linked shoppers took, as shares of it all."""
        if histories.friend_items is None:
            return np.zeros(len(histories) + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)
        theirs = replace(histories, user_items=histories.friend_items)
        indptr, items, weights = history_weights(theirs, self.power, 0.0)
        totals = np.repeat(row_sums((indptr, items, weights)), np.diff(indptr))
        return indptr, items, np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)

    @property
    def impersonal(self) -> bool:
        """True where nobody is linked: then it says nothing to all."""
        return not self.linked_

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Sum over the friends' items `(n, n_items)`, 0 where nothing of theirs is known."""
        return add_links(*self.linked(histories, now))

    def linked(self, histories: Histories, now: Instant) -> tuple[Cells, Matrix]:
        """Shares of what friends took, and each item's links."""
        self._check_fitted()
        self._check_width(histories)
        return self._shares(histories), self.links_


def _takers(user_items: Matrix) -> Indices:
    """How many shoppers took each item."""
    return np.bincount(user_items.indices, minlength=user_items.shape[1]).astype(np.int32)
