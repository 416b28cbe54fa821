"""Rules run before the draw: what may not be shown, what comes first, what is taken back a little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Mask
from regulars.core.clock import Instant
from regulars.core.data import DISLIKE, UNKNOWN_PRICE, Histories, IdMap
from regulars.core.settings import RankSettings
from regulars.profiles.catalogue import Catalogue, CatalogueColumns
from regulars.rank.blend import Blend
from regulars.rank.candidates import Candidates
from regulars.rank.request import Filters, Request

TIRED = 3.0  # logit taken off once an item was shown `fatigue_after` times without a click


def allowed(catalogue: Catalogue, items: IdMap[str], filters: Filters, now: Instant) -> Mask:
    """Which items `(n_items,)` may be shown at all under these filters."""
    columns = catalogue.columns(items)
    mask = catalogue.released(items, now).copy()
    if filters.in_stock:
        mask &= columns.available
    if filters.kind:
        mask &= columns.kind == catalogue.kind_code(filters.kind)
    if filters.category:
        mask &= _in_category(catalogue, columns, filters.category)
    if filters.price_min is not None:
        mask &= columns.price >= filters.price_min
    if filters.price_max is not None:
        mask &= (columns.price <= filters.price_max) & (columns.price != UNKNOWN_PRICE)
    return mask


def _in_category(catalogue: Catalogue, columns: CatalogueColumns, wanted: str) -> Mask:
    """Items whose category path holds `wanted` as a whole name, or begins with it as a path."""
    fits = np.array(
        [path == wanted or path.startswith(f"{wanted} > ") or wanted in path.split(" > ")
         for path in catalogue.categories.ids] + [False], dtype=np.bool_,
    )  # fmt: skip
    mask: Mask = fits[columns.category_idx]  # -1, no category, reads the False at the end
    return mask


def banned(requests: Sequence[Request], histories: Histories, items: IdMap[str], rank: RankSettings) -> Indices:
    """Items `(n, width)` that a row may not show: excluded, looked at right now, or disliked; -1 pads."""
    everywhere = [items.get(item_id) for item_id in rank.exclude]
    rows = []
    for row, request in enumerate(requests):
        shut = [items.get(item_id) for item_id in request.exclude] + everywhere
        if request.item:
            shut.append(items.get(request.item))
        span = slice(histories.indptr[row], histories.indptr[row + 1])
        shut.extend(histories.item_idx[span][histories.kind[span] == DISLIKE].tolist())
        rows.append([idx for idx in shut if idx >= 0])
    return padded(rows)


def padded(rows: Sequence[Sequence[int]]) -> Indices:
    """Lists of indices as one array, -1 pads."""
    table = np.full((len(rows), max(map(len, rows), default=0)), -1, dtype=np.int32)
    for row, indices in enumerate(rows):
        table[row, : len(indices)] = indices
    return table


def pins_of(requests: Sequence[Request], items: IdMap[str], rank: RankSettings) -> Indices:
    """Items `(n, n_pins)` that come first, the shop's before the request's; -1 pads and stands for unknown ones."""
    return padded([
        list(dict.fromkeys(items.get(item_id) for item_id in (*rank.pins, *request.pins))) for request in requests
    ])  # fmt: skip


def pinned(pins: Indices, candidates: Candidates, scores: Floats) -> Indices:
    """Columns of the candidate lists that come first, in the order of `pins`; what is hidden or barred is not."""
    if not pins.shape[1]:
        return pins
    rows = []
    for row, wanted in enumerate(pins.tolist()):
        listed = candidates.item_idx[row, : candidates.n[row]].tolist()
        place_of = {idx: place for place, idx in enumerate(listed) if scores[row, place] > -np.inf}
        rows.append([place_of[idx] for idx in wanted if idx in place_of])
    return padded(rows)


def score(candidates: Candidates, blend: Blend, rank: RankSettings) -> Floats:
    """The blend's scores `(n, width)`; what was bought too short ago is demoted, hidden or left alone, as set."""
    chosen = replace(blend, not_due=0.0) if rank.not_due == "off" else blend
    scores = chosen.logits(candidates)
    if rank.not_due == "hide":
        scores[candidates.not_due] = -np.inf
    return scores


def tire(
    scores: Floats,
    candidates: Candidates,
    shown: tuple[NDArray[np.int64], Indices, Indices],
    blend: Blend,
    rank: RankSettings,
) -> None:
    """Take off what was shown again and again without a click; `shown` is CSR-like (indptr, item_idx, times)."""
    indptr, item_idx, times = shown
    for row in range(len(scores)):
        span = slice(indptr[row], indptr[row + 1])
        if span.start == span.stop:
            continue
        order = np.argsort(item_idx[span])
        known, count = item_idx[span][order], times[span][order]
        place = np.minimum(np.searchsorted(known, candidates.item_idx[row]), len(known) - 1)
        seen = np.where(known[place] == candidates.item_idx[row], count[place], 0)
        scores[row] -= np.float32(blend.fatigue) * seen
        if rank.fatigue_after:
            scores[row] -= np.float32(TIRED) * (seen >= rank.fatigue_after)
