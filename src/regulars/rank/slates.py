"""`slates(requests, state)`: the only way to make a slate. HTTP calls it with one request, evaluation with many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices
from regulars.core.clock import Instant
from regulars.core.data import Histories
from regulars.core.rng import key_of, uniforms
from regulars.core.settings import Settings
from regulars.events.schema import Decision, Reason, Slate, SlateItem
from regulars.profiles.live import Live
from regulars.rank import rules
from regulars.rank.bundle import Bundle
from regulars.rank.candidates import Candidates, gather
from regulars.rank.draw import Drawn, draw
from regulars.rank.explain import TEXTS, Explainer, Shopper
from regulars.rank.request import Filters, Request

__all__ = ["Filters", "Request", "State", "decision", "slates"]

BATCH_CELLS = 8_000_000  # dense scores held at once by one batch, in numbers
MAX_BATCH = 256
SAMPLED_CANDIDATES = 100  # one decision in so many keeps all its candidates
NO_REASON = Reason(kind="", text="")


@dataclass(frozen=True)
class State:
    """All that slates depend on: the version, what is known of shoppers and items, settings, and time."""

    bundle: Bundle | None
    live: Live
    settings: Settings
    now: Instant
    policy: str = "slate"
    explain: bool = True  # reasons cost more than the slate; simulations that nobody reads leave them out


def slates(requests: Sequence[Request], state: State) -> list[Slate]:
    """Make a slate for every request, possibly empty, then with `why`."""
    if state.bundle is None:
        return [_empty(request, state, "there is no model yet: run `regulars train`") for request in requests]
    if len(state.bundle.items) == 0:
        return [_empty(request, state, "the model knows no item: ingest events and train") for request in requests]
    explainer = Explainer(state.bundle, state.live, state.now)
    made: list[Slate | None] = [None] * len(requests)
    for rows in _batches(requests, len(state.bundle.items)):
        for row, slate in zip(rows, _batch([requests[row] for row in rows], state, explainer), strict=True):
            made[row] = slate
    return [slate for slate in made if slate is not None]


def decision(slate: Slate, request: Request, state: State) -> Decision:
    """The journal's record of a slate."""
    sampled = key_of("candidates", slate.recommendation_id) % SAMPLED_CANDIDATES == 0
    context = {"item": request.item} if request.item else {}
    return Decision(
        event_id=slate.recommendation_id, timestamp=slate.timestamp, user_key=slate.user_key, slot=slate.slot,
        policy=slate.policy, model_version=slate.model_version, settings_hash=slate.settings_hash,
        items=slate.items, n_candidates=slate.n_candidates, variant=request.variant,
        profile_offset=state.live.offset, context=context,
        candidate_ids=_candidate_ids(request, state) if sampled else (),
    )  # fmt: skip


def _candidate_ids(request: Request, state: State) -> tuple[str, ...]:
    if state.bundle is None:
        return ()
    _, candidates = candidates_of([request], state, state.bundle)
    return tuple(state.bundle.items[idx] for idx in candidates.item_idx[0, : candidates.n[0]])


def _batches(requests: Sequence[Request], n_items: int) -> Iterator[list[int]]:
    """Row numbers of requests that share their filters, in batches that fit the memory."""
    groups: dict[Filters, list[int]] = {}
    for row, request in enumerate(requests):
        groups.setdefault(request.filters, []).append(row)
    step = max(1, min(MAX_BATCH, BATCH_CELLS // n_items))
    for rows in groups.values():
        for start in range(0, len(rows), step):
            yield rows[start : start + step]


def candidates_of(requests: Sequence[Request], state: State, bundle: Bundle) -> tuple[Histories, Candidates]:
    """Histories of these requests (which share their filters), and what the models bring for them."""
    rank = state.settings.rank
    histories = state.live.histories(
        [request.user_key for request in requests], bundle.items, state.now, [request.item for request in requests]
    )
    candidates = gather(
        bundle.models, histories, state.now,
        rules.allowed(state.live.catalogue, bundle.items, requests[0].filters, state.now),
        rules.banned(requests, histories, bundle.items, rank), bundle.item_facts.gap_days, rank.candidates,
    )  # fmt: skip
    return histories, candidates


@dataclass(frozen=True)
class _Drawn:
    """One batch on its way from candidates to slates; arrays have a row a request."""

    histories: Histories
    candidates: Candidates
    scores: Floats
    pins: Indices
    drawn: Drawn


def _batch(requests: Sequence[Request], state: State, explainer: Explainer) -> list[Slate]:
    """Candidates -> blend -> rules -> draw -> reasons, for requests with the same filters."""
    bundle, rank = explainer.bundle, state.settings.rank
    histories, candidates = candidates_of(requests, state, bundle)
    scores = bundle.blend.logits(candidates)
    rules.hide_not_due(scores, candidates, rank)
    shown = state.live.shown([request.user_key for request in requests], bundle.items, state.now)
    rules.tire(scores, candidates, shown, bundle.blend, rank)
    limits = np.array([request.limit or rank.limit for request in requests], dtype=np.int32)
    pins = rules.pinned(requests, candidates, bundle.items, rank)
    category = state.live.catalogue.columns(bundle.items).category_idx[np.maximum(candidates.item_idx, 0)]
    category[candidates.item_idx < 0] = -1
    drawn = draw(scores, category, pins, limits, rank, _chances(requests, int(limits.max()), state))
    batch = _Drawn(histories, candidates, scores, pins, drawn)
    return [_slate(row, request, state, explainer, batch) for row, request in enumerate(requests)]


def _chances(requests: Sequence[Request], longest: int, state: State) -> NDArray[np.float64]:
    """Uniform numbers `(n, longest)`, a pure function of seed and recommendation."""
    keys = [key_of(state.settings.train.seed, "draw", request.recommendation_id) >> 1 for request in requests]
    return uniforms(0, np.array(keys, dtype=np.int64)[:, None], np.arange(longest)[None, :])


def _slate(row: int, request: Request, state: State, explainer: Explainer, batch: _Drawn) -> Slate:
    places = batch.drawn.place[row][batch.drawn.place[row] >= 0]
    if len(places) == 0:
        return _empty(request, state, "no item is left: nothing known is in stock and passes the filters")
    bundle = explainer.bundle
    sources = _sources(row, places, bundle, batch)
    item_idx = batch.candidates.item_idx[row, places]
    reasons = [NO_REASON] * len(places)
    if state.explain:
        language = request.language if request.language in TEXTS else state.settings.shop.language
        shopper = Shopper(batch.histories.rows(row, row + 1), request.item, language)
        reasons = explainer.reasons(shopper, item_idx, sources)
    items = tuple(
        SlateItem(
            item_id=bundle.items[idx], score=float(batch.scores[row, place]), position=position,
            propensity=float(batch.drawn.propensity[row, position]), source=source, reason=reason,
            scores=_scores(bundle, batch.candidates.says[row, place]),
        )
        for position, (idx, place, source, reason) in enumerate(zip(item_idx, places, sources, reasons, strict=True))
    )  # fmt: skip
    return Slate(
        recommendation_id=request.recommendation_id, user_key=request.user_key, slot=request.slot,
        policy=state.policy, model_version=bundle.version, settings_hash=bundle.settings_hash,
        timestamp=state.now, items=items, n_candidates=int(batch.candidates.n[row]),
    )  # fmt: skip


def _sources(row: int, places: Indices, bundle: Bundle, batch: _Drawn) -> list[str]:
    """Who brought each shown item: a pin, the exploring draw, or the model that adds most to its score."""
    names, first = list(bundle.models), set(batch.pins[row].tolist()) - {-1}
    candidates, sources = batch.candidates, []
    for position, place in enumerate(places.tolist()):
        if place in first:
            sources.append("pin")
        elif batch.drawn.explored[row, position]:
            sources.append("explore")
        else:
            bought = candidates.bought[row, place] > 0
            sources.append(names[bundle.blend.leading(candidates.says[row, place], bought)])
    return sources


def _scores(bundle: Bundle, says: Floats) -> dict[str, float]:
    """Each model's own say about an item: where its score lies between its last and best candidate."""
    return {name: round(float(says[2 * s]), 4) for s, name in enumerate(bundle.models) if says[2 * s + 1] > 0}


def _empty(request: Request, state: State, why: str) -> Slate:
    version = state.bundle.version if state.bundle else ""
    return Slate(
        recommendation_id=request.recommendation_id, user_key=request.user_key, slot=request.slot,
        policy=state.policy, model_version=version, settings_hash=state.settings.ranking_hash(),
        timestamp=state.now, items=(), n_candidates=0, why=why,
    )  # fmt: skip
