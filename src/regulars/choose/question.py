"""What a candidate is asked: to rank for shoppers of later days, after learning from a share of the earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Mask, Matrix
from regulars.core.data import EVENT_TYPES, PURCHASE, Dataset, Histories, IdMap, Shown, Users
from regulars.core.rng import generator
from regulars.core.settings import FeedbackSettings
from regulars.evaluate import metrics
from regulars.evaluate.split import Target, sample, targets

K = 20  # cut-off of the NDCG that decides
ASKED = 2000  # shoppers asked for, at most
FEWEST = 30  # shoppers: from fewer nothing is told
SHARES = (1 / 9, 1 / 3, 1.0)  # of the shoppers to learn from, one a rung
LEAST_ROWS = 20_000  # a share with fewer interactions tells little, and its fits take no time anyway
EVERY_KIND = tuple(range(len(EVENT_TYPES)))


@dataclass(frozen=True)
class Wanted:
    """What some of the asked shoppers went on to take."""

    rows: Indices  # (m,) of the asked shoppers
    relevant: Matrix  # (m, n_items)

    def ndcg(self, ranked: Indices) -> NDArray[np.float64]:
        """NDCG@20 of each of them, for their rankings `(m, width)`."""
        judged = metrics.judge(_wide(ranked[:, :K]), self.relevant)
        return metrics.ndcg(judged, K)


@dataclass(frozen=True)
class Question:
    """Days to learn from, and shoppers asked about the days after them."""

    before: Dataset
    users: Indices  # (n,) rows of `before`
    relevant: Matrix  # (n, n_items) what they went on to take
    bought: Matrix  # (n, n_items) what they had bought before
    about: str  # purchases, or everything that says liking
    seed: int = 0

    @cached_property
    def wanted(self) -> Wanted:
        """All that was taken: what decides."""
        return Wanted(np.arange(len(self.users), dtype=np.int32), self.relevant)

    @cached_property
    def new(self) -> Wanted:
        """What was taken and never bought before, of those shoppers who did so."""
        fresh = sp.csr_array(self.relevant - self.relevant.multiply(self.bought > 0))
        fresh.eliminate_zeros()
        rows = np.flatnonzero(np.diff(fresh.indptr)).astype(np.int32)
        return Wanted(rows, fresh[rows])

    @property
    def histories(self) -> Histories:
        """What the asked shoppers had done before."""
        return self.before.histories(self.users)

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of shoppers that are worth a rung, the last is all of them."""
        rows = len(self.before.interactions)
        return tuple(share for share in SHARES if share == 1.0 or share * rows >= LEAST_ROWS)

    def learned_from(self, share: float) -> Dataset:
        """The earlier days of a share of the shoppers; a smaller share lies within a larger one."""
        if share >= 1.0:
            return self.before
        active = np.unique(self.before.interactions.user_idx)
        drawn = generator(self.seed, "share").permutation(active)[: max(1, round(share * len(active)))]
        kept = np.zeros(len(self.before.users), dtype=np.bool_)
        kept[drawn] = True
        return some_shoppers(self.before, kept)


def question(after: Dataset, before: Dataset, feedback: FeedbackSettings, seed: int) -> Question:
    """Ask shoppers of `before` for what they bought until `after.as_of`.

    Where fewer than 30 bought anything, for whatever they liked: views count in a log that knows of no purchases.
    """
    bought, liked = (
        sample(targets(after, before, feedback, kinds), ASKED, generator(seed, "asked")).subsets["all"]
        for kinds in ((PURCHASE,), _liked(after))
    )
    asks, about = (bought, "bought") if len(bought.users) >= FEWEST else (liked, "took or looked at")
    return _of(asks, before, about, seed)


def _of(target: Target, before: Dataset, about: str, seed: int) -> Question:
    bought = before.matrix(PURCHASE, count=True)[target.users]
    return Question(before, target.users, target.relevant[target.users], bought, about, seed)


def _liked(data: Dataset) -> tuple[int, ...]:
    """The kinds of event that weigh anything in this log."""
    rows = data.interactions
    return tuple(kind for kind in EVERY_KIND if (rows.weight[rows.kind == kind] > 0).any())


def _wide(ranked: Indices) -> Indices:
    """Rankings of exactly `K` places: a small catalogue has fewer items."""
    return np.pad(ranked, ((0, 0), (0, K - ranked.shape[1])), constant_values=-1)


def some_shoppers(data: Dataset, kept: Mask) -> Dataset:
    """A Dataset of some of the shoppers `(n_users,)` alone; items and instant stay."""
    place = (np.cumsum(kept) - 1).astype(np.int32)
    rows, shown = data.interactions[kept[data.interactions.user_idx]], kept[data.shown.user_idx]
    columns: dict[str, Any] = {name: getattr(data.shown, name)[shown] for name in Shown.__dataclass_fields__}
    return replace(
        data,
        users=_only(data.users, np.flatnonzero(kept).tolist()),
        interactions=replace(rows, user_idx=place[rows.user_idx]),
        shown=Shown(**{**columns, "user_idx": place[columns["user_idx"]]}),
    )


def _only(users: Users, rows: Sequence[int]) -> Users:
    return Users(
        IdMap([users.keys[row] for row in rows]),
        [users.attributes[row] for row in rows],
        [users.links[row] for row in rows],
    )
