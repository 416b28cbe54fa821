"""Whether something helps a model: an item of each shopper is held out, and looked for with it and without it.

Half of the shoppers choose among settings, the other half judge the one chosen, so that the best of many settings is
not praised for its luck. It is taken when they find it better beyond doubt: the mean of the paired differences is
`SURE` times its standard error or more. That is more than the usual two, since what is tried was learned from all
shoppers at once: where it is noise, it is the same noise for all of them, and their differences are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Indices, Mask, Matrix, Scores

SURE = 3.0
FEW = 30  # judges below which nothing is beyond doubt
Found = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """What is left to fit on, and for some shoppers the item that was theirs too."""

    rest: Matrix  # users x items
    users: Indices  # (n,)
    wanted: Indices  # (n,)

    def among(self, users: Mask) -> HeldOut:
        """The same of some shoppers `(n_users,)` alone."""
        asked = users[self.users]
        return HeldOut(self.rest, self.users[asked], self.wanted[asked])


def hold_out(user_items: Matrix, most: int, rng: np.random.Generator) -> HeldOut:
    """One random item of each of `most` shoppers at most, in random order.

    Only of shoppers who keep another item, and only items that somebody else has left: of others nothing is learned.
    """
    lengths = np.diff(user_items.indptr)
    spread = np.bincount(user_items.indices, minlength=user_items.shape[1])
    owner = np.repeat(np.arange(len(lengths)), lengths)
    open_to = np.flatnonzero((lengths[owner] > 1) & (spread[user_items.indices] > 1))
    drawn = rng.permutation(open_to)
    _, first = np.unique(owner[drawn], return_index=True)
    chosen = rng.permutation(drawn[first])[:most]
    # of an item held out wherever it is, the first shopper keeps theirs
    _, one = np.unique(user_items.indices[chosen], return_index=True)
    times = np.bincount(user_items.indices[chosen], minlength=len(spread))[user_items.indices[chosen[one]]]
    chosen = np.delete(chosen, one[times >= spread[user_items.indices[chosen[one]]]])
    keep = np.ones(user_items.nnz, dtype=np.bool_)
    keep[chosen] = False
    indptr = np.concatenate(([0], np.cumsum(keep)))[user_items.indptr]
    rest = sp.csr_array((user_items.data[keep], user_items.indices[keep], indptr), shape=user_items.shape)
    return HeldOut(rest, owner[chosen].astype(np.int32), user_items.indices[chosen].astype(np.int32))


def found(scores: Scores, seen: Matrix, wanted: Indices) -> Found:
    """1 / log2(rank + 1) of the wanted item among those not seen, `(n,)`: NDCG of one item, without a cut-off.

    Ties go to the lower item.
    """
    mine = scores[np.arange(len(wanted)), wanted][:, None]
    before = np.arange(scores.shape[1])[None, :] < wanted[:, None]
    above = (scores > mine) | ((scores == mine) & before)
    above[np.repeat(np.arange(len(wanted)), np.diff(seen.indptr)), seen.indices] = False
    return np.asarray(1.0 / np.log2(above.sum(axis=1) + 2.0))


@dataclass(frozen=True)
class Choice:
    """The setting that half of the shoppers found best, and what the others say of it."""

    setting: int
    gain: float  # mean difference to doing without
    error: float  # its standard error
    judges: int

    @property
    def sure(self) -> bool:
        """Whether it helps beyond doubt."""
        return self.judges >= FEW and self.gain > 0 and self.gain >= SURE * self.error


def choose(gains: Found) -> Choice:
    """Choose among settings by what each of some shoppers gains with each, `(n_settings, n)`, in random order."""
    choosers, judges = gains[:, ::2], gains[:, 1::2]
    n = judges.shape[1]
    if n < 2:
        return Choice(0, 0.0, 0.0, n)
    best = int(choosers.mean(axis=1).argmax())
    return Choice(best, float(judges[best].mean()), float(judges[best].std(ddof=1) / np.sqrt(n)), n)
