"""What the learned ranker looks at: of each candidate, what the models say, what the shopper did, what the item is.

All numbers are there for every candidate; what is unknown has a value that nothing known has. The hour is left out
on purpose: the lists that teach the ranker are all of one instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Instants
from regulars.core.clock import DAY, Instant
from regulars.core.data import CART, CLICK, KIND, PURCHASE, VIEW, Histories
from regulars.core.jit import kernel
from regulars.profiles.catalogue import CatalogueColumns
from regulars.rank.candidates import Candidates, slot_of

if TYPE_CHECKING:
    from regulars.rank.bundle import ItemFacts

RERANKED = 120  # candidates of each list, best by the blend, that are looked at again
WISHLIST = KIND["wishlist"]
UNKNOWN = -1.0
NO_RATIO = -50.0  # of logarithms of prices
LONG_AGO = 4000.0  # days: longer than any log
SAYS = ("place", "rank")  # what each model says of a candidate: see `candidates`
OF_PAIR = ("bought", "gaps since bought", "days since looked at", "times looked at")
OF_ITEM = ("buyers", "week share", "days since release", "price")
OF_MATCH = ("price ratio", "category share", "brand share", "same category as viewed")
OF_SHOPPER = ("events", "purchases", "days away")


def feature_names(sources: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns of `features`, for these models."""
    says = [f"{source} {say}" for source in sources for say in SAYS]
    return ("blend score", "blend rank", *says, *OF_PAIR, *OF_ITEM, *OF_MATCH, *OF_SHOPPER)


def best_places(logits: Floats, k: int = RERANKED) -> Indices:
    """Columns `(n, at most k)` of the best scores of each row, best first; -1 where nothing may be shown."""
    rows = np.arange(len(logits))[:, None]
    places = np.argsort(-logits, axis=1, kind="stable")[:, :k].astype(np.int32)
    places[logits[rows, places] == -np.inf] = -1
    return places


def features(
    candidates: Candidates, places: Indices, logits: Floats, histories: Histories, facts: ItemFacts,
    columns: CatalogueColumns, now: Instant,
) -> Floats:  # fmt: skip
    """One row of numbers `(n, m, n_features)` float32 for the candidates at `places (n, m)`, rows of zeros at -1.

    `logits (n, width)` are the blend's; `places` are in their order, best first.
    """
    n, m = places.shape
    n_says = candidates.says.shape[2]
    out = np.zeros((n, m, 2 + n_says + len(OF_PAIR + OF_ITEM + OF_MATCH + OF_SHOPPER)), dtype=np.float32)
    rows, chosen = np.arange(n)[:, None], np.maximum(places, 0)
    item_idx = np.where(places >= 0, candidates.item_idx[rows, chosen], -1).astype(np.int32)
    score = np.where(places >= 0, logits[rows, chosen], 0)
    out[:, :, 0] = score - score[:, :1]
    out[:, :, 1] = np.log2(1.0 + np.arange(m))
    out[:, :, 2 : 2 + n_says] = candidates.says[rows, chosen]
    context = histories.context_item
    if context is None:
        context = np.full(n, -1, dtype=np.int32)
    scratch = (
        np.full(1 << (2 * m).bit_length(), -1, dtype=np.int32), np.zeros(m, dtype=np.int64),
        np.zeros(m, dtype=np.int64), np.zeros(_n_codes(columns.category_idx), dtype=np.float32),
        np.zeros(_n_codes(columns.brand_idx), dtype=np.float32),
    )  # fmt: skip
    events = (np.ascontiguousarray(histories.item_idx), np.ascontiguousarray(histories.kind),
              np.ascontiguousarray(histories.at))  # fmt: skip
    items = (facts.buyers, facts.week_buyers, columns.released_at, columns.price, columns.category_idx,
             columns.brand_idx)  # fmt: skip
    _fill(
        item_idx, candidates.bought[rows, chosen], candidates.rested[rows, chosen], histories.indptr, events, context,
        items, now, scratch, out[:, :, 2 + n_says :],
    )  # fmt: skip
    out[places < 0] = 0.0
    return out


def _n_codes(codes: Indices) -> int:
    return max(1, int(codes.max(initial=-1)) + 1)


History = tuple[Indices, NDArray[np.int8], Instants]  # items, kinds and instants of events
ItemColumns = tuple[Indices, Indices, Instants, NDArray[np.int64], Indices, Indices]
Scratch = tuple[Indices, NDArray[np.int64], NDArray[np.int64], Floats, Floats]


@kernel
def _fill(  # noqa: PLR0913 - a kernel takes plain arrays
    item_idx: Indices, bought: NDArray[np.int32], rested: Floats, indptr: NDArray[np.int64], history: History,
    context: Indices, items: ItemColumns, now: Instant, scratch: Scratch, out: Floats,
) -> None:  # fmt: skip
    """Columns from OF_PAIR on; the first of `scratch` is -1 everywhere when it returns, the last two are 0."""
    buyers, week_buyers, released_at, price, category, brand = items
    looked_at, looks, of_category, of_brand = scratch[1:]
    for row in range(len(item_idx)):
        start, stop = indptr[row], indptr[row + 1]
        purchases, level = _look_back(item_idx[row], start, stop, history, items, scratch)
        viewed = category[context[row]] if context[row] >= 0 else -1
        mine = out[row]
        for place, idx in enumerate(item_idx[row]):
            if idx < 0:
                continue
            mine[place, 0] = np.log1p(bought[row, place])
            mine[place, 1] = min(rested[row, place], 100.0)
            mine[place, 2] = _days(now, looked_at[place], LONG_AGO) if looks[place] else LONG_AGO
            mine[place, 3] = looks[place]
            mine[place, 4] = np.log1p(buyers[idx])
            mine[place, 5] = week_buyers[idx] / (buyers[idx] + 1.0)
            mine[place, 6] = _days(now, released_at[idx], LONG_AGO) if released_at[idx] > 0 else UNKNOWN
            mine[place, 7] = np.log(price[idx]) if price[idx] > 0 else UNKNOWN
            mine[place, 8] = np.log(price[idx]) - level if price[idx] > 0 and level > 0 else NO_RATIO
            mine[place, 9] = of_category[category[idx]] / max(stop - start, 1) if category[idx] >= 0 else 0.0
            mine[place, 10] = of_brand[brand[idx]] / max(stop - start, 1) if brand[idx] >= 0 else 0.0
            mine[place, 11] = UNKNOWN if viewed < 0 else (1.0 if category[idx] == viewed else 0.0)
            mine[place, 12] = np.log1p(stop - start)
            mine[place, 13] = np.log1p(purchases)
            mine[place, 14] = _days(now, history[2][stop - 1], LONG_AGO) if stop > start else LONG_AGO
        _wipe(history[0][start:stop], items, scratch)


@kernel
def _days(now: Instant, then: Instant, most: float) -> float:
    """Days from one instant to another, from 0 to `most`."""
    return min(max((now - then) / DAY, 0.0), most)


@kernel
def _look_back(
    item_idx: Indices, start: int, stop: int, history: History, items: ItemColumns, scratch: Scratch
) -> tuple[int, float]:
    """Count one shopper's events into `scratch`; return purchases, and the mean log price of what was bought."""
    happened, kind, at = history
    price, category, brand = items[3:]
    table, looked_at, looks, of_category, of_brand = scratch
    looks[:] = 0
    for place, idx in enumerate(item_idx):
        if idx >= 0:
            table[slot_of(table, item_idx, idx)] = place
    purchases, paid, n_paid = 0, 0.0, 0
    for event in range(start, stop):
        idx = happened[event]
        if category[idx] >= 0:
            of_category[category[idx]] += 1
        if brand[idx] >= 0:
            of_brand[brand[idx]] += 1
        if kind[event] == PURCHASE:
            purchases += 1
            paid += np.log(max(price[idx], 1))
            n_paid += price[idx] > 0
        elif kind[event] in (VIEW, CLICK, CART, WISHLIST):
            place = table[slot_of(table, item_idx, idx)]
            if place >= 0:
                looks[place] += 1
                looked_at[place] = at[event]
    return purchases, paid / max(n_paid, 1)


@kernel
def _wipe(happened: Indices, items: ItemColumns, scratch: Scratch) -> None:
    """Take back what `_look_back` counted, so that the next row finds it clean."""
    category, brand = items[4:]
    table, _, _, of_category, of_brand = scratch
    for idx in happened:
        if category[idx] >= 0:
            of_category[category[idx]] = 0
        if brand[idx] >= 0:
            of_brand[brand[idx]] = 0
    table[:] = -1
