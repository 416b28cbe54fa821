"""GRU4Rec: the numpy recurrence equals torch's, losses equal their formulas, served without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.deep.test_sasrec import N_ITEMS, walks
from regulars.core.data import Dataset, Histories
from regulars.core.errors import ModelError, SettingError
from regulars.models.base import MANIFEST
from regulars.models.deep import gru4rec as served
from regulars.models.deep.gru4rec import GRU4Rec
from regulars.models.deep.gru4rec_net import GRU4RecNet, Loss, NextClick, Shape, bpr_max, cross_entropy
from regulars.models.deep.plan import Hooks
from regulars.models.deep.windows import Windows, hold_out, last_places, liked, seen, training_windows
from regulars.models.registry import load_model

SMALL: dict[str, Any] = {"factors": 16, "epochs": 2}


@pytest.fixture(scope="module")
def model() -> GRU4Rec:
    return GRU4Rec(length=6, **SMALL).fit(walks())


def as_torch(model: GRU4Rec) -> GRU4RecNet:
    """The trained arrays back in the torch module."""
    net = GRU4RecNet(Shape(model.n_items_, model.factors, model.length, 0.5, 0.5))
    arrays = {"items": model.items_, "gru.weight_ih_l0": model.input_.T, "gru.bias_ih_l0": model.input_bias_,
              "gru.weight_hh_l0": model.state_.T, "gru.bias_hh_l0": model.state_bias_}  # fmt: skip
    net.load_state_dict({name: torch.as_tensor(array) for name, array in arrays.items()})
    return net.eval()


def test_numpy_equals_torch_on_every_item(model: GRU4Rec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "BATCH", 7)
    histories = walks(seed=1).histories()
    scores = model.score(histories, 0)
    items, gaps, sizes = (torch.as_tensor(each).long() for each in last_places(seen(histories, 0), model.length))
    net = as_torch(model)
    with torch.no_grad():
        states = net(net.vectors(), items, gaps, sizes)[torch.arange(len(sizes)), (sizes - 1).clamp(min=0)]
        wanted = (states @ net.items.T).numpy()
    some = sizes.numpy() > 0
    np.testing.assert_allclose(scores[some], wanted[some], atol=1e-4)
    assert np.ptp(scores[some], axis=0).max() > 0.1
    assert (scores[~some] == 0).all()
    assert (~some).any()


def test_extreme_states_are_no_overflow() -> None:
    loud = GRU4Rec(length=6, **SMALL).fit(walks())
    loud.input_ = loud.input_ * np.float32(1e6)
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(loud.score(walks().histories(), 0)).all()


def test_only_the_last_items_and_their_order_count(model: GRU4Rec) -> None:
    asked = Histories.from_sequences([[9, 1, 2, 3, 4, 5, 6], [8, 1, 2, 3, 4, 5, 6], [1, 3, 2, 4, 5, 6]], N_ITEMS)
    first, second, swapped = model.score(asked, 0)
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert np.abs(first - swapped).max() > 1e-4


def test_the_bias_is_no_input(model: GRU4Rec) -> None:
    asked = Histories.from_sequences([[1, 2, 3]], N_ITEMS)
    before = model.score(asked, 0)
    other = GRU4Rec(length=6, **SMALL).fit(walks())
    other.items_ = other.items_.copy()
    other.items_[:, -1] += 1.0
    np.testing.assert_allclose(other.score(asked, 0), before + 1.0, atol=1e-5)


def test_the_walk_is_learned_and_not_from_shuffled_walks() -> None:
    """Negative control: the same walks in random order teach nothing of what comes next."""

    def first(data: Dataset) -> NDArray[np.int32]:
        model = GRU4Rec(factors=32, epochs=12, patience=12, dropout=0.0, learning_rate=5e-3)
        return model.fit(data).recommend(asked, k=1)[0][:, 0]

    asked, wanted = Histories.from_sequences([[i, i + 1] for i in range(38)], N_ITEMS), (np.arange(38) + 2) % N_ITEMS
    ordered = walks(120)
    rows = ordered.interactions
    shuffled = Dataset.from_events(rows.user_idx, rows.item_idx, ordered.shape,
                                   at=np.random.default_rng(0).permutation(rows.at))  # fmt: skip
    assert (first(ordered) == wanted).mean() > 0.9
    assert (first(shuffled) == wanted).mean() < 0.6


# ---- losses ----------------------------------------------------------------------------------------------------


def loss_of(kind: str, **settings: Any) -> Loss:
    return Loss(kind, **({"negatives": 10, "sample_power": 0.5, "logq": 1.0, "penalty": 0.7, "elu": 0.5} | settings))


def task_of(loss: Loss, n_items: int = N_ITEMS) -> tuple[NextClick, Windows]:
    """A task on walks, its net without dropout."""
    torch.manual_seed(0)
    events = liked(walks())
    rest, asked, wanted = hold_out(events, np.zeros(len(events.sizes), dtype=np.bool_))
    windows = training_windows(rest, 6)
    net = GRU4RecNet(Shape(n_items, 8, 6, 0.0, 0.0))
    net.items.data.normal_()
    return NextClick(net, windows, (asked, wanted), loss, 1000), windows


@pytest.fixture
def scored() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores of the wanted item and of ten negatives, and which of these is the wanted item itself."""
    torch.manual_seed(3)
    return torch.randn(50), torch.randn(50, 10), torch.rand(50, 10) < 0.1


def test_cross_entropy_is_that_of_the_wanted_item_among_the_sample(
    scored: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    mine, others, same = scored
    both = torch.cat([mine[:, None], others.masked_fill(same, -torch.inf)], dim=1)
    oracle = functional.cross_entropy(both, torch.zeros(50, dtype=torch.int64))
    torch.testing.assert_close(cross_entropy(mine, others, same), oracle)


@pytest.mark.parametrize("elu", [0.0, 0.5])
def test_bpr_max_is_the_papers_sum(scored: tuple[torch.Tensor, torch.Tensor, torch.Tensor], elu: float) -> None:
    mine, others, same = (each.numpy() for each in scored)

    def bent(score: float) -> float:
        return score if score > 0 or not elu else elu * (np.exp(score) - 1)

    total = 0.0
    for target, negatives, skip in zip(mine, others, same, strict=True):
        kept = [bent(each) for each in negatives[~skip]]
        shares = np.exp(kept) / np.exp(kept).sum()
        passed = sum(share / (1 + np.exp(r - bent(target))) for share, r in zip(shares, kept, strict=True))
        total += 0.7 * sum(share * r**2 for share, r in zip(shares, kept, strict=True)) - np.log(passed)
    assert bpr_max(*scored, loss_of("bpr-max", elu=elu)).item() == pytest.approx(total / 50, rel=1e-4)


@pytest.mark.parametrize("kind", ["cross-entropy", "bpr-max"])
def test_a_sample_of_nothing_but_the_wanted_item_moves_nothing(kind: str) -> None:
    mine, others = torch.randn(3, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    same = torch.ones(3, 2, dtype=torch.bool)
    loss = (
        cross_entropy(mine, others, same) if kind == "cross-entropy" else bpr_max(mine, others, same, loss_of(kind))
    )
    loss.backward()  # type: ignore[no-untyped-call]
    for scores in (mine, others):
        assert scores.grad is not None
        assert (scores.grad == 0).all()


def test_a_sample_as_large_as_the_catalogue_is_the_full_softmax() -> None:
    losses = []
    for negatives in (0, N_ITEMS, 10**6):
        task, _ = task_of(loss_of("cross-entropy", negatives=negatives))
        losses.append(task.loss(next(task.batches(np.random.default_rng(0)))).item())
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


def test_a_corrected_sample_estimates_the_full_softmax_and_a_plain_one_does_not() -> None:
    """Log-Q: without it, twenty draws of forty items, frequent ones more often, miss much of the sum over all."""

    def mean(loss: Loss) -> float:
        task, _ = task_of(loss)
        task.net.vectors().data *= 0.3
        batch = next(task.batches(np.random.default_rng(0)))
        with torch.no_grad():
            return float(np.mean([task.loss(batch).item() for _ in range(200)]))

    whole = mean(loss_of("cross-entropy", negatives=0))
    assert abs(mean(loss_of("cross-entropy", negatives=20, logq=1.0)) - whole) < 0.05
    assert abs(mean(loss_of("cross-entropy", negatives=20, logq=0.0)) - whole) > 0.3


def test_negatives_are_drawn_by_popularity_to_the_power() -> None:
    task, windows = task_of(loss_of("cross-entropy", negatives=30, sample_power=0.5))
    taken = np.bincount(windows.targets[windows.targets >= 0], minlength=N_ITEMS)
    wanted = np.sqrt(np.maximum(taken, 1)) / np.sqrt(np.maximum(taken, 1)).sum()
    drawn = [task._sample() for _ in range(1000)]
    counts = np.bincount(torch.cat([sample for sample, _ in drawn]).numpy(), minlength=N_ITEMS)
    expected = 30_000 * wanted
    assert ((counts - expected) ** 2 / expected).sum() < 95  # chi-square, 39 degrees: P < 1e-6
    np.testing.assert_allclose(drawn[0][1].numpy(), 30 * wanted[drawn[0][0].numpy()], rtol=1e-5)


@pytest.mark.parametrize(
    "settings", [{}, {"negatives": 0}, {"negatives": 10}, {"loss": "bpr-max", "negatives": 10}, {"loss": "bpr-max"}]
)
def test_every_loss_falls(settings: dict[str, Any]) -> None:
    losses: list[float] = []
    model = GRU4Rec(factors=16, epochs=6, patience=6, learning_rate=0.01, **settings)
    model.hooks = Hooks(watch=lambda progress: losses.append(progress.epoch.loss))
    model.fit(walks())
    assert losses[-1] < 0.9 * losses[0]


# ---- serving, saving, wrong use --------------------------------------------------------------------------------


def test_a_folder_of_other_sizes_is_refused(model: GRU4Rec, tmp_path: Path) -> None:
    model.save(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest["params"]["factors"] = 8
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"items_: got the shape \(40, 17\), wanted the shape \(40, 9\)"):
        load_model(tmp_path)


def test_nothing_to_learn_from_says_nothing_and_one_item_taken_twice_is_no_error() -> None:
    model = GRU4Rec().fit(np.eye(4))  # one item a shopper: nothing ever came next
    assert (model.score(Histories.from_matrix(np.eye(4)), 0) == 0).all()
    twice = Dataset.from_events([0, 0], [0, 0], (1, 1), at=[1, 2])
    for loss in ("cross-entropy", "bpr-max"):
        assert np.isfinite(GRU4Rec(loss=loss).fit(twice).score(twice.histories(), 3)).all()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"loss": "top1"}, "gru4rec: loss: got 'top1', wanted cross-entropy or bpr-max"),
     ({"factors": 0}, r"gru4rec: factors: got 0, wanted a whole number in \[1, 4096\]"),
     ({"logq": 1.5}, r"gru4rec: logq: got 1.5, wanted a number in \[0, 1\]"),
     ({"sample_power": -1}, "gru4rec: sample_power: got -1"), ({"negatives": -1}, "gru4rec: negatives: got -1")],
)  # fmt: skip
def test_settings_out_of_range_are_named(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        GRU4Rec(**settings)
