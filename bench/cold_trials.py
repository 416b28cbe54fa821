"""The trials of `cold_start`: who is asked what, knowing how much, out of the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Matrix, as_csr
from regulars.core.data import Dataset, Histories, IdMap, Items, Users

EVENTS = (0, 1, 2, 5, 10)
ALL = -1  # every case, whatever is known
MOST_KNOWN = max(EVENTS)
FIRST_OF_BAND = {0: 0, 1: 1, 2: 2, 5: 3, 10: 6}  # office: takers of the target from which a number of events counts
LEARNED, CHOOSING = 0.6, 0.2  # shares of shoppers
Walk = NDArray[np.int32]


@dataclass(frozen=True)
class Trial:
    """What is learned from, and by number of events known: what is asked, and what is wanted."""

    before: Dataset
    asked: Mapping[int, Histories]
    wanted: Mapping[int, Matrix]
    groups: Indices  # (n_items,) kinds of items for which a blend has weights of their own
    answers: Matrix | None = None  # what the shoppers asked would say yes to


def trial_of(data: Path, name: str, part: str, seed: int) -> Trial:
    """The `validation` or `test` part of one set."""
    if name == "office":
        return office(data / "amazon_office_text", part)
    rng = np.random.default_rng(seed)
    shoppers = films(data / "ml1m", rng) if name == "ml1m" else artists(data / "lastfm_hetrec", rng)
    return shoppers.trial(part)


@dataclass(frozen=True)
class Shoppers:
    """Whole histories, those to learn from first; what is known of the others at most, and wanted of them."""

    walks: Sequence[Walk]
    n_items: int
    n_learned: int
    users: Users
    last_wanted: int | None

    def trial(self, part: str) -> Trial:
        """Ask those to choose by, or those to test."""
        n, first = len(self.walks), self.n_learned
        middle = first + round(CHOOSING * n)
        rows = np.arange(first, middle) if part == "validation" else np.arange(middle, n)
        long = [len(self.walks[each]) > MOST_KNOWN for each in rows.tolist()]
        chosen: Indices = rows[long].astype(np.int32)
        everybody = replace(self._learned(n), users=self.users)  # the others without events
        told = everybody.histories(chosen)
        known = {
            events: replace(
                Histories.from_sequences([self.walks[each][:events] for each in chosen.tolist()], self.n_items),
                attributes=told.attributes, friend_items=told.friend_items,
            )
            for events in EVENTS
        }  # fmt: skip
        wanted = lists([self.walks[each][MOST_KNOWN : self.last_wanted] for each in chosen.tolist()], self.n_items)
        whole = lists([self.walks[each] for each in chosen.tolist()], self.n_items)
        before = replace(self._learned(first), users=self._users(first))
        groups = np.zeros(self.n_items, dtype=np.int32)
        return Trial(before, known, dict.fromkeys(EVENTS, wanted), groups, as_csr(whole - wanted))

    def _learned(self, n_users: int) -> Dataset:
        walks = self.walks[: self.n_learned]
        users = np.repeat(np.arange(len(walks)), [len(walk) for walk in walks])
        at = np.concatenate([np.arange(len(walk)) for walk in walks])
        return Dataset.from_events(users, np.concatenate(walks), (n_users, self.n_items), at=at)

    def _users(self, n: int) -> Users:
        return Users(IdMap(range(n)), self.users.attributes[:n], self.users.links[:n])


def films(folder: Path, rng: np.random.Generator) -> Shoppers:
    """MovieLens-1M, films in order; what each shopper tells."""
    table = pq.read_table(folder / "sequences.parquet")
    films = table["movie_ids"].combine_chunks()
    ids, rows = np.unique(films.values.to_numpy(), return_inverse=True)
    walks = np.split(rows.astype(np.int32), films.offsets.to_numpy()[1:-1])
    told = {
        row["user_id"]: {"gender": row["gender"], "age": str(row["age_code"]),
                         "occupation": str(row["occupation_code"]), "region": row["zip"][:1]}
        for row in pq.read_table(folder / "users.parquet").to_pylist()
    }  # fmt: skip
    users = table["user_id"].to_pylist()
    order = rng.permutation(len(walks))
    attributes = [told[users[each]] for each in order.tolist()]
    nobody = Users(IdMap(range(len(walks))), attributes, [()] * len(walks))
    return Shoppers([walks[each] for each in order], len(ids), round(LEARNED * len(walks)), nobody, 2 * MOST_KNOWN)


def artists(folder: Path, rng: np.random.Generator) -> Shoppers:
    """Last.fm, artists in an order drawn by seed; links to those who are learned from."""
    table = pq.read_table(folder / "interactions.parquet")
    users, user = np.unique(table["user_id"].to_numpy(), return_inverse=True)
    ids, artist = np.unique(table["artist_id"].to_numpy(), return_inverse=True)
    order = rng.permutation(len(users))
    place = np.argsort(order)
    by_user = np.lexsort((rng.random(len(user)), place[user]))
    ends = np.cumsum(np.bincount(place[user]))
    walks = np.split(artist[by_user].astype(np.int32), ends[:-1])
    n_learned = round(LEARNED * len(users))
    friends = pq.read_table(folder / "friends.parquet")
    one, other = (place[np.searchsorted(users, friends[name].to_numpy())] for name in ("user_id", "friend_id"))
    links: list[list[int]] = [[] for _ in users]
    for left, right in zip(one.tolist(), other.tolist(), strict=True):
        if right < n_learned:
            links[left].append(right)
    told = Users(IdMap(range(len(users))), [{}] * len(users), [tuple(mine) for mine in links])
    return Shoppers(walks, len(ids), n_learned, told, None)


def office(folder: Path, part: str) -> Trial:
    """Amazon Office: one wanted item a case, told apart by how many shoppers had taken it."""
    table = pq.read_table(folder / "items.parquet").to_pydict()
    items = replace(Items.bare(map(str, table["item_id"])), title=table["title"],
                    brand=[brand or "" for brand in table["brand"]],
                    description=[text or "" for text in table["description"]])  # fmt: skip
    walks = distinct(pq.read_table(folder / "valid.parquet").to_pylist())
    if part == "validation":
        cases = [(walk[:-1], walk[-1]) for walk in walks if len(walk) > 1]
        walks = [walk[:-1] if len(walk) > 1 else walk for walk in walks]
    else:
        rows = pq.read_table(folder / "test.parquet").to_pylist()
        cases = [(row["history"], row["target"]) for row in rows if row["target"] not in row["history"]]
    users = np.repeat(np.arange(len(walks)), [len(walk) for walk in walks])
    before = replace(Dataset.from_events(users, np.concatenate(walks), (len(walks), len(items))), items=items)
    takers = np.bincount(before.user_items.indices, minlength=len(items))
    groups = (np.searchsorted([*FIRST_OF_BAND.values(), MOST_KNOWN + 1], takers, side="right") - 1).astype(np.int32)
    target = np.array([wanted for _, wanted in cases])
    asked: dict[int, Histories] = {}
    relevant: dict[int, Matrix] = {}
    for band, events in [*enumerate(EVENTS), (None, ALL)]:
        chosen = np.arange(len(cases)) if band is None else np.flatnonzero(groups[target] == band)
        asked[events] = Histories.from_sequences([cases[each][0] for each in chosen.tolist()], len(items))
        relevant[events] = lists([[wanted] for wanted in target[chosen].tolist()], len(items))
    return Trial(before, asked, relevant, groups)


def distinct(rows: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Each shopper's items once, in the order of first sight over histories and targets."""
    walks: dict[str, dict[int, None]] = {}
    for row in rows:
        walks.setdefault(row["user_id"], {}).update(dict.fromkeys([*row["history"], row["target"]]))
    return [list(walk) for walk in walks.values()]


def lists(rows: Sequence[Sequence[int] | Walk], n_items: int) -> Matrix:
    """CSR of ones, a list a row."""
    indptr = np.cumsum([0, *map(len, rows)])
    cells = np.concatenate([np.zeros(0, dtype=np.int32), *(np.asarray(row, dtype=np.int32) for row in rows)])
    ones = np.ones(len(cells), dtype=np.float32)
    return as_csr(sp.csr_array((ones, cells, indptr), shape=(len(rows), n_items)))


def padded(matrix: Matrix) -> Indices:
    """The columns of each row, padded with -1."""
    width = int(np.diff(matrix.indptr).max(initial=0))
    out = np.full((matrix.shape[0], width), -1, dtype=np.int32)
    for row, (start, stop) in enumerate(pairwise(matrix.indptr.tolist())):
        out[row, : stop - start] = matrix.indices[start:stop]
    return out
