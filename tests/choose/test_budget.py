"""What a budget leaves, and what trials are expected to cost."""

from __future__ import annotations

import pytest

from regulars.choose.budget import Budget, Costs
from regulars.choose.space import Candidate


def test_a_half_is_for_the_choice_and_a_half_for_what_follows() -> None:
    budget = Budget(600.0, fits=3, others_s=100.0)
    assert budget.choice_s == 250.0
    assert Budget(60.0, others_s=100.0).choice_s == 0.0


def test_cost_grows_with_the_share_until_two_rungs_say_how() -> None:
    costs, als = Costs(), Candidate("als")
    assert costs.fit_s("als", 1.0) is None
    costs.note(als, 1 / 9, 2.0, 0.5)
    assert costs.fit_s("als", 1.0) == pytest.approx(18.0)
    assert costs.trial_s("als", 1 / 3) == pytest.approx(6.5)  # the shoppers asked are the same: no more to rank
    costs.note(als, 1 / 3, 2.0, 0.5)
    assert costs.fit_s("als", 1.0) == pytest.approx(2.0)  # it did not grow
    costs.note(als, 1.0, 6.0, 0.5)
    assert costs.fit_s("als", 1.0) == pytest.approx(6.0)
    assert costs.whole_s(["als", "unknown"]) == pytest.approx(6.0)


def test_growth_is_capped() -> None:
    costs, als = Costs(), Candidate("als")
    costs.note(als, 1 / 9, 0.001, 0.0)
    costs.note(als, 1 / 3, 9.0, 0.0)  # a cold cache, not a law
    assert costs.fit_s("als", 1.0) == pytest.approx(9.0 * 3**1.5)


def test_a_model_of_items_costs_the_same_at_every_share() -> None:
    costs = Costs(flat={"ease"})
    costs.note(Candidate("ease"), 1 / 9, 5.0, 0.0)
    assert costs.fit_s("ease", 1.0) == pytest.approx(5.0)
