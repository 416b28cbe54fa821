"""Models side by side on any log: known winners, exact splits, and words for logs that leave nothing to ask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from regulars.core.data import Dataset
from regulars.core.errors import InputError, SettingError
from regulars.evaluate import Comparison, compare
from regulars.evaluate.comparison import SPLITS
from regulars.evaluate.split import answerable, last_share, leave_one_out, random_share
from regulars.frames import dataset_of

DAY = 86_400


def two_tastes(n_users: int = 80, n_steps: int = 12, seed: int = 0) -> dict[str, Any]:
    """Each shopper takes, one a day, what they do not have yet of their own half of 40 items."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"顾客{user}", f"{'茶' if user % 2 else '书'}{item}", step * DAY + user)
        for user in range(n_users)
        for step, item in enumerate(rng.permutation(20)[:n_steps])
    ]
    return dict(zip(("user", "item", "time"), map(list, zip(*rows, strict=True)), strict=True))


@pytest.mark.parametrize("split", SPLITS)
def test_a_known_winner_wins(split: str) -> None:
    """Own halves: of 28 unknown items the 8 of the own half are ahead for neighbours, never for popularity."""
    found = compare(two_tastes(), ["random", "item-knn"], split=split, k=10)
    by = {row["model"]: row for row in found.rows}
    assert [row["subset"] for row in found.rows] == ["new"] * 3  # nobody took anything twice
    assert found.rows[0]["model"] == "item-knn"
    assert by["item-knn"]["hr@10"] == 1.0
    assert by["item-knn"]["vs_popular_low"] > 0
    assert by["random"]["vs_popular_low"] < 0.05
    assert "vs_popular" not in by["popular"]
    assert all(row["seconds"] >= 0 for row in found.rows)


def test_shuffled_items_have_no_winner() -> None:
    """The negative control: where items say nothing of shoppers, neighbours are no better than popularity."""
    table = two_tastes(n_users=300)
    table["item"] = np.random.default_rng(1).permutation(table["item"]).tolist()
    row = next(row for row in compare(table, ["item-knn"], k=10).rows if row["model"] == "item-knn")
    assert row["vs_popular_low"] < 0.02
    assert abs(row["vs_popular"]) < 0.05


def test_what_is_taken_again_is_asked_both_ways() -> None:
    rows = [(user, item, step) for step in range(10) for user in range(20) for item in (user % 4, 4 + step % 2)]
    user, item, time = map(list, zip(*rows, strict=True))
    found = compare({"user": user, "item": item, "time": time}, ["item-knn"], split="random")
    assert {row["subset"] for row in found.rows} == {"all"}  # nobody took anything for the first time
    new = [(user, 100 + user % 4, 9) for user in range(20)] + [(user, 100 + user % 4, 0) for user in range(20, 40)]
    user, item, time = map(list, zip(*(rows + new), strict=True))
    found = compare({"user": user, "item": item, "time": time}, ["item-knn"], share=0.05)
    assert {row["subset"] for row in found.rows} == {"all", "new"}
    assert "all: anything may be" in found.to_markdown()


def test_a_frame_a_report_and_plain_values() -> None:
    found = compare(two_tastes(), ["item-knn"], k=5)
    assert isinstance(found, Comparison)
    frame = found.to_frame()
    assert isinstance(frame, pa.Table)
    assert frame["model"].to_pylist() == [row["model"] for row in found.rows]
    assert frame["vs_popular"].null_count == 1  # popularity has no difference to itself
    assert frame.to_pandas().set_index("model").loc["item-knn", "ndcg@5"] == found.rows[0]["ndcg@5"]
    text = found.to_markdown()
    assert text == str(found) == found._repr_markdown_()
    assert "NDCG@5" in text
    assert "asked what 80 shoppers took" in text
    assert found.to_json()["rows"] == found.rows


def test_same_seed_same_rows() -> None:
    def rows(seed: int) -> list[dict[str, Any]]:
        found = compare(two_tastes(), ["als"], split="random", seed=seed, settings={"als": {"factors": 4}})
        return [{name: value for name, value in row.items() if name != "seconds"} for row in found.rows]

    assert rows(3) == rows(3)
    assert rows(3) != rows(4)


def test_settings_reach_the_model() -> None:
    one, many = (compare(two_tastes(), ["item-knn"], settings={"item-knn": {"k": k}}, k=10) for k in (1, 40))
    assert one.rows != many.rows


def test_a_model_that_cannot_be_fitted_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regulars.evaluate.comparison.memory_mb", lambda: 10.0)
    found = compare(two_tastes(), ["ease", "two-tower"])
    assert {row["model"] for row in found.rows} == {"popular", "ease"}
    assert "wanted at most 10, which this machine has" in found.left_out["two-tower"]
    assert "Left out two-tower: " in found.to_markdown()
    monkeypatch.setattr("regulars.evaluate.comparison.memory_mb", lambda: 0.0)
    with pytest.raises(InputError, match="wanted one model that can be fitted"):
        compare(two_tastes(), [])


def test_progress_is_said() -> None:
    said: list[str] = []
    compare(two_tastes(), ["item-knn"], say=said.append)
    assert said == ["Fitting popular", "Fitting item-knn", "Ranking for 80 shoppers"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"models": ["populr"]}, "Try 'popular'"),
        ({"settings": {"als": {"factor": 3}}, "models": ["als"]}, "wanted 'factors'"),
        ({"settings": {"als": {"factors": 3}}, "models": ["ease"]}, "got those of 'als', wanted a model that"),
        ({"split": "lats"}, "wanted one of time, last, random"),
        ({"share": 1.0}, "between 0 and 1"),
        ({"k": 0}, "whole number from 1"),
    ],
)  # fmt: skip
def test_wrong_words_are_refused_before_anything_is_read(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        compare("no-such-file.csv", **options)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"user": ["a"] * 4, "item": [1, 2, 3, 4], "time": [1, 2, 3, 4]}, "got 1 shopper, wanted at least 2"),
        ({"user": ["a", "b"] * 2, "item": [1, 2, 3, 4], "time": [1] * 4}, "all of one instant.*last or random"),
        ({"user": ["a", "b"] * 2, "item": [1, 2, 3, 4]}, "rows without times.*--time COLUMN"),
        ({"user": [1, 2, 3], "item": [1, 2, 3], "time": [1, 2, 3]}, "nobody with rows on both sides"),
    ],
)
def test_a_log_that_leaves_nothing_to_ask_says_why(table: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        compare(table)


# ---- splits ---------------------------------------------------------------------------------------------------


def data() -> Dataset:
    rng = np.random.default_rng(0)
    table = {"user": rng.integers(0, 9, 300), "item": rng.integers(0, 30, 300), "time": rng.integers(0, 100, 300)}
    return dataset_of(table)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_the_cut_leaves_the_share_after_it(share: float) -> None:
    log = data()
    split, at = last_share(log, share), log.interactions.at
    assert at[split.train].max(initial=-1) < at[~split.train].min()
    assert (~split.train).mean() >= share
    later = at[~split.train]
    assert (later > later.min()).mean() * (~split.train).mean() < share  # a cut one instant later leaves too few


def test_a_random_share_is_a_share() -> None:
    """Within five deviations of a binomial of 300 (P < 1e-6)."""
    split = random_share(data(), 0.2, np.random.default_rng(0))
    assert abs((~split.train).sum() - 60) < 5 * np.sqrt(300 * 0.2 * 0.8)


def test_nothing_is_asked_of_strangers() -> None:
    log = data()
    split = last_share(log, 0.1)
    before = split.training(log)
    asked = answerable(split.relevant, before)
    known_users, known_items = set(before.interactions.user_idx), set(before.interactions.item_idx)
    wanted = {cell for cell in zip(*map(list, split.relevant.nonzero()), strict=True)
              if cell[0] in known_users and cell[1] in known_items}  # fmt: skip
    assert set(zip(*map(list, asked.nonzero()), strict=True)) == wanted


def test_a_rating_of_nothing_is_learned_from_but_never_asked_for() -> None:
    table = two_tastes()
    table["rating"] = [0.0 if time >= 11 * DAY and user in ("顾客0", "顾客1") else 1.0
                       for user, time in zip(table["user"], table["time"], strict=True)]  # fmt: skip
    for split in ("time", "last"):
        found = compare(table, ["item-knn"], split=split, share=1 / 12)
        assert found.rows[0]["users"] == (78 if split == "time" else 80)


def test_a_dataset_is_taken_as_it_is() -> None:
    log = dataset_of(two_tastes())
    assert compare(replace(log, names=None), ["item-knn"]).rows[0]["ndcg@20"] == compare(
        two_tastes(), ["item-knn"]).rows[0]["ndcg@20"]  # fmt: skip
    assert leave_one_out(log).train.sum() == 80 * 11
