"""Models by name: made with a shop's settings, and a slip of the pen named."""

from __future__ import annotations

from typing import Any

import pytest

from regulars.core.errors import SettingError
from regulars.models.registry import check_models, make_model


def test_a_model_is_made_with_what_is_named() -> None:
    assert make_model("als").get_params()["factors"] == 64
    made = make_model("als", {"factors": 8})
    assert made.get_params() == {**make_model("als").get_params(), "factors": 8}


@pytest.mark.parametrize(
    ("names", "params", "reason"),
    [
        (["als", "eaze"], {}, "got 'eaze', wanted one of .*Try 'ease'"),
        ([], {"alz": {}}, "got 'alz', wanted one of .*Try 'als'"),
        (["als"], {"als": {"factor": 3}}, r"\[models.als\]: got unknown name 'factor', wanted 'factors'"),
        (["als"], {"als": {"factors": 0}}, "als: factors: got 0, wanted a whole number"),
        (["random"], {"random": {"anything": 0}}, "got unknown name 'anything', wanted nothing"),
    ],
)
def test_slips_are_named(names: list[str], params: dict[str, dict[str, Any]], reason: str) -> None:
    check_models(["als", "ease"], {"als": {"factors": 3}})
    with pytest.raises(SettingError, match=reason):
        check_models(names, params)
