"""Mult-VAE: the numpy forward equals torch's, the loss equals its formula, served without torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch.distributions import Normal, kl_divergence

from models.conftest import checkerboard
from regulars.core.arrays import as_csr
from regulars.core.data import Histories
from regulars.core.errors import ModelError, SettingError
from regulars.core.topk import top_k
from regulars.models.base import MANIFEST
from regulars.models.deep.mult_vae import MultVAE
from regulars.models.deep.mult_vae_net import (
    Batch,
    MultVAENet,
    Noise,
    Retell,
    Sizes,
    Split,
    divergence,
    hold_out,
    ndcg,
)
from regulars.models.deep.plan import Hooks
from regulars.models.registry import load_model

CPU = torch.device("cpu")
N_ITEMS = 24


def tastes(n_users: int = 80, seed: int = 0) -> sp.csr_array:
    """Shoppers who take half of one of three shelves and little else; the last one took nothing."""
    rng = np.random.default_rng(seed)
    shelf = np.arange(N_ITEMS) // 8 == rng.integers(0, 3, n_users)[:, None]
    taken = rng.random(shelf.shape) < np.where(shelf, 0.6, 0.05)
    taken[-1] = False
    return as_csr(taken)


@pytest.fixture(scope="module")
def model() -> MultVAE:
    return MultVAE(hidden=12, latent=5, epochs=3, learning_rate=0.01).fit(tastes())


def as_torch(model: MultVAE) -> MultVAENet:
    """The trained arrays back in the torch module."""
    net = MultVAENet(Sizes(model.n_items_, model.hidden, model.latent))
    served = {name: torch.as_tensor(getattr(model, f"{name}_")) for name in net.state_dict()
              if hasattr(model, f"{name}_")}  # fmt: skip
    missing = net.load_state_dict(served, strict=False).missing_keys
    assert set(missing) == {"spread", "spread_bias", "steps"}  # what only a training needs
    return net.eval()


def test_numpy_equals_torch_on_every_item(model: MultVAE) -> None:
    asked = tastes(seed=1)
    scores = model.score(Histories.from_matrix(asked), 0)
    with torch.no_grad():
        wanted = as_torch(model)(Batch.of(asked, CPU)).numpy()
    np.testing.assert_allclose(scores, wanted, atol=1e-4)
    assert np.ptp(scores, axis=0).max() > 0.1
    product = model.user_vectors(Histories.from_matrix(asked), 0) @ model.item_vectors.T
    np.testing.assert_allclose(product, wanted, atol=1e-4)


def test_a_history_counts_by_its_items_alone_and_what_is_looked_at_joins_it(model: MultVAE) -> None:
    once, often = np.zeros((2, 1, N_ITEMS))
    once[0, [1, 5]], often[0, [1, 5]] = 1, (7, 7)
    first, same = (Histories.from_matrix(each) for each in (once, often))
    np.testing.assert_allclose(model.score(first, 0), model.score(same, 0), atol=1e-6)
    single = replace(Histories.from_matrix(np.eye(1, N_ITEMS, 1)), context_item=np.array([5], dtype=np.int32))
    np.testing.assert_allclose(model.score(single, 0), model.score(first, 0), atol=1e-6)
    assert np.abs(model.score(Histories.from_matrix(np.eye(1, N_ITEMS, 1)), 0) - model.score(first, 0)).max() > 1e-3


# ---- the loss --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps_before", "beta"), [(0, 0.05), (1, 0.1), (7, 0.2)])
def test_the_loss_is_the_papers_with_beta_on_its_way(
    steps_before: int, beta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    rows = tastes()[:6]
    net = MultVAENet(Sizes(N_ITEMS, 7, 3))
    net.steps += steps_before
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    loss = Retell(net, Split(rows, rows[:0], rows[:0]), Noise(0.0, 0.2, 4), 6).loss(Batch.of(rows, CPU))
    total = 0.0
    for row in torch.as_tensor(rows.toarray()):
        entered = torch.tanh(row / row.norm() @ net.enter + net.enter_bias)
        mean, log_variance = entered @ net.mean + net.mean_bias, entered @ net.spread + net.spread_bias
        spread = (log_variance / 2).exp()
        left = torch.tanh((mean + spread) @ net.leave + net.leave_bias)
        told = torch.log_softmax(left @ net.items[:, :-1].T + net.items[:, -1], 0)
        normal = kl_divergence(Normal(mean, spread), Normal(torch.zeros(3), torch.ones(3))).sum()
        total += (beta * normal - (row * told).sum()).item()
    assert loss.item() == pytest.approx(total / 6, rel=1e-5)


def test_the_divergence_is_that_of_normals_and_nothing_for_the_prior() -> None:
    torch.manual_seed(1)
    mean, log_variance = torch.randn(2, 4, 3)
    oracle = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(divergence(mean, log_variance), oracle)
    assert divergence(torch.zeros(4, 3), torch.zeros(4, 3)).item() == 0


def test_dropout_leaves_parts_of_a_history_out_of_the_input_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, net = tastes()[:6], MultVAENet(Sizes(N_ITEMS, 7, 3))
    task = Retell(net, Split(rows, rows[:0], rows[:0]), Noise(0.5, 0.0, 1), 6)
    seen: list[torch.Tensor] = []
    encode = net.encode

    def watched(batch: Batch, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(weights)
        return encode(batch, weights)

    monkeypatch.setattr(net, "encode", watched)
    batch = Batch.of(rows, CPU)
    task.loss(batch)
    kept = seen[0] != 0
    assert 0 < kept.sum() < rows.nnz
    torch.testing.assert_close(seen[0][kept], 2 * batch.weights[kept])
    assert len(batch.items) == rows.nnz  # what is to be told is whole


# ---- holding out and validating --------------------------------------------------------------------------------


def test_shoppers_are_held_out_as_a_whole_and_a_fifth_of_each_is_hidden() -> None:
    taken = tastes(200)
    split = hold_out(taken, np.random.default_rng(3))
    able = int((np.diff(taken.indptr) >= 5).sum())
    assert split.shown.shape[0] == split.wanted.shape[0] == able // 10
    assert split.rest.shape[0] == 200 - able // 10
    assert split.rest.nnz + split.shown.nnz + split.wanted.nnz == taken.nnz
    whole = split.shown.toarray() + split.wanted.toarray()
    assert whole.max() == 1  # no item is both shown and to be found
    np.testing.assert_array_equal(split.wanted.toarray().sum(1), whole.sum(1) // 5)
    known = {row.tobytes() for row in taken.toarray()}
    assert {row.tobytes() for row in whole} <= known
    other = hold_out(taken, np.random.default_rng(4))
    assert (split.wanted != other.wanted).nnz
    few = hold_out(taken[:90], np.random.default_rng(3))  # less than ten could be held out
    assert (few.rest != taken[:90]).nnz == few.shown.nnz == few.wanted.nnz == 0


def test_ndcg_counts_as_the_formula_does() -> None:
    rng = np.random.default_rng(0)
    scores, relevant = rng.normal(size=(5, 150)), rng.random((5, 150)) < 0.9  # more than 100 to be found
    relevant[0, 1:] = False
    wanted = []
    for row, good in zip(scores, relevant, strict=True):
        order = np.argsort(-row)[:100]
        ideal = sum(1 / np.log2(place + 2) for place in range(min(100, good.sum())))
        wanted.append(sum(1 / np.log2(place + 2) for place, item in enumerate(order) if good[item]) / ideal)
    np.testing.assert_allclose(ndcg(torch.as_tensor(scores), torch.as_tensor(relevant)).numpy(), wanted, rtol=1e-6)


def test_validation_ranks_what_was_not_shown() -> None:
    """A net that scores the hidden item first and the shown ones higher still finds everything."""
    shown, wanted = (as_csr(np.eye(1, N_ITEMS, k)) for k in (2, 9))
    net = MultVAENet(Sizes(N_ITEMS, 7, 3))
    net.items.data.zero_()
    net.items.data[[2, 9], -1] = torch.tensor([5.0, 1.0])
    with torch.no_grad():
        assert Retell(net, Split(shown, shown, wanted), Noise(0, 0, 1), 6).validate() == 1.0
        assert np.isnan(Retell(net, Split(shown, shown[:0], wanted[:0]), Noise(0, 0, 1), 6).validate())


# ---- learning --------------------------------------------------------------------------------------------------


def test_shelves_are_learned_and_not_from_shuffled_shoppers() -> None:
    """Negative control: the same items in random hands (each as often) tell nothing of a shopper's shelf."""

    def hits(train: NDArray[Any]) -> float:
        model = MultVAE(hidden=200, latent=50).fit(train)
        items, _ = top_k(np.where(taken > 0, -np.inf, model.score(Histories.from_matrix(taken), 0)), 1)
        return float((items[:, 0] == hidden).mean())

    taken, hidden = checkerboard()
    rng = np.random.default_rng(0)
    shuffled = np.column_stack([rng.permutation(column) for column in taken.T])
    assert hits(taken) > 0.9
    assert hits(shuffled) < 0.5


def test_steps_are_part_of_a_checkpoint_so_beta_goes_on(tmp_path: Path) -> None:
    stop = 2
    seen: list[int] = []

    def interrupt(progress: Any) -> None:
        seen.append(progress.epoch.number)
        if progress.epoch.number == stop:
            raise KeyboardInterrupt

    settings: dict[str, Any] = {"hidden": 6, "latent": 2, "epochs": 5, "patience": 9, "anneal_steps": 60}
    model = MultVAE(**settings)
    model.hooks = Hooks(tmp_path, interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(tastes())
    stop = 0
    model.fit(tastes())
    assert seen == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(model.items_, MultVAE(**settings).fit(tastes()).items_)


# ---- serving, saving, wrong use --------------------------------------------------------------------------------


def test_a_folder_of_other_sizes_is_refused(model: MultVAE, tmp_path: Path) -> None:
    model.save(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest["params"]["latent"] = 6
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"mean_: got the shape \(12, 5\), wanted the shape \(12, 6\)"):
        load_model(tmp_path)


def test_no_history_at_all_says_nothing_and_no_history_of_mine_something(model: MultVAE) -> None:
    nobody = np.zeros((1, N_ITEMS))
    assert (MultVAE().fit(np.zeros((3, 4))).score(Histories.from_matrix(np.zeros((1, 4))), 0) == 0).all()
    assert np.ptp(model.score(Histories.from_matrix(nobody), 0)) > 0  # what sells to anybody


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"hidden": 0}, r"mult-vae: hidden: got 0, wanted a whole number in \[1, 65536\]"),
     ({"dropout": 1.0}, r"mult-vae: dropout: got 1.0, wanted a number in \[0, 0.95\]"),
     ({"beta": -0.1}, "mult-vae: beta: got -0.1"), ({"anneal_steps": 1.5}, "mult-vae: anneal_steps: got 1.5")],
)  # fmt: skip
def test_settings_out_of_range_are_named(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        MultVAE(**settings)
