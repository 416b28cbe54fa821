"""Settings: file, then environment, then flags; every fault names its place and the nearest right name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest

from regulars.core.clock import DAY, MINUTE
from regulars.core.errors import SettingError
from regulars.core.settings import COMMERCE_WEIGHTS, FILE_NAME, Settings, Span, load_settings, sections


def every_setting() -> Iterator[tuple[str, Field[Any], Any]]:
    for section in sections():
        part = getattr(Settings(), section)
        yield from ((section, spec, getattr(part, spec.name)) for spec in fields(part))


EVERY = list(every_setting())
IDS = [f"{section}.{spec.name}" for section, spec, _ in EVERY]


@pytest.mark.parametrize(("section", "spec", "default"), EVERY, ids=IDS)
def test_every_setting_has_help_a_range_and_a_good_default(section: str, spec: Field[Any], default: Any) -> None:
    assert len(spec.metadata["help"]) > 10
    if isinstance(default, (int, float)) and not isinstance(default, (bool, Span)):
        assert spec.metadata["low"] is not None
    if not isinstance(default, Span):
        assert load_settings(env={}, flags={f"{section}.{spec.name}": default}) == Settings()


@pytest.mark.parametrize(("section", "spec", "default"), EVERY, ids=IDS)
def test_a_value_of_another_type_is_refused(section: str, spec: Field[Any], default: Any) -> None:
    wrong: Any = 5 if isinstance(default, (str, bool, tuple, dict, Span)) else "many"
    with pytest.raises(SettingError, match=rf"\[{section}\] {spec.name}: got .*, wanted "):
        Settings().change(**{section: {spec.name: wrong}})


@pytest.mark.parametrize(("section", "spec", "default"), EVERY, ids=IDS)
def test_ranges_are_kept(section: str, spec: Field[Any], default: Any) -> None:
    low, high, options = (spec.metadata[name] for name in ("low", "high", "options"))
    outside = [low - 1 if isinstance(default, int) else low - 1e-9] if low is not None else []
    outside += [high + 1 if isinstance(default, int) else high + 1e-9] if high is not None else []
    outside += ["no such option"] if options else []
    outside += [float("inf"), float("nan")] if isinstance(default, float) else []
    for value in outside:
        with pytest.raises(SettingError, match=spec.name):
            Settings().change(**{section: {spec.name: value}})
    inside = [bound for bound in (low, high, *options) if bound is not None]
    for value in inside:
        changed = Settings().change(**{section: {spec.name: type(default)(value)}})
        assert getattr(getattr(changed, section), spec.name) == value


def test_file_then_environment_then_flags(tmp_path: Path) -> None:
    text = '[rank]\nlimit = 11\nepsilon = 0\ndiversity = 0.5\n[train]\nmodels = ["ease", "als"]\nevery = "1d"\n'
    (tmp_path / FILE_NAME).write_text(text + "[clean.weights]\nview = 0.3\n")
    env = {"REGULARS_RANK_LIMIT": "12", "REGULARS_RANK_EPSILON": "0.2", "REGULARS_HOME": "x",
           "REGULARS_TRAIN_GATE": "false", "RANK_LIMIT": "99", "REGULARS_EVENTS_RATES": "{EUR = 1.1}"}  # fmt: skip
    settings = load_settings(tmp_path, env, {"rank.limit": 13, "train.models": "ease, mf,"})
    assert (settings.rank.limit, settings.rank.epsilon, settings.rank.diversity) == (13, 0.2, 0.5)
    assert settings.train.models == ("ease", "mf")
    assert (settings.train.gate, settings.train.every) == (False, DAY)
    assert settings.clean.weights == COMMERCE_WEIGHTS | {"view": 0.3}
    assert settings.events.rates == {"EUR": 1.1}
    assert load_settings(tmp_path, {}).rank.limit == 11
    assert load_settings(tmp_path / "nowhere", {}) == load_settings(None, {}) == Settings()


def test_the_machines_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGULARS_RANK_LIMIT", "17")
    assert load_settings().rank.limit == 17


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[rank]\nlimt = 5", r"\[rank\] limt: got unknown name 'limt', wanted 'limit'"),
        ("[rnak]\nlimit = 5", "got unknown name 'rnak', wanted 'rank'"),
        ("limit = 5", "limit: got 5, wanted a table"),
        ("[rank]\nlimit = 0", r"\[rank\] limit: got 0, wanted at least 1"),
        ("[rank]\nlimit = true", r"\[rank\] limit: got True, wanted a whole number"),
        ("[rank]\nlimit = 2.5", r"\[rank\] limit: got 2.5, wanted a whole number"),
        ("[rank]\nepsilon = 1.5", r"\[rank\] epsilon: got 1.5, wanted at most 1"),
        ("[rank]\nepsilon = nan", r"\[rank\] epsilon: got nan, wanted a finite number"),
        ("[train]\nevery = '1 fortnight'", r"\[train\] every: got '1 fortnight', wanted a duration"),
        ("[train]\ngate = 'maybe'", r"\[train\] gate: got 'maybe', wanted true or false"),
        ("[train]\nmodels = [1]", r"\[train\] models: got \[1\], wanted a list of names"),
        ("[clean.weights]\nviews = 1", "weights.views: got unknown name 'views', wanted 'view'"),
        ("[clean.weights]\nview = -1", r"weights.view: got -1.0, wanted a number in \[0, inf\)"),
        ("[clean]\nweights = 3", r"\[clean\] weights: got 3, wanted a table of numbers"),
        ("[rank\n", "wanted a TOML file"),
        ("[shop]\ntimezone = 'Mars/Base'", r"\[shop\] timezone: got 'Mars/Base', wanted a zone"),
        ("[shop]\ntimezone = '../etc'", r"\[shop\] timezone: got '../etc', wanted a zone"),
        ("[shop]\ncurrency = 'EURO'", r"\[shop\] currency: got 'EURO', wanted an ISO 4217 code"),
    ],
)
def test_faults_in_the_file(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(SettingError, match=reason) as caught:
        load_settings(tmp_path, {})
    assert str(tmp_path / FILE_NAME) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError, match="wanted a TOML file"):
        load_settings(tmp_path, {})


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(SettingError, match="wanted a TOML file"):
        load_settings(tmp_path, {})


def test_faults_elsewhere_name_their_place() -> None:
    with pytest.raises(SettingError, match=r"environment variable REGULARS_RNAK_LIMIT: .*'rnak', wanted 'rank'"):
        load_settings(env={"REGULARS_RNAK_LIMIT": "3"})
    assert load_settings(env={"REGULARS_HOME": "x", "REGULARS_DATA": "y", "OTHER_RNAK_LIMIT": "3"}) == Settings()
    with pytest.raises(SettingError, match=r"environment variable REGULARS_SERVE_PORT: \[serve\] port: got 'eighty'"):
        load_settings(env={"REGULARS_SERVE_PORT": "eighty"})
    with pytest.raises(SettingError, match=r"flag rank\.epsilom: .*wanted 'epsilon'"):
        load_settings(env={}, flags={"rank.epsilom": 1})
    with pytest.raises(SettingError, match=r"flag rank: .*unknown name ''"):
        load_settings(env={}, flags={"rank": 1})


def test_a_change_is_a_copy() -> None:
    settings = Settings()
    changed = settings.change(rank={"explore": "off"}, clean={"weights": {"view": 1}, "session_gap": "5m"})
    assert (settings.rank.explore, changed.rank.explore) == ("epsilon", "off")
    assert settings.clean.weights["view"] == COMMERCE_WEIGHTS["view"] != changed.clean.weights["view"]
    assert changed.clean.session_gap == 5 * MINUTE
    assert repr(changed.clean.session_gap) == "5m"


def test_the_hash_of_a_ranking() -> None:
    """What decides a slate changes it; exploration, schedules and memory do not."""
    hashed = Settings().ranking_hash()
    same: list[dict[str, dict[str, Any]]] = [
        {"rank": {"explore": "off", "epsilon": 0.5, "explore_positions": 1}}, {"train": {"every": "1d", "keep": 9}},
        {"serve": {"port": 1}}, {"clean": {"memory": "1GB"}}, {"train": {"threads": 2}},
    ]  # fmt: skip
    other: list[dict[str, dict[str, Any]]] = [
        {"rank": {"diversity": 0.5}}, {"train": {"models": ("ease",)}}, {"clean": {"weights": {"view": 0.5}}},
        {"profiles": {"half_life": "1d"}}, {"train": {"seed": 1}},
    ]  # fmt: skip
    assert {Settings().change(**change).ranking_hash() for change in same} == {hashed}
    hashes = {Settings().change(**change).ranking_hash() for change in other}
    assert len(hashes | {hashed}) == 6


def test_models_settings_come_from_the_file_the_environment_and_flags(tmp_path: Path) -> None:
    (tmp_path / "regulars.toml").write_text(
        "[models.als]\nfactors = 128\nalpha = 3.3\n[models.item-knn]\nk = 50\n", encoding="utf-8"
    )
    env = {"REGULARS_MODELS_ITEM_KNN": "{ shrink = 0.0 }"}
    settings = load_settings(tmp_path, env=env, flags={"models.als": {"alpha": 10}})
    assert settings.models == {"als": {"factors": 128, "alpha": 10}, "item-knn": {"k": 50, "shrink": 0.0}}
    assert settings.ranking_hash() != Settings().ranking_hash()
    assert load_settings(tmp_path, env={}).ranking_hash() != settings.ranking_hash()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (3, "got 3, wanted a table"),
        ("factors = 3", "got 'factors = 3', wanted a table"),
        ({"factors": {"a": 1}}, r"\[models.als\] factors: got {'a': 1}, wanted a number"),
    ],
)
def test_models_settings_that_are_no_table(value: object, reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        Settings().change(models={"als": value})
