"""Forward selection: what lists say, who is taken, and that luck is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choose.conftest import asked_of, blocks, good_lists
from regulars.choose.blend import forward, said
from regulars.choose.question import Question
from regulars.choose.trial import Lists
from regulars.rank.candidates import _merge


@pytest.fixture(scope="module")
def asked() -> Question:
    return asked_of(blocks())


def test_what_a_list_says_is_place_and_rank() -> None:
    lists = Lists(np.array([[7, 3, 5, -1], [1, 2, 4, 6]], dtype=np.int32),
                  np.array([[4, 3, 2, -np.inf], [2, 1, 0, -1]], dtype=np.float32))  # fmt: skip
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    np.testing.assert_allclose(
        said(lists), [[1, (0.5 + second) / 2, third / 2, 0], [1, second / 2, 0, 0]], rtol=1e-6
    )  # of the second row the last two score 0 and below: they say nothing


def test_equal_scores_have_ranks_alone() -> None:
    alike = Lists(np.array([[0, 1]], dtype=np.int32), np.ones((1, 2), dtype=np.float32))
    np.testing.assert_allclose(said(alike), [[1 / 2, 1 / np.log2(3) / 2]], rtol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 12))
def test_a_list_says_here_what_it_says_in_the_product(seed: int, n: int, k: int) -> None:
    """Half of the two that the product's blend weighs, at equal weights, for every list it could meet."""
    rng = np.random.default_rng(seed)
    ranked = np.array([rng.permutation(20)[:k] for _ in range(n)], dtype=np.int32)
    scores = -np.sort(-rng.integers(-2, 5, (n, k)).astype(np.float32), axis=1)
    ranked[np.arange(k) >= rng.integers(0, k + 1, n)[:, None]] = -1
    scores[ranked < 0] = -np.inf
    item_idx, says = np.full((n, k), -1, dtype=np.int32), np.zeros((n, k, 2), dtype=np.float32)
    _merge(ranked[None], scores[None], np.full(64, -1, dtype=np.int32), item_idx, says, np.zeros(n, dtype=np.int32))
    np.testing.assert_allclose(said(Lists(ranked, scores)), says.mean(axis=2), rtol=1e-6)


def halves(asked: Question) -> dict[str, Lists]:
    """Two that know what is wanted by one half of the shoppers each, and one that knows nothing."""
    whole = good_lists(asked, 1.0)
    idle = np.full_like(whole.ranked, -1), np.full_like(whole.scores, -np.inf)
    odd = (np.arange(len(asked)) % 2 == 1)[:, None]
    left, right = (
        Lists(np.where(mine, whole.ranked, idle[0]), np.where(mine, whole.scores, idle[1])) for mine in (odd, ~odd)
    )
    return {"left": left, "right": right, "noise": good_lists(asked, 0.0, seed=5)}


def test_what_completes_another_is_taken_and_noise_is_not(asked: Question) -> None:
    found = forward(halves(asked), asked.wanted, "left", np.random.default_rng(0))
    assert found.names == ("left", "right")
    assert found.picked[0].added is None
    added = found.picked[1].added
    assert added is not None
    assert added.mean == pytest.approx(0.5, abs=0.02)  # all are served well now: NDCG 1/2 before, 1 after
    np.testing.assert_allclose(found.ndcg, 1.0)
    assert found.others["noise"].low <= 0


def test_what_cannot_be_afforded_is_not_taken(asked: Question) -> None:
    found = forward(halves(asked), asked.wanted, "left", np.random.default_rng(0), lambda names: "right" not in names)
    assert found.names == ("left",)
    assert found.others["right"].low > 0  # and the report can say what it would have added


def test_the_sum_of_one_list_is_that_list(asked: Question) -> None:
    lists = good_lists(asked, 0.6)
    found = forward({"one": lists}, asked.wanted, "one", np.random.default_rng(0))
    np.testing.assert_allclose(found.ndcg, asked.wanted.ndcg(lists.ranked))


def test_luck_is_not_taken_for_skill(asked: Question) -> None:
    """Five lists of noise beside a fair one, 20 times: a step errs with chance 0.05 at most; P(X > 7) < 5e-6."""
    fair, errors = good_lists(asked, 0.5), 0
    for seed in range(20):
        lists = {"fair": fair} | {str(n): good_lists(asked, 0.0, seed=100 * seed + n + 1) for n in range(5)}
        errors += len(forward(lists, asked.wanted, "fair", np.random.default_rng(seed)).names) > 1
    assert errors <= 7
