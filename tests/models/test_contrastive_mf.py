"""Contrastive factors: slopes against differences, losses against their definition, what is learned."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from regulars.core.data import Histories
from regulars.core.errors import ModelError
from regulars.models.contrastive_mf import LOSSES, ContrastiveMF, _blocks


def two_tastes(n_users: int = 120, n_items: int = 40, seed: int = 0) -> np.ndarray:
    """Shoppers take items of their own half four times as often."""
    rng = np.random.default_rng(seed)
    own = (np.arange(n_users)[:, None] < n_users // 2) == (np.arange(n_items)[None, :] < n_items // 2)
    return (rng.random((n_users, n_items)) < np.where(own, 0.4, 0.1)).astype(np.float32)


def defined(
    model: ContrastiveMF, block: np.ndarray, sources: np.ndarray, targets: np.ndarray, against: list[int]
) -> float:
    """The summed loss, pair by pair, with each item left out of its own history."""
    unit = targets / np.linalg.norm(targets, axis=1, keepdims=True)
    total = 0.0
    for row in block:
        for item in np.flatnonzero(row):
            rest = sources[np.flatnonzero(row)].sum(axis=0) - sources[item]
            cosines = unit @ rest / np.linalg.norm(rest)
            if model.loss == "ccl":
                over = np.maximum(cosines[against] - model.margin, 0.0)
                total += 1 - cosines[item] + model.weight / len(against) * over.sum()
            else:
                total += np.log1p(np.exp((cosines[against] - cosines[item]) / model.heat).sum())
    return float(total)


@pytest.mark.parametrize("loss", LOSSES)
def test_slopes_are_those_of_the_loss(loss: str) -> None:
    rng = np.random.default_rng(0)
    block = np.array([[1, 1, 1, 0, 0], [0, 1, 0, 1, 0]], dtype=np.float32)
    tables = [rng.normal(size=(5, 3)) for _ in range(2)]
    against = [0, 4, 4, 2]
    model = ContrastiveMF(factors=3, loss=loss, margin=0.1, weight=3.0, heat=0.5)
    sources, targets = (each.astype(np.float32) for each in tables)
    value, moves = model._gradients(sp.csr_array(block), sources, targets, np.array(against, dtype=np.int32))
    assert value * 5 == pytest.approx(defined(model, block, tables[0], tables[1], against), rel=1e-5)
    for which, (items, slope) in enumerate(moves):
        found = np.zeros((5, 3))
        np.add.at(found, items, slope)
        for place in np.ndindex(5, 3):
            ends = []
            for shift in (1e-5, -1e-5):
                moved = [each.copy() for each in tables]
                moved[which][place] += shift
                ends.append(defined(model, block, moved[0], moved[1], against))
            assert found[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=2e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_own_half_first_and_nothing_on_shuffled_data(loss: str) -> None:
    taken = two_tastes()
    own = (np.arange(120)[:, None] < 60) == (np.arange(40)[None, :] < 20)
    ahead = []
    for data in (taken, np.random.default_rng(2).permuted(taken, axis=1)):
        scores = ContrastiveMF(factors=8, loss=loss, negatives=50, weight=5.0).fit(data).score(
            Histories.from_matrix(data), 0)  # fmt: skip
        hidden = data == 0
        ahead.append(float((scores[own & hidden][:, None] > scores[~own & hidden][None, :]).mean()))

    assert ahead[0] > 0.65
    assert 0.42 < ahead[1] < 0.58


def test_blocks_hold_every_shopper_of_two_items_once() -> None:
    lengths = np.array([0, 1, 2, 3000, 5, 1, 2, 900, 300, 4])
    rows = sp.csr_array(
        (np.ones(lengths.sum(), np.float32), np.concatenate([np.arange(n) for n in lengths]),
         np.concatenate(([0], np.cumsum(lengths)))), shape=(10, 3000),
    )  # fmt: skip
    blocks = list(_blocks(rows, np.random.default_rng(0)))
    found = np.concatenate([np.diff(block.indptr) for block in blocks])
    assert sorted(found) == sorted(lengths[lengths > 1])
    assert len(blocks) > 1


def test_an_item_nobody_took_and_a_shopper_without_history_say_nothing() -> None:
    taken = two_tastes()
    taken[:, 7] = 0
    model = ContrastiveMF(factors=4, epochs=2, negatives=20).fit(taken)
    assert (model.item_vectors[7] == 0).all()
    assert (model.score(Histories.from_matrix(np.zeros((1, 40))), 0) == 0).all()
    np.testing.assert_allclose(
        np.linalg.norm(model.user_vectors(Histories.from_matrix(taken), 0), axis=1), 1, rtol=1e-5
    )


def test_a_loss_that_is_not_finite_stops_with_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContrastiveMF, "_slopes", lambda _, near, far: (float("nan"), near, far))
    with pytest.raises(ModelError, match=r"loss of nan in step 1\b.*Lower the rate"):
        ContrastiveMF().fit(two_tastes())
