"""SASRec: the numpy forward equals torch's, losses equal their formulas, served without torch."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from regulars.core.clock import DAY, SECOND
from regulars.core.data import Dataset, Histories, Items
from regulars.core.errors import ModelError, SettingError, TrainingError
from regulars.models.base import MANIFEST
from regulars.models.deep import sasrec as served
from regulars.models.deep.next_item import Loss, sampled_loss
from regulars.models.deep.plan import Hooks, Progress
from regulars.models.deep.sasrec import SASRec
from regulars.models.deep.sasrec_net import SASRecNet, Shape
from regulars.models.deep.windows import last_places, seen
from regulars.models.registry import load_model

N_ITEMS = 40


def walks(n_users: int = 60, seed: int = 0) -> Dataset:
    """Shoppers who walk a circle of items from a random start, at random times."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 12, n_users)
    users = np.repeat(np.arange(n_users), sizes)
    place = np.arange(len(users)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    items = (rng.integers(0, N_ITEMS, n_users)[users] + place) % N_ITEMS
    at = np.cumsum(rng.integers(SECOND, 30 * DAY, len(users)))
    return Dataset.from_events(users, items, (n_users, N_ITEMS), at=at)


@pytest.fixture(scope="module", params=[0.0, 0.6])
def model(request: pytest.FixtureRequest) -> SASRec:
    model = SASRec(
        factors=16, layers=3, heads=4, length=6, time_gaps=True, frequency=request.param, epochs=2
    )  # fmt: skip
    return model.fit(walks())


def as_torch(model: SASRec) -> SASRecNet:
    """The trained arrays back in the torch module."""
    sizes = model.n_items_, model.factors, model.layers, model.heads, model.length
    net = SASRecNet(Shape(*sizes, model.time_gaps, model.frequency), 0)
    net.load_state_dict({name: torch.as_tensor(getattr(model, f"{name}_", torch.zeros(0, model.factors)))
                         for name, _ in net.named_parameters()})  # fmt: skip
    return net.eval()


def test_numpy_equals_torch_on_every_item(model: SASRec, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert (scores[~some] == 0).all()
    assert (~some).any()


def test_what_comes_later_changes_no_earlier_state(model: SASRec) -> None:
    net = as_torch(model)
    items = torch.arange(6)[None].repeat(2, 1)
    items[1, 4:] = 30
    with torch.no_grad():
        one, other = net(net.vectors(), items, torch.zeros_like(items), torch.tensor([6, 6]))
    assert torch.equal(one[:4], other[:4])
    assert not torch.allclose(one[4:], other[4:])


def test_only_the_last_items_and_their_order_count(model: SASRec) -> None:
    asked = Histories.from_sequences([[9, 1, 2, 3, 4, 5, 6], [8, 1, 2, 3, 4, 5, 6], [1, 3, 2, 4, 5, 6]], N_ITEMS)
    first, second, swapped = model.score(asked, 0)
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert np.abs(first - swapped).max() > 1e-4


def test_a_filter_is_a_mean_that_forgets_and_a_share_of_what_is_left() -> None:
    """With nothing but the filter, one layer and no products after it, a state is told by hand."""
    net = SASRecNet(Shape(3, 2, 1, 1, 4, False, 1.0), 0.0).eval()
    with torch.no_grad():
        x, net.decays[:], net.high[:] = torch.randn(1, 4, 2), 0.0, torch.tensor([0.0, 2.0])  # keeps a half
        found = net._filter(x, 0)[0]
        weights = 0.5 ** torch.tensor([2.0, 1.0, 0.0])
        slow = weights @ x[0, :3] / weights.sum()
        torch.testing.assert_close(found[2, 0], slow[0])
        torch.testing.assert_close(found[2, 1], slow[1] + 4 * (x[0, 2, 1] - slow[1]))
        torch.testing.assert_close(found[0], x[0, 0])  # alone, all of a number is slow


def test_a_learned_filter_changes_what_is_said(model: SASRec) -> None:
    assert model.decays_.shape == ((3, 4) if model.frequency else (0, 4))
    if model.frequency:
        assert np.ptp(model.decays_, axis=0).max() > 0  # began the same in every layer


def test_an_item_never_met_is_known_by_its_features() -> None:
    """Two brands by turns: a new item of the brand that is due ranks above one that is not."""
    rng = np.random.default_rng(0)
    items = Items.bare([str(idx) for idx in range(N_ITEMS)])
    items = replace(items, brand=["even" if idx % 2 == 0 else "odd" for idx in range(N_ITEMS)])
    starts, n_known = rng.integers(0, 2, 400), N_ITEMS - 10  # the last ten are never met
    taken = (2 * rng.integers(0, n_known // 2, (400, 6)) + (starts[:, None] + np.arange(6)) % 2).astype(np.int32)
    data = Dataset.from_events(np.repeat(np.arange(400), 6), taken.ravel(), (400, N_ITEMS), at=np.arange(2400))
    data = replace(data, items=items)
    asked = Histories.from_sequences([row.tolist() for row in taken[:100]], N_ITEMS)

    def right(features: int) -> float:
        model = SASRec(factors=16, layers=1, heads=1, features=features, epochs=15, patience=15, dropout=0.0,
                       learning_rate=5e-3).fit(data)  # fmt: skip
        scores = model.score(asked, 0)[:, n_known:]
        even = scores[:, ::2].mean(axis=1) > scores[:, 1::2].mean(axis=1)
        return float((even == (taken[:100, -1] % 2 == 1)).mean())

    assert right(10) == 1.0
    assert right(0) < 0.9


def test_a_checkpoint_of_other_features_is_refused(tmp_path: Path) -> None:
    data, told = walks(30), ["x", "x"] + [""] * (N_ITEMS - 2)
    for brands, refused in ((told, False), (told[::-1], True)):
        model = SASRec(factors=4, layers=1, heads=1, features=5, epochs=1)
        model.hooks = Hooks(checkpoints=tmp_path)
        branded = replace(data, items=replace(data.items, brand=brands))
        with pytest.raises(TrainingError) if refused else nullcontext():
            model.fit(branded)


def test_time_gaps_count_only_when_wanted(model: SASRec) -> None:
    near = Histories.from_sequences([[1, 2]], N_ITEMS, at=[[0, SECOND]])
    far = Histories.from_sequences([[1, 2]], N_ITEMS, at=[[0, 90 * DAY]])
    assert (model.score(near, 0) != model.score(far, 0)).any()
    blind = SASRec(factors=4, layers=1, heads=1, epochs=1).fit(walks(10))
    np.testing.assert_array_equal(blind.score(near, 0), blind.score(far, 0))


def test_the_walk_is_learned_and_not_from_shuffled_walks() -> None:
    """Negative control: the same walks in random order teach nothing of what comes next."""

    def first(data: Dataset) -> NDArray[np.int32]:
        model = SASRec(factors=32, layers=1, heads=1, epochs=12, patience=12, dropout=0.0, learning_rate=3e-3)
        return model.fit(data).recommend(asked, k=1)[0][:, 0]

    asked, wanted = Histories.from_sequences([[i, i + 1] for i in range(38)], N_ITEMS), (np.arange(38) + 2) % N_ITEMS
    ordered = walks(120)
    rows = ordered.interactions
    shuffled = Dataset.from_events(rows.user_idx, rows.item_idx, ordered.shape,
                                   at=np.random.default_rng(0).permutation(rows.at))  # fmt: skip
    assert (first(ordered) == wanted).mean() > 0.9
    assert (first(shuffled) == wanted).mean() < 0.6


# ---- losses ----------------------------------------------------------------------------------------------------


@pytest.fixture
def scored() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    return torch.randn(50, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True), torch.randint(30, (50,))


def test_a_sample_of_all_items_is_the_full_softmax(scored: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    states, items, wanted = scored
    whole = sampled_loss(states, items, wanted, Loss("softmax", len(items), 0.0))
    torch.testing.assert_close(whole, functional.cross_entropy(states @ items.T, wanted))


def test_a_sample_estimates_the_sum_over_all_items(scored: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    """The log-Q correction: without it, ten of thirty items would miss log 3 or so; what is left is Jensen's gap."""
    states, items, wanted = (scored[0] * 0.3, scored[1], scored[2])
    whole = functional.cross_entropy(states @ items.T, wanted).item()
    drawn = [sampled_loss(states, items, wanted, Loss("softmax", 10, 0.0)).item() for _ in range(400)]
    assert abs(np.mean(drawn) - whole) < 0.1


@pytest.mark.parametrize(("calibration", "beta"), [(0.0, 1.0), (1.0, 10 / 29)])
def test_gbce_is_bce_without_calibration_and_weighs_by_the_sampled_share_with_all(
    scored: tuple[torch.Tensor, torch.Tensor, torch.Tensor], calibration: float, beta: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    states, items, wanted = scored
    sample = torch.arange(10)
    monkeypatch.setattr(torch, "randint", lambda *args, **kwargs: sample)
    loss = sampled_loss(states, items, wanted, Loss("gbce", 10, calibration))
    scores = states @ items.T
    total = 0.0
    for row, item in enumerate(wanted.tolist()):
        total -= beta * np.log(1 / (1 + np.exp(-scores[row, item].item())))
        total -= sum(np.log(1 - 1 / (1 + np.exp(-scores[row, j].item()))) for j in range(10) if j != item)
    assert loss.item() == pytest.approx(total / len(wanted), rel=1e-4)


@pytest.mark.parametrize("settings", [{"negatives": 10}, {"loss": "gbce", "negatives": 10}, {"loss": "gbce"}])
def test_every_loss_falls(settings: dict[str, object]) -> None:
    losses: list[float] = []
    model = SASRec(factors=16, layers=1, heads=1, epochs=4, patience=4, learning_rate=0.01, **settings)  # type: ignore[arg-type]
    model.hooks = Hooks(watch=lambda progress: losses.append(progress.epoch.loss))
    model.fit(walks())
    assert losses[-1] < 0.9 * losses[0]


# ---- serving and saving ----------------------------------------------------------------------------------------


def test_a_folder_that_lacks_a_layer_is_refused(model: SASRec, tmp_path: Path) -> None:
    model.save(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest["params"]["layers"] = 4
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"attention_: got the shape \(3, 16, 64\), wanted the shape \(4, 16, 64\)"):
        load_model(tmp_path)
    manifest["params"]["layers"] = 3
    del manifest["kinds"]["norms_"]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="norms_: got no such array"):
        load_model(tmp_path)


def test_hooks_are_no_part_of_what_is_saved_and_a_checkpoint_is_used(tmp_path: Path) -> None:
    told: list[Progress] = []
    model = SASRec(factors=4, layers=1, heads=1, epochs=2)
    model.hooks = Hooks(tmp_path / "going", told.append)
    data = walks()
    model.fit(data).save(tmp_path / "m")
    assert str(tmp_path) not in (tmp_path / "m" / MANIFEST).read_text()
    again = SASRec(factors=4, layers=1, heads=1, epochs=2)
    again.hooks = Hooks(tmp_path / "going", told.append)
    again.fit(data)
    assert [progress.epoch.number for progress in told] == [1, 2]
    assert told[1].seconds_left == 0 < told[0].seconds_left
    np.testing.assert_array_equal(again.items_, model.items_)


def test_heads_that_do_not_divide_the_factors_are_refused() -> None:
    with pytest.raises(SettingError, match="sasrec: factors: got 10 for 3 heads, wanted a multiple of heads"):
        SASRec(factors=10, heads=3)


def test_nothing_to_learn_from_says_nothing() -> None:
    model = SASRec().fit(np.eye(4))  # one item a shopper: nothing ever came next
    assert (model.score(Histories.from_matrix(np.eye(4)), 0) == 0).all()
