"""Who comes to the shop: each shopper's hidden taste, price sense, need and patience."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regulars.core.arrays import Floats, Indices, Mask
from regulars.core.rng import generator
from regulars.simulate import texts
from regulars.simulate.catalogue import LEAVES, Catalogue
from regulars.simulate.presets import Preset

# visits by hour of the day, from midnight
HOURS = (1, 1, 0, 0, 0, 1, 2, 4, 6, 7, 8, 9, 10, 9, 8, 8, 9, 10, 12, 14, 15, 13, 8, 3)


@dataclass(frozen=True)
class Shoppers:
    """One entry (or row) a shopper; all of it hidden."""

    arrives: Indices  # day of the first visit at the earliest
    department: Floats  # (n, n_departments)
    leaf: Floats  # (n, n_leaves)
    brand: Floats  # (n, n_brands)
    style: Floats  # (n, n_styles)
    price_sense: Floats
    novelty: Floats
    uses: Mask  # (n, n_leaves)
    use_up: Floats  # (n, n_leaves) mean days a pack lasts in this household
    pack: Indices  # pieces bought at once
    gap: Floats  # days between visits in an even mood
    patience: Floats  # divides annoyance
    loyalty: Floats  # divides the chance to leave
    hour: Floats  # favourite hour of the day
    topic_leaf: Floats  # (n_topics, n_leaves)

    def __len__(self) -> int:
        return len(self.gap)


def build_shoppers(preset: Preset, seed: int, catalogue: Catalogue) -> Shoppers:
    """Make the people of a shop, a pure function of preset and seed."""
    rng = generator("shoppers", preset.name, seed)
    cohort = preset.shoppers
    n = cohort + round(preset.arrivals * cohort)
    n_leaves = len(LEAVES)

    def spread(scale: float, *shape: int) -> Floats:
        return (scale * rng.standard_normal(shape, dtype=np.float32)).astype(np.float32)

    arrives = np.zeros(n, dtype=np.int32)
    arrives[:cohort] = np.floor(rng.random(cohort) * preset.gap)
    arrives[cohort:] = 1 + np.floor(rng.random(n - cohort) * preset.arrival_days)
    reach = np.clip(preset.uses * np.exp(rng.normal(0, 0.35, n_leaves)), 0, 0.95) * (catalogue.lasts > 0)
    own_leaf = spread(preset.leaf, n, n_leaves)
    size = np.exp(spread(preset.gap_spread, n, 1)).astype(np.float32)  # large households use up everything sooner
    return Shoppers(
        arrives=arrives,
        department=spread(preset.department, n, len(texts.DEPARTMENTS)),
        leaf=own_leaf,
        brand=spread(preset.brand, n, len(texts.BRANDS)),
        style=spread(preset.style, n, len(texts.STYLES)),
        price_sense=(preset.price_sense * np.exp(spread(preset.price_sense_spread, n))).astype(np.float32),
        novelty=(preset.novelty * rng.standard_exponential(n)).astype(np.float32),
        uses=rng.random((n, n_leaves), dtype=np.float32) < reach[None, :],
        use_up=(catalogue.lasts[None, :] * np.sqrt(size) * np.exp(spread(preset.gap_spread, n, n_leaves))).astype(
            np.float32
        ),
        pack=rng.integers(1, 4, n).astype(np.int32),
        gap=(preset.gap * np.exp(spread(preset.gap_own, n))).astype(np.float32),
        patience=np.exp(spread(preset.patience, n)),
        loyalty=np.exp(spread(preset.loyalty, n)),
        hour=rng.choice(24, size=n, p=np.array(HOURS) / sum(HOURS)).astype(np.float32),
        topic_leaf=spread(preset.leaf, preset.topics, n_leaves),
    )
