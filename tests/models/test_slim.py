"""SLIM against scikit-learn's elastic net, with all items and with a few as regressors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import ElasticNet

from regulars.core.data import Histories
from regulars.core.errors import SettingError
from regulars.models.gram import Gram
from regulars.models.regressions import candidates
from regulars.models.slim import SLIM


def clicks(n_users: int = 90, n_items: int = 14, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 3, n_users)[:, None] == rng.integers(0, 3, n_items)
    return (rng.random((n_users, n_items)) < np.where(groups, 0.5, 0.1)).astype(np.float32)


def elastic_net(
    x: NDArray[np.float32], target: int, others: NDArray[np.int64], l1: float, l2: float
) -> NDArray[np.float64]:
    """The paper's loss in scikit-learn's terms, which divide it by the number of shoppers."""
    net = ElasticNet(alpha=(l1 + l2) / len(x), l1_ratio=l1 / (l1 + l2), positive=True, fit_intercept=False,
                     tol=1e-10, max_iter=100_000)  # fmt: skip
    weights = np.zeros(x.shape[1])
    weights[others] = net.fit(x[:, others].astype(np.float64), x[:, target]).coef_
    return weights


@pytest.mark.parametrize(("l1", "l2"), [(1.0, 5.0), (4.0, 0.5), (0.1, 30.0)])
@pytest.mark.parametrize("threads", [1, 2])
def test_each_column_is_a_positive_elastic_net(l1: float, l2: float, threads: int) -> None:
    x = clicks()
    weights = SLIM(l1=l1, l2=l2, k=14, threads=threads).fit(x).links_.toarray()
    for item in range(x.shape[1]):
        others = np.delete(np.arange(x.shape[1]), item)
        np.testing.assert_allclose(weights[:, item], elastic_net(x, item, others, l1, l2), atol=1e-4)
    control = elastic_net(x, 0, np.arange(1, 14), 3 * l1, l2)
    assert not np.allclose(weights[:, 0], control, atol=1e-3)


def test_with_few_candidates_it_is_the_elastic_net_on_those() -> None:
    x = clicks()
    weights = SLIM(l1=1.0, l2=2.0, k=4).fit(x).links_.toarray()
    lengths = np.linalg.norm(x, axis=0)
    cosine = x.T @ x / np.outer(lengths, lengths) - 2 * np.eye(14)
    for item in range(x.shape[1]):
        near = np.argsort(-cosine[item], kind="stable")[:4]
        np.testing.assert_allclose(weights[:, item], elastic_net(x, item, near, 1.0, 2.0), atol=1e-4)


def test_candidates_end_in_padding_where_few_items_share_a_shopper() -> None:
    x = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]], dtype=np.float32)
    counts = Gram.from_matrix(x).counts
    found = candidates(counts, 3, np.arange(4, dtype=np.int32))
    assert [sorted(row) for row in found.tolist()] == [[1, 2], [0, 2], [0, 1], [-1, -1]]
    assert candidates(counts, 1, np.array([2, 3], dtype=np.int32)).tolist() == [[0], [-1]]


def test_a_larger_l1_leaves_fewer_links_and_none_is_of_an_item_to_itself() -> None:
    x = clicks()
    many, few = (SLIM(l1=l1, l2=1.0).fit(x).links_ for l1 in (0.01, 8.0))
    assert 0 < few.nnz < many.nnz
    assert many.data.min() > 0
    assert not many.diagonal().any()


def test_scores_are_sums_over_the_history() -> None:
    model = SLIM(l1=0.5, l2=1.0, power=1.0).fit(clicks())
    history = np.zeros((1, 14), dtype=np.float32)
    history[0, [2, 5]] = [1.0, 3.0]
    weights = model.links_.toarray()
    np.testing.assert_allclose(
        model.score(Histories.from_matrix(history), 0)[0], weights[2] + 3 * weights[5], atol=1e-6
    )


def test_settings_out_of_range() -> None:
    with pytest.raises(SettingError, match="l2"):
        SLIM(l2=0.0)
    with pytest.raises(SettingError, match="k"):
        SLIM(k=0)
