"""A choice is repeated for as long as the shop's own words stand."""

from __future__ import annotations

import json

import pytest

from regulars.choose.choice import Choice
from regulars.choose.space import Candidate
from regulars.core.errors import ModelError
from regulars.core.settings import Settings

CHOSEN = [Candidate("als", {"factors": 8}), Candidate("popular")]


def test_what_was_chosen_is_what_is_trained_and_it_survives_a_file() -> None:
    own = Settings().change(models={"ease": {"l2": 3.0}})
    choice = Choice.from_json(json.loads(json.dumps(Choice.of(CHOSEN, own, "reports/x.md").to_json())))
    assert choice.applies(own)
    applied = choice.applied(own)
    assert applied.train.models == ("als", "popular")
    assert applied.models == {"als": {"factors": 8}, "ease": {"l2": 3.0}}
    assert applied.ranking_hash() != own.ranking_hash()
    assert own.change(train={"budget": "9m"}).ranking_hash() == own.ranking_hash()  # time decides no slate


@pytest.mark.parametrize("changed", [{"train": {"models": "popular"}}, {"models": {"als": {"factors": 9}}}])
def test_what_the_shop_then_writes_by_hand_ends_it(changed: dict[str, dict[str, object]]) -> None:
    choice = Choice.of(CHOSEN, Settings())
    assert choice.applies(Settings().change(rank={"limit": 3}))
    assert not choice.applies(Settings().change(**changed))


def test_a_damaged_choice_is_refused() -> None:
    with pytest.raises(ModelError, match="choice"):
        Choice.from_json({"models": {}})
