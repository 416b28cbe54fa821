"""Every reason of many slates is followed back to the journal's events; a wrong one is caught."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow.compute as pc
import pytest

from loop.street import Street, open_street
from regulars.clean.dataset import build_dataset
from regulars.core.clock import DAY, Instant
from regulars.core.data import PURCHASE
from regulars.core.settings import Settings
from regulars.events.schema import Item, Reason, Slate
from regulars.models.trending import Trending
from regulars.pipeline import train_once
from regulars.rank.explain import FRESH, TEXTS, TOP_OF_CATEGORY
from regulars.rank.slates import Request, State, slates

TOP_OF_SHOP = 10


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    made = open_street(tmp_path_factory.mktemp("street"))
    train_once(made.app)
    yield made
    made.app.close()


@dataclass(frozen=True)
class Log:
    """The shop's raw log, read without the code that wrote the reasons."""

    done: dict[tuple[int, str], list[tuple[str, Instant]]]  # (shopper, item) -> (kind, when)
    items: dict[str, Item]
    week_buyers: dict[str, set[int]]
    buyers: dict[str, set[int]]
    rising: set[str]

    def at(self, shopper: int, item_id: str, *kinds: str) -> list[Instant]:
        return sorted({at for kind, at in self.done.get((shopper, item_id), []) if kind in kinds})

    def touched(self, shopper: int) -> bool:
        return any(key[0] == shopper for key in self.done)


@pytest.fixture(scope="module")
def log(street: Street) -> Log:
    table = street.app.journal.snapshot().interactions(("user_key", "item_id", "event_type", "timestamp"))
    last = pc.max(table["timestamp"]).as_py()
    dataset, _ = build_dataset(street.app.journal, street.app.settings)
    kept = dataset.interactions
    bought = {  # refunded in full: not bought
        (dataset.users.keys[user], dataset.items.ids[item], at)
        for user, item, at, kind, pieces in zip(
            kept.user_idx.tolist(), kept.item_idx.tolist(), kept.at.tolist(), kept.kind.tolist(),
            kept.quantity.tolist(), strict=True)
        if kind == PURCHASE and pieces > 0
    }  # fmt: skip
    done, week, ever = defaultdict(list), defaultdict(set), defaultdict(set)
    for row in table.to_pylist():
        done[row["user_key"], row["item_id"]].append((row["event_type"], row["timestamp"]))
        if (row["user_key"], row["item_id"], row["timestamp"]) in bought:
            ever[row["item_id"]].add(row["user_key"])
            if row["timestamp"] > last - 7 * DAY:
                week[row["item_id"]].add(row["user_key"])
    items = {item.item_id: item for item in street.app.service.items()}
    surprise = Trending().fit(dataset).surprise_
    rising = {dataset.items.ids[int(idx)] for idx in np.flatnonzero(surprise > 0)}
    return Log(dict(done), items, week, ever, rising)


def follow(reason: Reason, item_id: str, slate: Slate, context: str, log: Log) -> None:
    """Raise AssertionError unless the log bears out what the reason says."""
    who, told = slate.user_key, text_of(reason, log)
    if told in ("because-bought", "again", "usual"):
        follow_purchase(reason, item_id, slate, told, log)
    elif told.startswith("popular"):
        follow_popular(reason, item_id, told, log)
    elif told == "because-viewed":
        assert log.at(who, reason.item_id, "view", "click")
        assert not log.at(who, reason.item_id, "purchase")
    elif told == "because-noticed":
        assert (who, reason.item_id) in log.done
        assert not log.at(who, reason.item_id, "view", "click", "purchase")
    elif told == "looked":
        assert log.at(who, item_id, "view", "click")
    elif told == "similar":
        assert reason.item_id == context != ""
    elif told == "trending":
        assert item_id in log.rising
    elif told == "taste":
        assert log.touched(who)
    else:
        assert told == "explore"
        assert (who, item_id) not in log.done


def follow_purchase(reason: Reason, item_id: str, slate: Slate, told: str, log: Log) -> None:
    bought = log.at(slate.user_key, reason.item_id, "purchase")
    assert bought
    assert bought[-1] <= slate.timestamp
    assert told == "because-bought" or reason.item_id == item_id
    if told == "usual":
        gaps = np.diff(bought) / DAY
        assert reason.days == pytest.approx(gaps.mean())
        assert f"{gaps.mean():.0f}" in reason.text


def follow_popular(reason: Reason, item_id: str, told: str, log: Log) -> None:
    if told == "popular":
        ranked = sorted((len(log.buyers[each]) for each in log.items), reverse=True)
        assert len(log.buyers[item_id]) >= ranked[TOP_OF_SHOP - 1]
        return
    assert log.items[item_id].category[-1] == reason.category
    assert log.buyers[item_id]
    assert place_in_category(item_id, log) < TOP_OF_CATEGORY
    assert told == "popular-category" or log.week_buyers[item_id]


def place_in_category(item_id: str, log: Log) -> int:
    """Items of the same category with more buyers this week, or as many and more ever."""

    def rank(each: str) -> tuple[int, int]:
        return len(log.week_buyers[each]), len(log.buyers[each])

    path = log.items[item_id].category
    return sum(rank(each) > rank(item_id) for each, item in log.items.items() if item.category == path)


def names_of(category: str, language: str, log: Log) -> set[str]:
    """What a category may be called in a language."""
    inside = [item for item in log.items.values() if category in item.category]
    return {str(item.properties.get(f"category_{language}", item.category)[-1]) for item in inside}


def text_of(reason: Reason, log: Log) -> str:
    """Which sentence this is, in whichever language, with the right title in it."""
    for language, texts in TEXTS.items():
        for name, text in texts.items():
            pattern = re.escape(text).replace(r"\{item\}", "(?P<item>.+)").replace(r"\{label\}", "(?P<label>.+)")
            found = re.fullmatch(pattern.replace(r"\{days:\.0f\}", r"(?P<days>\d+)"), reason.text)
            if found is None:
                continue
            said = found.groupdict()
            if "item" in said:
                item = log.items[reason.item_id]
                assert said["item"] in (item.properties.get(f"title_{language}"), item.title)
            if "label" in said:
                assert said["label"] in names_of(reason.category, language, log)
            return name
    raise AssertionError(f"nobody taught the shop to say {reason.text!r}")


def many(street: Street, language: str, **rank: object) -> list[tuple[Slate, str]]:
    """Slates of everybody, half of them on an item's page, with the context item."""
    settings = street.app.settings.change(rank={"explore": "epsilon", "epsilon": 0.5, **rank})
    bundle = street.app.bundle()
    assert bundle is not None
    keys = street.app.identities.keys([f"u:{name}" for name in street.world.shopper_ids])
    asked = [
        Request(user_key=key, recommendation_id=f"{language}{row}", language=language, limit=12,
                item=bundle.items[row % len(bundle.items)] if row % 2 else "")
        for row, key in enumerate([*keys, 12345, 54321])
    ]  # fmt: skip
    made = slates(asked, State(bundle, street.app.live, settings, street.now))
    return [(slate, request.item) for slate, request in zip(made, asked, strict=True)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_reason_is_borne_out_by_events(street: Street, log: Log, language: str) -> None:
    told: dict[str, int] = defaultdict(int)
    for slate, context in many(street, language):
        for item in slate.items:
            follow(item.reason, item.item_id, slate, context, log)
            told[text_of(item.reason, log)] += 1
            assert bool(re.search("[\u4e00-\u9fff]", item.reason.text)) == (language == "zh")
    assert {"because-bought", "because-viewed", "similar", "usual", "popular-week", "explore"} <= told.keys(), told


def test_a_reason_with_a_wrong_item_is_caught(street: Street, log: Log) -> None:
    """Negative control: each evidence is exchanged for an item that this shopper never touched."""
    caught = tried = 0
    for slate, context in many(street, "en"):
        touched = {item_id for who, item_id in log.done if who == slate.user_key}
        strange = next(item_id for item_id in log.items if item_id not in touched and item_id != context)
        for item in slate.items:
            if item.reason.kind not in ("because", "usual", "similar"):
                continue
            text = item.reason.text.replace(log.items[item.reason.item_id].title, log.items[strange].title)
            wrong = Reason(kind=item.reason.kind, text=text, item_id=strange, days=item.reason.days)
            tried += 1
            try:
                follow(wrong, item.item_id, slate, context, log)
            except AssertionError:
                caught += 1
    assert caught == tried > 100


def test_a_wrong_gap_category_or_sentence_is_caught(street: Street, log: Log) -> None:
    usual, popular = [], []
    for slate, _ in many(street, "en"):
        for item in slate.items:
            usual += [(item, slate)] if item.reason.days is not None else []
            popular += [(item, slate)] if item.reason.category else []
    item, slate = usual[0]
    days = (item.reason.days or 0) + 3
    wrong = Reason(kind="usual", text=f"you usually buy this every {days:.0f} days", item_id=item.item_id, days=days)
    with pytest.raises(AssertionError):
        follow(wrong, item.item_id, slate, "", log)
    item, slate = popular[0]
    elsewhere = Reason(kind="popular", text="popular in Nowhere this week", category="Nowhere")
    with pytest.raises(AssertionError):
        follow(elsewhere, item.item_id, slate, "", log)
    with pytest.raises(AssertionError, match="nobody taught"):
        follow(Reason(kind="because", text="because everybody says so"), item.item_id, slate, "", log)


def test_this_week_is_not_said_of_an_old_week(street: Street) -> None:
    bundle = street.app.bundle()
    assert bundle is not None
    old = replace(bundle, trained_at=street.now - FRESH)
    asked = [Request(user_key=-1, recommendation_id="r", limit=20)]
    texts = []
    for each in (replace(bundle, trained_at=street.now), old):
        [slate] = slates(asked, State(each, street.app.live, street.app.settings, street.now))
        texts.append({item.reason.text for item in slate.items})
    fresh, stale = texts
    assert any("this week" in text or "these days" in text for text in fresh)
    assert not any("this week" in text or "these days" in text for text in stale)


def test_the_shops_own_language_speaks_when_none_is_asked_for(street: Street) -> None:
    bundle = street.app.bundle()
    assert bundle is not None
    settings: Settings = street.app.settings.change(shop={"language": "zh"})
    state = State(bundle, street.app.live, settings, street.now)
    for language, chinese in (("", True), ("de", True), ("en", False)):
        [slate] = slates([Request(user_key=-1, recommendation_id="r", language=language)], state)
        assert all(bool(re.search("[\u4e00-\u9fff]", item.reason.text)) == chinese for item in slate.items)


def test_a_category_is_named_in_the_language_of_the_sentence(street: Street, log: Log) -> None:
    said = {
        language: {item.item_id: item.reason for slate, _ in many(street, language) for item in slate.items
                   if item.reason.category}
        for language in ("en", "zh")
    }  # fmt: skip
    both = said["en"].keys() & said["zh"].keys()
    assert both
    for item_id in both:
        item, english, chinese = log.items[item_id], said["en"][item_id], said["zh"][item_id]
        assert english.category == chinese.category == item.category[-1]
        assert item.category[-1] in english.text
        assert str(item.properties["category_zh"][-1]) in chinese.text


def test_both_languages_can_say_everything() -> None:
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
