"""The loop, readable from top to bottom: clean, fit, judge, blend, publish.

train_once(app)     everything up to now -> a new version, served unless the gate rejects it
evaluate_once(app)  every model and the slate on the last days, against popularity
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from regulars.app import App
from regulars.choose import report
from regulars.choose.budget import Budget
from regulars.choose.choice import Choice, last_choice, live_facts
from regulars.choose.search import search
from regulars.clean.dataset import Cleaning
from regulars.core.clock import DAY, Instant, format_instant
from regulars.core.data import Dataset
from regulars.core.errors import InputError
from regulars.core.rng import generator
from regulars.core.settings import MODELS, FeedbackSettings, Settings
from regulars.evaluate import offline
from regulars.evaluate.gate import Verdict, judge
from regulars.evaluate.offline import Ranker, Row
from regulars.evaluate.split import Targets, sample
from regulars.feedback.attribution import COLUMNS, Attribution, attribute
from regulars.feedback.lessons import Lessons, lessons
from regulars.rank.bundle import Bundle, ItemFacts
from regulars.trial import (
    FLOOR,
    SLATE,
    Trial,
    fit_models,
    holdout,
    keep_sources,
    make_trial,
    rankers_of,
    ranking_after,
    slate_ranker,
    table_of,
)

log = logging.getLogger(__name__)

LOOK_BACK = 21 * DAY  # the fatigue window and the purchase window after it: older decisions teach nothing new
COMPACT_ROWS = 5000  # journal rows that are moved to the lake before a training: columns read faster than rows
JUDGED = 2000  # shoppers whom the gate looks at: more would not change its mind, only its patience
Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainReport:
    """What a training did."""

    version: str
    accepted: bool
    reasons: tuple[str, ...]
    table: list[Row]
    left_out: Mapping[str, str]  # model -> why
    seconds: Mapping[str, float] = field(default_factory=dict)
    choice: Mapping[str, Any] | None = None  # the report of the search, where there was one

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def text(self) -> str:
        """For people."""
        word = "serves now" if self.accepted else "was rejected by the gate; the live version stays"
        lines = [f"Version {self.version} {word}.", *(f"  {reason}" for reason in self.reasons)]
        lines += [f"  left out {name}: {why}" for name, why in self.left_out.items()]
        if self.choice is not None:
            lines += ["", report.short(self.choice)]
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
        self.say = say or log.info

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Time one step."""
        self.say(text)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)


def train_once(app: App, *, say: Say | None = None, gate: bool | None = None) -> TrainReport:
    """Learn from everything up to now; the new version serves unless the gate rejects it.

    With `[train] budget` models and their settings are chosen first; without, the live version's choice is repeated.
    """
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
    choice, told = last_choice(app.versions, settings), None
    if settings.train.budget:
        with watch.step("choose", "Choosing models and settings, by days that the gate does not judge"):
            days = cleaning.as_of(cut), cleaning.as_of(cut - holdout(full, settings))
            found = search(*days, settings, Budget.of(settings, gated, app.versions), say=watch.say)
            told = report.keep(found, app.clock.now(), app.home)
            choice = Choice.of(found.chosen, settings, told["report"]) if found.chosen else choice
            del days, found  # with the data that they hold
    settings = settings if choice is None else choice.applied(settings)
    rows, verdict = [], Verdict(True, ("the gate is off",), ())
    with watch.step("trial", "Fitting without the last days"):
        trial = make_trial(cleaning, settings, full, cut, learned, blended=gated)
    if gated:
        with watch.step("judge", "Judging on the last days"):
            # a copy: how to rank is learned from all shoppers of the trial
            asked = replace(trial, targets=sample(trial.targets, JUDGED, generator(settings.train.seed, "judged")))
            rankers = rankers_of(asked)
            rows = table_of(asked, rankers)
            theirs = live_scores(app, cleaning, full, asked, rankers, learned)
            verdict = gate_verdict(rankers, asked.targets, theirs, settings.train.seed)
    with watch.step("fit", "Fitting on everything"):
        models, left_out = fit_models(settings, full, app.versions.load_sound() if settings.train.warm else None)
    with watch.step("rank", "Learning how to rank from the last days"):
        ranking = keep_sources(ranking_after(trial, learned), models)
    with watch.step("publish", "Publishing"):
        facts = {"table": rows, "verdict": verdict.to_json(), "settings": ranking_settings(settings),
                 "left_out": left_out, "events": len(full.interactions), "ranker": ranking.report,
                 "seconds": dict(watch.seconds), "choice": None if choice is None else choice.to_json()}  # fmt: skip
        bundle = Bundle(
            version=version_name(full.as_of, app.versions.names()), items=full.items.ids, models=models,
            blend=ranking.blend, item_facts=ItemFacts.of(full), offset=cleaning.offset, trained_at=full.as_of,
            settings_hash=app.settings.ranking_hash(), facts=facts, hybrid=ranking.hybrid,
            beside=ranking.beside,
        )  # fmt: skip
        if verdict.accepted:
            app.versions.publish(bundle, settings.train.keep)
        app.refold(cleaning, full)
    return TrainReport(bundle.version, verdict.accepted, verdict.reasons, rows, left_out, watch.seconds, told)


def evaluate_once(app: App, *, say: Say | None = None) -> list[Row]:
    """Rows of every model and the slate on the last days, all fitted on what came before.

    The slate's row of `all` holds `ranker` too: how it puts candidates in order, and what that looks at.
    """
    watch = Watch(say)
    with watch.step("clean", "Cleaning the log"):
        cleaning = app.cleaning()
        full, _ = cleaning.whole()
        _need_events(full)
    with watch.step("trial", "Fitting without the last days"):
        choice = last_choice(app.versions, app.settings)
        settings = app.settings if choice is None else choice.applied(app.settings)
        trial = make_trial(cleaning, settings, full, full.as_of - holdout(full, settings), Lessons(), blended=True)
    with watch.step("judge", "Ranking for the shoppers of the last days"):
        rows = table_of(trial, rankers_of(trial))
    for row in rows:
        if (row["model"], row["subset"]) == (SLATE, "all"):
            row["ranker"] = trial.bundle.facts["ranker"]
    return rows


def _need_events(full: Dataset) -> None:
    if len(full.interactions) == 0:
        raise InputError("train", got="a log without interactions", wanted="at least one",
                         remedy="Run `regulars ingest FILES`.")  # fmt: skip


def version_name(at: Instant, taken: Sequence[str]) -> str:
    """Versions sort by the time of their data; a second one of the same instant gets a number."""
    stem = format_instant(at)[:19].replace(":", "").replace("-", "")
    return next(name for n in range(len(taken) + 1) if (name := f"{stem}-{n:02d}") not in taken)


def ranking_settings(settings: Settings) -> dict[str, Any]:
    """What another training needs to repeat this one's choices: the sections that decide a slate."""
    parts = {name: asdict(getattr(settings, name)) for name in ("clean", "profiles", "train", "rank")}
    return {**parts, MODELS: settings.models}


# --- feedback


def recent_attribution(cleaning: Cleaning, feedback: FeedbackSettings, now: Instant) -> Attribution:
    """The slates of the last weeks, with what followed them up to `now`."""
    slates = cleaning.slates(since=now - LOOK_BACK)
    since = int(slates.at.min(initial=now)) - 1
    rows = cleaning.interactions(COLUMNS, since=since)
    return attribute(slates, rows, feedback, now, cleaning.canonical)


def live_scores(
    app: App, cleaning: Cleaning, full: Dataset, trial: Trial, rankers: Mapping[str, Ranker], learned: Lessons
) -> dict[str, Any] | None:
    """What the live version's settings reach when they are fitted on the same days; None: nothing is live yet."""
    facts = live_facts(app.versions)
    if facts is None:
        return None
    before = settings_of(app.settings, facts.get("settings", {}))
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
