"""GMF, MLP and NeuMF: the numpy scores equal torch's, losses equal their formulas, parts add up, damage is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.conftest import checkerboard
from regulars.core.clock import DAY
from regulars.core.data import Dataset, Histories
from regulars.core.errors import ModelError, SettingError
from regulars.models.base import MANIFEST
from regulars.models.deep.ncf import NeuMF, tower_widths
from regulars.models.deep.ncf_net import Batch, LeftOut, NCFNet, Sampling, Sizes, Trainer, hold_out, joined
from regulars.models.deep.plan import NO_HOOKS, Hooks, Plan
from regulars.models.registry import load_model

SMALL = {"factors": 8, "mlp_factors": 8, "layers": 3, "epochs": 2, "batch": 8}


def taken(seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.random((40, 25)) < 0.3).astype(np.float32) * rng.integers(1, 4, (40, 25))


@pytest.fixture(scope="module", params=["neumf", "gmf", "mlp"])
def model(request: pytest.FixtureRequest) -> NeuMF:
    return NeuMF(part=request.param, **SMALL).fit(taken())  # type: ignore[arg-type]


def as_torch(model: NeuMF) -> NCFNet:
    """The trained arrays back in the torch module."""
    net = NCFNet(Sizes(model.n_items_, model.factors, model.mlp_factors, model.layers), model.part)
    net.load_state_dict({name: torch.as_tensor(getattr(model, f"{name}_")) for name, _ in net.named_parameters()})
    return net


def test_numpy_equals_torch_on_every_item(model: NeuMF) -> None:
    asked = taken(1)
    asked[3] = 0
    rows, items = np.nonzero(asked)
    starts = torch.as_tensor(np.searchsorted(rows, np.arange(len(asked))))
    with torch.no_grad():
        net = as_torch(model)
        shoppers = net.shoppers(torch.as_tensor(items), starts)
        wanted = net.all_pairs(shoppers, torch.arange(25))
        each = net.pairs(shoppers, torch.arange(40).repeat_interleave(25), torch.arange(25).repeat(40))
    np.testing.assert_allclose(model.score(Histories.from_matrix(asked), 0), wanted.numpy(), atol=1e-4)
    np.testing.assert_allclose(each.view(40, 25).numpy(), wanted.numpy(), atol=1e-4)


def test_how_often_an_item_was_taken_does_not_count(model: NeuMF) -> None:
    often, once = (Histories.from_matrix(each) for each in (taken(2), taken(2) > 0))
    np.testing.assert_array_equal(model.score(often, 0), model.score(once, 0))


def test_parts_trained_alone_begin_the_whole() -> None:
    """Without a step of its own, NeuMF says half of what each part says, its first step's rate being next to 0."""
    rest, rows, wanted = hold_out(Dataset.from_matrix(taken()), np.random.default_rng(0))
    data, sampling = (rest, rows, wanted), Sampling("bce", 25, 0.5, 8)

    def scores(part: str, rate: float, begun: dict[str, torch.Tensor]) -> tuple[NeuMF, dict[str, torch.Tensor]]:
        plan = Plan("neumf", epochs=1, patience=1, learning_rate=rate)
        trained = Trainer(data, Sizes(25, 8, 8, 2), sampling, plan, "").trained(
            part, begun, np.random.default_rng(3), NO_HOOKS
        )
        model = NeuMF(part=part, factors=8, mlp_factors=8)
        for name, tensor in trained.items():
            setattr(model, f"{name}_", tensor.numpy())
        model.n_items_ = 25
        return model, trained

    asked = Histories.from_matrix(taken(1))
    (gmf, one), (mlp, other) = (scores(part, 0.01, {}) for part in ("gmf", "mlp"))
    both, _ = scores("neumf", 1e-12, joined([one, other]))
    np.testing.assert_allclose(both.score(asked, 0), (gmf.score(asked, 0) + mlp.score(asked, 0)) / 2, atol=1e-5)


@pytest.mark.parametrize("part", ["gmf", "mlp", "neumf"])
@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_each_part_knows_the_checkerboard_with_each_loss(part: str, loss: str) -> None:
    """And shoppers it never saw: it is fitted on half of them."""
    board, hidden = checkerboard(users=20)
    seen = np.arange(len(board)) % 20 < 10
    model = NeuMF(part=part, loss=loss, factors=16, mlp_factors=16, learning_rate=0.02, epochs=16, patience=16,
                  pretrain=False).fit(board[seen])  # fmt: skip
    first, _ = model.recommend(board[~seen], k=1)
    assert (first[:, 0] // 6 == hidden[~seen] // 6).mean() > 0.9  # the block is known; one in three by chance


# ---- losses ----------------------------------------------------------------------------------------------------


def a_batch() -> tuple[LeftOut, Batch, NDArray[np.float64], NDArray[np.bool_]]:
    """A task over all items and a batch of it; the scores it should see, and who owns what."""
    rest, rows, wanted = hold_out(Dataset.from_matrix(taken()), np.random.default_rng(0))
    torch.manual_seed(0)
    task = LeftOut(NCFNet(Sizes(25, 8, 8, 2), "gmf"), rest, (rows, wanted), Sampling("softmax", 25, 0.5, 40))
    batch = next(task.batches(np.random.default_rng(0)))
    with torch.no_grad():
        scores = task.net.all_pairs(task.net.shoppers(batch.shown, batch.starts), torch.arange(25)).double().numpy()
    return task, batch, scores, batch.owned.numpy()


def test_softmax_sets_each_item_left_out_against_all_never_taken() -> None:
    task, batch, scores, owned = a_batch()
    total = 0.0
    for row, item in zip(batch.row.tolist(), batch.wanted.tolist(), strict=True):
        assert owned[row, item]
        others = np.exp(scores[row][~owned[row]]).sum()
        total -= np.log(np.exp(scores[row, item]) / (np.exp(scores[row, item]) + others))
    assert task.loss(batch).item() == pytest.approx(total / len(batch.row), rel=1e-5)


def test_bce_weighs_four_negatives_a_positive() -> None:
    task, batch, scores, owned = a_batch()
    task.sampling = Sampling("bce", 25, 0.5, 40)
    total = 0.0
    for row, item in zip(batch.row.tolist(), batch.wanted.tolist(), strict=True):
        negatives = torch.as_tensor(scores[row][~owned[row]])
        total += functional.softplus(-torch.tensor(scores[row, item])).item()
        total += 4 * functional.binary_cross_entropy_with_logits(negatives, torch.zeros_like(negatives)).item()
    assert task.loss(batch).item() == pytest.approx(total / len(batch.row), rel=1e-5)


def test_what_is_left_out_is_not_shown() -> None:
    _, batch, _, owned = a_batch()
    ends = [*batch.starts.tolist()[1:], len(batch.shown)]
    for row, (start, end) in enumerate(zip(batch.starts.tolist(), ends, strict=True)):
        shown, left = set(batch.shown[start:end].tolist()), set(batch.wanted[batch.row == row].tolist())
        assert shown.isdisjoint(left)
        assert shown | left == set(np.flatnonzero(owned[row]))


def test_the_last_item_in_time_is_held_out() -> None:
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.permutation(9)[:4] for _ in range(30)])
    data = Dataset.from_events(np.repeat(np.arange(30), 4), items, (30, 9), at=np.tile([1, 2, 3, 4], 30) * DAY)
    rest, rows, wanted = hold_out(data, rng)
    assert len(rows) == 3
    np.testing.assert_array_equal(wanted, items.reshape(30, 4)[rows, 3])
    assert (rest[rows, wanted] == 0).all()
    assert (np.diff(rest.indptr)[rows] == 3).all()


# ---- saving ----------------------------------------------------------------------------------------------------


def test_a_folder_that_lacks_a_layer_is_refused(tmp_path: Path) -> None:
    NeuMF(**SMALL).fit(taken()).save(tmp_path)  # type: ignore[arg-type]
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    del manifest["kinds"]["mlp_layer2_bias_"]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"mlp_layer2_bias_: got no such array, wanted the shape \(2,\)"):
        load_model(tmp_path)


def test_each_training_has_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    told: list[int] = []
    model = NeuMF(**SMALL)  # type: ignore[arg-type]
    model.hooks = Hooks(tmp_path, lambda progress: told.append(progress.epoch.number))
    model.fit(taken())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gmf", "mlp", "neumf"]
    assert told == [1, 2, 1, 2, 1, 2]
    scores = model.score(Histories.from_matrix(taken()), 0)
    np.testing.assert_array_equal(model.fit(taken()).score(Histories.from_matrix(taken()), 0), scores)
    assert len(told) == 6  # nothing was trained again


def test_a_tower_halves() -> None:
    assert tower_widths(32, 4) == [32, 16, 8, 4]
    assert tower_widths(3, 4) == [3, 1, 1, 1]


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SettingError, match="neumf: part: got 'both', wanted one of neumf, gmf, mlp"):
        NeuMF(part="both")
