"""What is learned from and what is asked afterwards: splits of a log, and the targets of an evaluation.

Global time is the default, since it is the only split that never learns from a later day than it is asked about;
leave-one-out and given files are there to stand beside published numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Mask, Matrix, expect
from regulars.core.clock import Instant
from regulars.core.data import CLICK, PURCHASE, VIEW, Dataset, IdMap, Interactions
from regulars.core.errors import InputError
from regulars.core.settings import FeedbackSettings
from regulars.evaluate.metrics import category_levels
from regulars.feedback.organic import organic

COHORTS = ("shoppers-new", "shoppers-light", "shoppers-heavy")
SUBSETS = ("all", "new", "organic", *COHORTS)


@dataclass(frozen=True)
class Split:
    """Rows to learn from `(n_rows,)`, and what is asked: distinct items, users x items."""

    train: Mask
    relevant: Matrix

    def training(self, data: Dataset) -> Dataset:
        """The Dataset with the training rows alone, as of the last of them."""
        rows = data.interactions[self.train]
        return replace(data, interactions=rows, as_of=int(rows.at.max(initial=0)))


def by_time(data: Dataset, cut: Instant, kinds: Sequence[int] = (PURCHASE,)) -> Split:
    """Learn from everything up to `cut`; ask for what came after."""
    return given(data, data.interactions.at <= cut, kinds)


def last_share(data: Dataset, share: float, kinds: Sequence[int] = (PURCHASE,)) -> Split:
    """`by_time` at the cut that leaves `share` of all rows after it, more where many have the same instant."""
    at = np.sort(data.interactions.at)
    cut = int(at[min(int((1 - share) * len(at)), len(at) - 1)]) - 1
    return by_time(data, cut, kinds)


def random_share(data: Dataset, share: float, rng: np.random.Generator, kinds: Sequence[int] = (PURCHASE,)) -> Split:
    """Learn from a random `1 - share` of the rows; ask for the rest. Leaks time."""
    return given(data, rng.random(len(data.interactions)) >= share, kinds)


def answerable(relevant: Matrix, before: Dataset) -> Matrix:
    """What is asked of shoppers and items that `before` has rows of: nothing could be learned of the others."""
    rows, cells = before.interactions, relevant.tocoo()
    users, items = (np.bincount(column, minlength=n) > 0
                    for column, n in zip((rows.user_idx, rows.item_idx), before.shape, strict=True))  # fmt: skip
    kept = users[cells.row] & items[cells.col]
    return _csr(before.shape, cells.row[kept], cells.col[kept])


def leave_one_out(data: Dataset, kinds: Sequence[int] = (PURCHASE,)) -> Split:
    """Ask for each user's last row of `kinds`; what they did after it is learned from by nobody.

    Users with a single such row keep it: without history there is nobody to rank for. Rows of one instant stand
    in journal order. Leaks time between users.
    """
    rows = data.interactions
    asked = np.flatnonzero(np.isin(rows.kind, kinds))
    users = rows.user_idx[asked]
    last = asked[np.concatenate((users[1:] != users[:-1], [True]))[: len(asked)]]
    last = last[np.bincount(users, minlength=len(data.users))[rows.user_idx[last]] > 1]
    end = np.full(len(data.users), len(rows))
    end[rows.user_idx[last]] = last
    return Split(np.arange(len(rows)) < end[rows.user_idx], _matrix(data.shape, rows[last]))


def given(data: Dataset, train: Mask, kinds: Sequence[int] = (PURCHASE,)) -> Split:
    """Learn from the rows of `train (n_rows,)`; ask for the rest of `kinds`."""
    rows = data.interactions
    expect(train, "train", ndim=1, length=len(rows))
    return Split(train, _matrix(data.shape, rows[~train & np.isin(rows.kind, kinds) & (rows.quantity > 0)]))


def read_lists(path: Path, n_items: int | None = None) -> list[tuple[str, str]]:
    """Read (user, item) pairs from lines "user item item ..." separated by blanks, tabs or commas.

    `n_items`: how many columns after the user are items (1 for "user item rating time"), None = all.
    """
    pairs = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            parts = line.replace(",", " ").split()
            if len(parts) == 1 and n_items is None:
                continue  # a user with an empty list
            if parts and len(parts) < 1 + (n_items or 1):
                raise InputError(f"{path}, line {number}", got=repr(line.strip()[:60]), wanted="a user and items")
            pairs += [(parts[0], item) for item in parts[1:][:n_items]]
    return pairs


def from_pairs(
    users: IdMap[Any],
    items: IdMap[str],
    pairs: Iterable[tuple[Any, str]],
    on_unknown: Literal["raise", "skip"] = "raise",
) -> Matrix:
    """Users x items CSR of (user, item) ids; unknown ids raise, or are left out with `skip`."""
    rows = list(pairs)
    user_idx = users.index((user for user, _ in rows), on_unknown)
    item_idx = items.index((item for _, item in rows), on_unknown)
    return _csr((len(users), len(items)), user_idx, item_idx)


@dataclass(frozen=True)
class Target:
    """What one subset asks: `relevant` users x items, and what must not be recommended (None = anything may)."""

    relevant: Matrix
    exclude: Matrix | None = None

    @cached_property
    def users(self) -> Indices:
        """Users with at least one relevant item, sorted."""
        return np.flatnonzero(np.diff(self.relevant.indptr)).astype(np.int32)


@dataclass(frozen=True)
class Targets:
    """The questions of an evaluation by subset, and what is known about the items they are asked of."""

    subsets: Mapping[str, Target]
    popularity: Floats  # (n_items,) smoothed share of shoppers who know the item
    levels: Indices  # (n_items, depth) as `category_levels`

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.popularity)


def targets(
    after: Dataset, before: Dataset, feedback: FeedbackSettings, kinds: Sequence[int] = (PURCHASE,)
) -> Targets:
    """What shoppers and items known at the cut `before.as_of` met between it and `after.as_of`.

    Indices are those of `before`. Fully refunded purchases are not asked for.
    """
    rows = after.interactions
    keep = (rows.at > before.as_of) & np.isin(rows.kind, kinds) & (rows.quantity > 0)
    user_idx = before.users.keys.index(after.users.keys.ids, "skip")[rows.user_idx]
    item_idx = before.items.ids.index(after.items.ids.ids, "skip")[rows.item_idx]
    unprompted = keep & organic(after, feedback)
    return targets_of(
        _csr(before.shape, user_idx[keep], item_idx[keep]),
        before,
        organic=_csr(before.shape, user_idx[unprompted], item_idx[unprompted]),
    )


def targets_of(relevant: Matrix, before: Dataset, organic: Matrix | None = None) -> Targets:
    """Subsets of what is asked: `all`, `new` (never bought before), `organic`, and cohorts of shoppers.

    `relevant` is users x items in the indices of `before`. In `new` everything bought before is excluded.
    """
    if relevant.shape != before.shape:
        raise InputError("relevant", got=f"shape {relevant.shape}", wanted=f"{before.shape}, as before the cut")
    rows = before.interactions
    bought = _matrix(before.shape, rows[rows.kind == PURCHASE])
    fresh = sp.csr_array(relevant - relevant.multiply(bought))
    fresh.eliminate_zeros()
    subsets = {"all": Target(relevant), "new": Target(fresh, bought)}
    if organic is not None:
        subsets["organic"] = Target(organic)
    for name, members in zip(COHORTS, cohorts(orders_of(before)), strict=True):
        subsets[name] = Target(_only(relevant, members))
    return Targets(subsets, popularity_of(before), category_levels(before.items.category))


@dataclass(frozen=True)
class Beside:
    """What shoppers took after looking at an item, one row a visit; indices are those of the data before."""

    user_idx: Indices  # (n,)
    item_idx: Indices  # (n,) looked at first
    wanted: Matrix  # (n, n_items) taken later in that visit, without the item itself


def beside(after: Dataset, before: Dataset, kinds: Sequence[int] = (PURCHASE,)) -> Beside:
    """Visits after the cut `before.as_of` in which known shoppers looked at an item, then took another."""
    rows = after.interactions
    user_idx = before.users.keys.index(after.users.keys.ids, "skip")[rows.user_idx]
    item_idx = before.items.ids.index(after.items.ids.ids, "skip")[rows.item_idx]
    known = (rows.at > before.as_of) & (user_idx >= 0) & (item_idx >= 0) & (rows.session_idx >= 0)
    looked = np.flatnonzero(known & np.isin(rows.kind, (VIEW, CLICK)))
    _, first = np.unique(rows.session_idx[looked], return_index=True)
    first = looked[first]  # rows of a visit stand in the order of time
    opened = np.full(int(rows.session_idx.max(initial=-1)) + 2, len(rows))
    opened[rows.session_idx[first]] = np.arange(len(first))
    took = np.flatnonzero(known & np.isin(rows.kind, kinds) & (rows.quantity > 0))
    visit = opened[rows.session_idx[took]]
    took, visit = took[visit < len(first)], visit[visit < len(first)]
    other = (took > first[visit]) & (item_idx[took] != item_idx[first[visit]])
    visits, place = np.unique(visit[other], return_inverse=True)
    return Beside(
        user_idx[first[visits]].astype(np.int32), item_idx[first[visits]].astype(np.int32),
        _csr((len(visits), len(before.items)), place.astype(np.int32), item_idx[took[other]]),
    )  # fmt: skip


def sample(targets: Targets, n: int, rng: np.random.Generator) -> Targets:
    """The same questions asked of `n` shoppers at most, drawn evenly among those that are asked anything."""
    asked = targets.subsets["all"].users
    if len(asked) <= n:
        return targets
    members = np.zeros(targets.subsets["all"].relevant.shape[0], dtype=np.bool_)
    members[rng.choice(asked, n, replace=False)] = True
    subsets = {name: Target(_only(each.relevant, members), each.exclude) for name, each in targets.subsets.items()}
    return replace(targets, subsets=subsets)


def orders_of(data: Dataset) -> NDArray[np.int64]:
    """Orders of each user `(n_users,)`; purchases without an order are one for each instant."""
    rows = data.interactions[data.interactions.kind == PURCHASE]
    named = rows.order_idx >= 0
    keys = np.column_stack([rows.user_idx, rows.order_idx, np.where(named, 0, rows.at)])
    return np.bincount(np.unique(keys, axis=0)[:, 0], minlength=len(data.users)).astype(np.int64)


def cohorts(orders: NDArray[np.int64]) -> tuple[Mask, Mask, Mask]:
    """New (at most one order), light and heavy shoppers: the rest, cut at the median of their orders."""
    new = orders <= 1
    middle = np.median(orders[~new]) if (~new).any() else 0.0
    heavy = ~new & (orders > middle)
    return new, ~new & ~heavy, heavy


def popularity_of(data: Dataset) -> Floats:
    """Share of shoppers who did something with each item `(n_items,)`, one added, so never 0."""
    known = np.diff(data.user_items.tocsc().indptr)
    return np.asarray((known + 1) / (len(data.users) + 1), dtype=np.float32)


def _matrix(shape: tuple[int, int], rows: Interactions) -> Matrix:
    return _csr(shape, rows.user_idx, rows.item_idx)


def _csr(shape: tuple[int, int], user_idx: Indices, item_idx: Indices) -> Matrix:
    """CSR of ones at the distinct known cells."""
    known = (user_idx >= 0) & (item_idx >= 0)
    cells = np.ones(int(known.sum()), dtype=np.float32)
    csr = sp.csr_array(sp.coo_array((cells, (user_idx[known], item_idx[known])), shape=shape))
    csr.sum_duplicates()
    csr.sort_indices()
    csr.data[:] = 1.0
    return csr


def _only(matrix: Matrix, users: Mask) -> Matrix:
    """The rows of some users; the others are emptied."""
    kept = sp.csr_array(matrix.multiply(users[:, None].astype(np.float32)))
    kept.eliminate_zeros()
    return kept
