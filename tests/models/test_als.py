"""Implicit ALS: the loss, the two solvers, folding in, reasons, and `implicit` as a peer."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.als import AlternatingLeastSquares

from regulars.core.arrays import as_csr
from regulars.core.data import Histories
from regulars.core.errors import InputError, SettingError
from regulars.models.als import ALS, ENOUGH, als_loss, gram_of
from regulars.models.normal import solve_rows


def counts(n_users: int = 300, n_items: int = 120, groups: int = 6, seed: int = 0) -> Any:
    """Shoppers who mostly stay within one of several groups of items."""
    rng = np.random.default_rng(seed)
    near = rng.integers(groups, size=n_users)[:, None] == rng.integers(groups, size=n_items)[None, :]
    bought = rng.random((n_users, n_items)) < np.where(near, 0.3, 0.02)
    return as_csr(bought * rng.integers(1, 4, (n_users, n_items)))


def losses(x: Any, **params: Any) -> list[float]:
    model, seen = ALS(**params), []
    model.fit_watched(x, np.random.default_rng(0), lambda epoch, loss: seen.append(loss))
    return seen


def plain_loss(model: ALS, r: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """The paper's formula over every cell, one by one."""
    c = 1.0 + model.alpha * r.astype(np.float64)
    penalty_u = model.reg * c.sum(axis=1) ** model.reg_power
    penalty_i = model.reg * c.sum(axis=0) ** model.reg_power
    error = (c * ((r > 0) - x.astype(np.float64) @ y.T) ** 2).sum()
    return float(error + penalty_u @ (x**2).sum(axis=1) + penalty_i @ (y**2).sum(axis=1))


@pytest.mark.parametrize("reg_power", [0.0, 0.5, 1.0])
def test_the_loss_is_the_papers(reg_power: float) -> None:
    r = counts(40, 25)
    model = ALS(factors=5, alpha=7.0, reg=0.3, reg_power=reg_power)
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=(n, 5)).astype(np.float32) for n in r.shape)
    trick = als_loss(model._side(r), model._side(r.T.tocsr())[3], x, y)
    assert trick == pytest.approx(plain_loss(model, r.toarray(), x, y), rel=1e-6)


@pytest.mark.parametrize("factors", [16, 64])  # 64: more factors than most rows have cells
@pytest.mark.parametrize(
    ("alpha", "reg", "reg_power"), [(1.0, 0.1, 0.0), (40.0, 1.0, 0.0), (10.0, 0.01, 1.0), (40.0, 0.02, 1.0)]
)
def test_cg_falls_all_the_way_and_ends_where_cholesky_does(
    factors: int, alpha: float, reg: float, reg_power: float
) -> None:
    params = {"factors": factors, "alpha": alpha, "reg": reg, "reg_power": reg_power, "epochs": 15}
    cg = np.array(losses(counts(), solver="cg", **params))
    exact = np.array(losses(counts(), solver="cholesky", **params))
    assert (cg[1:] <= cg[:-1] * (1 + 1e-6)).all()
    assert cg[-1] <= 1.005 * exact[-1]
    assert exact[-1] < exact[0]


def test_one_epoch_of_cg_is_not_the_exact_solution() -> None:
    """The bound above can fail: far from convergence the two differ by more."""
    params = {"factors": 16, "alpha": 40.0, "reg": 0.02, "epochs": 1}
    assert losses(counts(), solver="cg", **params)[0] != pytest.approx(
        losses(counts(), solver="cholesky", **params)[0], rel=1e-6
    )


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
def test_threads_change_nothing(solver: str) -> None:
    x = counts(2100, 60)  # more than one chunk of rows
    one, *more = (ALS(factors=8, epochs=2, threads=each, solver=solver).fit(x).item_vectors for each in (1, 2, 3))
    for other in more:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cells", [1, 2, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("factors", [1, 7, 40])
def test_rows_of_every_length_are_solved(cells: int, factors: int) -> None:
    """Cells are read several at a time, the rest one by one: no length and no width is left out."""
    rng = np.random.default_rng(cells)
    bought = np.zeros((3, 30), dtype=np.float32)
    for row in bought:
        row[rng.choice(30, cells, replace=False)] = rng.integers(1, 4, cells)
    model = ALS(factors=factors, alpha=3.0, reg=1.0, reg_power=0.0)
    side, y = model._side(as_csr(bought)), rng.normal(size=(30, factors)).astype(np.float32)
    x = np.zeros((3, factors), dtype=np.float32)
    exact, _ = model._exact_half(side, x, y)
    near, turned = model._cg_half(side, x.copy(), y.copy(), ENOUGH)

    def losses_of(said: Any) -> Any:
        c, target = 1 + model.alpha * bought.astype(np.float64), bought > 0
        return (c * (target - said.astype(np.float64)) ** 2).sum(axis=1)

    above = losses_of(near @ turned.T) + (near**2).sum(axis=1) - losses_of(exact @ y.T) - (exact**2).sum(axis=1)
    assert (above <= 1.01 * ENOUGH * model.alpha * bought.sum(axis=1) + 1e-4).all()


def test_vectors_of_half_the_bytes_end_at_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large side is read as bfloat16: other factors, and a loss that differs in the fourth digit at most."""
    params: dict[str, Any] = {"factors": 16, "alpha": 10.0, "reg": 0.1, "epochs": 8}
    whole = losses(counts(), **params)
    monkeypatch.setattr("regulars.models.als.FAR", 0)
    half = losses(counts(), **params)
    assert half != whole
    assert half == pytest.approx(whole, rel=5e-4)


@pytest.mark.parametrize(
    ("a0", "lam", "nu"), [(0.03, 0.001, 1.0), (0.3, 0.007, 1.0), (1.0, 0.1, 0.5), (0.1, 2.0, 0.0)]
)
def test_the_loss_of_rendle_and_others_is_ours_scaled(a0: float, lam: float, nu: float) -> None:
    bought = counts(40, 25) > 0
    ones = bought.toarray().astype(np.float64)
    rng = np.random.default_rng(1)
    model = ALS(factors=5, alpha=1 / a0, reg=lam * (1 + a0) * a0 ** (nu - 1), reg_power=nu)
    offsets = []
    for _ in range(3):
        x, y = (rng.normal(size=(n, 5)) for n in ones.shape)
        said = x @ y.T
        theirs = (ones * (1 - said) ** 2).sum() + a0 * (said**2).sum()
        for side, n, width in ((x, ones.sum(axis=1), 25), (y, ones.sum(axis=0), 40)):
            theirs += lam * ((n + a0 * width) ** nu) @ (side**2).sum(axis=1)
        longer = [(side * (1 + a0) ** 0.5).astype(np.float32) for side in (x, y)]
        offsets.append(plain_loss(model, ones, *longer) - theirs * (1 + a0) ** 2 / a0)
    assert np.ptp(offsets) < 1e-5 * abs(np.mean(offsets))


def test_new_items_are_folded_in_by_the_exact_half_step() -> None:
    r = counts()
    model = ALS(factors=8, alpha=5.0, reg=0.1, reg_power=0.5, epochs=3).fit(r)
    x = model.user_vectors(Histories.from_matrix(r), 0)
    items = r.T.tocsr()
    half, _ = model._exact_half(model._side(items), model.item_vectors, x)
    np.testing.assert_array_equal(model.item_fold_in(items, x), half)
    np.testing.assert_array_equal(model.item_fold_in(items[3:5], x), half[3:5])
    r0 = items[3:4].toarray()[0].astype(np.float64)
    c, x64 = 1.0 + 5.0 * r0, x.astype(np.float64)
    wanted = np.linalg.solve((x64 * c[:, None]).T @ x64 + 0.1 * c.sum() ** 0.5 * np.eye(8), x64.T @ (c * (r0 > 0)))
    assert np.allclose(half[3], wanted, atol=1e-5)
    assert not model.item_fold_in(np.zeros((1, 300)), x).any()  # nobody bought it


def test_a_new_item_comes_near_to_those_of_its_buyers() -> None:
    x = np.zeros((60, 6), dtype=np.float32)
    x[:30, [0, 2, 4]] = 1
    x[30:, [1, 3, 5]] = 1
    model = ALS(factors=4, epochs=10).fit(x)
    new = model.item_fold_in(x[:, :1].T, model.user_vectors(Histories.from_matrix(x), 0))
    near = model.item_vectors @ new[0]
    assert near[[0, 2, 4]].min() > near[[1, 3, 5]].max() + 0.1


def test_folding_in_says_what_does_not_fit() -> None:
    model = ALS(factors=4, epochs=1).fit(counts(20, 10))
    with pytest.raises(InputError, match="user_vectors: got 20 rows, wanted 19"):
        model.item_fold_in(np.zeros((1, 19)), np.zeros((20, 4), np.float32))
    with pytest.raises(InputError, match="user_vectors: got 5 factors, wanted 4"):
        model.item_fold_in(np.zeros((1, 20)), np.zeros((20, 5), np.float32))


def test_a_shopper_is_solved_exactly() -> None:
    r = counts()
    model = ALS(factors=8, alpha=5.0, reg=0.1, reg_power=0.5, epochs=3).fit(r)
    y = model.item_vectors.astype(np.float64)
    c = 1.0 + 5.0 * r[:1].toarray()[0].astype(np.float64)
    system = (y * c[:, None]).T @ y + 0.1 * c.sum() ** 0.5 * np.eye(8)
    wanted = np.linalg.solve(system, y.T @ (c * (c > 1)))
    history = Histories.from_matrix(r[:1])
    assert np.allclose(model.user_vectors(history, 0)[0], wanted, atol=1e-5)
    assert np.allclose(model.score(history, 0)[0], y @ wanted, atol=1e-5)


def test_nothing_bought_is_no_sign() -> None:
    model = ALS(factors=8, epochs=2).fit(counts())
    assert not model.score(Histories.from_matrix(np.zeros((2, 120))), 0).any()


def test_because_shares_add_up_and_name_the_group() -> None:
    x = np.zeros((60, 6), dtype=np.float32)
    x[:30, [0, 2, 4]] = 1
    x[30:, [1, 3, 5]] = 1
    model = ALS(factors=4, epochs=10).fit(x)
    history = Histories.from_matrix(np.array([[1.0, 1.0, 0, 0, 0, 0]]))
    wanted = np.array([2, 3, 4, 5], dtype=np.int32)
    assert model.because(history, 0, wanted).tolist() == [0, 1, 0, 1]
    assert model.because(Histories.from_matrix(np.zeros((1, 6))), 0, wanted).tolist() == [-1] * 4


def test_the_hidden_item_of_each_shopper_ranks_as_high_as_with_implicit() -> None:
    r = counts(400, 150, seed=5)
    rng = np.random.default_rng(6)
    users = np.flatnonzero(np.diff(r.indptr) > 3)
    hidden = np.array([rng.choice(r.indices[r.indptr[u] : r.indptr[u + 1]]) for u in users])
    train = r.tolil()
    train[users, hidden] = 0
    train = as_csr(train.tocsr())
    train.eliminate_zeros()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # their confidence is alpha r, and 1 where r is 0: the same as ours for 1 + alpha r
        peer = AlternatingLeastSquares(factors=6, alpha=1.0, regularization=5.0, iterations=15, random_state=0)
        peer.fit(sp.csr_matrix(train * 10.0 + (train > 0)), show_progress=False)
    model = ALS(factors=6, alpha=10.0, reg=5.0, reg_power=0.0, epochs=15).fit(train)

    def hit_rate(scores: np.ndarray) -> float:
        scores = np.where(train.toarray() > 0, -np.inf, scores)
        mine = scores[users, hidden][:, None]
        return float(((scores[users] > mine).sum(axis=1) < 10).mean())

    ours = hit_rate(model.score(Histories.from_matrix(train), 0))
    theirs = hit_rate(peer.user_factors @ peer.item_factors.T)
    chance = 10 / 150
    assert ours > 3 * chance
    assert ours > theirs - 0.03


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_solve_rows_is_numpys_solution(seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    fixed = rng.normal(size=(20, d)).astype(np.float32)
    rows = sp.random_array((4, 20), density=0.4, rng=rng, dtype=np.float32).tocsr()
    weight, target = rows.data, rng.normal(size=rows.nnz).astype(np.float32)
    gram, reg = gram_of(fixed), np.full(4, 0.5, dtype=np.float32)
    out = np.zeros((4, d), dtype=np.float32)
    cells = (rows.indices.astype(np.int32), weight, target)
    solve_rows(0, 4, rows.indptr.astype(np.int64), cells, fixed, (gram, reg), out)
    for row in range(4):
        span = slice(rows.indptr[row], rows.indptr[row + 1])
        z = fixed[rows.indices[span]].astype(np.float64)
        system = gram + (z * weight[span, None]).T @ z + 0.5 * np.eye(d)
        assert np.allclose(out[row], np.linalg.solve(system, z.T @ target[span]), atol=1e-4)


def test_undetermined_directions_get_nothing() -> None:
    fixed = np.array([[1.0, 1.0], [1.0, 1.0]], dtype=np.float32)
    cells = (np.array([0, 1], np.int32), np.ones(2, np.float32), np.full(2, 3.0, np.float32))
    out = np.zeros((1, 2), dtype=np.float32)
    solve_rows(0, 1, np.array([0, 2]), cells, fixed, (np.zeros((2, 2)), np.zeros(1, np.float32)), out)
    assert out[0].tolist() == [3.0, 0.0]


def test_a_row_is_drawn_to_what_it_holds_before() -> None:
    """reg times a mean on entry: the least squares with a Gaussian prior around that mean."""
    rng = np.random.default_rng(0)
    fixed, mean = rng.normal(size=(6, 3)).astype(np.float32), np.array([0.5, -2.0, 1.0])
    weight, target = rng.random(6, dtype=np.float32), rng.random(6, dtype=np.float32)
    gram, out = np.eye(3) * 0.2, (np.float32(4.0) * mean[None]).astype(np.float32)
    cells = (np.arange(6, dtype=np.int32), weight, target)
    solve_rows(0, 1, np.array([0, 6]), cells, fixed, (gram, np.full(1, 4.0, np.float32)), out)
    system = gram + (fixed.T * weight) @ fixed + 4.0 * np.eye(3)
    np.testing.assert_allclose(out[0], np.linalg.solve(system, 4.0 * mean + fixed.T @ target), rtol=1e-5)


def test_the_spread_is_the_covariance_of_the_shoppers() -> None:
    taken = (np.random.default_rng(0).random((80, 20)) < 0.3).astype(np.float32)
    model = ALS(factors=4, epochs=30).fit(taken)
    vectors = model.user_vectors(Histories.from_matrix(taken), 0)
    assert model.spread is not None
    np.testing.assert_allclose(model.spread, np.cov(vectors.T, bias=True), atol=0.02 * abs(model.spread).max())


def test_settings_out_of_range() -> None:
    with pytest.raises(SettingError, match="cg or cholesky"):
        ALS(solver="lu")
    with pytest.raises(SettingError, match="factors"):
        ALS(factors=0)
    assert 600 < ALS(factors=64).estimate_mb((1_000_000, 100_000), 10_000_000) < 1200
