"""Regression-based factors: without events the regression, with them the minimum, and cold items told by features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.data import Dataset, Histories, Items
from regulars.models.als import gram_of, solve_side
from regulars.models.features import item_features
from regulars.models.ridge import ridge
from regulars.models.rlfm import RLFM

KINDS = 4
WORDS = ("tea green leaf", "steel hammer nail", "wool scarf hat", "paper pen ink")


def shop(seed: int = 0, n_users: int = 120, n_items: int = 60, n_cold: int = 20, *, lying: bool = False) -> Dataset:
    """Shoppers of four kinds take items of their kind; nobody took the last items. All tell their kind, or lie."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n_items) % KINDS
    likes = rng.integers(0, KINDS, n_users)
    taken = (rng.random((n_users, n_items)) < np.where(likes[:, None] == kind, 0.4, 0.02)).astype(np.float32)
    taken[:, n_items - n_cold :] = 0
    said = rng.permutation(kind) if lying else kind
    told = rng.permutation(likes) if lying else likes
    data = Dataset.from_matrix(taken)
    titles = [f"{WORDS[each]} {idx}" for idx, each in enumerate(said.tolist())]
    return replace(
        data, items=replace(Items.bare(map(str, range(n_items))), title=titles),
        users=replace(data.users, attributes=[{"likes": int(each)} for each in told]),
    )  # fmt: skip


def newcomers(told: Sequence[dict[str, Any]], n_items: int = 60) -> Histories:
    return replace(Histories.from_matrix(np.zeros((len(told), n_items))), attributes=list(told))


SETTINGS: dict[str, Any] = {"factors": 8, "alpha": 5.0, "pull": 0.02, "epochs": 12}


def cold_found(data: Dataset) -> float:
    """How often a cold item of the shopper's kind stands above one of another, out of what is told alone."""
    scores = RLFM(**SETTINGS).fit(data).score(newcomers([{"likes": kind} for kind in range(KINDS)]), 0)[:, 40:]
    mine = np.arange(40, 60) % KINDS == np.arange(KINDS)[:, None]
    pairs = scores[:, :, None] > scores[:, None, :]
    counted = mine[:, :, None] & ~mine[:, None, :]
    return float(pairs[counted].mean())


def test_a_newcomer_and_new_items_are_known_by_what_is_told_of_them() -> None:
    assert cold_found(shop()) > 0.98
    assert cold_found(shop(lying=True)) < 0.8  # the control


def test_without_events_a_vector_is_the_regressions_and_comes_nearer_its_own_with_each() -> None:
    data = shop()
    model = RLFM(**SETTINGS).fit(data)
    mean = model.user_vectors(newcomers([{"likes": 1}]), 0)[0]
    row = model._told([{"likes": 1}], 1)
    np.testing.assert_allclose(mean, (row @ model.attribute_map_)[0], rtol=1e-6)
    other = np.flatnonzero(np.arange(40) % KINDS == 2)  # of another kind than told
    away = []
    for n in (0, 1, 2, 5, 10):
        taken = np.zeros((1, 60))
        taken[0, other[:n]] = 1
        history = replace(Histories.from_matrix(taken), attributes=[{"likes": 1}])
        scores = model.score(history, 0)[0]
        away.append(float(scores[42] - scores[41]))  # cold items of kinds 2 and 1
    assert (np.diff(away) > 0).all()
    assert away[0] < 0 < away[-1]


def test_who_tells_nothing_is_the_usual_shopper() -> None:
    rng = np.random.default_rng(0)
    taken = rng.random((200, 30)) < np.linspace(0.05, 0.6, 30)
    scores = RLFM(**SETTINGS).fit(taken).score(newcomers([{}], 30), 0)[0]
    assert np.corrcoef(scores, taken.sum(axis=0))[0, 1] > 0.95


def test_a_row_is_where_the_loss_is_least() -> None:
    """The gradient of the loss as it is written down, in float64, at what is solved."""
    data = shop()
    model = RLFM(**SETTINGS).fit(data)
    histories = data.histories(np.arange(6, dtype=np.int32))
    x = model.user_vectors(histories, 0).astype(np.float64)
    y = model.item_factors_.astype(np.float64)
    r = histories.user_items.toarray()
    means = (model._told(histories.attributes, 6) @ model.attribute_map_).astype(np.float64)
    n = (r > 0).sum(axis=1)
    e_u, e_i = n / (n + model.exposure), model.exposed_.astype(np.float64)
    w = np.where(r > 0, 1 + model.alpha * r, e_u[:, None] * e_i)
    slope = (w * ((r > 0) - x @ y.T)) @ y - model.pull * 60 * (x - means)
    size = (w * (r > 0)) @ np.abs(y)
    assert (np.abs(slope) < 1e-4 * size.max()).all()


def test_without_features_and_exposure_it_is_als() -> None:
    rng = np.random.default_rng(3)
    taken = (rng.random((30, 12)) < 0.3).astype(np.float32)
    taken[:, 0] = 1
    model = RLFM(factors=4, alpha=3.0, pull=0.05, exposure=0.0).fit(taken)
    model.attribute_map_ = np.zeros_like(model.attribute_map_)
    histories = Histories.from_matrix(taken)
    matrix, y = histories.user_items, model.item_factors_
    reg = np.full(30, 0.05 * 12, dtype=np.float32)
    side = (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), np.float32(3.0) * matrix.data, reg)
    np.testing.assert_allclose(
        model.user_vectors(histories, 0), solve_side(side, y, gram_of(y), 1), rtol=1e-4, atol=1e-6
    )


def test_cold_items_have_the_regressions_vector() -> None:
    """And it is a ridge regression of the vectors of the others, weighed by how much is known of them."""
    data = shop()
    model = RLFM(**{**SETTINGS, "epochs": 40}).fit(data)
    features = item_features(data.items, text=1.0, category=0.5, brand=0.25, price=0.15).toarray().astype(np.float64)
    e = model.exposed_.astype(np.float64)
    y = model.item_factors_.astype(np.float64)
    system = (features.T * e) @ features + model.ridge * np.eye(features.shape[1])
    cold = features[40:] @ np.linalg.solve(system, (features.T * e) @ y)
    np.testing.assert_allclose(y[40:], cold, atol=0.02 * np.abs(y).max())


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_ridge_is_its_closed_form(start: float) -> None:
    rng = np.random.default_rng(0)
    features = sp.random_array((40, 15), density=0.3, rng=rng, dtype=np.float32, format="csr")
    targets, weights = rng.normal(size=(40, 3)).astype(np.float32), rng.random(40, dtype=np.float32)
    targets[:, 2] = 0  # a column without anything to explain
    dense: NDArray[np.float64] = features.toarray().astype(np.float64)
    wanted = np.linalg.solve(dense.T * weights @ dense + 0.5 * np.eye(15), (dense.T * weights) @ targets)
    first = np.full((15, 3), start, dtype=np.float32)
    found = ridge(sp.csr_array(features), targets, weights, 0.5, first, steps=60, enough=1e-6)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert (first == start).all()
    rough = ridge(sp.csr_array(features), targets, weights, 0.5, first, steps=2, enough=1e-6)
    assert abs(rough - wanted).max() > abs(found - wanted).max()


def test_a_new_item_is_no_sign_of_dislike() -> None:
    """Ten more items that nobody took, and nothing changes for the others: not even their vectors."""
    data = shop(n_cold=0, n_items=40)
    wide = Dataset.from_matrix(np.hstack((data.user_items.toarray(), np.zeros((120, 10)))))
    one = RLFM(**SETTINGS).fit(Dataset.from_matrix(data.user_items.toarray()))
    other = RLFM(
        **SETTINGS,
    ).fit(wide)
    assert (other.item_factors_[40:] == 0).all()
    asked = np.eye(40)[:5]
    a = one.score(Histories.from_matrix(asked), 0)
    b = other.score(Histories.from_matrix(np.hstack((asked, np.zeros((5, 10))))), 0)[:, :40]
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97
