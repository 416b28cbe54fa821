"""Every registered model has its place, defaults come first, and what a shop wrote holds."""

from __future__ import annotations

import pytest

from regulars.choose.space import FLOOR, NOT_TRIED, SPACE, candidates, flat, missing_part
from regulars.core.settings import Settings, load_settings
from regulars.models.registry import MODELS


def of(**flags: object) -> Settings:
    return load_settings(env={}, flags={name.replace("__", "."): value for name, value in flags.items()})


def test_every_registered_model_is_tried_or_said_why_not() -> None:
    assert set(SPACE) | set(NOT_TRIED) == set(MODELS)
    assert not set(SPACE) & set(NOT_TRIED)


def test_every_candidate_can_be_made_and_has_a_name_of_its_own() -> None:
    found = candidates(Settings())
    assert len({each.label for each in found}) == len(found) > 40
    for each in found:
        assert each.make().name == each.model
    assert {each.model for each in found} == set(SPACE)


def test_the_floor_comes_first_then_what_the_shop_uses_now() -> None:
    found = [each.label for each in candidates(Settings())]
    now = set(Settings().train.models)
    assert found[0] == FLOOR
    assert set(found[: len(now)]) == now


def test_a_shops_own_models_are_all_that_is_tried_and_its_own_settings_hold() -> None:
    found = candidates(of(train__models="ease,als,random", models__ease={"l2": 7.0}))
    assert {each.model for each in found} == {"popular", "ease", "als", "random"}
    assert [each.label for each in found if each.model == "ease"] == ["ease l2=7"]
    assert len([each for each in found if each.model == "als"]) == len(SPACE["als"])


def test_a_key_by_hand_holds_in_every_setting_and_leaves_the_others_free() -> None:
    found = candidates(of(models__als={"factors": 32}))
    assert {each.params["factors"] for each in found if each.model == "als"} == {32}
    assert len([each for each in found if each.model == "als"]) == len(SPACE["als"])


def test_networks_wait_for_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    sasrec, ease = (
        next(each for each in candidates(Settings()) if each.model == name) for name in ("sasrec", "ease")
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "regulars[deep]" in missing_part(sasrec)
    assert missing_part(ease) == ""


def test_what_a_fit_of_ease_costs_is_flat_while_it_holds_all_items() -> None:
    assert flat(5_000) == {"content", "ease"}
    assert flat(100_000) == {"content"}
