"""Which column of a table is the shopper, which the item, the time and the weight: by name, or by the usual words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regulars.core.errors import InputError

ENDS = ("id", "", "key", "code", "number", "no", "idx", "index")
USERS = (
    "user", "customer", "shopper", "visitor", "client", "member", "buyer", "reviewer", "account", "consumer",
    "household", "person", "u", "uid", "anonymous", "session", "用户", "顾客", "客户", "会员", "会话",
)  # fmt: skip
ITEMS = (
    "item", "product", "sku", "article", "stock", "movie", "film", "artist", "song", "track", "album", "book",
    "game", "app", "video", "show", "asin", "isbn", "recipe", "business", "venue", "poi", "location", "news", "i",
    "iid", "商品", "物品", "产品", "电影",
)  # fmt: skip
TIMES = ("timestamp", "time", "datetime", "date", "at", "when", "ts", "时间", "日期", "时间戳", "day")
DONE = (
    "event", "order", "ordered", "purchase", "purchased", "invoice", "transaction", "created", "occurred", "rated",
    "reviewed", "review", "visit", "clicked", "viewed", "watched", "listened", "unixreview",
)  # fmt: skip
WEIGHTS = (
    "weight", "rating", "stars", "score", "overall", "quantity", "qty", "plays", "playcount", "listens", "count",
    "评分", "权重", "数量",
)  # fmt: skip
WORDS = {
    "user": tuple(noun + end for noun in USERS for end in ENDS),
    "item": tuple(noun + end for noun in ITEMS for end in ENDS),
    "time": (*TIMES, *(word + end for word in DONE for end in ("timestamp", "time", "at", "date", "datetime"))),
    "weight": WEIGHTS,
}
WHAT = {"user": "shoppers, such as user_id", "item": "items, such as item_id"}


@dataclass(frozen=True)
class Roles:
    """Names of a table's columns; None where it has no such column, or is to be read without."""

    user: str
    item: str
    time: str | None
    weight: str | None

    @property
    def used(self) -> list[str]:
        """The columns that are read."""
        return [name for name in (self.user, self.item, self.time, self.weight) if name is not None]


def roles_of(columns: Sequence[str], where: str, given: Mapping[str, str | None]) -> Roles:
    """The roles of these columns: those `given` (role -> name), the others by the usual words.

    A name that is no column, one column for two roles, and no column of shoppers or items are `InputError`s.
    """
    found: dict[str, str | None] = {}
    for role, name in given.items():
        if name:  # "" is to do without, whatever the columns are called
            found[role] = _named(columns, where, role, name)
    for role in WORDS:
        if given.get(role) is None:
            found[role] = _guessed([name for name in columns if name not in found.values()], role)
    for role in ("user", "item"):
        if found.get(role) is None:
            raise InputError(
                where, got=f"the columns {', '.join(columns) or 'none'}",
                wanted=f"one of {WHAT[role]} (none is called by a usual word)",
                remedy=f"Name it: {role}=COLUMN, or --{role} COLUMN.",
            )  # fmt: skip
    roles = Roles(str(found["user"]), str(found["item"]), found.get("time"), found.get("weight"))
    if len(set(roles.used)) < len(roles.used):
        raise InputError(where, got=f"the columns {', '.join(roles.used)}", wanted="another column for each role")
    return roles


def _named(columns: Sequence[str], where: str, role: str, name: str) -> str:
    if name not in columns:
        near = difflib.get_close_matches(name, columns, n=1, cutoff=0)
        raise InputError(where, got=f"{role}={name!r}", wanted=f"one of the columns {', '.join(columns)}",
                         remedy=f"Try {near[0]!r}." if near else "")  # fmt: skip
    return name


def _guessed(columns: Sequence[str], role: str) -> str | None:
    """The first of the usual words that a column is called by; capitals, blanks and signs do not count."""
    plain = {"".join(filter(str.isalnum, name.lower())): name for name in reversed(columns)}
    return next((plain[word] for word in WORDS[role] if word in plain), None)
