"""What a caller asks for."""

from __future__ import annotations

from msgspec import Struct


class Filters(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which items may answer; prices in minor units, both ends included."""

    category: str = ""  # a name anywhere on the path, or a path "Food > Tea"
    price_min: int | None = None
    price_max: int | None = None
    kind: str = "product"  # product, article, ad; empty = any
    in_stock: bool = True


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One slate for one shopper; `recommendation_id` is the slate's and the seed of its draw."""

    user_key: int
    recommendation_id: str
    slot: str = "home"
    limit: int | None = None
    exclude: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    filters: Filters = Filters()
    item: str = ""  # the item looked at now
    language: str = ""
    variant: str = ""
