"""What benches share: ranking, figures of a ranking, seeds, and rows that are kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import results
from bench.filling import fill
from measure import across_seeds, apart, chosen, next_item, ranked
from regulars.core.data import Histories


def test_figures_of_the_next_item_by_hand() -> None:
    top = np.array([[4, 2, 9], [4, 2, 9], [4, 2, -1], [1, 2, 3]], dtype=np.int32)
    row = next_item(top, np.array([4, 9, 7, 2]), (2, 3), hit="recall")
    assert row["users"] == 4
    assert row["recall@2"] == 0.5  # first and second place
    assert row["recall@3"] == 0.75
    assert row["mrr@3"] == pytest.approx((1 + 1 / 3 + 1 / 2) / 4, abs=1e-4)
    assert row["ndcg@3"] == pytest.approx((1 + 1 / np.log2(4) + 1 / np.log2(3)) / 4, abs=1e-4)
    assert row["ndcg@2"] == pytest.approx((1 + 1 / np.log2(3)) / 4, abs=1e-4)


@pytest.mark.parametrize("mask_seen", [True, False])
def test_batches_rank_as_the_whole(mask_seen: bool) -> None:
    rng = np.random.default_rng(0)
    histories = Histories.from_matrix(rng.random((7, 9)) < 0.3)
    weights = rng.normal(size=(9, 9)).astype(np.float32)

    def score(given: Histories) -> NDArray[np.float32]:
        return np.asarray(given.user_items @ weights, dtype=np.float32)

    whole = ranked(score, histories, 4, mask_seen=mask_seen)
    np.testing.assert_array_equal(ranked(score, histories, 4, mask_seen=mask_seen, cells=1), whole)
    scores = score(histories)
    if mask_seen:
        scores[histories.user_items.toarray() > 0] = -np.inf
    np.testing.assert_array_equal(whole, np.argsort(-scores, axis=1)[:, :4])


def test_a_row_of_several_seeds() -> None:
    rows = [{"model": "mf", "ndcg@10": value, "seconds": seconds} for value, seconds in ((0.1, 2.0), (0.3, 4.0))]
    assert across_seeds(rows, ["ndcg@10"]) == {
        "model": "mf", "seeds": 2, "ndcg@10": 0.2, "ndcg@10_low": 0.1, "ndcg@10_high": 0.3, "seconds": 3.0,
    }  # fmt: skip
    assert "ndcg@10_low" not in across_seeds(rows[:1], ["ndcg@10"])


def test_only_known_models_are_measured() -> None:
    assert chosen(None, ["a", "b"]) == ["a", "b"]
    assert chosen(["b"], ["a", "b"]) == ["b"]
    with pytest.raises(SystemExit, match="got c, wanted some of a, b"):
        chosen(["b", "c"], ["a", "b"])


def test_a_process_of_its_own_has_its_own_peak() -> None:
    small, large = apart(fill, 1), apart(fill, 400)
    assert large["filled"] == 400
    assert 390 < large["peak_mb"] - small["peak_mb"] < 500
    assert 0 <= small["seconds"] < 60


def test_a_run_of_some_models_replaces_their_rows_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    ours = [{"by": "ours", "model": name, "subset": "all", "hr@10": 0.1} for name in ("a", "b")]
    published = {"by": "published", "model": "a", "subset": "all", "hr@10": 0.2}
    results.save({"name": "x", "protocol": "p", "rows": [*ours, published]}, ["x", "--data", "/some/where"])
    later = [{**ours[1], "hr@10": 0.3}, {**ours[1], "hr@10": 0.4}, {**ours[1], "model": "c"}]  # b with two settings
    path = results.save({"name": "x", "protocol": "p", "rows": later}, ["x", "--models", "b,c"], partial=True)
    kept = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [(row["by"], row["model"], row["hr@10"]) for row in kept] == [
        ("ours", "a", 0.1), ("ours", "b", 0.3), ("ours", "b", 0.4), ("published", "a", 0.2), ("ours", "c", 0.1),
    ]  # fmt: skip
    assert kept[0]["command"] == "python bench/run.py x --data DATA"
    assert kept[1]["command"] == kept[2]["command"] == "python bench/run.py x --models b,c"
    assert "command" not in kept[3]
