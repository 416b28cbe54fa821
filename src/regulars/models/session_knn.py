"""Nearest sessions: what others took around the same items (VS-kNN, Ludewig & Jannach 2018, and what grew of it).

Sessions that share an item with the current one are candidates, the `sample` newest of them (VS-kNN). Such a session
s is alike by sum over the shared items, of which the shopper took the r-th newest, of idf^idf r^-decay, over
sqrt(its length), halved every `half_life_days` of its age; the `k` most alike are heard. An item at distance d in s
from the shared item that the shopper took last gains the likeness times d^-nearness (STAN, Garg et al. 2019), and
sums are weighed by the item's idf^idf (VSTAN, Ludewig et al. 2021). People come back to what they looked at: the item
taken r-th newest gains `repeats` times r^-nearness the best of these sums (or 1 where there is none). A part is
switched off by 0.

The current session is what follows the last pause longer than `gap_minutes` (0 = the whole history). A training
session of one event says nothing and is not kept. Fit O(events log events); score O(sample x look back + events of
k sessions): neither the number of sessions nor that of items counts.
"""

from __future__ import annotations

import numpy as np

from regulars.core.arrays import Cells, Floats, Indices, Instants, Mask, Scores, Starts
from regulars.core.clock import DAY, FOREVER, Instant
from regulars.core.data import Dataset, Histories
from regulars.core.jit import kernel
from regulars.core.topk import sink
from regulars.models.base import Can, Model, check_range, dense
from regulars.models.sequences import Sequences, power_law, taken_last, training_sequences

LOOK_BACK = 20  # items of the current session that neighbours are looked for with


class SessionKNN(Model):
    """Likeness-weighted sum over the nearest past sessions of the items near what the current session shares."""

    name = "session-knn"
    can = frozenset({Can.SPARSE})

    def __init__(
        self, *, k: int = 500, sample: int = 2000, decay: float = 1.0, nearness: float = 0.4,
        half_life_days: float = 0.0, idf: float = 1.0, repeats: float = 0.0, gap_minutes: float = 30.0,
    ) -> None:  # fmt: skip
        check_range("session-knn: k", k, 1, whole=True)
        check_range("session-knn: sample", sample, 1, whole=True)
        check_range("session-knn: decay", decay, 0.0, 10.0)
        check_range("session-knn: nearness", nearness, 0.0, 10.0)
        check_range("session-knn: half_life_days", half_life_days, 0.0)
        check_range("session-knn: idf", idf, 0.0, 10.0)
        check_range("session-knn: repeats", repeats, 0.0, 1000.0)
        check_range("session-knn: gap_minutes", gap_minutes, 0.0)
        self.k, self.sample, self.decay, self.nearness = k, sample, decay, nearness
        self.half_life_days, self.idf, self.repeats, self.gap_minutes = half_life_days, idf, repeats, gap_minutes

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Sessions by item and items by session, and what sorting them takes."""
        return (64 * nnz + 12 * shape[1]) / 1e6

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        n_items = len(data.items)
        sessions = _telling(training_sequences(data, by_session=True))
        self.session_starts_, self.session_items_ = sessions.indptr, sessions.item_idx
        self.ended_at_ = sessions.ended_at
        lengths = np.diff(sessions.indptr)
        self.by_distance_ = power_law(int(lengths.max(initial=1)), self.nearness)
        session = np.repeat(np.arange(len(sessions), dtype=np.int32), lengths)
        place = (np.arange(len(session)) - np.repeat(sessions.indptr[:-1], lengths)).astype(np.int32)
        order = np.lexsort((-place, -session, sessions.item_idx))  # of each item the newest session first
        item, session, place = sessions.item_idx[order], session[order], place[order]
        first = np.ones(len(item), dtype=np.bool_)
        first[1:] = (item[1:] != item[:-1]) | (session[1:] != session[:-1])
        self.found_in_, self.found_at_ = session[first], place[first]
        spread = np.bincount(item[first], minlength=n_items)
        self.item_starts_ = np.concatenate(([0], np.cumsum(spread))).astype(np.int64)
        self.idf_ = np.log1p(len(sessions) / np.maximum(spread, 1)).astype(np.float32) ** np.float32(self.idf)

    def score(self, histories: Histories, now: Instant) -> Scores:
        """What the nearest sessions say `(n, n_items)`; 0 = nothing."""
        return dense(self.sparse_scores(histories, now), self.n_items_, 0.0)

    def sparse_scores(self, histories: Histories, now: Instant) -> Cells:
        """The scores of the items in the nearest sessions."""
        self._check_fitted()
        self._check_width(histories)
        recent = taken_last(histories, LOOK_BACK, self.gap_minutes)
        sessions = self.session_starts_, self.session_items_, self.ended_at_
        found = self.item_starts_, self.found_in_, self.found_at_
        half_life = self.half_life_days * DAY if self.half_life_days else float(FOREVER)
        by_place = power_law(LOOK_BACK, self.decay), self.by_distance_
        rows = [
            _hear(mine, self.k, self.sample, sessions, found, (now, half_life), by_place, self.idf_)
            for mine in (row[row >= 0] for row in recent)
        ]
        if self.repeats:
            rows = [self._with_returns(mine[mine >= 0], *row) for mine, row in zip(recent, rows, strict=True)]
        indptr = np.concatenate(([0], np.cumsum([len(items) for items, _ in rows]))).astype(np.int64)
        none = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)
        items, sums = (np.concatenate(parts) for parts in zip(none, *rows, strict=True))
        return indptr, items, sums

    def _with_returns(self, mine: Indices, items: Indices, sums: Floats) -> tuple[Indices, Floats]:
        """Add what the items of the current session gain, newest first, to what was heard."""
        gains = (
            np.float32(self.repeats) * power_law(len(mine), self.nearness) * (sums.max(initial=0) or np.float32(1))
        )
        items = np.concatenate((items, mine[~np.isin(mine, items)]))
        sums = np.concatenate((sums, np.zeros(len(items) - len(sums), dtype=np.float32)))
        by_item = np.argsort(items)
        sums[by_item[np.searchsorted(items, mine, sorter=by_item)]] += gains
        return items, sums


def _telling(sequences: Sequences) -> Sequences:
    """The sequences of two events or more."""
    lengths = np.diff(sequences.indptr)
    kept = lengths > 1
    indptr = np.concatenate(([0], np.cumsum(lengths[kept]))).astype(np.int64)
    return Sequences(indptr, sequences.item_idx[np.repeat(kept, lengths)], sequences.ended_at[kept])


@kernel
def _hear(
    recent: Indices, k: int, sample: int, sessions: tuple[Starts, Indices, Instants],
    found: tuple[Starts, Indices, Indices], age: tuple[int, float], by_place: tuple[Floats, Floats], idf: Floats,
) -> tuple[Indices, Floats]:  # fmt: skip
    """Items and scores that the `k` nearest of the `sample` newest candidates give; each item once."""
    candidates, places = np.empty(sample, dtype=np.int32), np.empty(sample, dtype=np.int32)
    alike = np.empty(sample, dtype=np.float32)
    n = _newest(recent, found, by_place[0], idf, (candidates, places, alike))
    starts, items, ended_at = sessions
    now, half_life = age
    best, chosen = np.full(k, -np.inf, dtype=np.float32), np.full(k, sample, dtype=np.int32)
    for at in range(n):
        session = candidates[at]
        alike[at] *= 2.0 ** (-max(now - ended_at[session], 0) / half_life)
        alike[at] /= np.sqrt(starts[session + 1] - starts[session])
        if alike[at] > best[0]:  # of equals, the newer was there before
            best[0], chosen[0] = alike[at], at
            sink(best, chosen, k)
    total, met = np.zeros(len(idf), dtype=np.float32), np.zeros(len(idf), dtype=np.bool_)
    heard, n_heard = np.empty(len(idf), dtype=np.int32), 0
    for near in chosen:
        if near == sample:
            continue
        session = candidates[near]
        n_heard = _speak(items[starts[session] : starts[session + 1]], places[near], alike[near], by_place[1],
                         (total, met, heard), n_heard)  # fmt: skip
    heard = heard[:n_heard]
    return heard.copy(), total[heard] * idf[heard]


@kernel
def _newest(
    recent: Indices, found: tuple[Starts, Indices, Indices], by_place: Floats, idf: Floats,
    candidates: tuple[Indices, Indices, Floats],
) -> int:  # fmt: skip
    """Merge the sessions of the recent items, newest first: which, where the newest shared item is, how alike."""
    starts, found_in, found_at = found
    session_of, place_of, alike = candidates
    at, n = starts[recent], 0
    while n < len(session_of):
        newest = -1
        for r in range(len(recent)):
            if at[r] < starts[recent[r] + 1]:
                newest = max(newest, int(found_in[at[r]]))
        if newest < 0:
            break
        session_of[n], place_of[n], alike[n] = newest, -1, np.float32(0)
        for r in range(len(recent)):
            if at[r] < starts[recent[r] + 1] and found_in[at[r]] == newest:
                alike[n] += by_place[r] * idf[recent[r]]
                if place_of[n] < 0:
                    place_of[n] = found_at[at[r]]
                at[r] += 1
        n += 1
    return n


@kernel
def _speak(
    items: Indices, shared: int, alike: float, by_distance: Floats, sums: tuple[Floats, Mask, Indices], n_heard: int
) -> int:
    """Add what one session says of its items, all but the shared one's place; how many items are met by then."""
    total, met, heard = sums
    for place in range(len(items)):
        if place == shared:
            continue
        item = items[place]
        if not met[item]:
            met[item], heard[n_heard] = True, item
            n_heard += 1
        total[item] += alike * by_distance[abs(place - shared) - 1]
    return n_heard
