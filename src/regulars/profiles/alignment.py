"""Live item index -> index in a model's IdMap, kept for the models in use."""

from __future__ import annotations

import numpy as np

from regulars.core.arrays import Indices
from regulars.core.data import IdMap

KEPT = 4  # maps of items: the live model's, the next one's, and those of an evaluation
NOWHERE = np.full(1, -1, dtype=np.int32)


class Alignments:
    """One translation for each of the last `KEPT` maps, lengthened as items come in."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[IdMap[str], int, Indices]] = {}

    def to_model(self, own: IdMap[str], items: IdMap[str]) -> Indices:
        """`(len(own) + 1,)` indices into `items`, -1 where it lacks the item; the last entry, read by -1, is -1."""
        kept, length, table = self._known.pop(id(items), (items, -1, NOWHERE))
        if kept is not items or length != len(items):
            table = NOWHERE
        if len(table) <= len(own):
            table = np.concatenate((table[:-1], translated(own, items, len(table) - 1)))
        self.keep(items, table)
        return table

    def keep(self, items: IdMap[str], table: Indices) -> None:
        """Note a translation as the one used most recently."""
        self._known[id(items)] = (items, len(items), table)
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]


def translated(own: IdMap[str], items: IdMap[str], start: int = 0) -> Indices:
    """Indices into `items` of the ids of `own` from `start` on, then a -1; needs no lock, ids are only appended."""
    return np.concatenate((items.index(own.ids[start:], on_unknown="skip"), NOWHERE))
