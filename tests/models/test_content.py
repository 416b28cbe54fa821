"""Texts in two scripts, features against scikit-learn, likeness that people would agree with."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from regulars.core.data import Dataset, Histories, Items
from regulars.models import text as text_module
from regulars.models.content import Content
from regulars.models.features import STRONGEST, item_features, telling, tf_idf, unit
from regulars.models.neighbours import strongest
from regulars.models.text import COLUMNS, gram_counts, word_counts

ENGLISH = ["Green tea, loose", "GREEN tea-bags (tea!)", "Claw hammer 500g", "", "tea"]
ALPHABET = st.sampled_from(list("ab c-é1茶红叶。"))


def same_gram(ours: sp.csr_array, theirs: sp.csr_array) -> None:
    """Equal up to the names of columns: all inner products between texts agree."""
    np.testing.assert_array_equal((ours @ ours.T).toarray(), (theirs @ theirs.T).toarray())


def test_words_are_scikit_learns() -> None:
    theirs = CountVectorizer(token_pattern=r"[^\W_]+").fit_transform(ENGLISH)
    same_gram(word_counts(ENGLISH), theirs)


def test_grams_by_a_plain_loop() -> None:
    counts = gram_counts(["ab cd", "红茶叶", "T恤"])
    assert np.diff(counts.indptr).tolist() == [
        len({" ab", "ab ", " cd", "cd ", " ab ", " cd "}),
        len({"红茶", "茶叶", "红茶叶"}),
        len(set()),  # one letter and one ideograph: words, no n-gram
    ]
    assert counts.data.sum() == 9


@given(st.lists(st.text(ALPHABET, max_size=12), max_size=6))
def test_a_text_counts_alone_as_among_others(texts: list[str]) -> None:
    for counts in (word_counts, gram_counts):
        together = counts(texts)
        assert together.shape == (len(texts), text_module.COLUMNS)
        for row, each in enumerate(texts):
            alone = counts([each])
            assert together[[row]].indices.tolist() == alone.indices.tolist()
            assert together[[row]].data.tolist() == alone.data.tolist()


@pytest.mark.parametrize("characters", [1, 30, 100])
def test_chunks_do_not_show(characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gram_counts(ENGLISH)
    monkeypatch.setattr(text_module, "CHUNK", characters)
    assert (gram_counts(ENGLISH) != whole).nnz == 0
    assert gram_counts([]).shape == (0, COLUMNS)


@pytest.mark.parametrize("characters", [20, 60])
def test_chunks_do_not_show_in_what_is_kept_of_texts(characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*ENGLISH, "", *ENGLISH[::-1]]
    whole = [telling(texts, counts_of) for counts_of in (word_counts, gram_counts)]
    monkeypatch.setattr(text_module, "CHUNK", characters)
    assert len(list(text_module.chunks(texts))) > 1
    for rows, counts_of in zip(whole, (word_counts, gram_counts), strict=True):
        again = telling(texts, counts_of)
        np.testing.assert_allclose((again @ again.T).toarray(), (rows @ rows.T).toarray(), atol=1e-6)
        assert again.nnz == rows.nnz


@pytest.mark.parametrize(
    ("one", "other"), [("ＡＢＣ", "abc"), ("Straße", "STRASSE"), ("tea pot", "tea   pot"), ("tea-pot", "tea pot")]
)
def test_forms_of_one_text_are_one(one: str, other: str) -> None:
    both = word_counts([one, other])
    assert both[[0]].indices.tolist() == both[[1]].indices.tolist()


def test_a_lone_surrogate_is_no_error() -> None:
    assert word_counts(["tea \ud800 pot"]).nnz >= 2


def test_tf_idf_and_unit_length_by_their_equations() -> None:
    counts = sp.csr_array(np.array([[3.0, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32))
    rarity = np.log(4 / np.array([1.5, 2.5]))
    first = np.array([(1 + np.log(3)) * rarity[0], rarity[1]])
    found = unit(tf_idf(counts)).toarray()
    np.testing.assert_allclose(found[0, :2], normalize(first[None])[0], rtol=1e-6)
    assert found[1].tolist() == [0, 1, 0]
    assert found[2].tolist() == [0, 0, 0]


def test_only_the_strongest_features_stay() -> None:
    values = np.random.default_rng(0).permutation(200).astype(np.float32) + 1
    rows = sp.csr_array(np.stack([values, np.where(values < 4, values, 0)]))
    kept = strongest(rows, STRONGEST).toarray()
    assert sorted(kept[0][kept[0] > 0]) == list(range(200 - STRONGEST + 1, 201))
    np.testing.assert_array_equal(kept[1], rows.toarray()[1])


def likeness(settings: dict[str, float], **columns: Any) -> NDArray[np.float32]:
    """Scores of each item as the one thing in a history."""
    n = len(next(iter(columns.values())))
    items = replace(Items.bare(str(idx) for idx in range(n)), **columns)
    data = replace(Dataset.from_matrix(np.zeros((1, n))), items=items)
    return Content(**settings).fit(data).score(Histories.from_matrix(np.eye(n)), 0)  # type: ignore[arg-type]


def test_each_kind_of_feature_counts() -> None:
    tags = likeness({}, tags=[("red", "mug"), ("mug",), ("hat",)])
    assert tags[0, 1] > 0 == tags[0, 2]
    brand = likeness({}, brand=["a", "b", "a", ""])
    assert brand[0].tolist() == pytest.approx([0, 0, 1, 0])
    path = likeness({}, category=[("home", "tea"), ("home", "tea"), ("home", "cups"), ("garden",)])
    assert path[0, 1] > path[0, 2] > path[0, 3] == 0
    price = likeness({}, price=np.array([1000, 1050, 1400, 9000, -1, 0]))
    assert price[0, 1] > price[0, 2] > price[0, 3] == price[0, 4] == price[0, 5] == 0


def test_a_share_of_zero_leaves_a_feature_out() -> None:
    found = likeness({"brand": 0.0}, brand=["a", "a"], title=["tea pot", "hat"])
    assert found[0, 1] == 0


def test_scores_are_means_of_cosines(make_shop: Callable[..., Dataset]) -> None:
    """A second way: dense cosines of the same features, averaged by the square roots of the weights."""
    shop = make_shop()
    model = Content(neighbours=100).fit(shop)
    features = item_features(shop.items, text=1.0, category=0.5, brand=0.25, price=0.15).toarray()
    cosine = features @ features.T
    np.fill_diagonal(cosine, 0)
    history = np.zeros((1, 20))
    history[0, [1, 4]] = [4, 1]
    found = model.score(Histories.from_matrix(history), 0)[0]
    np.testing.assert_allclose(found, (2 * cosine[1] + cosine[4]) / 3, atol=1e-6)
    looking = replace(Histories.from_matrix(history), context_item=np.array([7], dtype=np.int32))
    found = model.score(looking, 0)[0]
    np.testing.assert_allclose(found, (2 * cosine[1] + cosine[4] + 3 * cosine[7]) / 6, atol=1e-6)


def test_because_names_the_likest(make_shop: Callable[..., Dataset]) -> None:
    titles = ["green tea", "claw hammer", "green tea bags", "steel hammer", "scarf"]
    data = replace(Dataset.from_matrix(np.zeros((1, 5))), items=replace(Items.bare("abcde"), title=titles))
    history = Histories.from_matrix(np.array([[1, 1, 0, 0, 0]]))
    named = Content().fit(data).because(history, 0, np.array([2, 3, 4], dtype=np.int32))
    assert named.tolist() == [0, 1, -1]


@pytest.mark.slow
def test_what_a_fit_holds_grows_no_faster_with_the_catalogue_than_is_foretold() -> None:
    """By Python's own account of memory, with descriptions of 250 words."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{n}" for n in range(3000)])
    held = {}
    for n in (600, 2400):
        texts = [" ".join(row) for row in words[rng.integers(0, len(words), (n, 250))]]
        data = Dataset.from_events([0, 1], [0, 1], (2, n))
        data = replace(data, items=replace(data.items, description=texts))
        tracemalloc.start()
        Content().fit(data)
        held[n] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    least, most = (Content().estimate_mb((2, n), 2) for n in held)
    assert held[2400] - held[600] < most - least
    assert held[2400] < most
    assert Content().estimate_mb((10, 10_000_000), 10) > 50_000
