"""The best items of one model for some shoppers, asked the cheapest exact way that the model allows.

One ranking for all is walked, inner products are searched longest vector first, links are added up band by band,
few scores are picked from as they are, anything else is scored densely.
What does not depend on the shopper is worked out once for each model version.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from regulars.core.arrays import Indices, Mask, Scores
from regulars.core.clock import Instant
from regulars.core.data import Histories
from regulars.core.topk import NOTHING, InnerProducts, order, top_cells, top_k, top_sums
from regulars.models.base import Can, Model


class Retriever:
    """One fitted model, ready to be asked."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def best(
        self, histories: Histories, now: Instant, allowed: Mask, banned: Indices, k: int
    ) -> tuple[Indices, Scores]:
        """Ids and scores `(n, k)` of the best items of each shopper, padded with -1 and -inf.

        `allowed (n_items,)` holds for every row, `banned (n, width)` names further items of each row, -1 pads.
        A score of 0 or below says nothing, and may be left out.
        """
        if self.model.impersonal:
            return self._walk(allowed, banned, k)
        if Can.FACTORS in self.model.can:
            vectors = self.model.user_vectors(histories, now)
            return self._search.top_k(vectors, k, allowed=allowed, banned=banned, above=0.0)
        if Can.SPARSE in self.model.can:
            return top_cells(self.model.sparse_scores(histories, now), k, allowed, banned, above=0.0)
        if Can.LINKS in self.model.can:
            return top_sums(*self.model.linked(histories, now), k, allowed, banned, above=0.0)
        return top_k(self.model.score(histories, now), k, allowed, banned)

    @cached_property
    def _search(self) -> InnerProducts:
        return InnerProducts(self.model.item_vectors)

    @cached_property
    def _ranking(self) -> tuple[Indices, Scores]:
        """The items that everybody gets, best first, with their scores."""
        nobody = Histories.from_matrix(sp.csr_array((1, self.model.n_items_), dtype=np.float32))
        scores = self.model.score(nobody, 0)[0]
        ranked = order(scores, np.arange(len(scores)))
        ranked = ranked[scores[ranked] > 0].astype(np.int32)
        return ranked, scores[ranked]

    def _walk(self, allowed: Mask, banned: Indices, k: int) -> tuple[Indices, Scores]:
        """Walk the one ranking until there is enough for the row with the most banned items."""
        ranked, scores = self._ranking
        enough, stop = k + banned.shape[1], 2 * (k + banned.shape[1])
        while len(free := np.flatnonzero(allowed[ranked[:stop]])) < enough and stop < len(ranked):
            stop *= 4
        free = free[:enough]
        ids = np.full((len(banned), k), -1, dtype=np.int32)
        best = np.full((len(banned), k), NOTHING, dtype=np.float32)
        for row, shut in enumerate(banned):
            mine = free[~np.isin(ranked[free], shut)][:k] if (shut >= 0).any() else free[:k]
            ids[row, : len(mine)], best[row, : len(mine)] = ranked[mine], scores[mine]
        return ids, best


def retrievers(models: Mapping[str, Model]) -> dict[str, Retriever]:
    """A retriever for each model, by the model's name."""
    return {name: Retriever(model) for name, model in models.items()}
