"""A profile as a person would want to read it: one fact a line, the most telling first."""

from __future__ import annotations

from collections.abc import Iterator

from regulars.core.clock import DAY, Instant
from regulars.core.settings import ShopSettings
from regulars.events.money import exponent
from regulars.events.schema import Habit, Profile
from regulars.profiles.catalogue import Catalogue
from regulars.profiles.clockwork import ShopClock

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PARTS = ("at night", "in the morning", "in the afternoon", "in the evening")  # six hours each, from midnight
FACETS = {"category": "interests", "brand": "brands", "tag": "likes", "price": "prices"}
BANDS = ("lowest fifth", "second fifth", "middle fifth", "fourth fifth", "highest fifth")
INTERESTS, HABITS = 5, 5
EXPLORING, HABITUAL = 0.75, 0.4  # share of first purchases


def describe(profile: Profile, catalogue: Catalogue, shop: ShopSettings) -> str:
    """The profile in words, a line a fact; whose it is the caller has to say."""
    if not profile.n_events:
        facts = [("segment", f"{profile.segment}: nothing is known yet")]
    else:
        facts = [
            ("segment", profile.segment),
            *_visits(profile, shop),
            *_orders(profile, shop),
            *_interests(profile),
            *_habits(profile, catalogue, shop),
        ]
    facts += [(name, str(value)) for name, value in sorted(profile.attributes.items())]
    return "".join(f"{name:<11}{text}\n" for name, text in facts)


def _visits(profile: Profile, shop: ShopSettings) -> Iterator[tuple[str, str]]:
    if profile.first_at is None or profile.last_at is None:
        return
    clock = ShopClock(shop.timezone)
    yield "known for", f"{_days(profile.tenure_days)}, since {_date(profile.first_at, clock)}"
    yield "last seen", f"{_date(profile.last_at, clock)}, {_ago(profile.last_at, profile.as_of)}"
    yield "visits", f"{profile.n_sessions}, with {_count(profile.n_events, 'action')}"
    parts = [sum(profile.hours[start : start + 6]) for start in range(0, 24, 6)]
    part, day = max(range(4), key=parts.__getitem__), max(range(7), key=profile.weekdays.__getitem__)
    yield "comes", f"mostly {PARTS[part]} ({parts[part]:.0%}), most on {WEEKDAYS[day]} ({profile.weekdays[day]:.0%})"


def _orders(profile: Profile, shop: ShopSettings) -> Iterator[tuple[str, str]]:
    if not profile.n_orders or profile.last_order_at is None:
        yield "orders", "none yet"
        return
    gap = f", one every {_days(profile.order_gap_days)}" if profile.order_gap_days else ""
    yield "orders", f"{profile.n_orders}{gap}, the last {_ago(profile.last_order_at, profile.as_of)}"
    yield "spent", _money(profile.monetary, shop.currency)
    if profile.exploring is not None:
        kind = "likes new things" if profile.exploring >= EXPLORING else "mixes new and known things"
        kind = "buys what is known" if profile.exploring <= HABITUAL else kind
        yield "style", f"{kind} ({profile.exploring:.0%} of purchases were first ones of the item)"


def _interests(profile: Profile) -> Iterator[tuple[str, str]]:
    for facet, title in FACETS.items():
        own = [
            (name.removeprefix(f"{facet}:"), share)
            for name, share in profile.interests.items()
            if name.startswith(f"{facet}:")
        ]
        if own:
            named = [(BANDS[int(name)] if facet == "price" else name, share) for name, share in own[:INTERESTS]]
            yield title, ", ".join(f"{name} {share:.0%}" for name, share in named)


def _habits(profile: Profile, catalogue: Catalogue, shop: ShopSettings) -> Iterator[tuple[str, str]]:
    clock = ShopClock(shop.timezone)
    for place, habit in enumerate(profile.habits[:HABITS]):
        item = catalogue.get(habit.item_id)
        title = item.title if item is not None and item.title else habit.item_id
        yield (
            "" if place else "buys",
            f"{title}: {_count(habit.orders, 'time')}{_rhythm(habit, profile.as_of, clock)}",
        )


def _rhythm(habit: Habit, now: Instant, clock: ShopClock) -> str:
    if habit.gap_days is None or habit.due_at is None:
        return ""
    due = "due again" if habit.due_at > now else "was due"
    return f", every {_days(habit.gap_days)}, {due} {_date(habit.due_at, clock)}"


def _date(at: Instant, clock: ShopClock) -> str:
    return clock.local(at).strftime("%Y-%m-%d")


def _ago(at: Instant, now: Instant) -> str:
    return f"{_days((now - at) / DAY)} ago" if now - at >= DAY else "less than a day ago"


def _days(days: float) -> str:
    return _count(round(days), "day") if days >= 1.5 or days == 1 else f"{days:.1f} days"


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n:,} {word}s"


def _money(minor: int, currency: str) -> str:
    places = exponent(currency)
    return f"{currency} {minor / 10**places:,.{places}f}"
