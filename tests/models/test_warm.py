"""A fit that begins from the last model: sooner done, no worse, the same for the same start; else it is cold."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Matrix
from regulars.models.als import ALS
from regulars.models.base import Model, Warm, read_manifest
from regulars.models.pure_svd import PureSVD


def taste(seed: int = 0, n_users: int = 300, n_items: int = 60, n_blocks: int = 6) -> Matrix:
    """Shoppers take each item of their own block with chance 0.5, of another with 0.03."""
    rng = np.random.default_rng(seed)
    own = np.arange(n_items)[None, :] % n_blocks == rng.integers(n_blocks, size=n_users)[:, None]
    return sp.csr_array((rng.random((n_users, n_items)) < np.where(own, 0.5, 0.03)).astype(np.float32))


def grown(matrix: Matrix) -> Matrix:
    """The same shop some days later: three per cent more cells."""
    rng = np.random.default_rng(9)
    return sp.csr_array(np.maximum(matrix.toarray(), rng.random(matrix.shape) < 0.03).astype(np.float32))


def everyone(matrix: Matrix) -> NDArray[np.int32]:
    return np.arange(matrix.shape[1], dtype=np.int32)


def passes(model: ALS, matrix: Matrix) -> list[float]:
    """The loss after each epoch of a fit."""
    losses: list[float] = []
    model.fit_watched(matrix, np.random.default_rng(0), lambda _, loss: losses.append(loss))
    return losses


def test_als_is_done_sooner_and_fits_no_worse() -> None:
    old, new = taste(), grown(taste())
    last = ALS(factors=8, epochs=20).fit(old)
    cold = passes(ALS(factors=8, epochs=20), new)
    model = ALS(factors=8, epochs=20)
    model.warm = Warm(last, everyone(new))
    warm = passes(model, new)
    assert len(cold) == 20
    assert len(warm) <= 10
    assert warm[-1] < cold[len(warm) - 1]  # ahead of a cold start by then
    assert warm[-1] < cold[-1] * 1.01


def test_the_same_start_gives_the_same_numbers_and_is_used_once() -> None:
    old, new = taste(), grown(taste())
    last = ALS(factors=8).fit(old)
    found = []
    for _ in range(2):
        model = ALS(factors=8)
        model.warm = Warm(last, everyone(new))
        found.append(model.fit(new).item_vectors)
        assert model.warm is None
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - ALS(factors=8).fit(new).item_vectors).max() > 1e-3


def test_items_are_followed_by_name_not_by_row() -> None:
    """Items in another order and one that is new: what is learned is what the same items in their order teach."""
    old = taste()
    order = np.random.default_rng(3).permutation(old.shape[1]).astype(np.int32)
    last = ALS(factors=8).fit(old)
    straight, turned = ALS(factors=8), ALS(factors=8)
    straight.warm, turned.warm = Warm(last, everyone(old)), Warm(last, order)
    scores = straight.fit(old).recommend(old[:50], k=5)[0]
    again = turned.fit(sp.csr_array(old.toarray()[:, order])).recommend(old[:50].toarray()[:, order], k=5)[0]
    np.testing.assert_array_equal(order[again][:, 0], scores[:, 0])

    places = np.append(everyone(old), np.int32(-1))
    more = ALS(factors=8)
    more.warm = Warm(last, places)
    wider = sp.csr_array(np.column_stack([old.toarray(), old.toarray()[:, 0]]))
    assert np.isfinite(more.fit(wider).item_vectors).all()
    assert np.abs(more.item_vectors[-1]).max() > 0.01  # the new one was learned, too


@pytest.mark.parametrize("last", [
    ALS(factors=4).fit(taste()), PureSVD(factors=8).fit(taste()), ALS(factors=8), ALS(factors=8).fit(taste()[:, :30]),
], ids=["other settings", "another kind", "never fitted", "fewer items than named"])  # fmt: skip
def test_what_does_not_suit_is_said_and_a_cold_fit_follows(last: Model, caplog: pytest.LogCaptureFixture) -> None:
    matrix = taste()
    cold, model = ALS(factors=8).fit(matrix), ALS(factors=8)
    model.warm = Warm(last, everyone(matrix))
    with caplog.at_level(logging.INFO):
        model.fit(matrix)
    assert "als: begins afresh" in caplog.text
    np.testing.assert_array_equal(model.item_vectors, cold.item_vectors)


def test_all_items_renamed_is_a_cold_fit(caplog: pytest.LogCaptureFixture) -> None:
    matrix, model = taste(), ALS(factors=8)
    model.warm = Warm(ALS(factors=8).fit(matrix), np.full(matrix.shape[1], -1, dtype=np.int32))
    with caplog.at_level(logging.INFO):
        model.fit(matrix)
    assert "begins afresh" in caplog.text


def test_a_saved_model_is_a_start_and_none_is_saved_with_a_model(tmp_path: Path) -> None:
    matrix = taste()
    ALS(factors=8).fit(matrix).save(tmp_path / "last")
    model = ALS(factors=8)
    model.warm = Warm(ALS.load(tmp_path / "last"), everyone(matrix))
    model.fit(matrix).save(tmp_path / "next")
    kept = read_manifest(tmp_path / "next")["kinds"].keys()
    assert kept == read_manifest(tmp_path / "last")["kinds"].keys() >= {"item_factors_", "gram_", "moved_"}
