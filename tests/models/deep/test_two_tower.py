"""Two towers: numpy equals torch, cold items by their features, the loss equals its formula, served without torch."""

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
from torch.nn import functional

from regulars.core.data import Dataset, Histories, Users
from regulars.core.errors import ModelError, SettingError
from regulars.models.base import MANIFEST
from regulars.models.deep import two_tower as served
from regulars.models.deep import two_tower_net as torch_side
from regulars.models.deep.two_tower import TwoTower, moments, newest, recency
from regulars.models.deep.two_tower_net import Log, NextTaken, Shoppers, TwoTowerNet, batch_softmax
from regulars.models.deep.windows import liked, seen
from regulars.models.features import attribute_rows
from regulars.models.registry import load_model

KINDS, EACH, COLD = 4, 12, 3  # kinds of item, items of each, and how many of these nobody ever took
N_ITEMS = KINDS * EACH
KIND_OF = np.arange(N_ITEMS) // EACH
IS_COLD = np.arange(N_ITEMS) % EACH >= EACH - COLD


def shop(n_users: int = 150, seed: int = 0, kinds: NDArray[Any] = KIND_OF) -> Dataset:
    """Shoppers who each take items of one kind, in random order, and say which; items say theirs (as `kinds`)."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, EACH - COLD + 1, n_users)
    taken = [EACH * (user % KINDS) + rng.permutation(EACH - COLD)[:size] for user, size in enumerate(sizes)]
    users = np.repeat(np.arange(n_users), sizes)
    data = Dataset.from_events(users, np.concatenate(taken), (n_users, N_ITEMS), at=np.arange(len(users)))
    items = replace(data.items, category=[("shop", f"kind {kind}") for kind in kinds])
    told = Users(data.users.keys, [{"likes": user % KINDS} for user in range(n_users)], data.users.links)
    return replace(data, items=items, users=told)


@pytest.fixture(scope="module")
def trained() -> tuple[TwoTower, TwoTowerNet]:
    """A trained model, and the torch module it came from."""
    caught: list[TwoTowerNet] = []

    def catch(*given: Any) -> TwoTowerNet:
        caught.append(TwoTowerNet(*given))
        return caught[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_side, "TwoTowerNet", catch)
        model = TwoTower(factors=16, hidden=24, length=5, last=2, epochs=8, learning_rate=0.01).fit(shop())
    return model, caught[0]


@pytest.fixture
def model(trained: tuple[TwoTower, TwoTowerNet]) -> TwoTower:
    return trained[0]


def test_numpy_equals_torch_on_every_item(
    trained: tuple[TwoTower, TwoTowerNet], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, net = trained
    monkeypatch.setattr(served, "BATCH", 7)
    histories = shop(40, seed=1).histories()
    scores = model.score(histories, 0)
    events = seen(histories, 0)
    assert {0, 1, 9} <= set(events.sizes.tolist())  # none, fewer than `last`, more than `length`
    taken = newest(events.item_idx, events.indptr[:-1], events.indptr[1:], model.length)
    told = attribute_rows(histories.attributes, len(histories), model.attribute_codes_)
    assert told.nnz == len(histories)
    with torch.no_grad():
        entered = net.entered(np.arange(N_ITEMS), ~IS_COLD)
        wanted = net.shoppers(entered, np.maximum(taken, 0), Shoppers(taken, told)) @ net.items(entered).T
    np.testing.assert_allclose(scores, wanted.numpy(), atol=1e-4)
    assert scores.std() > 0.1


def test_vectors_have_length_one(model: TwoTower) -> None:
    vectors = model.user_vectors(shop(9).histories(), 0)
    np.testing.assert_allclose((vectors**2).sum(axis=1), 1, atol=1e-3)
    np.testing.assert_allclose((model.item_vectors**2).sum(axis=1), 1, atol=1e-3)


def of_the_right_kind(model: TwoTower, kinds: NDArray[Any]) -> float:
    """The share of shoppers for whom every cold item of their kind stands above all other cold ones."""
    histories = shop(60, seed=2).histories()
    rows = np.flatnonzero(np.diff(histories.indptr) >= 2)
    scores = model.score(histories, 0)[rows][:, IS_COLD]
    mine = kinds[IS_COLD] == rows[:, None] % KINDS
    lowest, highest = np.where(mine, scores, np.inf).min(axis=1), np.where(mine, -np.inf, scores).max(axis=1)
    return float((lowest > highest).mean())


def test_an_item_nobody_took_is_placed_by_its_features() -> None:
    """Also the negative control: cold items that claim another kind go where they claim, bare ones nowhere."""
    settings: dict[str, Any] = {"factors": 16, "hidden": 16, "epochs": 12, "learning_rate": 0.01}
    assert of_the_right_kind(TwoTower(**settings).fit(shop()), KIND_OF) > 0.95
    claimed = np.where(IS_COLD, (KIND_OF + 1) % KINDS, KIND_OF)
    lying = TwoTower(**settings).fit(shop(kinds=claimed))
    assert of_the_right_kind(lying, claimed) > 0.95
    assert of_the_right_kind(lying, KIND_OF) == 0
    bare = TwoTower(**settings).fit(replace(shop(), items=Dataset.from_matrix(np.zeros((1, N_ITEMS))).items))
    assert (bare.score(shop(9).histories(), 0)[:, IS_COLD] == 0).all()


def test_a_newcomer_is_known_by_attributes(model: TwoTower) -> None:
    said: list[dict[str, Any]] = [{"likes": kind} for kind in range(KINDS)]
    nobody = Histories.from_matrix(np.zeros((KINDS + 2, N_ITEMS)))
    scores = model.score(replace(nobody, attributes=[*said, {"likes": 99}, {}]), 0)
    assert (KIND_OF[scores[:KINDS].argmax(axis=1)] == np.arange(KINDS)).all()
    np.testing.assert_array_equal(scores[KINDS], scores[KINDS + 1])  # what was never told before says nothing
    np.testing.assert_allclose(model.score(nobody, 0)[0], scores[KINDS], atol=1e-6)


def test_the_item_looked_at_now_counts(model: TwoTower) -> None:
    nobody = Histories.from_matrix(np.zeros((KINDS, N_ITEMS)))
    looked = np.arange(KINDS, dtype=np.int32) * EACH
    first = model.score(replace(nobody, context_item=looked), 0).argmax(axis=1)
    assert (KIND_OF[first] == np.arange(KINDS)).all()


# ---- what is learned from --------------------------------------------------------------------------------------


def task_of(data: Dataset, batch: int = 4) -> NextTaken:
    events = liked(data)
    features, told = sp.csr_array((data.shape[1], 0), dtype=np.float32), sp.csr_array((data.shape[0], 0))
    settings = torch_side.Settings(0.5, 0.1, 0.0, 0.0, batch)
    net = TwoTowerNet(torch_side.Sizes(data.shape[1], 0, 0, 4, 4, 1, 3), features, settings)
    nobody = (Shoppers(np.zeros((0, 3), np.int32), told[:0]), np.zeros(0, np.int32))
    return NextTaken(net, Log(events, moments(data), told), nobody)


def pairs(task: NextTaken, seed: int) -> list[tuple[int, tuple[int, ...]]]:
    """What came next, and what came before it, of one epoch."""
    batches = list(task.batches(np.random.default_rng(seed)))
    return sorted(
        (int(item), tuple(int(each) for each in before if each >= 0))
        for batch in batches
        for item, before in zip(batch.wanted, batch.shoppers.taken, strict=True)
    )


def test_each_event_comes_next_once_after_what_came_before() -> None:
    ordered = Dataset.from_events([0] * 5 + [2], [1, 2, 3, 4, 5, 6], (3, 7), at=[1, 2, 3, 4, 5, 1])
    wanted = [(1, ()), (2, (1,)), (3, (2, 1)), (4, (3, 2, 1)), (5, (4, 3, 2)), (6, ())]
    assert pairs(task_of(ordered), 0) == pairs(task_of(ordered), 1) == wanted


def test_events_of_one_instant_have_no_order_and_others_keep_theirs() -> None:
    basket = Dataset.from_events([0] * 4, [1, 2, 3, 4], (1, 5), at=[1, 1, 1, 2])
    drawn = [dict(pairs(task_of(basket), seed)) for seed in range(20)]
    assert {before[4][0] for before in drawn} == {1, 2, 3}
    assert {set(before[4]) == {1, 2, 3} for before in drawn} == {True}
    assert {item for before in drawn for item in (1, 2, 3) if before[item] == ()} == {1, 2, 3}


def test_newest_and_recency() -> None:
    items = np.array([5, 6, 7, 8], dtype=np.int32)
    taken = newest(items, np.array([0, 3, 2]), np.array([3, 4, 2]), 2)
    assert taken.tolist() == [[7, 6], [8, -1], [-1, -1]]
    second = 2**-0.5
    wanted = np.array([[1 / (1 + second), second / (1 + second)], [1, 0], [0, 0]])
    np.testing.assert_allclose(recency(taken, 0.5), wanted, rtol=1e-6)


def test_without_correction_the_loss_is_cross_entropy() -> None:
    torch.manual_seed(0)
    scores, wanted = torch.randn(30, 12), torch.randint(12, (30,))
    torch.testing.assert_close(
        batch_softmax(scores, wanted, torch.zeros(12)), functional.cross_entropy(scores, wanted)
    )


def test_a_batch_estimates_the_softmax_over_all_items() -> None:
    """Batches drawn by popularity: with log-Q correction the loss is that of all items, without it is far off."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(40, 0.5))
    every = torch.as_tensor(0.5 * rng.standard_normal(40), dtype=torch.float32)
    losses: dict[bool, list[float]] = {True: [], False: []}
    wanted = 7
    for _ in range(300):
        times = rng.multinomial(200, shares)
        times[wanted] = max(1, times[wanted])
        items = np.flatnonzero(times)
        correction = torch.as_tensor(np.log(times[items] / (200 * shares[items])), dtype=torch.float32)
        place = torch.as_tensor(np.flatnonzero(items == wanted))
        for corrected, found in losses.items():
            found.append(batch_softmax(every[items][None], place, corrected * correction).item())
    whole = functional.cross_entropy(every[None], torch.tensor([wanted])).item()
    assert abs(np.mean(losses[True]) - whole) < 0.1
    assert abs(np.mean(losses[False]) - whole) > 0.2


def test_the_loss_of_a_batch_by_hand() -> None:
    """One score, softmax term by softmax term, over all columns of the batch as Yi et al. write them."""
    task = task_of(shop(30), batch=16)
    task.net.begin()
    batch = next(task.batches(np.random.default_rng(0)))
    with torch.no_grad():
        loss = task.loss(batch).item()
        entered = task.net.entered(np.arange(N_ITEMS), np.ones(N_ITEMS, dtype=np.bool_))
        mine = task.net.shoppers(entered, np.maximum(batch.shoppers.taken, 0), batch.shoppers)
        scores = (mine @ task.net.items(entered).T / task.settings.temperature).double().numpy()
    counts = np.bincount(task.log.events.item_idx, minlength=N_ITEMS)
    total = 0.0
    for row, item in enumerate(batch.wanted):
        others = [
            np.exp(scores[row, each]) / (16 * counts[each] / counts.sum()) for each in batch.wanted if each != item
        ]
        total -= np.log(np.exp(scores[row, item]) / (np.exp(scores[row, item]) + sum(others)))
    assert loss == pytest.approx(total / 16, rel=1e-4)


# ---- serving and saving ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lacking", ["shopper_leave_", "attribute_codes_", "attributes_"])
def test_a_folder_that_lacks_a_layer_is_refused(model: TwoTower, tmp_path: Path, lacking: str) -> None:
    model.save(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest["params"]["hidden"] = 7
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"shopper_enter_: got the shape \(64, 24\), wanted the shape \(64, 7\)"):
        load_model(tmp_path)
    manifest["params"]["hidden"] = 24
    del manifest["kinds"][lacking]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=rf"{lacking}: got no such array|attributes_: got the shape"):
        load_model(tmp_path)


def test_more_last_items_than_a_history_is_long_are_refused() -> None:
    with pytest.raises(SettingError, match="two-tower: last: got 6 of a length of 5, wanted at most length"):
        TwoTower(last=6, length=5)


def test_nothing_to_learn_from_says_nothing() -> None:
    data = Dataset.from_events([], [], (2, N_ITEMS))
    model = TwoTower().fit(replace(data, items=shop(1).items))
    asked = Histories.from_sequences([[1], []], N_ITEMS)
    assert (model.score(asked, 0) == 0).all()
