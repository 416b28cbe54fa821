"""The second look: trees that add to the blend's score, and trees that say how likely a purchase is.

The blend ranks everything; its best candidates are looked at again with all that is known of shopper and item, and
what boosted trees found (LambdaMART, Burges 2010, grown from the blend's score) is added. Without trees the blend
stands as it is. A probability is the mean of how often candidates with such a score were bought, by isotonic
regression on shoppers whom the trees had not seen (Zadrozny & Elkan 2002).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices
from regulars.core.errors import ModelError
from regulars.rank.trees import Trees

FILE = "hybrid.json"
REMEDY = "Train again, or roll back to another version."


@dataclass(frozen=True)
class Purchases:
    """How likely a candidate is bought within `days` by a shopper like those known, whether or not here now."""

    trees: Trees
    scores: NDArray[np.float64]  # rising raw scores, and the rate of purchase at each
    rates: NDArray[np.float64]
    days: float

    def probability(self, rows: Floats) -> NDArray[np.float64]:
        """P(bought within `days`) for rows of features `(n, n_features)`; linear between the scores that were met."""
        return np.interp(self.trees.sum(rows), self.scores, self.rates)


@dataclass(frozen=True)
class Hybrid:
    """What was learned beside the blend; both parts read `rank/features.py`."""

    names: tuple[str, ...]  # of the features
    order: Trees  # added to the blend's score; may be empty
    purchases: Purchases | None = None

    @property
    def days(self) -> float | None:
        """What the probabilities look ahead."""
        return None if self.purchases is None else self.purchases.days

    def rerank(self, scores: Floats, places: Indices, rows: Floats) -> Floats:
        """Scores `(n, width)` after the second look at `places (n, m)` with `rows (n, m, n_features)`.

        What was not looked at loses as much as what lost most, so that it stays below all that was above it.
        """
        if not len(self.order):
            return scores
        n, m = places.shape
        gains = self.order.sum(rows.reshape(n * m, -1)).reshape(n, m).astype(np.float32)
        least = np.where(places >= 0, gains, np.inf).min(axis=1, keepdims=True, initial=np.inf)
        changed: Floats = scores + np.where(np.isfinite(least), least, 0).astype(np.float32)
        row, column = np.nonzero(places >= 0)
        at = places[row, column]
        changed[row, at] = scores[row, at] + gains[row, column]
        return changed

    def save(self, folder: Path) -> None:
        """Write plain arrays, and names as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in self.order.arrays().items():
            np.save(folder / f"order.{name}.npy", array, allow_pickle=False)
        about = {"names": list(self.names), "days": self.days}
        if self.purchases is not None:
            arrays = {**self.purchases.trees.arrays(), "scores": self.purchases.scores, "rates": self.purchases.rates}
            for name, array in arrays.items():
                np.save(folder / f"purchases.{name}.npy", array, allow_pickle=False)
        (folder / FILE).write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; arrays that do not fit together are refused."""
        try:
            about = json.loads((folder / FILE).read_text(encoding="utf-8"))
            names, days = tuple(about["names"]), about["days"]
            purchases = None if days is None else Purchases(
                trees=_read_trees(folder, "purchases", len(names)), scores=_read(folder / "purchases.scores.npy"),
                rates=_read(folder / "purchases.rates.npy"), days=float(days),
            )  # fmt: skip
            if purchases is not None and len(purchases.scores) != len(purchases.rates):
                raise ValueError("scores and rates of different lengths")
            return cls(names, _read_trees(folder, "order", len(names)), purchases)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(str(folder), got=str(error), wanted="a saved ranker", remedy=REMEDY) from error


def parts_of(folder: Path) -> list[str]:
    """Names of all files of a saved ranker."""
    return sorted(path.name for path in folder.iterdir())


def _read_trees(folder: Path, part: str, n_features: int) -> Trees:
    arrays = {name: _read(folder / f"{part}.{name}.npy") for name in Trees.__dataclass_fields__}
    return Trees(**arrays).check(n_features, str(folder))


def _read(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array
