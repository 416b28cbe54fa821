"""What one shop may give another to learn from: statistics of its log, never its events.

A `Source` is four things. How many shoppers have both of two items (`Gram`); factors of the items, the leading
directions of the histories; factors of the shoppers it shares with others, their histories on these directions; and
the words of its items. Histories are weighted as in graph filters (Shen et al. 2021), with half their damping of
common items: an item that n_i shoppers have weighs n_i^-1/4, and every history has length 1.

What it reveals: the Gram says exactly how many bought two items together, a pair of one single shopper too. A shared
shopper's vector is their history seen through `factors` directions: the more of them, the nearer it is to the history
itself. Nothing here is noised; whoever gives it away trusts the one who gets it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Matrix, expect
from regulars.core.data import Dataset, IdMap, Items
from regulars.core.errors import InputError, RegularsError, StorageError
from regulars.models.gram import Gram
from regulars.models.svd import right_vectors
from regulars.models.text import COLUMNS, word_counts

FORMAT = 1
MANIFEST = "statistics.json"
COMMON = 0.25  # an item that n shoppers have weighs n to minus this
PARTS = ("data", "indices", "indptr")
Keys = NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """Statistics of one shop, as another one reads them."""

    items: IdMap[str]
    gram: Gram  # over `items`
    item_factors: Floats  # (n_items, d), orthonormal columns
    shopper_keys: Keys  # (n_shared,) rising: ids that both shops know
    shopper_factors: Floats  # (n_shared, d)
    words: Matrix  # (n_items, COLUMNS) counts of hashed words

    @classmethod
    def of(
        cls,
        data: Dataset,
        shared: Any,
        *,
        factors: int = 128,
        rng: np.random.Generator | None = None,
        threads: int = 1,
    ) -> Self:
        """The statistics of a Dataset; `shared (n_users,)` are shoppers' shared ids, -1 = this one is not shared.

        What the shared ids are is the caller's to decide: `shared_id` hashes a name under a key that both shops hold.
        """
        keys = expect(np.asarray(shared, dtype=np.int64), "shared", ndim=1, length=len(data.users))
        order = np.argsort(keys, kind="stable")
        order = order[keys[order] >= 0]
        if (np.diff(keys[order]) == 0).any():
            raise InputError("shared", got="an id twice", wanted="one shared id a shopper, or -1")
        histories = damped(data.user_items)
        directions = right_vectors(histories, factors, rng or np.random.default_rng(0), threads)
        return cls(
            items=data.items.ids, gram=Gram.from_matrix(data.user_items), item_factors=directions,
            shopper_keys=keys[order], shopper_factors=np.asarray(histories[order] @ directions, dtype=np.float32),
            words=words_of(data.items),
        )  # fmt: skip

    def renamed(self, keys: Mapping[int, int]) -> Source:
        """The same under the receiving shop's own user keys, by shared id; those it does not name are dropped."""
        kept = np.array([int(key) in keys for key in self.shopper_keys], dtype=np.bool_)
        named = np.array([keys[int(key)] for key in self.shopper_keys[kept]], dtype=np.int64)
        order = np.argsort(named, kind="stable")
        if (np.diff(named[order]) == 0).any():
            raise InputError("keys", got="two shared ids for one key", wanted="a key once")
        return replace(self, shopper_keys=named[order], shopper_factors=self.shopper_factors[kept][order])

    def save(self, folder: Path) -> None:
        """Write a folder of `.npy` arrays and a JSON manifest."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: getattr(self, name) for name in ("item_factors", "shopper_keys", "shopper_factors")}
        for name, matrix in (("gram", self.gram.counts), ("words", self.words)):
            arrays |= {f"{name}.{part}": getattr(matrix, part) for part in PARTS}
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        manifest = {"format": FORMAT, "n_users": self.gram.n_users, "items": list(self.items.ids)}
        (folder / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; a folder of another form, or with parts that do not fit, is refused."""
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT:
                raise InputError(MANIFEST, got=f"format {manifest['format']}", wanted=f"format {FORMAT}")
            items: IdMap[str] = IdMap(map(str, manifest["items"]))
            gram = Gram(len(items))
            gram.counts, gram.n_users = _matrix(folder, "gram", len(items)), int(manifest["n_users"])
            read = {name: _array(folder, name) for name in ("item_factors", "shopper_keys", "shopper_factors")}
            source = cls(items=items, gram=gram, words=_matrix(folder, "words", COLUMNS), **read)
            source._check()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RegularsError) as error:
            raise StorageError(str(folder), got=str(error), wanted="a folder of a shop's statistics",
                               remedy="Have them written again.") from error  # fmt: skip
        return source

    def _check(self) -> None:
        n_items, width = len(self.items), self.item_factors.shape[1]
        wanted = {
            "item_factors": (n_items, width), "shopper_factors": (len(self.shopper_keys), width),
            "words": (n_items, COLUMNS),
        }  # fmt: skip
        found = {name: getattr(self, name).shape for name in wanted}
        if found != wanted or self.gram.counts.shape[0] != n_items:
            raise InputError("statistics", got=f"{found}, a Gram {self.gram.counts.shape}", wanted=f"{wanted}")
        if (np.diff(self.shopper_keys) <= 0).any():
            raise InputError("shopper_keys", got="keys that do not rise", wanted="sorted distinct keys")


def shared_id(name: str, key: bytes) -> int:
    """A shopper's id for two shops, 63 bits: a keyed hash of a name that both know, such as an e-mail address.

    Without the key (16 bytes at least, 64 at most) nobody can try names against it.
    """
    if not 16 <= len(key) <= 64:
        raise InputError("shared_id: key", got=f"{len(key)} bytes", wanted="16 to 64 bytes")
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, key=key).digest(), "little") >> 1


def damped(user_items: Matrix) -> Matrix:
    """Histories of length 1 whose items weigh n_i^-1/4, for n_i shoppers who have them; empty ones stay empty."""
    spread = np.maximum(np.bincount(user_items.indices, minlength=user_items.shape[1]), 1)
    cells = spread[user_items.indices] ** -COMMON
    owner = np.repeat(np.arange(user_items.shape[0]), np.diff(user_items.indptr))
    length = np.sqrt(np.bincount(owner, weights=cells**2, minlength=user_items.shape[0]))
    weights = (cells / length[owner]).astype(np.float32)
    return sp.csr_array((weights, user_items.indices, user_items.indptr), shape=user_items.shape)


def words_of(items: Items) -> Matrix:
    """How often each item's title and description hold each word `(n_items, COLUMNS)`, hashed alike in every shop."""
    return word_counts([f"{title}. {text}" for title, text in zip(items.title, items.description, strict=True)])


def _array(folder: Path, name: str) -> NDArray[Any]:
    return np.asarray(np.load(folder / f"{name}.npy", allow_pickle=False))


def _matrix(folder: Path, name: str, width: int) -> Matrix:
    data, indices, indptr = (_array(folder, f"{name}.{part}") for part in PARTS)
    matrix: Matrix = sp.csr_array((data, indices, indptr), shape=(len(indptr) - 1, width))
    matrix.check_format()
    return matrix
