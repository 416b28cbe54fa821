"""The loop, readable from top to bottom: clean, fit, judge, blend, publish.

train_once(app)     everything up to now -> a new version, served unless the gate rejects it
evaluate_once(app)  every model and the slate on the last days, against popularity
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from regulars.app import App
from regulars.clean.dataset import Cleaning
from regulars.core.arrays import Indices, Matrix
from regulars.core.clock import DAY, Duration, Instant, format_instant
from regulars.core.data import Dataset
from regulars.core.errors import InputError, ModelError, RegularsError
from regulars.core.rng import generator
from regulars.core.settings import MODELS, FeedbackSettings, Settings
from regulars.evaluate import offline
from regulars.evaluate.gate import Verdict, judge
from regulars.evaluate.offline import Ranker, Row
from regulars.evaluate.split import Targets, sample, targets
from regulars.feedback.attribution import COLUMNS, Attribution, attribute
from regulars.feedback.lessons import Lessons, lessons
from regulars.models.base import Model
from regulars.models.registry import make_model
from regulars.profiles.live import Live
from regulars.rank.blend import Blend
from regulars.rank.bundle import Bundle, ItemFacts
from regulars.rank.learn import learn_blend
from regulars.rank.slates import Request, State, slates

log = logging.getLogger(__name__)

MIN_HOLDOUT, MAX_HOLDOUT = DAY, 28 * DAY
LOOK_BACK = 21 * DAY  # the fatigue window and the purchase window after it: older decisions teach nothing new
COMPACT_ROWS = 5000  # journal rows that are moved to the lake before a training: columns read faster than rows
JUDGED = 2000  # shoppers whom the gate looks at: more would not change its mind, only its patience
SLATES = 2048  # slates that an offline table holds at once: of all shoppers they would be millions of small objects
K = 20  # cut-off of every offline table
SLATE, FLOOR = "slate", "popular"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """Models that know nothing after the cut, and what shoppers did after it."""

    before: Dataset
    bundle: Bundle
    live: Live
    targets: Targets
    until: Instant  # how far `targets` look
    settings: Settings


@dataclass(frozen=True)
class TrainReport:
    """What a training did."""

    version: str
    accepted: bool
    reasons: tuple[str, ...]
    table: list[Row]
    left_out: Mapping[str, str]  # model -> why
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def text(self) -> str:
        """For people."""
        word = "serves now" if self.accepted else "was rejected by the gate; the live version stays"
        lines = [f"Version {self.version} {word}.", *(f"  {reason}" for reason in self.reasons)]
        lines += [f"  left out {name}: {why}" for name, why in self.left_out.items()]
        if self.table:
            lines += ["", offline.to_markdown([short(row) for row in self.table if row["subset"] in ("all", "new")])]
        lines.append("Seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items()))
        return "\n".join(lines)


def short(row: Row) -> Row:
    """The columns that fit a terminal."""
    keys = ("model", "subset", "users", "ndcg@20", "ndcg@20_low", "ndcg@20_high", "recall@20", "hr@20", "coverage@20")
    return {key: row[key] for key in keys if key in row}


class Watch:
    """Seconds by step; says each step as it begins."""

    def __init__(self, say: Say | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._say = say or log.info

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Time one step."""
        self._say(text)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)


def train_once(app: App, *, say: Say | None = None, gate: bool | None = None) -> TrainReport:
    """Learn from everything up to now; the new version serves unless the gate rejects it."""
    watch, settings = Watch(say), app.settings
    with watch.step("clean", "Cleaning the log"):
        app.journal.compact(COMPACT_ROWS)
        cleaning = app.cleaning()
        full, _ = cleaning.whole()
        _need_events(full)
    with watch.step("feedback", "Joining slates with what followed"):
        learned = lessons(recent_attribution(cleaning, settings.feedback, full.as_of), settings, full.as_of)
    cut = full.as_of - holdout(full, settings)
    gated = settings.train.gate if gate is None else gate
    rows, verdict = [], Verdict(True, ("the gate is off",), ())
    with watch.step("trial", "Fitting without the last days"):
        trial = make_trial(cleaning, settings, full, cut, learned, blended=gated)
    if gated:
        with watch.step("judge", "Judging on the last days"):
            trial = replace(trial, targets=sample(trial.targets, JUDGED, generator(settings.train.seed, "judged")))
            rankers = rankers_of(trial)
            rows = table_of(trial, rankers)
            theirs = live_scores(app, cleaning, full, trial, rankers, learned)
            verdict = gate_verdict(rankers, trial.targets, theirs, settings.train.seed)
    with watch.step("fit", "Fitting on everything"):
        blend = blend_after(trial, learned)
        models, left_out = fit_models(settings, full)
    with watch.step("publish", "Publishing"):
        facts = {"table": rows, "verdict": verdict.to_json(), "settings": ranking_settings(settings),
                 "left_out": left_out, "events": len(full.interactions)}  # fmt: skip
        bundle = Bundle(
            version=version_name(full.as_of, app.versions.names()), items=full.items.ids, models=models,
            blend=keep_sources(blend, models), item_facts=ItemFacts.of(full), offset=cleaning.offset,
            trained_at=full.as_of, settings_hash=settings.ranking_hash(), facts=facts,
        )  # fmt: skip
        if verdict.accepted:
            app.versions.publish(bundle, settings.train.keep)
        app.refold(cleaning, full)
    return TrainReport(bundle.version, verdict.accepted, verdict.reasons, rows, left_out, watch.seconds)


def evaluate_once(app: App, *, say: Say | None = None) -> list[Row]:
    """Rows of every model and the slate on the last days, all fitted on what came before."""
    watch = Watch(say)
    with watch.step("clean", "Cleaning the log"):
        cleaning = app.cleaning()
        full, _ = cleaning.whole()
        _need_events(full)
    with watch.step("trial", "Fitting without the last days"):
        cut = full.as_of - holdout(full, app.settings)
        trial = make_trial(cleaning, app.settings, full, cut, Lessons(), blended=True)
    with watch.step("judge", "Ranking for the shoppers of the last days"):
        return table_of(trial, rankers_of(trial))


def _need_events(full: Dataset) -> None:
    if len(full.interactions) == 0:
        raise InputError("train", got="a log without interactions", wanted="at least one",
                         remedy="Run `regulars ingest FILES`.")  # fmt: skip


def holdout(full: Dataset, settings: Settings) -> Duration:
    """The last days that judge: as set, or a tenth of the log, between 1 and 28 days."""
    if settings.train.holdout:
        return int(settings.train.holdout)
    span = full.as_of - int(full.interactions.at.min())
    return min(max(span // 10, MIN_HOLDOUT), MAX_HOLDOUT)


def version_name(at: Instant, taken: Sequence[str]) -> str:
    """Versions sort by the time of their data; a second one of the same instant gets a number."""
    stem = format_instant(at)[:19].replace(":", "").replace("-", "")
    return next(name for n in range(len(taken) + 1) if (name := f"{stem}-{n:02d}") not in taken)


def ranking_settings(settings: Settings) -> dict[str, Any]:
    """What another training needs to repeat this one's choices: the sections that decide a slate."""
    parts = {name: asdict(getattr(settings, name)) for name in ("clean", "profiles", "train", "rank")}
    return {**parts, MODELS: settings.models}


# --- fitting


def fit_models(settings: Settings, data: Dataset) -> tuple[dict[str, Model], dict[str, str]]:
    """Fit every model of the settings, some at a time; those that cannot are left out, with the reason."""
    fitted: dict[str, Model] = {}
    left_out: dict[str, str] = {}

    def fit(name: str) -> Model:
        model = make_model(name, settings.models.get(name))
        need = model.estimate_mb(data.shape, len(data.interactions))
        if need > settings.train.memory_mb:
            raise InputError(name, got=f"about {need:,.0f} MB", wanted=f"{settings.train.memory_mb} MB at most")
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
    """Fit before `cut`; `blended`: fit the blend too, on the days just before `cut` with still older models."""
    before = cleaning.as_of(cut)
    models, _ = fit_models(settings, before)
    blend = Blend.prior(tuple(models))
    if blended:
        older = cleaning.as_of(cut - holdout(full, settings))
        if len(older.interactions):
            blend = blend_after(_trial(settings, older, fit_models(settings, older)[0], blend, before), learned)
    return _trial(settings, before, models, keep_sources(blend, models), full)


def _trial(settings: Settings, before: Dataset, models: Mapping[str, Model], blend: Blend, after: Dataset) -> Trial:
    bundle = Bundle(
        version="trial", items=before.items.ids, models=models, blend=keep_sources(blend, models),
        item_facts=ItemFacts.of(before), offset=0, trained_at=before.as_of, settings_hash=settings.ranking_hash(),
    )  # fmt: skip
    live = Live.from_dataset(before, settings)
    return Trial(before, bundle, live, targets(after, before, settings.feedback), after.as_of, settings)


def blend_after(trial: Trial, learned: Lessons) -> Blend:
    """The blend that the days after a trial's cut teach: what was bought, and what was clicked on slates."""
    wanted = learned.wanted(trial.targets.subsets["all"].relevant, trial.before, trial.until)
    rng = generator(trial.settings.train.seed, "blend")
    return learn_blend(state_of(trial), list(trial.before.users.keys.ids), wanted, learned.fatigue, rng)


def keep_sources(blend: Blend, models: Mapping[str, Model]) -> Blend:
    """The blend over the models that there are, in their order; one it has not met gets the prior."""
    if blend.sources == tuple(models):
        return blend
    prior = Blend.prior(tuple(models))
    weights = prior.weights.copy()
    for place, name in enumerate(prior.sources):
        if name in blend.sources:
            known = blend.sources.index(name)
            weights[:, 2 * place : 2 * place + 2] = blend.weights[:, 2 * known : 2 * known + 2]
    return replace(blend, sources=prior.sources, weights=weights)


# --- feedback


def recent_attribution(cleaning: Cleaning, feedback: FeedbackSettings, now: Instant) -> Attribution:
    """The slates of the last weeks, with what followed them up to `now`."""
    slates = cleaning.slates(since=now - LOOK_BACK)
    since = int(slates.at.min(initial=now)) - 1
    rows = cleaning.interactions(COLUMNS, since=since)
    return attribute(slates, rows, feedback, now, cleaning.canonical)


# --- judging


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


def live_scores(
    app: App, cleaning: Cleaning, full: Dataset, trial: Trial, rankers: Mapping[str, Ranker], learned: Lessons
) -> dict[str, Any] | None:
    """What the live version's settings reach when they are fitted on the same days; None: nothing is live yet."""
    name = app.versions.current()
    try:
        about = app.versions.about(name) if name else None
    except ModelError as error:
        log.warning("the live version cannot be judged against: %s", error)
        about = None
    if about is None:
        return None
    before = settings_of(app.settings, about["facts"].get("settings", {}))
    if before.ranking_hash() == trial.settings.ranking_hash():
        return offline.score_by_shopper(rankers[SLATE], trial.targets)
    other = make_trial(cleaning, before, full, trial.before.as_of, learned, blended=True)
    return offline.score_by_shopper(slate_ranker(other), trial.targets)


def gate_verdict(
    rankers: Mapping[str, Ranker], asked: Targets, theirs: Mapping[str, Any] | None, seed: int
) -> Verdict:
    """Compare what would be served with the live version, and with popularity."""
    mine = offline.score_by_shopper(rankers[SLATE], asked)
    floor = offline.score_by_shopper(rankers[FLOOR], asked)
    return judge(mine, theirs, floor, generator(seed, "gate"))


def settings_of(settings: Settings, saved: Mapping[str, Any]) -> Settings:
    """The settings that a version was trained with (as its facts keep them), as far as they decide a slate."""
    kept = {MODELS: {}, **saved}
    parts = {name: values if name == MODELS else _typed(getattr(settings, name), values)
             for name, values in kept.items()}  # fmt: skip
    return replace(settings, **parts)


def _typed(section: Any, values: Mapping[str, Any]) -> Any:
    """A section with saved values put back into the types it has."""
    known = {key: value for key, value in values.items() if hasattr(section, key)}
    return replace(section, **{
        key: type(getattr(section, key))(value) if not isinstance(value, bool) else value
        for key, value in known.items()
    })  # fmt: skip
