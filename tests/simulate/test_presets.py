from __future__ import annotations

from typing import Any

import pytest

from regulars.core.errors import SettingError
from regulars.simulate.presets import PRESETS, preset


def test_presets_are_found_by_their_own_name() -> None:
    assert all(each.name == name for name, each in PRESETS.items())
    assert {"default", "null-effect", "null-taste", "other-laws"} <= PRESETS.keys()


def test_changes_are_taken_and_leave_the_registry_alone() -> None:
    assert preset("grocery", shoppers=7).shoppers == 7
    assert PRESETS["grocery"].shoppers == 2000


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(SettingError, match="'grocery'"):
        preset("grocerys")


def test_an_unknown_number_names_the_nearest() -> None:
    with pytest.raises(SettingError, match="'loyalty'"):
        preset(loyality=1.0)


@pytest.mark.parametrize("changes", [{"shoppers": 0}, {"items": 39}])
def test_a_shop_too_small_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="wanted at least 1 and 40"):
        preset(**changes)


def test_the_other_laws_really_are_others() -> None:
    default, other = PRESETS["default"], PRESETS["other-laws"]
    for law in ("use_up_law", "taste_law", "annoyance_law"):
        assert getattr(default, law) != getattr(other, law)
