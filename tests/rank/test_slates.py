"""Slates: every request gets an answer, a batch equals single calls, and the journal holds what was shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rank.conftest import NOW, Shop, goods
from regulars.core.data import IdMap
from regulars.core.rng import key_of
from regulars.events.schema import Item, decoder, encoder
from regulars.rank.bundle import ItemFacts
from regulars.rank.slates import SAMPLED_CANDIDATES, Filters, Request, decision, slates

NAMES = "abcdefghijkl"


def requests(n: int) -> list[Request]:
    return [Request(user_key=user, recommendation_id=f"r{user}", limit=3 + user % 4) for user in range(n)]


@pytest.fixture
def busy() -> Shop:
    """A shop whose shoppers differ, and which explores."""
    shop = Shop([Item(item_id=name, category=("Tea" if name in "abc" else "Coffee",)) for name in NAMES],
                explore="epsilon", epsilon=0.6, explore_positions=3, diversity=0.2)  # fmt: skip
    for user in range(6):
        shop.did("purchase", NAMES[user], user_key=user)
        shop.show(NAMES[2 * user % 12], times=user + 1, user_key=user)
        shop.did("dislike", NAMES[user + 3], user_key=user)
    return shop


def test_a_shopper_never_seen_gets_a_slate() -> None:
    [made] = slates([Request(user_key=-1, recommendation_id="r")], Shop(goods()).state)
    assert len(made.items) == 6
    assert made.why == ""


def test_no_model_yet() -> None:
    shop = Shop(goods())
    state = replace(shop.state, bundle=None)
    [made] = slates([Request(user_key=1, recommendation_id="r")], state)
    assert made.items == ()
    assert "regulars train" in made.why
    assert decision(made, Request(user_key=1, recommendation_id="r"), state).items == ()


def test_an_empty_catalogue() -> None:
    shop = Shop(goods())
    none = ItemFacts(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))
    state = replace(shop.state, bundle=replace(shop.bundle, items=IdMap(), item_facts=none))
    [made] = slates([Request(user_key=1, recommendation_id="r")], state)
    assert made.items == ()
    assert "knows no item" in made.why


def test_everything_filtered_out() -> None:
    made = slates(
        [Request(user_key=1, recommendation_id="a", filters=Filters(category="Nowhere")),
         Request(user_key=1, recommendation_id="b", exclude=tuple("abcdef")),
         Request(user_key=1, recommendation_id="c")], Shop(goods()).state,
    )  # fmt: skip
    assert [len(slate.items) for slate in made] == [0, 0, 6]
    assert all("no item is left" in slate.why for slate in made[:2])
    assert [slate.recommendation_id for slate in made] == ["a", "b", "c"]


def test_a_limit_beyond_the_candidates_gives_what_there_is() -> None:
    [made] = slates([Request(user_key=1, recommendation_id="r", limit=200)], Shop(goods()).state)
    assert [item.position for item in made.items] == list(range(6))
    assert made.n_candidates == 6


def test_nobody_asks() -> None:
    assert slates([], Shop(goods()).state) == []


def test_a_batch_equals_single_calls(busy: Shop) -> None:
    asked = requests(40)
    asked[7:9] = [Request(user_key=7, recommendation_id="r7", filters=Filters(category="Coffee")),
                  Request(user_key=8, recommendation_id="r8", item="c", pins=("d",))]  # fmt: skip
    together = slates(asked, busy.state)
    assert together == [slates([each], busy.state)[0] for each in asked]
    assert together == slates(asked[::-1], busy.state)[::-1]
    assert len({tuple(item.item_id for item in slate.items) for slate in together}) > 5


def test_the_same_id_draws_the_same_and_another_differs(busy: Shop) -> None:
    drawn = [slates([Request(user_key=1, recommendation_id=f"r{n}")], busy.state)[0].items for n in range(40)]
    again = [slates([Request(user_key=1, recommendation_id=f"r{n}")], busy.state)[0].items for n in range(40)]
    assert drawn == again
    assert len({tuple(item.item_id for item in items) for items in drawn}) > 5
    other = replace(busy.state, settings=busy.settings.change(train={"seed": 1}))
    assert [slates([Request(user_key=1, recommendation_id=f"r{n}")], other)[0].items for n in range(40)] != drawn


def test_without_exploration_the_id_does_not_matter(busy: Shop) -> None:
    state = replace(busy.state, settings=busy.settings.change(rank={"explore": "off"}))
    drawn = [slates([Request(user_key=1, recommendation_id=f"r{n}")], state)[0].items for n in range(10)]
    assert all(items == drawn[0] for items in drawn)
    assert {item.propensity for item in drawn[0]} == {1.0}


def test_a_decision_holds_what_was_shown(busy: Shop) -> None:
    request = Request(user_key=2, recommendation_id="r2", item="k", variant="B", slot="product")
    [made] = slates([request], busy.state)
    kept = decision(made, request, busy.state)
    assert kept.items == made.items
    assert (kept.event_id, kept.user_key, kept.slot, kept.variant) == ("r2", 2, "product", "B")
    assert (kept.policy, kept.model_version, kept.timestamp) == ("slate", "v", NOW)
    assert kept.settings_hash == made.settings_hash == busy.settings.ranking_hash()
    assert (kept.n_candidates, kept.profile_offset) == (made.n_candidates, busy.live.offset)
    assert kept.context == {"item": "k"}
    assert decoder.decode(encoder.encode(kept)) == kept


def test_one_decision_in_a_hundred_keeps_its_candidates(busy: Shop) -> None:
    ids = [f"r{n}" for n in range(600)]
    asked = [Request(user_key=1 + n % 3, recommendation_id=each, limit=2) for n, each in enumerate(ids)]
    made = slates(asked, busy.state)
    kept = [decision(slate, each, busy.state) for slate, each in zip(made, asked, strict=True)]
    sampled = [each for each in kept if each.candidate_ids]
    assert {each.event_id for each in sampled} == {
        each for each in ids if key_of("candidates", each) % SAMPLED_CANDIDATES == 0
    }
    assert 0 < len(sampled) < 20
    for each in sampled:
        assert len(each.candidate_ids) == each.n_candidates
        assert {item.item_id for item in each.items} <= set(each.candidate_ids)


def test_the_settings_hash_is_that_of_the_settings_that_rank(busy: Shop) -> None:
    changed = busy.settings.change(rank={"diversity": 0.9})
    [made] = slates([Request(user_key=1, recommendation_id="r")], replace(busy.state, settings=changed))
    assert made.settings_hash == changed.ranking_hash() != busy.bundle.settings_hash


def test_diversity_brings_another_category_up() -> None:
    items = [Item(item_id=name, category=("Tea" if name in "abc" else "Coffee",)) for name in "abcd"]
    alike, mixed = Shop(items), Shop(items, diversity=2.0)
    [one] = slates([Request(user_key=1, recommendation_id="r")], alike.state)
    [two] = slates([Request(user_key=1, recommendation_id="r")], mixed.state)
    assert [item.item_id for item in one.items] == list("abcd")
    assert [item.item_id for item in two.items][:2] == ["a", "d"]
