"""Each metric against a case worked out by hand and against a second implementation."""

from __future__ import annotations

import itertools
from math import log2

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars.core.errors import InputError
from regulars.evaluate import metrics

# Shopper 0 wants 1, 3, 7: hits at ranks 1 and 3. Shopper 1 wants 5: hit at rank 4. Shopper 2 wants 9: none.
RANKED = np.array([[3, 0, 7, 2], [0, 1, 2, 5], [4, -1, -1, -1]], dtype=np.int32)
RELEVANT = sp.csr_array((np.ones(5, np.float32), ([0, 0, 0, 1, 2], [1, 3, 7, 5, 9])), shape=(3, 10))
JUDGED = metrics.judge(RANKED, RELEVANT)


def test_hits() -> None:
    assert JUDGED.hits.tolist() == [[True, False, True, False], [False, False, False, True], [False] * 4]
    assert JUDGED.n_relevant.tolist() == [3, 1, 1]


def test_precision_by_hand() -> None:
    assert metrics.precision(JUDGED, 4).tolist() == [2 / 4, 1 / 4, 0]
    assert metrics.precision(JUDGED, 2).tolist() == [1 / 2, 0, 0]


def test_recall_by_hand() -> None:
    assert metrics.recall(JUDGED, 4).tolist() == [2 / 3, 1 / 1, 0]
    assert metrics.recall(JUDGED, 2).tolist() == [1 / 3, 0, 0]
    assert metrics.recall(JUDGED, 2, capped=True).tolist() == [1 / 2, 0, 0]  # min(2, 3) and min(2, 1)


def test_hit_rate_and_phr_by_hand() -> None:
    assert metrics.hit_rate(JUDGED, 4).tolist() == [1, 1, 0]
    assert metrics.hit_rate(JUDGED, 3).tolist() == [1, 0, 0]
    assert metrics.phr(JUDGED, 4).mean() == pytest.approx(2 / 3)


def test_ndcg_by_hand() -> None:
    ideal = 1 / log2(2) + 1 / log2(3) + 1 / log2(4)  # three relevant, k = 4
    expected = [(1 / log2(2) + 1 / log2(4)) / ideal, (1 / log2(5)) / 1, 0]
    assert metrics.ndcg(JUDGED, 4) == pytest.approx(expected)
    assert metrics.ndcg(JUDGED, 2)[0] == pytest.approx(1 / (1 + 1 / log2(3)))  # the ideal has min(2, 3) hits


def test_map_and_mrr_by_hand() -> None:
    assert metrics.average_precision(JUDGED, 4) == pytest.approx([(1 / 1 + 2 / 3) / 3, (1 / 4) / 1, 0])
    assert metrics.average_precision(JUDGED, 2) == pytest.approx([(1 / 1) / 2, 0, 0])
    assert metrics.reciprocal_rank(JUDGED, 4).tolist() == [1, 1 / 4, 0]


def test_auc_by_hand() -> None:
    # wanted 0.9 and 0.4 against 0.5, 0.4, 0.1: pairs won 3 + (0 + 1/2 + 1); -inf is no candidate
    scores = np.array([[0.9, 0.5, 0.4, 0.4, 0.1, -np.inf]], dtype=np.float32)
    relevant = sp.csr_array(np.array([[1, 0, 1, 0, 0, 0]], dtype=np.float32))
    assert metrics.auc(scores, relevant) == pytest.approx([4.5 / 6])
    assert np.isnan(metrics.auc(scores, sp.csr_array((1, 6), dtype=np.float32)))


def test_rating_errors_by_hand() -> None:
    assert metrics.rmse([3, 5, 1], [4, 3, 1]) == pytest.approx((5 / 3) ** 0.5)  # 1 + 4 + 0
    assert metrics.mae([3, 5, 1], [4, 3, 1]) == pytest.approx(3 / 3)
    with pytest.raises(InputError, match="two equal shapes"):
        metrics.rmse([1, 2], [1])
    with pytest.raises(InputError, match="not empty"):
        metrics.mae([], [])


def test_coverage_novelty_and_popularity_by_hand() -> None:
    ranked = np.array([[0, 1], [1, -1], [-1, -1]], dtype=np.int32)
    popularity = np.array([0.5, 0.25, 0.125, 0.125])
    assert metrics.coverage(ranked, 4) == 2 / 4
    assert metrics.novelty(ranked, popularity)[:2].tolist() == [(1 + 2) / 2, 2]
    assert metrics.popularity_bias(ranked, popularity)[:2].tolist() == [(0.5 + 0.25) / 2, 0.25]
    assert np.isnan(metrics.novelty(ranked, popularity)[2])


def test_diversity_by_hand() -> None:
    levels = metrics.category_levels([("tea", "green"), ("tea", "black"), ("mugs",), ()])
    assert levels.tolist() == [[0, 1], [0, 2], [3, -1], [-1, -1]]
    ranked = np.array([[0, 1, 2], [0, 3, -1], [0, 2, 3]], dtype=np.int32)
    # green-black share tea: 1 - 1/2; both against mugs: 1. The second has no comparable pair, the third one.
    found = metrics.diversity(ranked, levels)
    assert found[0] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert np.isnan(found[1])
    assert found[2] == 1.0
    assert np.isnan(metrics.diversity(ranked, metrics.category_levels([(), (), (), ()]))).all()


def test_nothing_relevant_is_undefined_not_zero() -> None:
    judged = metrics.judge(RANKED, sp.csr_array((3, 10), dtype=np.float32))
    for metric in (
        metrics.recall,
        metrics.ndcg,
        metrics.average_precision,
        metrics.reciprocal_rank,
        metrics.hit_rate,
    ):
        assert np.isnan(metric(judged, 4)).all()


def test_wrong_rankings_are_refused() -> None:
    with pytest.raises(InputError, match="twice"):
        metrics.judge(np.array([[1, 1]], dtype=np.int32), RELEVANT[:1])
    with pytest.raises(InputError, match="item 10"):
        metrics.judge(np.array([[10]], dtype=np.int32), RELEVANT[:1])
    with pytest.raises(InputError, match="2 rows"):
        metrics.judge(RANKED[:2], RELEVANT)
    with pytest.raises(InputError, match=r"\[1, 4\]"):
        metrics.precision(JUDGED, 5)


# -- second implementations ------------------------------------------------------------------------------------


def random_case(seed: int, n_items: int = 12, k: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, relevance, and the full ranking by score, of 20 shoppers with something relevant."""
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(n_items, dtype=np.float32), (20, 1)), axis=1)
    relevant = rng.random((20, n_items)) < 0.3
    relevant[np.arange(20), rng.integers(0, n_items, 20)] = True
    return scores, relevant, np.argsort(-scores, axis=1)[:, :k].astype(np.int32)


@pytest.mark.parametrize("seed", range(5))
def test_ndcg_and_auc_equal_sklearn(seed: int) -> None:
    scores, relevant, ranked = random_case(seed)
    judged = metrics.judge(ranked, sp.csr_array(relevant.astype(np.float32)))
    for k in (1, 3, 8):
        assert metrics.ndcg(judged, k).mean() == pytest.approx(sklearn.metrics.ndcg_score(relevant, scores, k=k))
    rough = np.floor(scores / 3).astype(np.float32)  # with ties
    expected = [sklearn.metrics.roc_auc_score(row, line) for row, line in zip(relevant, rough, strict=True)]
    assert metrics.auc(rough, sp.csr_array(relevant.astype(np.float32))) == pytest.approx(expected)


def test_average_precision_of_the_whole_ranking_equals_sklearn() -> None:
    scores, relevant, ranked = random_case(9, k=12)
    expected = [
        sklearn.metrics.average_precision_score(row, line) for row, line in zip(relevant, scores, strict=True)
    ]
    judged = metrics.judge(ranked, sp.csr_array(relevant.astype(np.float32)))
    assert metrics.average_precision(judged, 12) == pytest.approx(expected)
    best = [1 / (1 + min(np.flatnonzero(row[order]))) for row, order in zip(relevant, ranked, strict=True)]
    assert metrics.reciprocal_rank(judged, 12) == pytest.approx(best)


def test_rating_errors_equal_sklearn() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=50), rng.normal(size=50)
    assert metrics.rmse(left, right) == pytest.approx(sklearn.metrics.root_mean_squared_error(right, left))
    assert metrics.mae(left, right) == pytest.approx(sklearn.metrics.mean_absolute_error(right, left))


lists = st.lists(
    st.tuples(
        st.lists(st.integers(0, 9), max_size=5, unique=True), st.lists(st.integers(0, 9), min_size=1, unique=True)
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(deadline=None)
@given(lists, st.integers(1, 5))
def test_set_metrics_equal_python_sets(cases: list[tuple[list[int], list[int]]], k: int) -> None:
    ranked = np.array([line + [-1] * (5 - len(line)) for line, _ in cases], dtype=np.int32)
    dense = np.zeros((len(cases), 10), dtype=np.float32)
    for row, (_, wanted) in enumerate(cases):
        dense[row, wanted] = 1
    judged = metrics.judge(ranked, sp.csr_array(dense))
    hits = [len(set(line[:k]) & set(wanted)) for line, wanted in cases]
    sizes = [len(wanted) for _, wanted in cases]
    assert metrics.precision(judged, k).tolist() == [hit / k for hit in hits]
    assert metrics.recall(judged, k).tolist() == [hit / n for hit, n in zip(hits, sizes, strict=True)]
    assert metrics.recall(judged, k, capped=True).max() <= 1
    assert metrics.hit_rate(judged, k).tolist() == [float(hit > 0) for hit in hits]
    assert metrics.coverage(ranked, 10) == len({item for line, _ in cases for item in line}) / 10
    # a perfect ranking has 1 in every metric that is capped
    perfect = np.full((len(cases), 10), -1, dtype=np.int32)
    for row, (_, wanted) in enumerate(cases):
        perfect[row, : len(wanted)] = wanted
    best = metrics.judge(perfect, sp.csr_array(dense))
    for values in (metrics.ndcg(best, k), metrics.average_precision(best, k), metrics.reciprocal_rank(best, k)):
        assert values == pytest.approx(np.ones(len(cases)))


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("ab"), max_size=3).map(tuple), min_size=4, max_size=4),
    st.permutations([0, 1, 2, 3, -1]),
)
def test_diversity_equals_all_pairs_in_plain_loops(categories: list[tuple[str, ...]], line: list[int]) -> None:
    found = metrics.diversity(np.array([line], dtype=np.int32), metrics.category_levels(categories))
    distances = []
    for one, other in itertools.combinations([categories[item] for item in line if item >= 0], 2):
        if one and other:
            common = sum(
                1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
            )
            distances.append(1 - common / max(len(one), len(other)))
    assert found[0] == pytest.approx(np.mean(distances) if distances else np.nan, nan_ok=True)


def test_diversity_is_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    levels = metrics.category_levels([("ab"[i % 2], "xyz"[i % 3]) for i in range(30)])
    ranked = np.array([rng.permutation(30)[:5] for _ in range(7)], dtype=np.int32)
    whole = metrics.diversity(ranked, levels)
    monkeypatch.setattr(metrics, "_ROWS_AT_ONCE", 3)
    assert metrics.diversity(ranked, levels).tolist() == whole.tolist()
