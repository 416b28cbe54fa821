"""Plain containers that every room above can hold: `IdMap`, `Dataset`, `Histories`. No loading here.

Everything is indexed densely: `user_idx` and `item_idx` are rows of `Dataset.users` and `Dataset.items.ids`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, count, islice, repeat
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Floats, Indices, Instants, Mask, Matrix, as_csr, expect
from regulars.core.clock import Instant
from regulars.core.errors import InputError

Id = TypeVar("Id", bound=Hashable)

# The order is the code written in `kind` columns: append only.
EVENT_TYPES = (
    "view", "click", "add_to_cart", "remove_from_cart", "purchase", "refund",
    "wishlist", "rating", "review", "search", "dislike", "impression",
)  # fmt: skip
KIND = {name: code for code, name in enumerate(EVENT_TYPES)}
VIEW, CLICK, CART, PURCHASE = KIND["view"], KIND["click"], KIND["add_to_cart"], KIND["purchase"]
REFUND, RATING, DISLIKE = KIND["refund"], KIND["rating"], KIND["dislike"]
UNKNOWN_PRICE = -1
PIECE = 10_000  # ids looked up in one call: other threads wait for its end, some 2 ms


class IdMap(Generic[Id]):
    """Ids in order of first sight, and back; it only ever appends, so an index once given stays."""

    __slots__ = ("__weakref__", "_ids", "_index")

    def __init__(self, ids: Iterable[Id] = ()) -> None:
        self._ids: list[Id] = list(ids)
        self._index: dict[Id, int] = {}
        for start in range(0, len(self._ids), PIECE):
            self._index.update(zip(self._ids[start : start + PIECE], count(start), strict=False))
        if len(self._index) != len(self._ids):
            raise InputError("IdMap", got="an id twice", wanted="distinct ids")

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def __getitem__(self, idx: int) -> Id:
        return self._ids[idx]

    @property
    def ids(self) -> Sequence[Id]:
        """All ids, by index (do not change it)."""
        return self._ids

    def get(self, name: Id, default: int = -1) -> int:
        """Return the index of an id, or `default`."""
        return self._index.get(name, default)

    def add(self, name: Id) -> int:
        """Return the index of an id, giving it the next one when it is new."""
        idx = self._index.get(name)
        if idx is None:
            idx = self._index[name] = len(self._ids)
            self._ids.append(name)
        return idx

    def index(self, names: Iterable[Id], on_unknown: Literal["raise", "skip"] = "raise") -> Indices:
        """Translate ids to int32 indices; unknown ones raise, or become -1 with `skip`."""
        looked_up = map(self._index.get, names, repeat(-1))
        pieces = [np.fromiter(islice(looked_up, PIECE), dtype=np.int32)]
        while len(pieces[-1]) == PIECE:
            pieces.append(np.fromiter(islice(looked_up, PIECE), dtype=np.int32))
        found = np.concatenate(pieces)
        if on_unknown == "raise" and (found < 0).any():
            raise InputError("IdMap", got=f"{int((found < 0).sum())} unknown ids", wanted="known ids")
        return found


@dataclass(frozen=True)
class Interactions:
    """One column a field, one row an occurrence, sorted by (user_idx, at, journal offset)."""

    user_idx: Indices
    item_idx: Indices
    kind: NDArray[np.int8]  # index into EVENT_TYPES
    at: Instants
    weight: Floats  # declared weight of the kind, halved every half-life before as_of; 0 = no sign of liking
    quantity: Floats  # purchases: net of refunds
    value: NDArray[np.int64]  # price x quantity in minor units, gross; 0 where unknown
    rating: Floats  # NaN where none
    session_idx: Indices
    order_idx: Indices  # -1 where none; the same number = one basket
    from_slate: Mask  # the event named a recommendation

    def __len__(self) -> int:
        return len(self.user_idx)

    def __getitem__(self, rows: Any) -> Interactions:
        """Keep some rows (a mask, a slice or sorted row numbers)."""
        return Interactions(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Shown:
    """What slates showed: one row an item in a decision, sorted by (user_idx, at, position)."""

    user_idx: Indices
    item_idx: Indices
    at: Instants
    position: NDArray[np.int16]
    clicked: Mask  # a click that belongs to it is known as of the Dataset's instant

    def __len__(self) -> int:
        return len(self.user_idx)


@dataclass(frozen=True)
class Items:
    """Item features as of one instant, one entry an item."""

    ids: IdMap[str]
    title: Sequence[str]
    description: Sequence[str]
    category: Sequence[tuple[str, ...]]  # path from the root, empty where unknown
    brand: Sequence[str]
    tags: Sequence[tuple[str, ...]]
    price: NDArray[np.int64]  # minor units, UNKNOWN_PRICE where none
    available: Mask
    released_at: Instants  # 0 where unknown
    kind: Sequence[str]  # product, article, ad

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def bare(cls, ids: Iterable[str]) -> Items:
        """Items about which only the id is known."""
        known = IdMap(ids)
        n = len(known)
        return cls(
            ids=known, title=[""] * n, description=[""] * n, category=[()] * n, brand=[""] * n, tags=[()] * n,
            price=np.full(n, UNKNOWN_PRICE, dtype=np.int64), available=np.ones(n, dtype=np.bool_),
            released_at=np.zeros(n, dtype=np.int64), kind=["product"] * n,
        )  # fmt: skip


@dataclass(frozen=True)
class Users:
    """User features as of one instant: attributes and links to other shoppers, one entry a user."""

    keys: IdMap[int]
    attributes: Sequence[dict[str, Any]]
    links: Sequence[tuple[int, ...]]  # user keys

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Names:
    """What a table without a shop calls its shoppers and items, by index, and its columns; None = without one."""

    users: IdMap[int | str]
    items: IdMap[int | str]
    user: str = "user"
    item: str = "item"
    time: str | None = None
    weight: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Everything a model may learn from, as it was known at `as_of`."""

    as_of: Instant
    users: Users
    items: Items
    interactions: Interactions
    shown: Shown
    names: Names | None = None  # where it was made of a table with ids

    @property
    def shape(self) -> tuple[int, int]:
        """(n_users, n_items)."""
        return len(self.users), len(self.items)

    @cached_property
    def user_items(self) -> Matrix:
        """Summed weights, users x items; cells without a positive weight are not stored."""
        return self.matrix()

    @cached_property
    def user_keys(self) -> NDArray[np.int64]:
        """Each user's key `(n_users,)`."""
        return np.fromiter(self.users.keys.ids, dtype=np.int64, count=len(self.users))

    @cached_property
    def indptr(self) -> NDArray[np.int64]:
        """Where each user's rows of `interactions` begin, `(n_users + 1,)`."""
        counts = np.bincount(self.interactions.user_idx, minlength=len(self.users))
        return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)

    def matrix(self, *kinds: int, count: bool = False) -> Matrix:
        """CSR users x items over some kinds of event (none named: all), of summed weights or plain counts."""
        rows = self.interactions
        keep = np.isin(rows.kind, kinds) if kinds else np.ones(len(rows), dtype=np.bool_)
        keep &= rows.weight > 0
        cells = np.ones(int(keep.sum()), dtype=np.float32) if count else rows.weight[keep]
        return as_csr(sp.coo_array((cells, (rows.user_idx[keep], rows.item_idx[keep])), shape=self.shape))

    def baskets(self) -> Matrix:
        """CSR orders x items of purchased quantities; orders without a net purchase are left out."""
        rows = self.interactions
        keep = (rows.kind == PURCHASE) & (rows.order_idx >= 0) & (rows.quantity > 0)
        _, order = np.unique(rows.order_idx[keep], return_inverse=True)
        n_orders = int(order.max()) + 1 if len(order) else 0
        return as_csr(
            sp.coo_array((rows.quantity[keep], (order, rows.item_idx[keep])), shape=(n_orders, len(self.items)))
        )

    @cached_property
    def friends(self) -> Matrix | None:
        """Which other users each is linked with, CSR of ones `(n_users, n_users)`; None where nobody is linked."""
        n_links = np.fromiter(map(len, self.users.links), dtype=np.int64, count=len(self.users))
        if not n_links.any():
            return None
        rows = np.repeat(np.arange(len(self.users), dtype=np.int32), n_links)
        linked = self.users.keys.index(chain.from_iterable(self.users.links), on_unknown="skip")
        others = (linked >= 0) & (linked != rows)
        ones = np.ones(int(others.sum()), dtype=np.float32)
        found = as_csr(sp.coo_array((ones, (rows[others], linked[others])), shape=(len(self.users),) * 2))
        found.data[:] = 1.0
        return found

    def histories(self, user_idx: Indices | None = None) -> Histories:
        """What a model sees of these users (default: all)."""
        chosen = np.arange(len(self.users), dtype=np.int32) if user_idx is None else user_idx
        starts, lengths = self.indptr[chosen], np.diff(self.indptr)[chosen]
        indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        rows = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
        events = self.interactions
        return Histories(
            user_items=self.user_items[chosen],
            indptr=indptr,
            item_idx=events.item_idx[rows],
            kind=events.kind[rows],
            at=events.at[rows],
            attributes=[self.users.attributes[idx] for idx in chosen.tolist()],
            rating=events.rating[rows],
            friend_items=self._friend_items(chosen),
            user_keys=self.user_keys[chosen],
        )

    def _friend_items(self, chosen: Indices) -> Matrix | None:
        if self.friends is None:
            return None
        found = sp.csr_array(self.friends[chosen] @ self.user_items)
        found.sort_indices()
        return found if found.nnz else None

    @classmethod
    def from_matrix(cls, user_items: Any) -> Dataset:
        """Wrap a plain users x items matrix: every stored cell is one purchase of that weight at instant 0."""
        csr = as_csr(user_items)
        rows = np.repeat(np.arange(csr.shape[0], dtype=np.int32), np.diff(csr.indptr))
        return cls.from_events(rows, csr.indices, csr.shape, weight=csr.data)

    @classmethod
    def from_events(
        cls, user_idx: Any, item_idx: Any, shape: tuple[int, int], *, at: Any = None, weight: Any = None,
        kind: Any = None, session_idx: Any = None, order_idx: Any = None,
    ) -> Dataset:  # fmt: skip
        """Wrap plain columns, for people who use the library without a shop; one row an occurrence.

        Left out: `at` 0 (rows of a shopper stay in their order), `weight` 1, `kind` a purchase, no session, no order.
        """
        users, given = np.asarray(user_idx, dtype=np.int32), np.asarray(item_idx, dtype=np.int32)
        for name, column, top in (("user_idx", users, shape[0]), ("item_idx", given, shape[1])):
            expect(column, name, ndim=1, length=len(users))
            if len(column) and not 0 <= column.min() <= column.max() < top:
                raise InputError(name, got=f"{column.min()} to {column.max()}", wanted=f"rows in [0, {top})")

        def filled(name: str, values: Any, dtype: type, absent: int) -> Any:
            array: Any = np.full(len(users), absent, dtype) if values is None else np.asarray(values, dtype)
            return expect(array, name, ndim=1, length=len(users))

        when, weights = filled("at", at, np.int64, 0), filled("weight", weight, np.float32, 1)
        order = np.lexsort((when, users))
        rows = Interactions(
            user_idx=users, item_idx=given, kind=filled("kind", kind, np.int8, PURCHASE), at=when, weight=weights,
            quantity=np.ones(len(users), dtype=np.float32), value=np.zeros(len(users), dtype=np.int64),
            rating=weights.copy(), session_idx=filled("session_idx", session_idx, np.int32, -1),
            order_idx=filled("order_idx", order_idx, np.int32, -1),
            from_slate=np.zeros(len(users), dtype=np.bool_),
        )[order]  # fmt: skip
        nobody = np.zeros(0, dtype=np.int32)
        return cls(
            as_of=int(when.max(initial=-1)) + 1 if at is not None else 0,
            users=Users(IdMap(range(shape[0])), [{}] * shape[0], [()] * shape[0]),
            items=Items.bare(str(idx) for idx in range(shape[1])),
            interactions=rows,
            shown=Shown(nobody, nobody, nobody.astype(np.int64), nobody.astype(np.int16), nobody.astype(np.bool_)),
        )


@dataclass(frozen=True)
class Histories:
    """What a model sees of `n` shoppers: weights as CSR, and their events in time order.

    Events of shopper `u` are `indptr[u]:indptr[u + 1]` of `item_idx`, `kind` and `at`.
    """

    user_items: Matrix  # (n, n_items) summed weights
    indptr: NDArray[np.int64]
    item_idx: Indices
    kind: NDArray[np.int8]
    at: Instants
    context_item: Indices | None = None  # (n,) the item looked at now, -1 where none
    attributes: Sequence[dict[str, Any]] = field(default=())
    rating: Floats | None = None  # one entry an event, NaN where it is no rating; None = nothing was rated
    friend_items: Matrix | None = None  # (n, n_items) summed weights of linked shoppers; None = nobody's are known
    user_keys: NDArray[np.int64] | None = None  # (n,) who they are, for models that know some by name; None = unknown

    def __len__(self) -> int:
        return int(self.user_items.shape[0])

    @classmethod
    def from_matrix(cls, user_items: Any) -> Histories:
        """Histories without times: every stored cell is one purchase at instant 0."""
        csr = as_csr(user_items)
        return cls(
            user_items=csr,
            indptr=csr.indptr.astype(np.int64),
            item_idx=csr.indices.astype(np.int32),
            kind=np.full(csr.nnz, PURCHASE, dtype=np.int8),
            at=np.zeros(csr.nnz, dtype=np.int64),
            rating=csr.data,
        )

    @classmethod
    def from_sequences(cls, sequences: Sequence[Any], n_items: int, *, at: Sequence[Any] | None = None) -> Histories:
        """Histories of bare item sequences, oldest first; without `at`, an item a microsecond."""
        lengths = np.fromiter((len(each) for each in sequences), dtype=np.int64, count=len(sequences))
        users = np.repeat(np.arange(len(sequences), dtype=np.int32), lengths)
        items = np.concatenate([np.zeros(0, dtype=np.int32), *(np.asarray(each, np.int32) for each in sequences)])
        starts = np.cumsum(lengths) - lengths
        when = np.arange(len(items)) - np.repeat(starts, lengths) if at is None else np.concatenate(
            [np.zeros(0, dtype=np.int64), *(np.asarray(each, np.int64) for each in at)])  # fmt: skip
        return Dataset.from_events(users, items, (len(sequences), n_items), at=when).histories()

    def last(self, n: NDArray[np.integer]) -> Histories:
        """Each shopper's last `n (len(self),)` events alone, and the cells of the items in them, with their weights.

        What they tell and whom they know stays; who they are does not, where events are left out.
        """
        lengths = np.diff(self.indptr)
        kept_of = np.minimum(lengths, n)
        place = np.arange(len(self.item_idx)) - np.repeat(self.indptr[:-1], lengths)
        keep = place >= np.repeat(lengths - kept_of, lengths)
        owner = np.repeat(np.arange(len(self)), kept_of)
        cells, width = self.user_items, self.user_items.shape[1]
        mine = np.repeat(np.arange(len(self)), np.diff(cells.indptr)) * width + cells.indices
        stay = np.isin(mine, owner * width + self.item_idx[keep])
        indptr = np.concatenate(([0], np.cumsum(stay)))[cells.indptr]
        return replace(
            self,
            user_items=sp.csr_array((cells.data[stay], cells.indices[stay], indptr), shape=cells.shape),
            indptr=np.concatenate(([0], np.cumsum(kept_of))).astype(np.int64),
            item_idx=self.item_idx[keep], kind=self.kind[keep], at=self.at[keep],
            rating=None if self.rating is None else self.rating[keep],
            user_keys=None if self.user_keys is None else np.where(kept_of < lengths, -1, self.user_keys),
        )  # fmt: skip

    def rows(self, start: int, stop: int) -> Histories:
        """The shoppers `start:stop`; arrays are views."""
        if (start, stop) == (0, len(self)):
            return self
        low, high = self.indptr[start], self.indptr[stop]
        return Histories(
            user_items=self.user_items[start:stop],
            indptr=self.indptr[start : stop + 1] - low,
            item_idx=self.item_idx[low:high],
            kind=self.kind[low:high],
            at=self.at[low:high],
            context_item=None if self.context_item is None else self.context_item[start:stop],
            attributes=self.attributes[start:stop],
            rating=None if self.rating is None else self.rating[low:high],
            friend_items=None if self.friend_items is None else self.friend_items[start:stop],
            user_keys=None if self.user_keys is None else self.user_keys[start:stop],
        )
