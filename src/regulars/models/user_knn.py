"""Shopper neighbours: what those with a like history took (Resnick et al. 1994; asymmetric cosine, Aiolli 2013).

s_hu = h'x_u / (|h|^2a |x_u|^2(1-a) + shrink) between a history h and the rows x_u of the shoppers learned from; the
`k` most like vote for their items, score_j = sum_u s_hu^sharpness w_uj / n_j^beta, n_j shoppers having j. Cells may
be weighted by tf-idf or BM25 (a shopper as the text, items as the words). Nothing is learned of a shopper but their
row, so anyone is served by the history they bring; one who was learned from is a neighbour of their own, and votes
for what they have only.

What a shopper took r-th last may weigh r^-history_decay in h. That is for logs where one choice leads to the next
(films of MovieLens-1M: NDCG@10 .42 without, .59 with it, on validation); by default all weigh the same, as the decay
lost on gifts and groceries (.251 to .234 and .059 to .056, NDCG@20 at 1) and told nothing on clicks and ratings.
Fit O(cells). A request walks the columns of its history: O(history x shoppers of an item + k x items of a shopper).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Cells, Floats, Indices, Matrix, Scores, cells_of
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.jit import kernel
from regulars.models.base import Can, Model, check_range, dense
from regulars.models.history import history_weights, leading
from regulars.models.nearest import offer
from regulars.models.weighting import check_weighting, idf, mean_length, weighted


class UserKNN(Model):
    """Votes of the shoppers whose histories are most like this one."""

    name = "user-knn"
    can = frozenset({Can.SPARSE, Can.BECAUSE})

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self, *, k: int = 200, shrink: float = 10.0, power: float = 0.5, asymmetry: float = 0.5,
        sharpness: float = 1.0, beta: float = 0.0, weighting: str = "none",
        k1: float = 1.2, b: float = 0.75, history_decay: float = 0.0, context_weight: float = 1.0,
    ) -> None:  # fmt: skip
        check_range("user-knn: k", k, 1, whole=True)
        check_range("user-knn: shrink", shrink, 0.0)
        check_range("user-knn: power", power, 0.0, 4.0)
        check_range("user-knn: asymmetry", asymmetry, 0.0, 1.0)
        check_range("user-knn: sharpness", sharpness, 0.0, 16.0)
        check_range("user-knn: beta", beta, 0.0, 4.0)
        check_weighting("user-knn", weighting, k1, b)
        check_range("user-knn: history_decay", history_decay, 0.0, 10.0)
        check_range("user-knn: context_weight", context_weight, 0.0)
        self.k, self.shrink, self.power, self.asymmetry = k, shrink, power, asymmetry
        self.sharpness, self.beta = sharpness, beta
        self.weighting, self.k1, self.b = weighting, k1, b
        self.history_decay, self.context_weight = history_decay, context_weight

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """The matrix as votes and, weighted, by item, with a copy while it is turned."""
        return (32 * nnz + 16 * sum(shape)) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        given = data.user_items
        votes = sp.csr_array((given.data ** np.float32(self.power), given.indices, given.indptr), shape=given.shape)
        self.told_, self.mean_ = idf(votes), mean_length(votes)
        rows = self._weighted(votes)
        takers = np.maximum(np.bincount(votes.indices, minlength=votes.shape[1]), 1).astype(np.float32)
        worth = (takers ** np.float32(-self.beta))[votes.indices]
        self.votes_: Matrix = sp.csr_array((votes.data * worth, votes.indices, votes.indptr), shape=votes.shape)
        self.by_item_: Matrix = rows.T.tocsr()
        self.lengths_ = _row_lengths(rows) ** np.float32(2 - 2 * self.asymmetry)

    def _weighted(self, rows: Matrix) -> Matrix:
        return weighted(rows, self.weighting, self.told_, self.k1, self.b, self.mean_)

    def neighbours(self, histories: Histories) -> tuple[Matrix, Matrix, Floats]:
        """Likeness to the nearest shoppers `(n, n_users)`, the weighted histories, their lengths to the power 2a."""
        self._check_fitted()
        self._check_width(histories)
        weights = history_weights(histories, self.power, self.context_weight, self.history_decay)
        rows = self._weighted(sp.csr_array((weights[2], weights[1], weights[0]), shape=histories.user_items.shape))
        own = _row_lengths(rows) ** np.float32(2 * self.asymmetry)
        n_users = self.votes_.shape[0]
        width = max(1, min(self.k, n_users))
        ids, scores = np.full((len(own), width), n_users, np.int32), np.zeros((len(own), width), np.float32)
        _closest(cells_of(rows), cells_of(self.by_item_), (own, self.lengths_, np.float32(self.shrink)), ids, scores)
        kept = scores > 0
        indptr = np.concatenate(([0], np.cumsum(kept.sum(axis=1))))
        near: Matrix = sp.csr_array((scores[kept], ids[kept], indptr), shape=(len(own), n_users))
        near.sort_indices()
        return near, rows, own

    def sparse_scores(self, histories: Histories, now: Instant) -> Cells:
        """The votes for each item that a neighbour has."""
        near, _, _ = self.neighbours(histories)
        near.data **= np.float32(self.sharpness)
        return cells_of((near @ self.votes_).tocsr())

    def score(self, histories: Histories, now: Instant) -> Scores:
        """Votes `(n, n_items)`; 0 = no neighbour has the item."""
        return dense(self.sparse_scores(histories, now), self.votes_.shape[1], 0.0)

    def because(self, history: Histories, now: Instant, item_idx: Indices) -> Indices:
        """The history item that brought the neighbours with most of each item's votes, -1 where there are none.

        A likeness is a sum over the items of the history, so each has a share in it, and the same share in the votes:
        sum_u s_hu^(sharpness - 1) h_i x_ui / (..) w_uj / n_j^beta over the neighbours u.
        """
        near, rows, own = self.neighbours(history)
        users = near.indices
        worth = near.data ** np.float32(self.sharpness - 1) / (
            own[0] * self.lengths_[users] + np.float32(self.shrink)
        )
        shares = self.by_item_[rows.indices][:, users].toarray() * rows.data[:, None] * worth
        return leading(shares @ self.votes_[users][:, item_idx].toarray(), rows.indices)


def _row_lengths(rows: Matrix) -> Floats:
    """The Euclidean length of each row."""
    squares: Floats = np.asarray((rows * rows).sum(axis=1), dtype=np.float32)
    return np.sqrt(squares)


@kernel
def _closest(
    rows: Cells, by_item: Cells, below: tuple[Floats, Floats, np.float32], ids: Indices, scores: Floats
) -> None:
    """The most like shoppers of each row, on a heap; ties go to the lower row number."""
    indptr, items, weights = rows
    starts, users, numbers = by_item
    own, lengths, shrink = below
    total = np.zeros(len(lengths), dtype=np.float32)
    met = np.empty(len(lengths) + 1, dtype=np.int32)
    for row in range(len(own)):
        n_met = 0
        for cell in range(indptr[row], indptr[row + 1]):
            weight = weights[cell]
            for at in range(starts[items[cell]], starts[items[cell] + 1]):
                user = users[at]
                more = weight * numbers[at]
                met[n_met] = user
                n_met += (total[user] == 0) & (more > 0)  # no branch: it would be guessed wrong every other time
                total[user] += more
        best, best_ids, mine = scores[row], ids[row], own[row]
        for at in range(n_met):
            user = met[at]
            like = total[user] / max(mine * lengths[user] + shrink, np.float32(1e-30))
            total[user] = 0
            if like >= best[0] and like > 0:
                offer(like, user, best, best_ids)
