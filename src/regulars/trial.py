"""A trial: models that know nothing after a cut, how they rank together, and what shoppers did after it.

make_trial(...)     fits before the cut, and learns to rank from the days before it
rankers_of(trial)   every model alone and the slate, as the offline table and the gate ask them
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from regulars.clean.dataset import Cleaning
from regulars.core.arrays import Indices, Matrix
from regulars.core.clock import DAY, Duration, Instant
from regulars.core.data import Dataset
from regulars.core.errors import InputError, RegularsError
from regulars.core.rng import generator
from regulars.core.settings import Settings
from regulars.evaluate import offline
from regulars.evaluate.offline import Ranker, Row
from regulars.evaluate.split import Beside, Targets, beside, targets
from regulars.feedback.lessons import Lessons
from regulars.models.base import Model, Warm
from regulars.models.registry import make_model
from regulars.profiles.live import Live
from regulars.rank.blend import Blend
from regulars.rank.bundle import Bundle, ItemFacts
from regulars.rank.learn import Asked, Ranking, learn_ranking
from regulars.rank.slates import Request, State, slates

log = logging.getLogger(__name__)

MIN_HOLDOUT, MAX_HOLDOUT = DAY, 28 * DAY
SLATES = 2048  # slates that a table holds at once: of all shoppers they would be millions of small objects
K = 20  # cut-off of every offline table
SLATE, FLOOR = "slate", "popular"


@dataclass(frozen=True)
class Trial:
    """Models that know nothing after the cut, and what shoppers did after it."""

    before: Dataset
    bundle: Bundle
    live: Live
    targets: Targets
    beside: Beside
    until: Instant  # how far `targets` look
    settings: Settings


def holdout(full: Dataset, settings: Settings) -> Duration:
    """The last days that judge: as set, or a tenth of the log, between 1 and 28 days."""
    if settings.train.holdout:
        return int(settings.train.holdout)
    span = full.as_of - int(full.interactions.at.min())
    return min(max(span // 10, MIN_HOLDOUT), MAX_HOLDOUT)


def fit_models(
    settings: Settings, data: Dataset, last: Bundle | None = None
) -> tuple[dict[str, Model], dict[str, str]]:
    """Fit every model of the settings, some at a time; those that cannot are left out, with the reason.

    Models go on from those of `last` where their settings are the same; a trial's may not: it has seen later days.
    """
    fitted: dict[str, Model] = {}
    left_out: dict[str, str] = {}
    places = None if last is None else last.items.index(data.items.ids.ids, "skip")

    def fit(name: str) -> Model:
        model = make_model(name, settings.models.get(name))
        need = model.estimate_mb(data.shape, len(data.interactions))
        if need > settings.train.memory_mb:
            raise InputError(name, got=f"about {need:,.0f} MB", wanted=f"{settings.train.memory_mb} MB at most")
        if last is not None and places is not None and name in last.models:
            model.warm = Warm(last.models[name], places)
        return model.fit(data, generator(settings.train.seed, "fit", name))

    with threadpool_limits(1), ThreadPoolExecutor(settings.train.threads or 2) as pool:
        jobs = {name: pool.submit(fit, name) for name in settings.train.models}
        for name, job in jobs.items():
            try:
                fitted[name] = job.result()
            except RegularsError as error:
                left_out[name] = str(error)
                log.warning("left out %s: %s", name, error)
    if not fitted:
        raise InputError("train", got="; ".join(left_out.values()), wanted="one model that can be fitted")
    return fitted, left_out


def make_trial(
    cleaning: Cleaning, settings: Settings, full: Dataset, cut: Instant, learned: Lessons, *, blended: bool
) -> Trial:
    """Fit before `cut`; `blended`: learn to rank too, on the days just before `cut` with still older models."""
    before = cleaning.as_of(cut)
    models, _ = fit_models(settings, before)
    ranking = Ranking(Blend.prior(tuple(models)))
    if blended:
        older = cleaning.as_of(cut - holdout(full, settings))
        if len(older.interactions):
            fitted = fit_models(settings, older)[0]
            ranking = ranking_after(trial_of(settings, older, fitted, ranking, before), learned)
    return trial_of(settings, before, models, ranking, full)


def trial_of(
    settings: Settings, before: Dataset, models: Mapping[str, Model], ranking: Ranking, after: Dataset
) -> Trial:  # fmt: skip
    """Models fitted on `before`, held against what `after` adds to it."""
    ranking = keep_sources(ranking, models)
    bundle = Bundle(
        version="trial", items=before.items.ids, models=models, blend=ranking.blend,
        item_facts=ItemFacts.of(before), offset=0, trained_at=before.as_of, settings_hash=settings.ranking_hash(),
        facts={"ranker": ranking.report}, hybrid=ranking.hybrid, beside=ranking.beside,
    )  # fmt: skip
    live = Live.from_dataset(before, settings)
    asked = targets(after, before, settings.feedback)
    return Trial(before, bundle, live, asked, beside(after, before), after.as_of, settings)


def ranking_after(trial: Trial, learned: Lessons) -> Ranking:
    """The ranking that the days after a trial's cut teach: what was bought, and what was clicked on slates."""
    wanted = learned.wanted(trial.targets.subsets["all"].relevant, trial.before, trial.until)
    keys, names, visits = trial.before.users.keys, trial.bundle.items, trial.beside
    looking = Asked(
        [keys[int(user)] for user in visits.user_idx], visits.wanted, [names[int(item)] for item in visits.item_idx]
    )
    return learn_ranking(state_of(trial), Asked(keys.ids, wanted), looking, learned.fatigue, trial.until)


def keep_sources(ranking: Ranking, models: Mapping[str, Model]) -> Ranking:
    """The ranking over the models that there are, in their order; one that the blend has not met gets the prior.

    Trees know their models by place, so other models leave them out.
    """
    if ranking.blend.sources == tuple(models):
        return ranking
    beside = None if ranking.beside is None else _over(ranking.beside, models)
    report = {**ranking.report, "left_out": "the models are not those that the trees were grown with"}
    return Ranking(_over(ranking.blend, models), beside=beside, report=report)


def _over(blend: Blend, models: Mapping[str, Model]) -> Blend:
    prior = Blend.prior(tuple(models))
    weights = prior.weights.copy()
    for place, name in enumerate(prior.sources):
        if name in blend.sources:
            known = blend.sources.index(name)
            weights[:, 2 * place : 2 * place + 2] = blend.weights[:, 2 * known : 2 * known + 2]
    return replace(blend, sources=prior.sources, weights=weights)


def state_of(trial: Trial) -> State:
    """A trial's state for making slates: nothing random, and no reasons that nobody reads."""
    settings = trial.settings.change(rank={"explore": "off"})
    return State(trial.bundle, trial.live, settings, trial.before.as_of, explain=False)


def slate_ranker(trial: Trial, k: int = K) -> Ranker:
    """What the product would show, as a ranker: the very same `slates`."""
    state, users, items = state_of(trial), trial.before.users.keys, trial.bundle.items

    def rank(user_idx: Indices, exclude: Matrix | None) -> Indices:
        ranked = np.full((len(user_idx), k), -1, dtype=np.int32)
        for start in range(0, len(user_idx), SLATES):
            requests = [
                Request(user_key=users[int(user)], recommendation_id=str(row), limit=k,
                        exclude=() if exclude is None else tuple(items[idx] for idx in _row(exclude, row)))
                for row, user in enumerate(user_idx[start : start + SLATES], start)
            ]  # fmt: skip
            for row, slate in enumerate(slates(requests, state), start):
                ranked[row, : len(slate.items)] = items.index([item.item_id for item in slate.items])
        return ranked

    return rank


def _row(matrix: Matrix, row: int) -> list[int]:
    found: list[int] = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].tolist()
    return found


def once(ranker: Ranker) -> Ranker:
    """A ranker that remembers: tables and the gate ask about the same shoppers."""
    known: dict[tuple[bytes, bool], Indices] = {}

    def rank(user_idx: Indices, exclude: Matrix | None) -> Indices:
        key = (user_idx.tobytes(), exclude is None)
        if key not in known:
            known[key] = ranker(user_idx, exclude)
        return known[key]

    return rank


def rankers_of(trial: Trial) -> dict[str, Ranker]:
    """Every model alone, and the slate; popularity is always there."""
    models, before = dict(trial.bundle.models), trial.before
    if FLOOR not in models:
        models[FLOOR] = make_model(FLOOR).fit(before)
    rankers = {name: offline.model_ranker(model, before, before.as_of, K) for name, model in models.items()}
    return {name: once(ranker) for name, ranker in {**rankers, SLATE: slate_ranker(trial)}.items()}


def table_of(trial: Trial, rankers: Mapping[str, Ranker]) -> list[Row]:
    """The offline table of a trial."""
    return offline.table(rankers, trial.targets, k=K, rng=generator(trial.settings.train.seed, "table"))
