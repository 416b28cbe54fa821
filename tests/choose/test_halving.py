"""Successive halving: the budget is kept, the best are found, and whoever is left out is told why."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choose.conftest import Hand, Table, asked_of, bestsellers, blocks, log_of
from regulars.choose import question as questions
from regulars.choose.budget import Budget
from regulars.choose.halving import BEATEN, CHOSEN, FAILED, LEFT_OUT, Found, Halving, Tried
from regulars.choose.question import Question
from regulars.choose.space import Candidate, candidates
from regulars.choose.trial import Bench, Outcome
from regulars.core.clock import DAY
from regulars.core.settings import Settings

MEMORY = 2000.0
NAMES = ("popular", "trending", "repeat", "item-knn", "ease", "als", "content", "slim", "rp3beta")


@pytest.fixture(scope="module")
def asked() -> Question:
    return asked_of(blocks())


@pytest.fixture(autouse=True)
def _three_rungs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "LEAST_ROWS", 10)


def by_table(
    asked: Question, costs: Mapping[str, float], quality: Mapping[str, float], seconds: float,
    broken: frozenset[str] = frozenset(), memory_mb: float = MEMORY,
) -> tuple[Found, Table]:  # fmt: skip
    clock = Hand()
    table = Table(asked, clock, costs, quality, broken)
    found = Halving(asked, table, Budget(seconds), clock, memory_mb=memory_mb).run(
        [Candidate(name) for name in costs]
    )
    return found, table


def fates(found: Found) -> dict[str, Tried]:
    return {each.candidate.label: each for each in found.tried}


def chosen(found: Found) -> set[str]:
    return {each.label for each in found.chosen}


def test_the_best_third_goes_on_and_the_best_is_chosen(asked: Question) -> None:
    quality = {name: 0.1 + 0.05 * place for place, name in enumerate(NAMES)}
    found, table = by_table(asked, dict.fromkeys(NAMES, 1.0), quality, 1000.0)
    assert {label for label, share, _ in table.asked if share == 1 / 9} == set(NAMES)
    assert {label for label, share, _ in table.asked if share == 1 / 3} == {"content", "slim", "rp3beta", "popular"}
    assert {label for label, share, _ in table.asked if share == 1.0} <= {"slim", "rp3beta", "popular"}
    assert chosen(found) == {"popular", "rp3beta"}
    assert fates(found)["rp3beta"].why == "the best alone"
    assert fates(found)["trending"].fate == BEATEN
    assert "number 8 of 9 on 1/9 of the shoppers" in fates(found)["trending"].why
    assert found.ndcg is not None
    assert found.ndcg.low <= 0.5 <= found.ndcg.high  # it was right for half of the shoppers


def test_trials_carry_intervals_and_how_far_they_are_behind(asked: Question) -> None:
    found, _ = by_table(asked, {"popular": 1, "ease": 1}, {"popular": 0.3, "ease": 0.6}, 100.0)
    last = {label: each.trials[-1] for label, each in fates(found).items()}
    assert last["ease"].behind.mean == 0
    assert last["popular"].behind.mean == pytest.approx(last["popular"].ndcg.mean - last["ease"].ndcg.mean)
    assert last["popular"].behind.high < 0
    assert [each.share for each in fates(found)["ease"].trials] == [1 / 9, 1 / 3, 1.0]


def test_all_come_in_their_order_first_and_best_first_later(asked: Question) -> None:
    quality = {"popular": 0.1, "als": 0.9, "ease": 0.3, "slim": 0.6, "repeat": 0.8, "content": 0.7}
    _, table = by_table(asked, dict.fromkeys(quality, 1.0), quality, 1000.0)
    assert [label for label, share, _ in table.asked if share == 1 / 9] == list(quality)
    assert [label for label, share, _ in table.asked if share == 1 / 3] == ["popular", "als", "repeat"]


@settings(max_examples=12, deadline=None)
@given(
    costs=st.lists(st.floats(0.001, 2000.0), min_size=len(NAMES), max_size=len(NAMES)),
    quality=st.lists(st.floats(0.0, 1.0), min_size=len(NAMES), max_size=len(NAMES)),
    seconds=st.floats(0.0, 600.0), seed=st.integers(0, 3),
)  # fmt: skip
def test_the_budget_is_kept_whatever_trials_cost(
    asked: Question, costs: list[float], quality: list[float], seconds: float, seed: int
) -> None:
    """The choice ends in its half, and what is chosen is fitted three times in what is left (the floor is free)."""
    by_cost, by_quality = (dict(zip(NAMES, values, strict=True)) for values in (costs, quality))
    by_cost["popular"] = 0.0
    found, table = by_table(asked, by_cost, by_quality, seconds)
    assert table.clock.at <= seconds / 2 + 1e-6
    assert found.seconds == pytest.approx(table.clock.at)
    assert table.clock.at + 3 * sum(by_cost[label] for label in chosen(found)) <= seconds * (1 + 1e-9) + 1e-6
    assert all(each.why for each in found.tried)
    again, _ = by_table(asked, by_cost, by_quality, seconds)
    assert again == found


def test_what_the_time_does_not_hold_is_not_begun_and_the_best_has_it(asked: Question) -> None:
    """Eight of 10 s each in 30 s: a ninth of all takes 9 s, a third of three 10 s, then there is time for one."""
    names = ("popular", "als", "slim", "item-knn", "rp3beta", "pure-svd", "user-knn", "repeat", "trending")
    quality = {name: 0.1 + 0.08 * place for place, name in enumerate(names)}
    found, table = by_table(asked, dict.fromkeys(names, 10.0) | {"popular": 0.1}, quality, 60.0)
    assert [label for label, share, _ in table.asked if share == 1.0] == ["popular", "trending"]
    assert "would take about 10.0 s on all shoppers" in fates(found)["repeat"].why
    assert chosen(found) == {"popular", "trending"}


def test_a_first_trial_is_stopped_when_everything_would_take_too_long(asked: Question) -> None:
    costs = {"popular": 0.1, "als": 9000.0, "slim": 0.1}
    found, _ = by_table(asked, costs, {"popular": 0.1, "als": 0.9, "slim": 0.5}, 600.0)
    assert fates(found)["als"].fate == FAILED
    assert fates(found)["als"].why.startswith("stopped after 33.3 s")  # a ninth of the 300 s of the choice
    assert chosen(found) == {"popular", "slim"}


def test_a_trial_that_dies_leaves_one_out(asked: Question) -> None:
    found, _ = by_table(asked, {"popular": 1, "ease": 1, "als": 1}, {"popular": 0.1, "ease": 0.5, "als": 0.9}, 100.0,
                        broken=frozenset({"als"}))  # fmt: skip
    assert fates(found)["als"].fate == FAILED
    assert "died" in fates(found)["als"].why
    assert chosen(found) == {"popular", "ease"}


def test_a_model_that_needs_too_much_memory_is_left_out_before_it_is_fitted(asked: Question) -> None:
    need = Candidate("sasrec").make().estimate_mb(asked.before.shape, len(asked.before.interactions))
    found, table = by_table(asked, {"popular": 1, "sasrec": 1}, {"popular": 0.1, "sasrec": 0.9}, 100.0,
                            memory_mb=need - 1)  # fmt: skip
    assert fates(found)["sasrec"].fate == LEFT_OUT
    assert f"{need:,.0f} MB" in fates(found)["sasrec"].why
    assert "sasrec" not in {label for label, _, _ in table.asked}


def test_fits_that_follow_are_paid_for(asked: Question) -> None:
    """als is the better one, but its three fits do not end in what is kept for them."""
    costs = {"popular": 0.1, "als": 40.0, "ease": 1.0}
    found, _ = by_table(asked, costs, {"popular": 0.1, "als": 0.9, "ease": 0.5}, 100.0)
    assert fates(found)["als"].fate == LEFT_OUT
    assert "3 fits after the choice would take 120.0 s" in fates(found)["als"].why
    assert chosen(found) == {"popular", "ease"}


@pytest.mark.parametrize(("seconds", "why"), [(0.0, "take the whole of the budget"), (0.01, "nothing but popular")])
def test_no_time_changes_nothing_and_says_so(asked: Question, seconds: float, why: str) -> None:
    costs = {"popular": 0.01, "ease": 1.0}
    found, _ = by_table(asked, costs, dict.fromkeys(costs, 0.5), seconds)
    assert found.chosen == ()
    assert why in found.why


class Stuck(Table):
    """The floor hangs on a third of the shoppers until it is stopped: nothing has time after that."""

    def run(self, candidate: Candidate, share: float, limit_s: float) -> Outcome:
        if candidate.label == "popular" and share == 1 / 3:
            self.clock.at += limit_s
            return Outcome(trouble=f"stopped after {limit_s:.1f} s")
        return super().run(candidate, share, limit_s)


def test_what_time_left_behind_takes_part_with_what_it_showed(asked: Question) -> None:
    """A choice of the few that time favoured would be no choice by evidence: als was far the best on a ninth."""
    costs, quality = {"popular": 0.1, "ease": 1.0, "als": 1.0}, {"popular": 0.1, "ease": 0.3, "als": 0.9}
    clock = Hand()
    table = Stuck(asked, clock, costs, quality)
    found = Halving(asked, table, Budget(100.0), clock, memory_mb=MEMORY).run([Candidate(name) for name in costs])
    assert {share for _, share, _ in table.asked} == {1 / 9}
    assert chosen(found) == {"popular", "als"}
    assert clock.at <= 50.0


def test_too_few_shoppers_tell_nothing() -> None:
    few = asked_of(log_of([[(0, 1), (1, 2), (0, 50)] for _ in range(12)]))
    found, table = by_table(few, {"popular": 1, "ease": 1}, {"popular": 0.1, "ease": 0.9}, 100.0)
    assert table.asked == []
    assert found.chosen == ()
    assert "only 12 shoppers" in found.why


# --- real models on logs of known truth


def searched(log_question: Question) -> Found:
    quick = Settings().change(train={"models": "item-knn,rp3beta,co-occurrence,ease,pure-svd,als"})
    return Halving(log_question, Bench(log_question), Budget(1e6), lambda: 0.0, memory_mb=MEMORY).run(
        candidates(quick)
    )


def test_a_world_of_bestsellers_chooses_popular_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = searched(asked_of(bestsellers()))
    assert chosen(found) == {"popular"}
    assert fates(found)["popular"].fate == CHOSEN
    assert fates(found)["popular"].why == "no other is shown to be better"


def test_a_world_of_blocks_chooses_who_knows_what_goes_together() -> None:
    found = searched(asked_of(blocks()))
    first = next(each for each in found.tried if each.why == "the best alone")
    assert first.candidate.model != "popular"
    assert {each.model for each in found.chosen} >= {"popular", first.candidate.model}
    popular = fates(found)["popular"]
    assert popular.trials[-1].behind.high < -0.1


def test_what_is_bought_again_does_not_crowd_out_what_is_new() -> None:
    """Everybody buys two favourites again and again, and tries one thing after another of a block."""
    _, whole = blocks(n_users=240)
    rows = whole.interactions
    bought = [
        [(int(item), int(at // DAY)) for item, at in
         zip(rows.item_idx[rows.user_idx == row], rows.at[rows.user_idx == row], strict=True)]
        + [(200 + whole.users.keys[row] % 40 * 2 + day % 2, day) for day in range(0, 60, 2 + row % 3)]
        for row in range(len(whole.users))
    ]  # fmt: skip
    asked = asked_of(log_of(bought))
    quick = Settings().change(train={"models": "repeat,item-knn"})
    found = Halving(asked, Bench(asked), Budget(1e6), lambda: 0.0, memory_mb=MEMORY).run(candidates(quick))
    assert {each.model for each in found.chosen} == {"popular", "repeat", "item-knn"}
    assert fates(found)["repeat"].why == "the best alone"
