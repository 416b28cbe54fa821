"""Every number of the practice shop, in one file; `catalogue`, `shoppers` and `shop` hold the laws.

The numbers were fixed before any ranker was tuned on them. Utilities are in logits: a click on an item that is
looked at has the chance sigmoid(utility - click_at). Days are the unit of time.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from regulars.core.clock import Instant
from regulars.core.errors import SettingError


@dataclass(frozen=True)
class Preset:
    """One practice shop: its size, its goods, its people and what a slate does to them."""

    name: str = "default"
    shoppers: int = 2000  # the starting cohort
    items: int = 500
    start: Instant = 1_767_571_200_000_000  # day 0, a Monday: 2026-01-05T00:00:00Z
    arrivals: float = 0.10  # shoppers who come later, as a share of the cohort
    arrival_days: int = 60  # over which they arrive

    # goods
    consumables: float = 1.0  # share of the consumable categories that stay so; the others last
    quality: float = 0.6  # spread of what everybody likes better
    fame: float = 0.9  # spread of the logarithm of how easily an item is come across
    fame_quality: float = 0.6  # correlation of fame and quality
    late_items: float = 0.25  # share of the items released while the shop runs
    release_days: int = 90  # over which they are released
    outages: float = 0.003  # chance a day that an item runs out
    outage_days: int = 6  # longest time until it returns

    # taste: a tree of categories, with drift and noise of one's own for every item
    taste_law: Literal["tree", "topics"] = "tree"
    department: float = 0.45
    leaf: float = 0.65
    brand: float = 0.45
    style: float = 0.35
    noise: float = 0.55  # of one shopper for one item, never to be learned from others
    drift: float = 0.4  # of the taste for a category, over ...
    drift_days: float = 30.0
    topics: int = 8  # law "topics": one topic a shopper, exchanged at once after about ...
    topic_days: float = 21.0
    price_sense: float = 0.45  # mean; utility lost for each factor e above the category's usual price
    price_sense_spread: float = 0.5
    novelty: float = 1.6  # mean appetite for what was released in the last ...
    fresh_days: float = 14.0

    # need
    use_up_law: Literal["gamma", "weibull", "periodic"] = "gamma"
    uses: float = 0.42  # chance that a household uses a consumable category
    gap_spread: float = 0.35  # of a household's gap around the category's, as a logarithm
    use_up_shape: float = 14.0  # of gamma or Weibull: higher is more regular
    early: float = 2.0  # days before it is used up that one would already buy
    elsewhere: float = 5.0  # mean days after which another shop has served the need
    need: float = 2.7  # utility of what is needed now
    sated: float = 2.0  # lost while there is enough at home
    unused: float = 1.0  # lost where the household does not use it
    owned: float = 2.0  # lost for a durable just bought, fading over ...
    owned_days: float = 80.0
    habit: float = 1.2  # gained by the item bought last in a category

    # what a slate does
    effect: bool = True  # False: clicks happen, and nothing follows from a slate
    look: float = 0.55  # chance to look at position p: (p + 1) ** -look
    click_at: float = 2.8
    buy_at: float = 3.4
    most_bought: int = 1  # of one slate
    related: float = 0.9  # gained on a product page by alternatives and complements
    bored: float = 0.2  # lost for each earlier look without a click, fading over ...
    bored_days: float = 7.0

    # what shoppers do by themselves
    remember: float = 0.62  # chance to think of a need at a visit
    find: float = 0.85  # chance to find it
    browse: float = 1.3  # categories browsed a visit, mean
    considered: int = 6  # items come across in a category
    browse_buy_at: float = 3.1
    browse_cart_at: float = 2.2  # put into the cart, and left there unless bought
    rate: float = 0.15  # chance to rate a purchase
    refund: float = 0.02  # chance to bring it back

    # coming back
    annoyance_law: Literal["irrelevance", "sameness"] = "irrelevance"
    gap: float = 7.0  # days between visits of a typical shopper in an even mood
    gap_own: float = 0.35  # spread among shoppers, as a logarithm
    gap_noise: float = 0.55  # spread from visit to visit, as a logarithm
    weekdays: tuple[float, ...] = (0.9, 0.85, 0.85, 0.9, 1.0, 1.0, 0.95)  # chance to keep a date, Monday first
    pleased_click: float = 0.1  # mood gained by each of up to three clicks on a slate
    pleased_need: float = 0.6  # by a need that a slate reminded of
    pleased_buy: float = 0.12  # by something else bought from a slate
    pleased_self: float = 0.12  # by something found without a slate
    irrelevant_at: float = 0.2  # an item below this utility is irrelevant
    annoyed_irrelevant: float = 0.7  # mood lost when all that was looked at is irrelevant
    annoyed_repeated: float = 0.04  # for each item seen again and again
    annoyed_stock: float = 0.25  # for something that is not to be had
    mood_keep: float = 0.5  # share of the mood that lasts until the next visit
    mood_gap: float = 0.35  # shortens or lengthens the time to the next visit
    lose: float = 0.022  # chance to leave for good at a visit in an even mood
    lose_mood: float = 1.6
    patience: float = 0.35  # spread among shoppers of how annoyance counts
    loyalty: float = 0.4  # spread among shoppers of the chance to leave


MIN_ITEMS = 40  # every category sells something
DEFAULT = Preset()
PRESETS: dict[str, Preset] = {
    each.name: each
    for each in (
        DEFAULT,
        replace(DEFAULT, name="durables", consumables=0.15, browse=1.8, browse_buy_at=2.1, browse_cart_at=1.4,
                owned_days=150.0, buy_at=4.6),
        replace(DEFAULT, name="grocery", uses=0.65, habit=1.6, need=3.0, browse=0.6, use_up_shape=25.0, leaf=0.45),
        replace(DEFAULT, name="sparse", items=2000, gap=6.5, browse=1.1, gap_noise=0.7, late_items=0.35),
        replace(DEFAULT, name="fickle", drift=1.0, drift_days=12.0, leaf=0.4, habit=0.3, gap_spread=0.5,
                use_up_shape=4.0),
        replace(DEFAULT, name="null-effect", effect=False),
        replace(DEFAULT, name="null-taste", department=0.0, leaf=0.0, brand=0.0, style=0.0, noise=0.0,
                drift=0.0, quality=0.01, price_sense=0.01, price_sense_spread=0.0, novelty=0.0, consumables=0.0,
                owned=0.0, habit=0.0, bored=0.0, annoyed_repeated=0.0, related=0.0, late_items=0.0,
                click_at=1.4, buy_at=2.2, browse_buy_at=1.4, browse_cart_at=0.8, irrelevant_at=-0.5),
        replace(DEFAULT, name="other-laws", use_up_law="periodic", taste_law="topics", annoyance_law="sameness",
                gap_spread=0.45, leaf=0.9),
    )
}  # fmt: skip


def preset(name: str = "default", **changes: Any) -> Preset:
    """Return a preset by name with some numbers changed, such as `preset("grocery", shoppers=500)`."""
    _known(name, PRESETS, "preset")
    known = {spec.name for spec in fields(Preset)}
    for key in changes:
        _known(key, known, f"preset {name!r}")
    changed = replace(PRESETS[name], **changes)
    if changed.shoppers < 1 or changed.items < MIN_ITEMS:
        raise SettingError(
            "preset", got=f"{changed.shoppers} shoppers, {changed.items} items", wanted=f"at least 1 and {MIN_ITEMS}"
        )
    return changed


def _known(name: str, names: Any, where: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0)
        raise SettingError(where, got=f"unknown name {name!r}", wanted=f"{near[0]!r}", remedy="Correct the name.")
