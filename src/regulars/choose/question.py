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
from regulars.core.clock import Instant
from regulars.core.data import EVENT_TYPES, PURCHASE, Dataset, Histories, IdMap, Shown, Users
from regulars.core.rng import generator
from regulars.core.settings import FeedbackSettings
from regulars.evaluate import metrics
from regulars.evaluate.split import sample, targets
from regulars.models.sequences import LIKING

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
    histories: Histories  # (n,) what is known of the asked shoppers
    now: Instant  # when they are asked
    relevant: Matrix  # (n, n_items) what they went on to take
    bought: Matrix  # (n, n_items) what they had bought before
    about: str  # what that was, as a report says it
    seed: int = 0

    def __len__(self) -> int:
        return len(self.histories)

    @cached_property
    def wanted(self) -> Wanted:
        """All that was taken: what decides."""
        return Wanted(np.arange(len(self), dtype=np.int32), self.relevant)

    @cached_property
    def new(self) -> Wanted:
        """What was taken and never bought before, of those shoppers who did so."""
        fresh = sp.csr_array(self.relevant - self.relevant.multiply(self.bought > 0))
        fresh.eliminate_zeros()
        rows = np.flatnonzero(np.diff(fresh.indptr)).astype(np.int32)
        return Wanted(rows, fresh[rows])

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

    Where fewer than 30 bought anything: for whatever they liked, as views count in a log that knows of no purchases.
    Where fewer than 30 came back at all: visitors who were not there before, for the last thing of their visit.
    """
    rng = generator(seed, "asked")
    for kinds, about in (((PURCHASE,), "bought in the days after"), (_liked(after), "took or looked at later")):
        asks = sample(targets(after, before, feedback, kinds), ASKED, rng).subsets["all"]
        bought = before.matrix(PURCHASE, count=True)[asks.users]
        known = before.histories(asks.users)
        found = Question(before, known, before.as_of, asks.relevant[asks.users], bought, about, seed)
        if len(found) >= FEWEST:
            return found
    visits = _visits(after, before, seed)
    return visits if len(visits) >= FEWEST else found


def _visits(after: Dataset, before: Dataset, seed: int) -> Question:
    """New visitors between the two instants: what they did but for the last thing, and that."""
    rows = after.interactions
    item_idx = before.items.ids.index(after.items.ids.ids, "skip")[rows.item_idx]
    unknown = before.users.keys.index(after.users.keys.ids, "skip") < 0
    keep = (rows.at > before.as_of) & unknown[rows.user_idx] & (item_idx >= 0) & (rows.weight > 0) & LIKING[rows.kind]
    visited = replace(rows[keep], item_idx=item_idx[keep])
    ends = np.flatnonzero(np.diff(visited.user_idx, append=-1))  # rows stand by user, in the order of time
    ends = ends[np.bincount(visited.user_idx, minlength=1)[visited.user_idx[ends]] > 1]
    if len(ends) > ASKED:
        ends = np.sort(generator(seed, "visits").choice(ends, ASKED, replace=False))
    first = np.ones(len(visited), dtype=np.bool_)
    first[ends] = False
    shown = replace(after, items=before.items, interactions=visited[first])
    wanted = np.arange(len(ends)), visited.item_idx[ends]
    shape = len(ends), len(before.items)
    relevant = sp.csr_array((np.ones(len(ends), dtype=np.float32), wanted), shape=shape)
    histories = shown.histories(visited.user_idx[ends])
    about = "came to last, in visits of people not known before"
    return Question(before, histories, after.as_of, relevant, sp.csr_array(shape, dtype=np.float32), about, seed)


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
