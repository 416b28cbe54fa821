"""The ranker: numpy equals torch, features by hand and from before the cut, known truths, served without torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.deep.test_two_tower import IS_COLD, KIND_OF, KINDS, N_ITEMS, shop
from regulars.core.clock import DAY
from regulars.core.data import PURCHASE, REFUND, Dataset, Histories, Items
from regulars.core.errors import InputError, ModelError
from regulars.models.base import MANIFEST
from regulars.models.deep import dnn_ranker as served
from regulars.models.deep import dnn_ranker_net as torch_side
from regulars.models.deep.dnn_ranker import DNNRanker
from regulars.models.deep.dnn_ranker_net import Pairs, RankerNet, cut
from regulars.models.deep.pairs import ItemSide, item_side, pair_numbers, shopper_side
from regulars.models.registry import load_model

SETTINGS: dict[str, Any] = {"factors": 8, "hidden": 16, "length": 5, "epochs": 12, "learning_rate": 0.01, "batch": 32}


@pytest.fixture(scope="module")
def trained() -> tuple[DNNRanker, RankerNet]:
    """A trained model, and the torch module it came from."""
    caught: list[RankerNet] = []

    def catch(*given: Any) -> RankerNet:
        caught.append(RankerNet(*given))
        return caught[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_side, "RankerNet", catch)
        model = DNNRanker(**SETTINGS).fit(shop())
    return model, caught[0]


@pytest.fixture
def model(trained: tuple[DNNRanker, RankerNet]) -> DNNRanker:
    return trained[0]


def test_numpy_equals_torch_on_every_item(
    trained: tuple[DNNRanker, RankerNet], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, net = trained
    monkeypatch.setattr(served, "CELLS", 7 * N_ITEMS)
    histories = replace(shop(40, seed=1).histories(), context_item=np.arange(40, dtype=np.int32) % N_ITEMS - 1)
    scores = model.score(histories, 3 * DAY)
    shoppers = shopper_side(histories, 3 * DAY, model.length, model.decay, model.attribute_codes_)
    row, item = np.repeat(np.arange(40), N_ITEMS), np.tile(np.arange(N_ITEMS), 40)
    side = ItemSide(model.item_numbers_, model.groups_, model.price_, model.links_)
    with torch.no_grad():
        pairs = Pairs(shoppers, row, item, np.zeros(len(row), dtype=np.bool_), net.known)
        wanted = net(pairs, pair_numbers(side, shoppers, row, item)).numpy().reshape(40, -1)
    np.testing.assert_allclose(scores, wanted, atol=1e-4)
    assert scores.std() > 0.1


def test_candidates_have_the_scores_they_have_among_all(model: DNNRanker) -> None:
    histories = shop(9).histories()
    wanted = np.random.default_rng(0).integers(-1, N_ITEMS, (9, 6)).astype(np.int32)
    found = model.score_candidates(histories, 0, wanted)
    every = np.column_stack((model.score(histories, 0), np.full(9, -np.inf)))
    np.testing.assert_allclose(found, every[np.arange(9)[:, None], wanted], atol=1e-5)
    assert (found == -np.inf).any()
    assert model.score_candidates(histories, 0, wanted[:, :0]).shape == (9, 0)


@pytest.mark.parametrize("wrong", [np.zeros(9, np.int32), np.zeros((8, 2), np.int32), np.full((9, 1), N_ITEMS)])
def test_candidates_of_another_shape_are_refused(model: DNNRanker, wrong: NDArray[Any]) -> None:
    with pytest.raises(InputError, match=r"item_idx: got the shape .*, wanted 9 rows of items below 48"):
        model.score_candidates(shop(9).histories(), 0, wrong)


# ---- what is learned -------------------------------------------------------------------------------------------


def test_an_item_nobody_took_is_ranked_by_its_features(model: DNNRanker) -> None:
    """Of cold items, and with the control that it is the shopper's kind and no other that comes first.

    The history alone tells the kind: shoppers say nothing of themselves.
    """
    histories = replace(shop(60, seed=2).histories(), attributes=())
    rows = np.flatnonzero(np.diff(histories.indptr) >= 2)
    scores = model.score(histories, 200)[rows][:, IS_COLD]
    mine = KIND_OF[IS_COLD] == rows[:, None] % KINDS
    lowest, highest = np.where(mine, scores, np.inf).min(axis=1), np.where(mine, -np.inf, scores).max(axis=1)
    assert (lowest > highest).mean() > 0.95
    other = KIND_OF[IS_COLD] == (rows[:, None] + 1) % KINDS
    assert (np.where(other, scores, np.inf).min(axis=1) > np.where(other, -np.inf, scores).max(axis=1)).mean() == 0


def habits(again: bool) -> Dataset:
    """60 shoppers take two items of 30 and later take the same again, or two of their own that they never had."""
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(30)[:4] for _ in range(60)]
    first, second = ([each[:2] for each in drawn], [each[:2] if again else each[2:] for each in drawn])
    users = np.tile(np.repeat(np.arange(60), 2), 2)
    at = np.repeat([DAY, 2 * DAY], 120)
    return Dataset.from_events(users, np.concatenate((*first, *second)), (60, 30), at=at)


@pytest.mark.parametrize("again", [True, False])
def test_it_learns_whether_items_are_taken_again(again: bool) -> None:
    model = DNNRanker(**{**SETTINGS, "label_share": 0.5}).fit(habits(again))
    asked = Histories.from_sequences([[user % 30, (user + 7) % 30] for user in range(30)], 30)
    best, _ = model.recommend(asked, k=2, exclude_seen=False)
    share = np.mean([len({user % 30, (user + 7) % 30} & set(best[user].tolist())) / 2 for user in range(30)])
    assert share > 0.8 if again else share < 0.1


def test_features_are_of_before_the_cut_and_labels_of_after() -> None:
    data = Dataset.from_events([0, 0, 1, 1, 2, 2, 2], [1, 2, 1, 3, 0, 4, 4], (3, 5), at=[1, 8, 2, 9, 3, 7, 10],
                               kind=[PURCHASE] * 6 + [REFUND])  # fmt: skip
    before, labels, begins = cut(data, 0.5, np.random.default_rng(0))
    assert begins == before.as_of == 7
    assert sorted(zip(before.interactions.user_idx, before.interactions.item_idx, strict=True)) == [
        (0, 1),
        (1, 1),
        (2, 0),
    ]
    assert labels.toarray().tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
    shoppers = torch_side.asked(before, labels, begins, (2, 0.0, np.zeros(0, dtype=np.uint64)))
    assert shoppers.taken.tolist() == [[1, -1], [1, -1], [0, -1]]


def test_a_log_of_one_instant_is_cut_at_random() -> None:
    drawn = {cut(Dataset.from_matrix(np.ones((2, 3))), 0.34, np.random.default_rng(seed))[1].nonzero()[1].tobytes()
             for seed in range(10)}  # fmt: skip
    assert len(drawn) > 2


def test_numbers_of_pairs_by_hand() -> None:
    """Shopper 0 took item 0 twice and then 1; shopper 1 nothing. Items 0 and 2 share a path, 1 and 2 a brand."""
    at = [0, 40 * DAY, 41 * DAY, 42 * DAY]
    data = Dataset.from_events([0, 0, 0, 2], [0, 0, 1, 2], (3, 4), at=at)
    items: Items = replace(
        data.items, category=[("a", "b"), ("c",), ("a", "b"), ("a", "d")], brand=["", "B", "B", ""],
        price=np.array([100, 400, 100, -1]),
    )  # fmt: skip
    now = 43 * DAY
    shoppers = shopper_side(replace(data, items=items).histories(), now, 3, 0.0, np.zeros(0, dtype=np.uint64))
    side = item_side(replace(data, items=items), now, 1)
    numbers = pair_numbers(side, shoppers, np.array([0, 0, 0, 1]), np.array([0, 2, 3, 2]))
    both = 2 / np.sqrt(2)  # items 0 and 1 stand together twice; two and one were taken
    own, nobody = [np.log(4), np.log(3)], [0, 0]
    usual = (2 * np.log2(100) + np.log2(400)) / 3
    near = 2.0 ** -abs(np.log2(100) - usual)
    first = [np.log1p(2), np.log1p(4 / 3), np.log(4)]
    third = [np.log1p(1), np.log1p(4 / 3), np.log(2)]
    wanted = [
        [*first, *own, 2 / 3, 2 / 3, 0, near, both / 3, np.log(3)],
        [*third, *own, 2 / 3, 2 / 3, 1 / 3, near, 0, 0],
        [0, 0, 0, *own, 0, 2 / 3, 0, 0, 0, 0],
        [*third, *nobody, 0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(numbers, np.array(wanted), rtol=1e-5, atol=1e-6)


# ---- serving and saving ----------------------------------------------------------------------------------------


def test_a_folder_that_lacks_a_layer_is_refused(model: DNNRanker, tmp_path: Path) -> None:
    model.save(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest["params"]["layers"] = 3
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"deep_head_: got the shape \(8,\), wanted the shape \(4,\)"):
        load_model(tmp_path)
    manifest["params"]["layers"] = 2
    del manifest["kinds"]["cross_"]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="cross_: got no such array"):
        load_model(tmp_path)


def test_nothing_to_learn_from_says_nothing() -> None:
    model = DNNRanker().fit(replace(Dataset.from_events([], [], (2, N_ITEMS)), items=shop(1).items))
    assert (model.score(Histories.from_sequences([[1], []], N_ITEMS), 0) == 0).all()
