"""Policies that need no product: `Random`, and `Oracle`, which knows the truth and so marks the ceiling."""

from __future__ import annotations

import numpy as np

from regulars.core.arrays import Floats, Indices
from regulars.core.topk import top_k
from regulars.simulate.protocol import PolicyAnswer, PolicyRequest
from regulars.simulate.shop import Shop
from regulars.simulate.state import sigmoid
from regulars.simulate.visit import OFTEN, irrelevance
from regulars.simulate.world import World

SEEN = 5  # items of a slate that are looked at, about


class Random:
    """Items in stock, in an order of chance."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, request: PolicyRequest) -> PolicyAnswer:
        """Draw a slate for each row."""
        items = np.arange(len(self.world.catalogue))[None, :]
        slot = 0 if request.slot == "home" else 1
        scores = self.world.draw("random-policy", request.shopper[:, None], request.day, slot, items)
        scores[:, ~self.world.catalogue.in_stock(request.day)] = -np.inf
        return answer(scores.astype(np.float32), request.limit)


class Oracle:
    """Ranks by the mood that showing an item will bring, from the hidden state of the shop it serves."""

    def __init__(self, shop: Shop, *, noise: float = 0.0) -> None:
        self.shop, self.noise = shop, noise

    def __call__(self, request: PolicyRequest) -> PolicyAnswer:
        """Rank everything in stock for each row, 128 rows at a time."""
        parts = [self._rank(request, slice(first, first + 128)) for first in range(0, len(request), 128)]
        ids = np.concatenate(parts) if parts else np.zeros((0, request.limit), dtype=np.int32)
        return PolicyAnswer(ids, [""] * len(request))

    def _rank(self, request: PolicyRequest, rows: slice) -> Indices:
        state, world = self.shop.state, self.shop.world
        who = request.shopper[rows][:, None]
        items = np.arange(len(world.catalogue), dtype=np.int32)[None, :]
        liking = self.liking(who, items) + state.related(items, request.context_item[rows][:, None])
        before = looks(self.shop, request.shopper[rows])
        scores = self._gain(liking - world.preset.bored * before, before, who)
        scores[:, ~world.catalogue.in_stock(request.day)] = -np.inf
        return top_k(scores, request.limit)[0]

    def liking(self, who: Indices, items: Indices) -> Floats:
        """Utility today as the oracle believes it, `(n, 1)` against `(1, n_items)`."""
        liking = self.shop.state.wanting(who, items)
        if self.noise:
            liking += (self.noise * self.shop.world.normal("oracle-noise", who, items)).astype(np.float32)
        return liking

    def _gain(self, liking: Floats, before: Floats, who: Indices) -> Floats:
        """Expected mood when the item is looked at."""
        preset, state = self.shop.world.preset, self.shop.state
        click, buy = sigmoid(liking - preset.click_at), sigmoid(liking - preset.buy_at)
        needed = state.urgency(who, self.shop.world.catalogue.leaf[None, :]) > 0
        gain = click * (preset.pleased_click + buy * np.where(needed, preset.pleased_need, preset.pleased_buy))
        irrelevant = preset.annoyed_irrelevant / SEEN * irrelevance(preset, liking) * (1 - click)
        loss = irrelevant + preset.annoyed_repeated * (before > OFTEN)
        return np.asarray(gain - loss, dtype=np.float32)


def looks(shop: Shop, shopper: Indices) -> Floats:
    """Earlier looks without a click at every item, fading, `(n, n_items)`."""
    state = shop.state
    counts = np.zeros((len(shopper), len(shop.world.catalogue)), dtype=np.float32)
    weight = np.exp(-(state.day - state.looked_day[shopper]) / shop.world.preset.bored_days)
    items = state.looked_item[shopper]
    line, column = np.nonzero(items >= 0)
    np.add.at(counts, (line, items[line, column]), weight[line, column].astype(np.float32))
    return counts


def answer(scores: Floats, limit: int) -> PolicyAnswer:
    """Slates of the best scores, without recommendation ids."""
    return PolicyAnswer(top_k(scores, limit)[0], [""] * len(scores))
