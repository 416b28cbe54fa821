"""The pages: storefront, dashboard, description of the API. Nothing in them comes from another host."""

from __future__ import annotations

from typing import Any

from regulars.core.settings import Settings
from regulars.serve.pages import dashboard, docs, door, static, storefront


def page_routes(settings: Settings) -> list[Any]:
    """The routes of all pages; the storefront only in a practice shop."""
    routes = [*door.ROUTES, *static.ROUTES, *docs.ROUTES, *dashboard.ROUTES]
    return [*routes, *storefront.ROUTES] if settings.shop.practice else routes
