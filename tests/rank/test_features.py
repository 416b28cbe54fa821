"""What the second look sees: equal to counting it by hand, and the same in a batch as alone."""

from __future__ import annotations

import numpy as np
import pytest

from rank.conftest import NOW, Shop, goods
from regulars.core.clock import DAY
from regulars.core.data import Histories
from regulars.events.schema import Item
from regulars.rank import rules
from regulars.rank.candidates import Candidates
from regulars.rank.features import LONG_AGO, NO_RATIO, UNKNOWN, best_places, feature_names, features
from regulars.rank.request import Request
from regulars.rank.slates import candidates_of, histories_of

NAMES = feature_names(("fixed",))


def shop() -> Shop:
    made = Shop([
        Item(item_id="a", category=("tea", "green"), brand="x", price=400, released_at=NOW - 10 * DAY),
        Item(item_id="b", category=("tea", "green"), brand="y", price=900),
        Item(item_id="c", category=("pots",), price=2500),
        Item(item_id="d"),
    ])  # fmt: skip
    made.did("purchase", "a", days_ago=40, user_key=1)
    made.did("purchase", "a", days_ago=10, user_key=1)
    made.did("view", "c", days_ago=3, user_key=1)
    made.did("view", "c", days_ago=2, user_key=1)
    made.did("view", "b", days_ago=5, user_key=2)
    return made


def seen_by(made: Shop, *keys: int, item: str = "") -> tuple[Candidates, np.ndarray, np.ndarray, Histories]:
    state, bundle = made.state, made.bundle
    requests = [Request(user_key=key, recommendation_id=str(key), item=item) for key in keys]
    histories = histories_of(requests, state, bundle)
    found = candidates_of(requests, state, bundle, histories)
    logits = rules.score(found, bundle.blend, state.settings.rank)
    places = best_places(logits)
    rows = features(
        found, places, logits, histories, bundle.item_facts, made.live.catalogue.columns(bundle.items), NOW
    )
    return found, places, rows, histories


def told(made: Shop, key: int, item_id: str, item: str = "") -> dict[str, float]:
    found, places, rows, _ = seen_by(made, key, item=item)
    wanted = made.bundle.items.get(item_id)
    place = next(p for p, column in enumerate(places[0]) if found.item_idx[0, column] == wanted)
    return dict(zip(NAMES, rows[0, place].tolist(), strict=True))


def test_what_was_bought_and_what_is_like_it() -> None:
    tea = told(shop(), 1, "a")
    assert tea["bought"] == pytest.approx(np.log(3))
    assert tea["gaps since bought"] == pytest.approx(10 / 30)  # own gap: 30 days, bought 10 days ago
    assert (tea["days since looked at"], tea["times looked at"]) == (LONG_AGO, 0)
    assert tea["days since release"] == pytest.approx(10)
    assert tea["price ratio"] == pytest.approx(0, abs=1e-6)
    assert (tea["category share"], tea["brand share"]) == (0.5, 0.5)
    assert tea["events"] == pytest.approx(np.log(5))
    assert tea["purchases"] == pytest.approx(np.log(3))
    assert tea["days away"] == pytest.approx(2)
    other = told(shop(), 1, "b")
    assert (other["category share"], other["brand share"], other["bought"]) == (0.5, 0.0, 0.0)
    assert other["gaps since bought"] == UNKNOWN
    assert other["price ratio"] == pytest.approx(np.log(900 / 400))


def test_what_was_looked_at() -> None:
    pot = told(shop(), 1, "c")
    assert pot["times looked at"] == 2
    assert pot["days since looked at"] == pytest.approx(2)
    assert told(shop(), 1, "b", item="a")["same category as viewed"] == 1.0
    assert told(shop(), 1, "c", item="a")["same category as viewed"] == 0.0
    assert told(shop(), 1, "c")["same category as viewed"] == UNKNOWN


def test_a_newcomer_and_a_bare_item() -> None:
    bare = told(shop(), 99, "d")
    assert (bare["events"], bare["purchases"], bare["days away"]) == (0, 0, LONG_AGO)
    assert (bare["price"], bare["price ratio"], bare["days since release"]) == (UNKNOWN, NO_RATIO, UNKNOWN)
    assert (bare["category share"], bare["brand share"]) == (0, 0)


def test_a_batch_says_what_each_says_alone() -> None:
    made = shop()
    _, _, together, _ = seen_by(made, 1, 2, 99)
    for row, key in enumerate((1, 2, 99)):
        np.testing.assert_array_equal(together[row], seen_by(made, key)[2][0])


def test_best_places_are_a_stable_sort_and_leave_out_what_is_barred() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (40, 30)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    places = best_places(scores, 12)
    for row, mine in zip(scores, places, strict=True):
        kept = mine[mine >= 0]
        assert len(kept) == min(12, int(np.isfinite(row).sum()))
        stable = sorted(range(30), key=lambda column: (-row[column], column))
        assert kept.tolist() == stable[: len(kept)]
    assert best_places(scores, 99).shape == (40, 30)


def test_what_may_not_be_shown_has_no_features() -> None:
    made = Shop(goods("ab"), not_due="hide")
    made.did("purchase", "a", days_ago=1)
    _, places, rows, _ = seen_by(made, 1)
    assert (places >= 0).sum() == 1
    assert not rows[places < 0].any()
