"""One typed schema of settings: a TOML file in the shop's folder, then environment, then flags.

`REGULARS_RANK_LIMIT=12` sets `[rank] limit`. An unknown key or a bad value names the file, the key and the
nearest right name.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from regulars.core.clock import DAY, MINUTE, format_duration, parse_duration
from regulars.core.errors import InputError, SettingError

FILE_NAME = "regulars.toml"
MODELS = "models"  # the section whose tables belong to models, which alone know what they take
NOT_SETTINGS = ("REGULARS_HOME", "REGULARS_DATA", "REGULARS_FAIL_POINT")  # variables that mean something else


class Span(int):
    """A duration in microseconds; written '30m', '7d'."""

    def __repr__(self) -> str:
        return format_duration(int(self))


def _setting(default: Any, text: str, *, low: float | None = None, high: float | None = None,
             options: tuple[str, ...] = (), check: Callable[[str], str] | None = None) -> Any:  # fmt: skip
    """A field with the help text and the range that the loader, `doctor` and the docs share.

    `check` returns what is wanted instead of a text, "" where it will do.
    """
    data = {"help": text, "low": low, "high": high, "options": options, "check": check}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=data)
    return field(default=default, metadata=data)


def _zone_or_what(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return "a zone of the IANA database, such as 'Asia/Shanghai'"
    return ""


def _currency_or_what(code: str) -> str:
    return "" if len(code) == 3 and code.isascii() and code.isalpha() else "an ISO 4217 code, such as 'CNY'"


# What each kind of event says about liking, relative to a purchase.
COMMERCE_WEIGHTS = {
    "view": 0.15, "click": 0.15, "add_to_cart": 0.4, "remove_from_cart": 0.0, "purchase": 1.0, "refund": 0.0,
    "wishlist": 0.4, "rating": 0.5, "review": 0.5, "search": 0.0, "dislike": 0.0, "impression": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class ShopSettings:
    """[shop]: who this shop is."""

    name: str = _setting("My shop", "shown on the dashboard")
    currency: str = _setting("USD", "ISO 4217 code of all money", check=_currency_or_what)
    timezone: str = _setting("UTC", "zone of times without one, and of hours and weekdays in profiles",
                             check=_zone_or_what)  # fmt: skip
    language: str = _setting("en", "language of reasons when the request names none", options=("en", "zh"))
    practice: bool = _setting(False, "a practice shop: the storefront page is served")


@dataclass(frozen=True)
class EventsSettings:
    """[events]: the way in."""

    bad_share: float = _setting(0.05, "an import fails when a larger share of its rows is bad", low=0, high=1)
    max_field_bytes: int = _setting(65_536, "longer fields are refused", low=64)
    max_future: Span = _setting(Span(DAY), "how far ahead of the clock a time may lie")
    compact_rows: int = _setting(50_000, "journal rows that start a compaction into the lake", low=1)
    rates: dict[str, float] = _setting({}, "shop-currency units for one unit of another currency")


@dataclass(frozen=True)
class CleanSettings:
    """[clean]: what can be trusted."""

    session_gap: Span = _setting(Span(30 * MINUTE), "a longer pause starts a new session")
    half_life: Span = _setting(Span(180 * DAY), "age at which an event weighs half")
    drop_duplicates: bool = _setting(False, "drop rows equal in everything but their id")
    weights: dict[str, float] = _setting(COMMERCE_WEIGHTS, "what each kind of event says about liking")
    memory: str = _setting("700MB", "memory the query engine may use before it spills to disk")


@dataclass(frozen=True)
class ProfileSettings:
    """[profiles]: who the shoppers are."""

    half_life: Span = _setting(Span(30 * DAY), "age at which an interest counts half")


@dataclass(frozen=True)
class FeedbackSettings:
    """[feedback]: what belongs to which slate."""

    click_window: Span = _setting(Span(DAY), "a click later than this is not the slate's")
    purchase_window: Span = _setting(Span(7 * DAY), "a cart or purchase later than this is not the slate's")


@dataclass(frozen=True)
class TrainSettings:
    """[train]: models and how they are fitted."""

    models: tuple[str, ...] = _setting(
        ("popular", "trending", "repeat", "item-knn", "ease", "als", "content"), "candidate models, by name"
    )
    every: Span = _setting(Span(0), "serve retrains this often; 0s = never")
    budget: Span = _setting(Span(0), "time of a training that chooses models and their settings; 0s = no search")
    holdout: Span = _setting(Span(0), "last days kept for the gate; 0s = a tenth of the log, 1 to 28 days")
    warm: bool = _setting(True, "fits of equal settings go on from the version that serves, where a model can")
    gate: bool = _setting(True, "a new model must not lose against the live one and popularity")
    seed: int = _setting(0, "seed of every fit and draw", low=0)
    threads: int = _setting(0, "threads of a fit; 0 = all cores", low=0)
    memory_mb: int = _setting(2000, "a model that would need more is left out", low=64)
    keep: int = _setting(5, "model versions kept for rollback", low=1)


@dataclass(frozen=True)
class RankSettings:
    """[rank]: from scores to a slate."""

    limit: int = _setting(10, "items in a slate", low=1, high=200)
    candidates: int = _setting(100, "candidates taken from each model", low=1)
    ranker: str = _setting(
        "auto", "what puts candidates in order: blend, or auto: trees on top of it where they are shown to help",
        options=("auto", "blend"),
    )  # fmt: skip
    diversity: float = _setting(0.05, "how much of the best score an item loses when its like stands above", low=0)
    explore: str = _setting("epsilon", "exploring policy", options=("off", "epsilon", "softmax"))
    epsilon: float = _setting(0.1, "chance that an exploring position is drawn at random", low=0, high=1)
    temperature: float = _setting(0.1, "softmax temperature, in units of the blend's spread", low=1e-6)
    explore_positions: int = _setting(2, "how many of the last positions explore", low=0)
    explore_pool: int = _setting(50, "best remaining candidates an exploring position draws from", low=1)
    not_due: str = _setting(
        "demote", "bought and not due again: off, demote or hide", options=("off", "demote", "hide")
    )
    fatigue_after: int = _setting(6, "times shown without a click before an item is demoted; 0 = never", low=0)
    fatigue_window: Span = _setting(Span(14 * DAY), "how long a showing counts for fatigue")
    pins: tuple[str, ...] = _setting((), "item ids that come first wherever they may be shown")
    exclude: tuple[str, ...] = _setting((), "item ids that are never shown")


@dataclass(frozen=True)
class ServeSettings:
    """[serve]: the doors."""

    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8080, "port to listen on; 0 = any free one", low=0, high=65_535)
    workers: int = _setting(1, "server processes", low=1)
    max_body_bytes: int = _setting(4_000_000, "larger requests are refused", low=1024)
    max_batch: int = _setting(5000, "events in one request", low=1)
    log: str = _setting("text", "how standard error is written: for people, or a JSON object a line",
                        options=("text", "json"))  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """All settings of a shop, one field a section."""

    shop: ShopSettings = field(default_factory=ShopSettings)
    events: EventsSettings = field(default_factory=EventsSettings)
    clean: CleanSettings = field(default_factory=CleanSettings)
    profiles: ProfileSettings = field(default_factory=ProfileSettings)
    feedback: FeedbackSettings = field(default_factory=FeedbackSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    rank: RankSettings = field(default_factory=RankSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # [models.NAME]: what NAME is made with

    def ranking_hash(self) -> str:
        """Hash of what decides a slate, exploration apart: [clean], [profiles], [train], [models], [rank]."""
        return self._ranking_hash

    @cached_property
    def _ranking_hash(self) -> str:  # every slate carries it
        parts = {name: asdict(getattr(self, name)) for name in ("clean", "profiles", "train", "rank")}
        for name in ("explore", "epsilon", "temperature", "explore_positions", "explore_pool"):
            del parts["rank"][name]
        for name in ("every", "budget", "warm", "gate", "keep", "threads", "memory_mb"):
            del parts["train"][name]
        del parts["clean"]["memory"]
        if self.models:
            parts["models"] = {name: dict(values) for name, values in self.models.items()}
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=6).hexdigest()

    def change(self, **sections: Mapping[str, Any]) -> Settings:
        """Return a copy with some keys changed: `settings.change(rank={"explore": "off"})`."""
        changed = self
        for section, values in sections.items():
            for key, value in values.items():
                changed = _put(changed, section, key, value, "change")
        return changed


def sections() -> dict[str, type]:
    """Section name -> its dataclass."""
    return {name: kind for name, kind in get_type_hints(Settings).items() if isinstance(kind, type)}


def load_settings(
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the shop's file, then `REGULARS_SECTION_KEY` variables, then flags (`{"rank.limit": 12}`)."""
    settings = Settings()
    if home is not None and (home / FILE_NAME).exists():
        settings = _read_file(settings, home / FILE_NAME)
    for variable, text in (os.environ if env is None else env).items():
        section, _, key = variable.removeprefix("REGULARS_").lower().partition("_")
        if variable.startswith("REGULARS_") and variable not in NOT_SETTINGS:
            settings = _put(settings, section, key, text, f"environment variable {variable}")
    for dotted, value in (flags or {}).items():
        section, _, key = dotted.partition(".")
        settings = _put(settings, section, key, value, f"flag {dotted}")
    return settings


def _read_file(settings: Settings, path: Path) -> Settings:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingError(str(path), got=str(error), wanted="a TOML file") from error
    for section, values in table.items():
        if not isinstance(values, dict):
            raise SettingError(f"{path}: {section}", got=repr(values), wanted=f"a table [{section}]")
        _known_section(section, str(path))
        for key, value in values.items():
            settings = _put(settings, section, key, value, str(path))
    return settings


def _known(name: str, names: Mapping[str, Any], where: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0)
        raise SettingError(where, got=f"unknown name {name!r}", wanted=f"{near[0]!r}", remedy="Correct the name.")


def _known_section(section: str, where: str) -> None:
    _known(section, {**sections(), MODELS: None}, f"{where}: [{section}]")


def _put(settings: Settings, section: str, key: str, value: Any, where: str) -> Settings:
    _known_section(section, where)
    if section == MODELS:
        return _put_model(settings, key.replace("_", "-"), value, where)
    part = getattr(settings, section)
    specs = {spec.name: spec for spec in fields(part)}
    place = f"{where}: [{section}] {key}"
    _known(key, specs, place)
    spec, current = specs[key], getattr(part, key)
    checked = _convert(value, current, place)
    if isinstance(current, dict):
        _check_entries(key, checked, current, place)
        checked = {**current, **checked}
    _check_range(checked, spec.metadata, place)
    return replace(settings, **{section: replace(part, **{key: checked})})


def _put_model(settings: Settings, name: str, value: Any, where: str) -> Settings:
    """What one model is made with; the model itself checks it, in the registry."""
    place = f"{where}: [{MODELS}.{name}]"
    table = _inline(value, place) if isinstance(value, str) else value
    if not isinstance(table, Mapping):
        raise SettingError(place, got=repr(value), wanted="a table, such as { factors = 128 }")
    for key, given in table.items():
        if not isinstance(given, str | int | float):
            raise SettingError(f"{place} {key}", got=repr(given), wanted="a number, a text, true or false")
    mine = {**settings.models.get(name, {}), **table}
    return replace(settings, models={**settings.models, name: mine})


def _inline(text: str, place: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError as error:
        raise SettingError(place, got=repr(text), wanted="a table, such as { factors = 128 }") from error


def _check_entries(key: str, given: dict[str, float], known: dict[str, float], place: str) -> None:
    for name, number in given.items():
        if key == "weights":
            _known(name, known, f"{place}.{name}")
        if not 0 <= number < float("inf"):
            raise SettingError(f"{place}.{name}", got=repr(number), wanted="a number in [0, inf)")


def _check_range(value: Any, metadata: Mapping[str, Any], place: str) -> None:
    low, high, options = metadata["low"], metadata["high"], metadata["options"]
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingError(place, got=repr(value), wanted="a finite number")
    if options and value not in options:
        raise SettingError(place, got=repr(value), wanted=" or ".join(map(repr, options)))
    if metadata["check"] is not None and (wanted := metadata["check"](value)):
        raise SettingError(place, got=repr(value), wanted=wanted)
    if low is not None and not value >= low:
        raise SettingError(place, got=repr(value), wanted=f"at least {low:g}")
    if high is not None and not value <= high:
        raise SettingError(place, got=repr(value), wanted=f"at most {high:g}")


def _convert(value: Any, current: Any, place: str) -> Any:
    """Turn a TOML value or a text into the type of `current`."""
    try:
        if isinstance(current, Span):
            return _span(value)
        if isinstance(current, bool):
            return _truth(value)
        if isinstance(current, tuple):
            return _names(value)
        if isinstance(current, dict):
            table = tomllib.loads(f"x = {value}")["x"] if isinstance(value, str) else value
            return {str(name): float(number) for name, number in table.items()}
        if isinstance(value, bool) or (isinstance(current, str) and not isinstance(value, str)):
            raise ValueError
        if isinstance(current, int) and isinstance(value, float):
            raise ValueError
        return type(current)(value)
    except (ValueError, TypeError, AttributeError, InputError, tomllib.TOMLDecodeError) as error:
        raise SettingError(place, got=repr(value), wanted=_wanted(current)) from error


def _span(value: Any) -> Span:
    if isinstance(value, Span):
        return value
    if not isinstance(value, str):
        raise ValueError
    return Span(parse_duration(value))


def _truth(value: Any) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    word = str(value).lower()
    if word not in words:
        raise ValueError
    return words[word]


def _names(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not all(isinstance(part, str) for part in parts):
        raise ValueError
    return tuple(part.strip() for part in parts if part.strip())


def _wanted(current: Any) -> str:
    if isinstance(current, Span):
        return "a duration such as '30m' or '7d'"
    kinds = {bool: "true or false", tuple: "a list of names", dict: "a table of numbers", str: "a text"}
    return kinds.get(type(current), "a whole number" if isinstance(current, int) else "a number")
