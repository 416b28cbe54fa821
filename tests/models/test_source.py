"""Sources: what a shop gives away, there and back, and what a receiving shop makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from regulars.core.data import Dataset, Items
from regulars.core.errors import InputError, StorageError
from regulars.models.given import Given, known_rows, rows_of, text_vectors, with_prior
from regulars.models.gram import Gram
from regulars.models.source import Source, damped, shared_id

KEY = b"a key of sixteen bytes or more"


def log(n_users: int = 30, n_items: int = 12, seed: int = 0, name: str = "s") -> Dataset:
    """A random log; titles name an item's kind, of which there are three."""
    taken = np.random.default_rng(seed).random((n_users, n_items)) < 0.3
    titles = [f"{('red shoe', 'blue hat', 'green tent')[item % 3]} {name}{item}" for item in range(n_items)]
    items = replace(Items.bare(f"{name}{item}" for item in range(n_items)), title=titles)
    return replace(Dataset.from_matrix(taken), items=items)


def test_statistics_are_those_of_the_log() -> None:
    data = log()
    source = Source.of(data, np.where(np.arange(30) < 20, 100 - np.arange(30), -1), factors=5)
    assert (source.gram.counts != Gram.from_matrix(data.user_items).counts).nnz == 0
    assert source.shopper_keys.tolist() == list(range(81, 101))
    np.testing.assert_allclose(source.item_factors.T @ source.item_factors, np.eye(5), atol=1e-5)
    histories = damped(data.user_items)
    np.testing.assert_allclose(sp.linalg.norm(histories, axis=1), np.diff(histories.indptr) > 0, rtol=1e-6)
    np.testing.assert_allclose(
        source.shopper_factors[-1], histories[[0]].toarray()[0] @ source.item_factors, atol=1e-6
    )


def test_with_all_directions_a_vector_is_as_long_as_the_history() -> None:
    """What the docstring warns of: enough factors are the history itself."""
    source = Source.of(log(), np.arange(30), factors=12)
    np.testing.assert_allclose(
        source.shopper_factors @ source.item_factors.T, damped(log().user_items).toarray(), atol=1e-5
    )


def test_a_saved_source_is_the_same(tmp_path: Path) -> None:
    source = Source.of(log(), np.arange(30), factors=4)
    source.save(tmp_path)
    again = Source.load(tmp_path)
    assert list(again.items.ids) == list(source.items.ids)
    assert again.gram.n_users == 30
    for name in ("item_factors", "shopper_keys", "shopper_factors"):
        np.testing.assert_array_equal(getattr(again, name), getattr(source, name))
    assert (again.gram.counts != source.gram.counts).nnz == (again.words != source.words).nnz == 0


def test_the_order_and_the_times_of_events_are_not_given_away(tmp_path: Path) -> None:
    """Who is who shows in nothing once no shopper is shared, nor when, nor how often something was bought."""
    data = log()
    rows = data.interactions
    again = np.random.default_rng(1).permutation(30).astype(np.int32)
    user = np.concatenate((again[rows.user_idx], again[rows.user_idx[:9]]))
    item = np.concatenate((rows.item_idx, rows.item_idx[:9]))
    other = replace(Dataset.from_events(user, item, (30, 12), at=np.arange(len(user))), items=data.items)
    one, two = (Source.of(each, np.full(30, -1), factors=4) for each in (data, other))
    assert (one.gram.counts != two.gram.counts).nnz == 0
    assert one.shopper_factors.shape == (0, 4)
    spans = [each.item_factors @ each.item_factors.T for each in (one, two)]
    np.testing.assert_allclose(spans[0], spans[1], atol=1e-5)


def test_shared_ids_are_keyed() -> None:
    ids = [shared_id(f"{n}@example.org", KEY) for n in range(500)]
    assert len(set(ids)) == 500
    assert min(ids) >= 0
    assert max(ids) < 2**63
    assert shared_id("0@example.org", KEY) == ids[0] != shared_id("0@example.org", KEY[::-1])
    with pytest.raises(InputError, match="got 4 bytes"):
        shared_id("ann", b"abcd")


def test_renaming_keeps_the_shoppers_named() -> None:
    source = Source.of(log(), np.arange(30), factors=4)
    renamed = source.renamed({3: 50, 7: 20, 999: 1})
    assert renamed.shopper_keys.tolist() == [20, 50]
    np.testing.assert_array_equal(renamed.shopper_factors, source.shopper_factors[[7, 3]])
    with pytest.raises(InputError, match="two shared ids"):
        source.renamed({3: 50, 7: 50})


def test_a_shared_id_twice_or_too_few_are_refused() -> None:
    with pytest.raises(InputError, match="an id twice"):
        Source.of(log(), np.zeros(30))
    with pytest.raises(InputError, match="got 3 rows, wanted 30"):
        Source.of(log(), np.zeros(3))


def test_an_empty_shop_has_statistics_too(tmp_path: Path) -> None:
    for shape in ((0, 3), (3, 0), (2, 2)):
        source = Source.of(Dataset.from_matrix(np.zeros(shape)), np.arange(shape[0]))
        source.save(tmp_path)
        assert Source.load(tmp_path).gram.counts.nnz == 0


def wrong_format(folder: Path) -> None:
    manifest = json.loads((folder / "statistics.json").read_text())
    (folder / "statistics.json").write_text(json.dumps({**manifest, "format": 99}))


def too_few_items(folder: Path) -> None:
    manifest = json.loads((folder / "statistics.json").read_text())
    (folder / "statistics.json").write_text(json.dumps({**manifest, "items": ["a", "b"]}))


@pytest.mark.parametrize(
    "damage",
    [
        wrong_format,
        too_few_items,
        lambda folder: (folder / "statistics.json").unlink(),
        lambda folder: (folder / "gram.data.npy").unlink(),
        lambda folder: np.save(folder / "shopper_keys.npy", np.zeros(30, dtype=np.int64)),
        lambda folder: np.save(folder / "shopper_factors.npy", np.zeros((30, 1), dtype=np.float32)),
        lambda folder: np.save(folder / "item_factors.npy", np.array(None), allow_pickle=True),
    ],
)
def test_a_damaged_folder_is_refused(damage: Callable[[Path], object], tmp_path: Path) -> None:
    Source.of(log(), np.arange(30), factors=4).save(tmp_path)
    damage(tmp_path)
    with pytest.raises(StorageError, match="wanted a folder of a shop's statistics"):
        Source.load(tmp_path)


# ---- as the receiving shop sees it ---------------------------------------------------------------------------


def test_counts_and_factors_come_to_their_places() -> None:
    source = Source.of(log(), np.arange(30), factors=4)
    ids = ["s5", "here", "s1", "s0"]
    target = replace(Dataset.from_matrix(np.ones((40, 4))), items=Items.bare(ids))
    given = Given.of(source, target)
    assert given.shared_items.tolist() == [True, False, True, True]
    counts = source.gram.counts.toarray()
    np.testing.assert_array_equal(given.gram.counts.toarray()[np.ix_([0, 2, 3], [0, 2, 3])],
                                  counts[np.ix_([5, 1, 0], [5, 1, 0])])  # fmt: skip
    assert not given.gram.counts.toarray()[1].any()
    assert given.known.tolist() == [True] * 30 + [False] * 10
    mine = given.factors_of(target.user_keys)
    np.testing.assert_allclose(mine[:30].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(mine[2] - mine[1], source.shopper_factors[2] - source.shopper_factors[1], atol=1e-6)
    assert not mine[30:].any()


def test_nothing_in_common_is_nothing_given() -> None:
    source = Source.of(log(), np.arange(30) + 1000, factors=4)
    given = Given.of(source, replace(Dataset.from_matrix(np.ones((5, 3))), items=Items.bare("abc")))
    assert not given.shared_items.any()
    assert not given.known.any()
    assert given.gram.counts.nnz == 0
    assert not given.text_vectors.any()


def test_unknown_keys_have_no_row() -> None:
    keys = np.array([2, 5, 9])
    assert rows_of(keys, np.array([9, 1, 5, 10])).tolist() == [2, -1, 1, -1]
    assert rows_of(keys[:0], np.array([9])).tolist() == [-1]
    assert known_rows(keys, np.eye(3, dtype=np.float32), np.array([5, 6])).tolist() == [[0, 1, 0], [0, 0, 0]]


def test_a_prior_counts_as_so_many_shoppers() -> None:
    x, y = log(seed=1).user_items, log(seed=2).user_items
    both = with_prior(Gram.from_matrix(x), Gram.from_matrix(y), 3.0)
    stacked = Gram.from_matrix(sp.vstack((x, y, y, y)))
    assert np.array_equal(both.counts.toarray(), stacked.counts.toarray())
    assert with_prior(Gram.from_matrix(x), Gram.from_matrix(y), 0.0).counts.dtype == np.int64


def test_words_lead_to_the_directions_of_their_kind() -> None:
    """In the source items of a kind are bought together; the target's items have the words of these kinds."""
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=300)
    taken = (kind[:, None] == np.arange(24) % 3) & (rng.random((300, 24)) < 0.4)
    source = Source.of(replace(Dataset.from_matrix(taken), items=log(1, 24).items), np.arange(300), factors=3)
    target = log(2, 9, name="t")
    target = replace(target, items=replace(target.items, title=[*target.items.title[:8], "unheard"]))
    vectors = Given.of(source, target).text_vectors
    cosines = vectors[:8] @ vectors[:8].T
    same = np.arange(8)[:, None] % 3 == np.arange(8) % 3
    assert cosines[same].min() > 0.9
    assert cosines[~same].max() < 0.3
    assert not vectors[8].any()


def test_the_regression_on_words_is_the_closed_form() -> None:
    rng = np.random.default_rng(3)
    words = sp.csr_array((rng.random((40, 15)) < 0.3).astype(np.float32))
    factors = rng.normal(size=(40, 4)).astype(np.float32)
    spread = np.bincount(words.indices, minlength=15)
    rows = words.toarray() * np.log(41 / (spread + 0.5))
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    wanted = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    told = rows @ np.linalg.solve(rows.T @ rows + np.eye(15), rows.T @ wanted)
    length = np.linalg.norm(told, axis=1, keepdims=True)
    np.testing.assert_allclose(text_vectors(words, factors, words), told / np.maximum(length, 1e-12), atol=1e-3)
