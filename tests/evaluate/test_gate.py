"""The gate: what it rejects, what it lets through, and how often it errs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binom

from regulars.core.errors import InputError
from regulars.evaluate.gate import judge

N = 400


def scores(level: float, seed: int, n: int = N, organic: float | None = None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "all": level + 0.1 * rng.normal(size=n),
        "organic": (level if organic is None else organic) + 0.1 * rng.normal(size=n),
    }


def test_better_than_both_is_accepted() -> None:
    found = judge(scores(0.5, 1), scores(0.4, 2), scores(0.3, 3), np.random.default_rng(0))
    assert found.accepted
    assert [(each.against, each.subset) for each in found.differences] == [
        ("live", "all"), ("live", "organic"), ("popular", "all"), ("popular", "organic"),
    ]  # fmt: skip
    assert all(each.low > 0 and each.users == N for each in found.differences)
    assert found.reasons[0].startswith("better than live on all: +0.0")


def test_worse_than_the_live_model_is_rejected() -> None:
    found = judge(scores(0.35, 1), scores(0.4, 2), scores(0.3, 3), np.random.default_rng(0))
    assert not found.accepted
    assert any(reason.startswith("worse than live on all") for reason in found.reasons)


def test_worse_than_popularity_is_rejected_though_better_than_the_live_model() -> None:
    found = judge(scores(0.35, 1), scores(0.3, 2), scores(0.4, 3), np.random.default_rng(0))
    assert not found.accepted
    assert any(reason.startswith("worse than popular") for reason in found.reasons)


def test_an_echo_is_rejected_on_organic() -> None:
    """Better on what slates caused, worse on what they did not."""
    found = judge(scores(0.5, 1, organic=0.3), scores(0.4, 2), scores(0.2, 3), np.random.default_rng(0))
    assert not found.accepted
    assert [reason for reason in found.reasons if reason.startswith("worse")] == [
        reason for reason in found.reasons if "live on organic" in reason
    ]


def test_level_with_the_live_model_is_accepted() -> None:
    same = scores(0.4, 1)
    found = judge(same, same, same, np.random.default_rng(0))
    assert found.accepted
    assert all(each.low == each.high == 0 for each in found.differences)
    assert found.reasons[0].startswith("level with live")


def test_without_a_live_model_only_popularity_counts() -> None:
    better = judge(scores(0.4, 1), None, scores(0.3, 3), np.random.default_rng(0))
    worse = judge(scores(0.2, 1), None, scores(0.3, 3), np.random.default_rng(0))
    assert (better.accepted, worse.accepted) == (True, False)
    assert {each.against for each in better.differences} == {"popular"}
    assert better.reasons[0] == "no live model: only popularity counts"


def test_too_few_shoppers_decide_nothing_and_it_says_so() -> None:
    found = judge(scores(0.1, 1, n=29), scores(0.9, 2, n=29), scores(0.9, 3, n=29), np.random.default_rng(0))
    assert found.accepted
    assert found.differences == ()
    assert all("too few shoppers" in reason and "29, needs 30" in reason for reason in found.reasons)


def test_a_shop_that_knows_no_organic_is_judged_on_all() -> None:
    only = [{"all": each["all"]} for each in (scores(0.2, 1), scores(0.4, 2), scores(0.1, 3))]
    found = judge(only[0], only[1], only[2], np.random.default_rng(0))
    assert not found.accepted
    assert any("too few shoppers to judge against live on organic: 0" in reason for reason in found.reasons)


def test_an_equal_candidate_is_rejected_as_seldom_as_four_intervals_allow() -> None:
    """Each interval is wholly below 0 in 2.5 % (percentile: up to 3 %) of A/A comparisons."""
    rng = np.random.default_rng(7)
    rejected = 0
    for _ in range(100):
        trio = [{"all": rng.normal(size=60), "organic": rng.normal(size=60)} for _ in range(3)]
        rejected += not judge(trio[0], trio[1], trio[2], rng).accepted
    assert rejected <= binom.isf(1e-6, 100, 1 - (1 - 0.03) ** 4)


def test_the_verdict_goes_into_a_manifest() -> None:
    found = judge(scores(0.5, 1), None, scores(0.3, 3), np.random.default_rng(0))
    plain = json.loads(json.dumps(found.to_json()))
    assert plain["accepted"] is True
    assert plain["differences"][0]["subset"] == "all"


def test_other_shoppers_are_refused() -> None:
    with pytest.raises(InputError, match="the same shoppers"):
        judge(scores(0.5, 1), scores(0.5, 1, n=N - 1), scores(0.3, 3), np.random.default_rng(0))
