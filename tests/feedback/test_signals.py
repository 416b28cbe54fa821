"""What outcomes teach: recovery of known truth, shrinkage without data, and a control that must fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from feedback.conftest import make_decision, make_outcome, showings_of
from regulars.core.clock import DAY, HOUR
from regulars.events.schema import Outcome
from regulars.feedback.showings import earlier_untouched
from regulars.feedback.signals import FATIGUE_PRIOR, clicks_as_targets, fatigue, position_bias

EXAMINED = np.array([1.0, 0.6, 0.4, 0.25])


def position_world(n_slates: int, seed: int) -> list[Outcome]:
    """Better items mostly stand higher, so that click rates by position exaggerate the bias."""
    rng = np.random.default_rng(seed)
    liked = np.geomspace(0.6, 0.02, 12)
    made = []
    for idx in range(n_slates):
        noisy = np.log(liked) + rng.gumbel(scale=0.5, size=12)
        slate = np.argsort(-noisy)[:4]
        clicks = rng.random(4) < liked[slate] * EXAMINED
        names = [f"i{item}" for item in slate]
        decision = make_decision(f"r{idx}", idx, idx, names)
        made.append(
            make_outcome(decision, clicked=tuple(name for name, hit in zip(names, clicks, strict=True) if hit))
        )
    return made


def test_position_bias_is_recovered_where_click_rates_alone_mislead() -> None:
    outcomes = position_world(12_000, seed=1)
    shown = showings_of(outcomes)
    naive = np.bincount(shown.position, shown.clicked) / np.bincount(shown.position)
    found = position_bias(showings_of(outcomes))
    # about 900 clicks at the last position: relative standard error 3.5 %, plus that of the first; 5 of them
    assert np.abs(found / EXAMINED - 1).max() < 0.2
    assert naive[3] / naive[0] < 0.17  # the truth is 0.25
    assert found[0] == 1.0


def test_without_position_bias_none_is_found() -> None:
    rng = np.random.default_rng(2)
    outcomes = [
        make_outcome(make_decision(f"r{n}", n, n, ["a", "b"]), clicked=tuple(i for i in "ab" if rng.random() < 0.3))
        for n in range(4000)
    ]
    assert position_bias(showings_of(outcomes)) == pytest.approx([1.0, 1.0], abs=0.15)


def test_few_clicks_leave_positions_near_one_and_none_leave_them_there() -> None:
    few = [make_outcome(make_decision("r", 1, 1, ["a", "b"]), clicked=("a",))]
    assert position_bias(showings_of(few))[1] > 0.85
    assert position_bias(showings_of([make_outcome(make_decision("r", 1, 1, ["a", "b"]))])).tolist() == [1.0, 1.0]
    assert position_bias(showings_of([])).tolist() == []


def fatigue_world(loss: float, n_users: int, seed: int) -> list[Outcome]:
    """Each shopper sees the same item daily for up to eight days; a click starts the count again."""
    rng = np.random.default_rng(seed)
    made = []
    for user in range(n_users):
        times, rate = 0, rng.choice([0.1, 0.3])
        item = "good" if rate == 0.3 else "poor"
        for day in range(rng.integers(1, 9)):
            hit = rng.random() < rate * np.exp(-loss * times)
            times = 0 if hit else times + 1
            decision = make_decision(f"r{user}-{day}", user, day * DAY, [item])
            made.append(make_outcome(decision, clicked=(item,) if hit else ()))
    return made


@pytest.mark.parametrize("loss", [0.0, 0.35])
def test_fatigue_is_recovered(loss: float) -> None:
    found = fatigue(showings_of(fatigue_world(loss, 3000, seed=5)), window=30 * DAY)
    deviation = (found.loss_high - found.loss) / 1.96
    assert deviation < 0.03
    assert abs(found.loss - loss) < 5 * deviation
    assert found.decay == pytest.approx(np.exp(-found.loss))
    # what is expected without fatigue comes from first showings alone, so there it is what happened
    assert found.expected[0] == pytest.approx(found.clicked[0], rel=0.01)
    assert found.factor([0, 2]) == pytest.approx([1.0, found.decay**2])


def test_fatigue_without_outcomes_is_its_prior() -> None:
    found = fatigue(showings_of([]))
    assert found.loss == pytest.approx(FATIGUE_PRIOR)
    assert found.seen == (0,)
    little = fatigue(showings_of([make_outcome(make_decision("r", 1, 1, ["a"]))]))
    assert little.loss == pytest.approx(FATIGUE_PRIOR, abs=0.01)


def test_showings_since_the_last_touch_within_the_window_are_counted() -> None:
    days = {0: (), 1: (), 2: ("a",), 3: (), 4: (), 12: ()}
    outcomes = [
        make_outcome(make_decision(f"r{day}", 1, day * DAY, ["a", "b"]), clicked=hit) for day, hit in days.items()
    ]
    outcomes.append(make_outcome(make_decision("other", 2, 5 * DAY, ["a"])))
    shown = showings_of(outcomes)
    counts = earlier_untouched(shown, window=8 * DAY + 1, gap=HOUR)
    of_a = counts[(shown.item_idx == 0) & (shown.user_key == 1)]
    # the click on day 2 starts again; on day 12 only day 4 is within eight days
    assert of_a.tolist() == [0, 1, 2, 0, 1, 1]
    assert counts[(shown.item_idx == 1)].tolist() == [0, 1, 2, 3, 4, 1]
    assert counts[shown.user_key == 2].tolist() == [0]


def test_what_was_not_seen_does_not_tire() -> None:
    outcomes = [
        make_outcome(make_decision("r1", 1, 1, ["a", "b"]), impressed=("b",)),
        make_outcome(make_decision("r2", 1, 2, ["a", "b"]), impressed=("a", "b")),
    ]
    assert earlier_untouched(showings_of(outcomes), window=DAY, gap=HOUR).tolist() == [0, 0, 0, 1]


def test_clicks_as_targets() -> None:
    scored = make_decision("r1", 1, 5, ["a", "b"], scores={"ease": 2.0})
    plain = make_decision("r2", 2, 6, ["c"])
    found = clicks_as_targets(showings_of([make_outcome(scored, clicked=("b",)), make_outcome(plain)]))
    assert len(found) == 3
    assert found.item_id == ["a", "b", "c"]
    assert found.clicked.tolist() == [False, True, False]
    assert found.slate_idx.tolist() == [0, 0, 1]
    assert found.user_key.tolist() == [1, 1, 2]
    assert found.at.tolist() == [5, 5, 6]
    assert found.propensity.tolist() == [0.5] * 3
    assert found.examination[0] == 1.0
    assert clicks_as_targets(showings_of([])).item_id == []


def test_changed_outcomes_change_what_is_learned() -> None:
    """The same slates, other clicks: every signal moves. Slates still open: nothing does."""
    outcomes = position_world(2000, seed=7)
    shuffled = _other_clicks(outcomes, seed=8)
    assert np.abs(position_bias(showings_of(outcomes)) - position_bias(showings_of(shuffled))).max() > 0.2
    assert fatigue(showings_of(outcomes)).expected != fatigue(showings_of(shuffled)).expected
    assert (
        clicks_as_targets(showings_of(outcomes)).clicked != clicks_as_targets(showings_of(shuffled)).clicked
    ).any()
    opened = [msgspec.structs.replace(each, closed=False) for each in outcomes]
    assert len(clicks_as_targets(showings_of(opened))) == 0
    assert fatigue(showings_of(opened)) == replace(fatigue(showings_of([])))


def _other_clicks(outcomes: Sequence[Outcome], seed: int) -> list[Outcome]:
    """The negative control: as many clicks, on positions drawn evenly."""
    rng = np.random.default_rng(seed)
    return [
        msgspec.structs.replace(
            each,
            clicked=tuple(
                each.decision.items[int(place)].item_id for place in rng.choice(4, len(each.clicked), replace=False)
            ),
        )
        for each in outcomes
    ]
