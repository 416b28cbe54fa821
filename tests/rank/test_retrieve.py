"""However a model is asked, the answer is the best of its dense scores under the same masks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from regulars.core.data import Histories
from regulars.core.topk import top_k
from regulars.models.als import ALS
from regulars.models.base import Model
from regulars.models.ease import EASE
from regulars.models.item_knn import ItemKNN
from regulars.models.popular import Popular
from regulars.models.repeat import Repeat
from regulars.models.trending import Trending
from regulars.rank.retrieve import Retriever

N_USERS, N_ITEMS = 12, 40
ITEMS = st.integers(-1, N_ITEMS - 1)
MATRIX = sp.random_array((N_USERS, N_ITEMS), density=0.15, rng=np.random.default_rng(0), dtype=np.float32).tocsr()
MODELS = {
    "one ranking for all": Popular().fit(MATRIX), "signed": Trending().fit(MATRIX),
    "inner products": ALS(factors=4, epochs=3).fit(MATRIX), "few": Repeat().fit(MATRIX),
    "links": ItemKNN().fit(MATRIX), "dense": EASE().fit(MATRIX),
}  # fmt: skip
HISTORIES = Histories.from_matrix(sp.csr_array(MATRIX[:3]))


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
@given(
    allowed=hnp.arrays(np.bool_, N_ITEMS), k=st.integers(1, N_ITEMS + 5),
    banned=st.integers(0, 30).flatmap(lambda width: hnp.arrays(np.int32, (3, width), elements=ITEMS)),
)  # fmt: skip
def test_best_is_the_top_of_the_dense_scores(
    model: Model, allowed: NDArray[np.bool_], banned: NDArray[np.int32], k: int
) -> None:
    scores = model.score(HISTORIES, 0)
    for row, shut in enumerate(banned.tolist()):
        scores[row, [idx for idx in shut if idx >= 0]] = -np.inf
    scores[scores <= 0] = -np.inf
    wanted_ids, wanted = top_k(scores, k, allowed)
    ids, found = Retriever(model).best(HISTORIES, 0, allowed, banned, k)
    found = np.where(found > 0, found, -np.inf)
    np.testing.assert_array_equal(np.where(found > 0, ids, -1), wanted_ids)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
