"""EASE with the statistics of another shop: what it knows of shared items, shared shoppers, or of words alike.

Closed-form models take side information as further rows or columns of the regression (Jeunen, Van Balen & Goethals
2020, "Closed-form models for collaborative filtering with side-information"; collective matrix factorisation: Singh &
Gordon 2008). Here in three parts, each added to what is there before it:

- shared items: EASE of `G + a G_source`, as if each of the source's shoppers counted `a` times;
- shared shoppers: with U their factors in the source (mean 0), a ridge regression of what EASE leaves unexplained,
  W = (U'U + r I)^-1 U'(X - XB), and `a u'W` is added to the scores; a shopper without a history here has it alone;
- words: a ridge regression from the source's texts to its items' factors gives this shop's items vectors of length 1
  (`given.text_vectors`); `a` times the mean cosine with the history's items is added.

Whether a part is taken, with which `a` and r, is found out inside the fit (`held_out`): some shoppers' held-out items
are looked for, and a part that does not help them beyond doubt is left out (a = 0). With nothing taken the model is
EASE, number for number: that is why a source that is noise does no harm.

A fit costs two of EASE, O(n_items^3) each, or seven where there are shared items. The source's folder is read at the
fit, never after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from regulars.core.arrays import Floats, Matrix, Scores, cells_of
from regulars.core.clock import Instant
from regulars.core.data import Dataset, Histories
from regulars.core.errors import SettingError
from regulars.models.base import all_cores, check_range
from regulars.models.ease import EASE
from regulars.models.given import Given, known_rows, with_prior
from regulars.models.gram import Gram
from regulars.models.held_out import Choice, Found, HeldOut, choose, found, hold_out
from regulars.models.history import history_weights, row_sums
from regulars.models.source import Source

PRIORS = (0.1, 0.3, 1.0, 3.0)  # a, for shared items
WEIGHTS = (0.1, 0.3, 1.0, 2.0)  # a, for shared shoppers
RIDGES = (0.3, 1.0, 3.0, 10.0)  # r: factors are parts of vectors of length 1, so shoppers' worth
COSINES = (0.03, 0.1, 0.3, 1.0)  # a, for words
TINY = np.float32(1e-30)
CELLS = 16_000_000  # scores held at once while parts are tried
Added = Callable[[Matrix, Floats], Scores]  # rows of history weights, and these shoppers' factors -> scores


class TransferEASE(EASE):
    """EASE, and what another shop's statistics add to it as far as that is shown to help."""

    name = "transfer-ease"

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self, *, source: str = "", judges: int = 2000, l2: float = 500.0, dropout: float = 0.0, k: int = 100,
        power: float = 0.5, context_weight: float = 1.0, memory_mb: float = 2000.0, threads: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(
            l2=l2, dropout=dropout, k=k, power=power, context_weight=context_weight, memory_mb=memory_mb,
            threads=threads,
        )  # fmt: skip
        check_range("transfer-ease: judges", judges, 1, whole=True)
        if not isinstance(source, str) or not (source == "" or Path(source).is_absolute()):
            raise SettingError("transfer-ease: source", got=repr(source),
                               wanted="the whole path of a folder of statistics, or nothing")  # fmt: skip
        self.source, self.judges = source, judges

    def estimate_mb(self, shape: tuple[int, int], nnz: int) -> float:
        """Those of EASE, the scores of a batch while parts are tried, and 256 numbers an item and a shopper."""
        return super().estimate_mb(shape, nnz) + (16 * min(CELLS, self.judges * shape[1]) + 1024 * sum(shape)) / 1e6

    def _used(self, n_items: int, nnz: int) -> int:
        return n_items if self.source else super()._used(n_items, nnz)  # the source may know any

    def _fit(self, data: Dataset, rng: np.random.Generator) -> None:
        gram = Gram.from_matrix(data.user_items)
        self._without(len(data.items))
        if not self.source:
            self._solve(gram)
            return
        with threadpool_limits(limits=self.threads or all_cores(), user_api="blas"):
            given = Given.of(Source.load(Path(self.source)), data)
            held = hold_out(data.user_items, self.judges, rng)
            factors = given.factors_of(data.user_keys)
            prior = self._choose_prior(held, given, factors)
            taken = self._choose_shoppers(held, given, factors)
            self._choose_text(held, given, factors)
            self._solve(with_prior(gram, given.gram, prior))
            if taken is not None:
                weight, ridge = taken
                self.shopper_weights_ = np.float32(weight) * self._regress(data.user_items, factors, ridge)
                self.shopper_keys_, self.shopper_factors_ = given.shopper_keys, given.shopper_factors

    def _without(self, n_items: int) -> None:
        """No part is taken, and none was tried."""
        self.shopper_keys_ = np.zeros(0, dtype=np.int64)
        self.shopper_factors_ = np.zeros((0, 0), dtype=np.float32)
        self.shopper_weights_ = np.zeros((0, n_items), dtype=np.float32)
        self.text_vectors_ = np.zeros((n_items, 0), dtype=np.float32)  # of length sqrt(a)
        self.tried_: dict[str, dict[str, Any]] = {}

    # --- scores

    def score(self, histories: Histories, now: Instant) -> Scores:
        """EASE's scores and those of the parts taken `(n, n_items)`."""
        self._check_fitted()
        self._check_width(histories)
        indptr, items, weights = history_weights(histories, self.power, self.context_weight)
        factors = np.zeros((len(histories), len(self.shopper_weights_)), dtype=np.float32)
        if len(self.shopper_keys_) and histories.user_keys is not None:
            factors = known_rows(self.shopper_keys_, self.shopper_factors_, histories.user_keys)
        return self._scores(sp.csr_array((weights, items, indptr), shape=histories.user_items.shape), factors)

    def _scores(self, rows: Matrix, factors: Floats) -> Scores:
        scores = self._through(rows)
        if len(self.shopper_weights_):
            scores += _by_factors(self.shopper_weights_, rows, factors)
        if self.text_vectors_.shape[1]:
            scores += _by_words(self.text_vectors_, rows, factors)
        return scores

    # --- what to take

    def _choose_prior(self, held: HeldOut, given: Given, factors: Floats) -> float:
        """The weight of the source's Gram, 0 = none; leaves the model fitted on what was not held out."""
        gram = Gram.from_matrix(held.rest)
        self._solve(gram)
        if not given.gram.counts.nnz:
            return 0.0
        without, *others = self._found(held, factors)
        for prior in PRIORS:
            self._solve(with_prior(gram, given.gram, prior))
            others += list(self._found(held, factors))
        weight = self._take(
            "shared items", [{"a": a} for a in PRIORS], np.stack(others) - without, given.shared_items
        )
        self._solve(with_prior(gram, given.gram, weight.get("a", 0.0)))
        return weight.get("a", 0.0)

    def _choose_shoppers(self, held: HeldOut, given: Given, factors: Floats) -> tuple[float, float] | None:
        """Weight and ridge of the shoppers' factors, None = they are left out."""
        if not given.known.any():
            return None
        own = held.among(given.known)
        settings, gains, regressions = [], [], {}
        for ridge in RIDGES:
            regressions[ridge] = self._regress(held.rest, factors, ridge)
            without, *others = self._found(own, factors, partial(_by_factors, regressions[ridge]), WEIGHTS)
            settings += [{"a": a, "ridge": ridge} for a in WEIGHTS]
            gains += [other - without for other in others]
        taken = self._take("shared shoppers", settings, np.stack(gains), given.known)
        if not taken:
            return None
        self.shopper_weights_ = np.float32(taken["a"]) * regressions[taken["ridge"]]
        return taken["a"], taken["ridge"]

    def _choose_text(self, held: HeldOut, given: Given, factors: Floats) -> None:
        """Take the words' vectors where they help."""
        worded = given.text_vectors.any(axis=1)
        if not worded.any():
            return
        without, *others = self._found(held, factors, partial(_by_words, given.text_vectors), COSINES)
        taken = self._take("words", [{"a": a} for a in COSINES], np.stack(others) - without, worded)
        if taken:
            self.text_vectors_ = np.float32(np.sqrt(taken["a"])) * given.text_vectors

    def _take(self, part: str, settings: Sequence[dict[str, float]], gains: Found, shared: Any) -> dict[str, float]:
        """The setting chosen for a part, nothing where it does not help beyond doubt; notes what was found."""
        choice: Choice = choose(gains)
        self.tried_[part] = {
            **settings[choice.setting], "taken": choice.sure, "shared": int(shared.sum()), "gain": choice.gain,
            "error": choice.error, "judges": choice.judges,
        }  # fmt: skip
        return settings[choice.setting] if choice.sure else {}

    def _found(
        self, held: HeldOut, factors: Floats, added: Added | None = None, times: Sequence[float] = ()
    ) -> list[Found]:
        """How well held-out items are found as things are, and with `added` so many `times`: an array each."""
        n_items = held.rest.shape[1]
        step = max(1, CELLS // max(1, n_items))
        parts: list[list[Found]] = [[np.zeros(0)] for _ in range(1 + len(times))]
        for start in range(0, len(held.users), step):
            users, wanted = held.users[start : start + step], held.wanted[start : start + step]
            seen = held.rest[users]
            rows, mine = self._weights(seen), factors[users]
            scores = self._scores(rows, mine)
            parts[0].append(found(scores, seen, wanted))
            if added is not None:
                more = added(rows, mine)
                for place, weight in enumerate(times, start=1):
                    parts[place].append(found(scores + np.float32(weight) * more, seen, wanted))
        return [np.concatenate(part) for part in parts]

    def _regress(self, user_items: Matrix, factors: Floats, ridge: float) -> Floats:
        """(U'U + ridge I)^-1 U'(X - XB) `(d, n_items)`, over the shoppers with factors."""
        explained = self._through(sp.csr_array((self._weights(user_items).T @ factors).T))
        left = (_binary(user_items).T @ factors).T - explained
        system = factors.T.astype(np.float64) @ factors
        system.flat[:: len(system) + 1] += ridge
        return np.linalg.solve(system, left).astype(np.float32)

    def _weights(self, user_items: Matrix) -> Matrix:
        """Histories as scores read them."""
        cells = user_items.data ** np.float32(self.power)
        return sp.csr_array((cells, user_items.indices, user_items.indptr), shape=user_items.shape)


def _binary(user_items: Matrix) -> Matrix:
    cells = np.ones(user_items.nnz, dtype=np.float32)
    return sp.csr_array((cells, user_items.indices, user_items.indptr), shape=user_items.shape)


def _by_factors(weights: Floats, rows: Matrix, factors: Floats) -> Scores:
    return factors @ weights


def _by_words(vectors: Floats, rows: Matrix, factors: Floats) -> Scores:
    """Mean product of each item's vector with those of the history's items, by their weights; 0 without a history."""
    totals = row_sums(cells_of(rows))[:, None]
    mean = np.divide(
        rows @ vectors, totals, out=np.zeros((rows.shape[0], vectors.shape[1]), np.float32), where=totals > 0
    )
    return np.asarray(mean @ vectors.T, dtype=np.float32)
