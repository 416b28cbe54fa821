"""The practice shop's items by category, rebuilt when the catalogue has changed."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

from regulars.events.schema import Item
from regulars.serve.service import Service


class Shelves:
    """What can be browsed: products in stock, in the catalogue's order, by each name of their category path."""

    def __init__(self, service: Service) -> None:
        self._service, self._lock, self._version = service, Lock(), -1
        self._tops: dict[str, int] = {}
        self._items: dict[str, list[Item]] = {}

    def categories(self) -> dict[str, int]:
        """Top categories with how many items they hold."""
        self._renew()
        return self._tops

    def shelf(self, category: str, start: int, limit: int) -> list[Item]:
        """Items of a category ("" = all), `limit` from `start`."""
        self._renew()
        return self._items.get(category, [])[start : start + limit]

    def _renew(self) -> None:
        with self._lock:
            version = self._service.live.catalogue.version
            if version == self._version:
                return
            products = [item for item in self._service.items() if item.kind == "product" and item.available]
            tops: dict[str, int] = {}
            shelves: dict[str, list[Item]] = {}
            for item in products:
                for top in item.category[:1]:
                    tops[top] = tops.get(top, 0) + 1
                for name in _names(item):
                    shelves.setdefault(name, []).append(item)
            self._tops, self._items, self._version = dict(sorted(tops.items())), shelves, version


def _names(item: Item) -> Iterator[str]:
    yield ""
    yield from dict.fromkeys(item.category)
