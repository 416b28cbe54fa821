"""Policies that need no product: `Random`, and `Oracle`, which knows the truth and so marks the ceiling."""

from __future__ import annotations

import numpy as np

from regulars.core.arrays import Floats, Indices, Mask
from regulars.core.topk import top_k
from regulars.simulate.catalogue import LEAVES
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
    """Ranks by the mood that showing an item will bring, from the hidden state of the shop it serves.

    `noise` is what is added to every shopper's liking of every item, for a policy that knows less.
    """

    def __init__(self, shop: Shop, *, noise: float = 0.0) -> None:
        self.shop, self.noise = shop, noise
        self._lasting: dict[int, Floats] = {}  # a shopper's lasting taste for all items

    def __call__(self, request: PolicyRequest) -> PolicyAnswer:
        """Rank everything in stock for each row, 256 rows at a time."""
        stock = self.shop.world.catalogue.in_stock(request.day)
        parts = [self._rank(request, slice(first, first + 256), stock) for first in range(0, len(request), 256)]
        ids = np.concatenate(parts) if parts else np.zeros((0, request.limit), dtype=np.int32)
        return PolicyAnswer(ids, [""] * len(request))

    def _rank(self, request: PolicyRequest, rows: slice, stock: Mask) -> Indices:
        state, world = self.shop.state, self.shop.world
        shopper = request.shopper[rows]
        items = np.arange(len(world.catalogue), dtype=np.int32)[None, :]
        liking = self.liking(shopper) + state.related(items, request.context_item[rows][:, None])
        before = looks(self.shop, shopper)
        scores = self._gain(liking - world.preset.bored * before, before, shopper[:, None])
        scores[:, ~stock] = -np.inf
        return top_k(scores, request.limit)[0]

    def liking(self, shopper: Indices) -> Floats:
        """Utility of all items today, as the oracle believes it, `(n, n_items)`: `State.wanting`, by category."""
        state, world = self.shop.state, self.shop.world
        who, leaves = shopper[:, None], np.arange(len(LEAVES), dtype=np.int32)[None, :]
        items = np.arange(len(world.catalogue), dtype=np.int32)
        by_leaf = world.leaf_taste(who, leaves, state.day) + state.need(who, leaves)
        liking = np.stack([self._taste_that_lasts(each, items) for each in shopper.tolist()])
        liking += by_leaf[:, world.catalogue.leaf] + world.freshness(who, items[None, :], state.day)
        usual = state.last_item[shopper]
        line, leaf = np.nonzero(usual >= 0)
        liking[line, usual[line, leaf]] += np.float32(world.preset.habit)
        return liking

    def _taste_that_lasts(self, shopper: int, items: Indices) -> Floats:
        if shopper not in self._lasting:
            world = self.shop.world
            taste = world.lasting_taste(shopper, items)
            if self.noise:
                taste = taste + (self.noise * world.normal("oracle-noise", shopper, items)).astype(np.float32)
            self._lasting[shopper] = taste
        return self._lasting[shopper]

    def _gain(self, liking: Floats, before: Floats, who: Indices) -> Floats:
        """Expected mood when the item is looked at."""
        preset, state = self.shop.world.preset, self.shop.state
        click, buy = sigmoid(liking - preset.click_at), sigmoid(liking - preset.buy_at)
        urgent = state.urgency(who, np.arange(len(LEAVES))[None, :]) > 0
        needed = urgent[:, self.shop.world.catalogue.leaf]
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
