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
from regulars.rank.blend import Blend
from regulars.rank.bundle import Bundle
from regulars.rank.candidates import Candidates, gather
from regulars.rank.draw import Drawn, draw
from regulars.rank.explain import TEXTS, Explainer, Shopper
from regulars.rank.features import best_places, features
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
    return Decision(
        event_id=slate.recommendation_id, timestamp=slate.timestamp, user_key=slate.user_key, slot=slate.slot,
        policy=slate.policy, model_version=slate.model_version, settings_hash=slate.settings_hash,
        items=slate.items, n_candidates=slate.n_candidates, candidate_ids=slate.candidate_ids,
        variant=request.variant, profile_offset=state.live.offset,
        context={"item": request.item} if request.item else {},
    )  # fmt: skip


def _batches(requests: Sequence[Request], n_items: int) -> Iterator[list[int]]:
    """Row numbers of requests that share their filters and their blend, in batches that fit the memory."""
    groups: dict[tuple[Filters, bool], list[int]] = {}
    for row, request in enumerate(requests):
        groups.setdefault((request.filters, bool(request.item)), []).append(row)
    step = max(1, min(MAX_BATCH, BATCH_CELLS // n_items))
    for rows in groups.values():
        for start in range(0, len(rows), step):
            yield rows[start : start + step]


def histories_of(requests: Sequence[Request], state: State, bundle: Bundle) -> Histories:
    """What the models see of the shoppers of these requests."""
    return state.live.histories(
        [request.user_key for request in requests], bundle.items, state.now, [request.item for request in requests]
    )


def candidates_of(
    requests: Sequence[Request], state: State, bundle: Bundle, histories: Histories
) -> Candidates:  # fmt: skip
    """What the models bring for these requests, which share their filters."""
    rank = state.settings.rank
    return gather(
        bundle.retrievers, histories, state.now,
        rules.allowed(state.live.catalogue, bundle.items, requests[0].filters, state.now),
        rules.banned(requests, histories, bundle.items, rank), bundle.item_facts.gap_days, rank.candidates,
        rules.pins_of(requests, bundle.items, rank),
    )  # fmt: skip


@dataclass(frozen=True)
class _Shown:
    """What a batch shows, as plain lists by row and position: a slate's items are put together from these."""

    item_idx: list[list[int]]
    score: list[list[float]]
    propensity: list[list[float]]
    probability: list[list[float | None]]
    source: list[list[str]]
    scores: list[list[dict[str, float]]]
    n_candidates: list[int]
    candidates: Indices  # (n, width)
    limits: list[int]


def _batch(requests: Sequence[Request], state: State, explainer: Explainer) -> list[Slate]:
    """Candidates -> blend -> second look -> rules -> draw -> reasons, for requests that `_batches` put together."""
    bundle, rank = explainer.bundle, state.settings.rank
    blend = bundle.blend_for(requests[0].item)
    histories = histories_of(requests, state, bundle)
    candidates = candidates_of(requests, state, bundle, histories)
    chances = state.explain and not requests[0].item  # they are learned from lists that name no item
    scores, look = _look_again(candidates, rules.score(candidates, blend, rank), histories, state, bundle, chances)
    shown = state.live.shown([request.user_key for request in requests], bundle.items, state.now)
    rules.tire(scores, candidates, shown, blend, rank)
    limits = np.array([request.limit or rank.limit for request in requests], dtype=np.int32)
    pins = rules.pinned(rules.pins_of(requests, bundle.items, rank), candidates, scores)
    category = state.live.catalogue.columns(bundle.items).category_idx[np.maximum(candidates.item_idx, 0)]
    category[candidates.item_idx < 0] = -1
    drawn = draw(scores, category, pins, limits, rank, _chances(requests, int(limits.max()), state))
    made = _shown(bundle, blend, candidates, scores, drawn, pins, look if chances else None)
    return [_slate(row, request, state, explainer, histories, made) for row, request in enumerate(requests)]


Look = tuple[Indices, Floats]  # columns that were looked at again `(n, m)`, and their features


def _look_again(
    candidates: Candidates, scores: Floats, histories: Histories, state: State, bundle: Bundle, chances: bool
) -> tuple[Floats, Look | None]:
    """The scores after the second look, and what it saw; as they were where neither order nor chances need it."""
    hybrid = bundle.hybrid
    if hybrid is None or not (len(hybrid.order) or (chances and hybrid.purchases is not None)):
        return scores, None
    places = best_places(scores)
    columns = state.live.catalogue.columns(bundle.items)
    rows = features(candidates, places, scores, histories, bundle.item_facts, columns, state.now)
    return hybrid.rerank(scores, places, rows), (places, rows)


def _probabilities(bundle: Bundle, drawn: Drawn, look: Look | None) -> list[list[float | None]]:
    """How likely each drawn column is bought, None where that was not learned or it was not looked at."""
    if look is None or bundle.hybrid is None or bundle.hybrid.purchases is None:
        return [[None] * drawn.place.shape[1] for _ in drawn.place]
    places, rows = look
    same = (drawn.place[:, :, None] == places[:, None, :]) & (drawn.place >= 0)[:, :, None]
    row, position, column = np.nonzero(same)
    told = np.full(drawn.place.shape, None, dtype=object)
    told[row, position] = bundle.hybrid.purchases.probability(rows[row, column]).round(6).tolist()
    found: list[list[float | None]] = told.tolist()
    return found


def _shown(
    bundle: Bundle, blend: Blend, candidates: Candidates, scores: Floats, drawn: Drawn, pins: Indices,
    look: Look | None,
) -> _Shown:  # fmt: skip
    """Look up everything about the drawn columns at once."""
    rows, place = np.arange(len(candidates))[:, None], np.maximum(drawn.place, 0)
    says = candidates.says[rows, place]
    lead = blend.leading(says, candidates.bought[rows, place] > 0)
    names = np.array([*bundle.models, "explore", "pin"], dtype=object)
    source = np.where(drawn.explored, len(names) - 2, lead)
    if pins.shape[1]:
        source[(drawn.place[:, :, None] == pins[:, None, :]).any(axis=2)] = len(names) - 1
    return _Shown(
        item_idx=candidates.item_idx[rows, place].tolist(), score=scores[rows, place].astype(np.float64).tolist(),
        propensity=drawn.propensity.tolist(), probability=_probabilities(bundle, drawn, look),
        source=names[source].tolist(), scores=_scores(bundle, says),
        n_candidates=candidates.n.tolist(), candidates=candidates.item_idx,
        limits=(drawn.place >= 0).sum(axis=1).tolist(),
    )  # fmt: skip


def _scores(bundle: Bundle, says: Floats) -> list[list[dict[str, float]]]:
    """Each model's own say about the shown items: where its score lies between its last and best candidate."""
    place, known = says[:, :, 0::2].astype(np.float64).round(4).tolist(), (says[:, :, 1::2] > 0).tolist()
    names = list(bundle.models)
    return [
        [{name: say for name, say, is_known in zip(names, *item, strict=True) if is_known}
         for item in zip(*row, strict=True)]
        for row in zip(place, known, strict=True)
    ]  # fmt: skip


def _chances(requests: Sequence[Request], longest: int, state: State) -> NDArray[np.float64]:
    """Uniform numbers `(n, longest)`, a pure function of seed and recommendation."""
    keys = [key_of(state.settings.train.seed, "draw", request.recommendation_id) >> 1 for request in requests]
    return uniforms(0, np.array(keys, dtype=np.int64)[:, None], np.arange(longest)[None, :])


def _slate(
    row: int, request: Request, state: State, explainer: Explainer, histories: Histories, made: _Shown
) -> Slate:
    n = made.limits[row]
    if n == 0:
        return _empty(request, state, "no item is left: nothing known is in stock and passes the filters")
    bundle, ids = explainer.bundle, explainer.bundle.items.ids
    reasons = [NO_REASON] * n
    if state.explain:
        language = request.language if request.language in TEXTS else state.settings.shop.language
        shopper = Shopper(histories.rows(row, row + 1), request.item, language)
        item_idx = np.array(made.item_idx[row][:n], dtype=np.int32)
        reasons = explainer.reasons(shopper, item_idx, made.source[row][:n])
    columns = (made.item_idx[row], made.score[row], made.propensity[row], made.probability[row], made.source[row],
               made.scores[row])  # fmt: skip
    items = tuple(
        SlateItem(
            item_id=ids[idx], score=score, position=position, propensity=propensity, source=source,
            reason=reasons[position], scores=scores, probability=probability,
        )
        for position, (idx, score, propensity, probability, source, scores) in enumerate(
            zip(*(column[:n] for column in columns), strict=True)
        )
    )  # fmt: skip
    return Slate(
        recommendation_id=request.recommendation_id, user_key=request.user_key, slot=request.slot,
        policy=state.policy, model_version=bundle.version, settings_hash=state.settings.ranking_hash(),
        timestamp=state.now, items=items, n_candidates=made.n_candidates[row],
        probability_days=bundle.hybrid.days if bundle.hybrid is not None else None,
        candidate_ids=_sample(request.recommendation_id, made.candidates[row, : made.n_candidates[row]], ids),
    )  # fmt: skip


def _sample(recommendation_id: str, candidates: Indices, ids: Sequence[str]) -> tuple[str, ...]:
    """The ids of a slate's candidates for one recommendation in `SAMPLED_CANDIDATES`, none for the others."""
    if key_of("candidates", recommendation_id) % SAMPLED_CANDIDATES:
        return ()
    return tuple(ids[idx] for idx in candidates.tolist())


def _empty(request: Request, state: State, why: str) -> Slate:
    version = state.bundle.version if state.bundle else ""
    return Slate(
        recommendation_id=request.recommendation_id, user_key=request.user_key, slot=request.slot,
        policy=state.policy, model_version=version, settings_hash=state.settings.ranking_hash(),
        timestamp=state.now, items=(), n_candidates=0, why=why,
    )  # fmt: skip
