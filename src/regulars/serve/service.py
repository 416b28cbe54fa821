"""What a request does, without HTTP.

State (live profiles, catalogue, model version) is in memory and guarded by one lock, so requests may come from
several threads. There is one way into it: rows are read from the journal in offset order and folded. A worker
that acknowledges an event folds up to it before it answers; what other processes write, and decisions once they
are on disk, arrive through the same door when `catch_up` is called again, five times a second.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from pathlib import Path
from threading import Lock, RLock
from typing import Any

import msgspec

from regulars.core.clock import Clock, format_instant
from regulars.core.errors import InputError
from regulars.core.settings import Settings
from regulars.events.identity import Identities
from regulars.events.intake import Intake, RowResult
from regulars.events.journal import Journal
from regulars.events.money import exponent
from regulars.events.schema import Event, Item, ItemChange, Profile, Slate, Tombstone, UserChange
from regulars.profiles.live import Live
from regulars.rank.bundle import Bundle
from regulars.rank.questions import ask, may_ask
from regulars.rank.slates import Filters, Request, State, decision, slates
from regulars.serve.checks import read_ask, shopper
from regulars.serve.metrics import Metrics
from regulars.serve.problems import NotFound
from regulars.serve.wire import Ask, ItemAnswer, ItemBody, Questions, UserAnswer, UserBody

FOLD_AT_ONCE = 200  # rows folded while requests wait: some milliseconds
RECENT = 1000  # events kept for pages that show them as they happen
NOBODY = -1  # the key of an unknown shopper, and of warm-up slates

NOT_ALLOWED = RowResult("rejected", "", ("this key may send interactions only",))


def _new_id() -> str:
    return secrets.token_hex(12)


class Service:
    """The parts of a shop, put together to answer."""

    def __init__(
        self, settings: Settings, journal: Journal, identities: Identities, intake: Intake, live: Live,
        bundle_source: Callable[[], Bundle | None], clock: Clock, home: Path,
    ) -> None:  # fmt: skip
        self.settings, self.clock, self.home, self.metrics = settings, clock, home, Metrics()
        self.journal, self.live = journal, live
        self.recent: deque[tuple[int, Event]] = deque(maxlen=RECENT)
        self._identities, self._intake, self._bundle_source = identities, intake, bundle_source
        self._bundle: Bundle | None = None
        self._state, self._following = RLock(), Lock()

    def start(self) -> None:
        """Come up to date before the first request."""
        self.catch_up()
        if self._bundle is None:
            self.refresh()

    def stop(self) -> None:
        """Bring everything handed over to disk, and the live state beside it, so that the next start is quick."""
        self.journal.flush()
        if self.settings.serve.workers == 1:  # several would write the same folder
            self.catch_up()
            self.live.save(self.home / "live")

    # --- the model version in place

    @property
    def bundle(self) -> Bundle | None:
        """The model version that answers now."""
        return self._bundle

    def refresh(self) -> None:
        """Fetch the current model version from its source and put it in place; call it from a thread."""
        self.swap(self._bundle_source())

    def swap(self, bundle: Bundle | None) -> None:
        """Put a model version in place: atomic, and one slate is made with it first, so no request waits for it.

        Folding rests meanwhile (the state must not change under the warm-up), answering does not.
        """
        if bundle is not None and (self._bundle is None or bundle.items is not self._bundle.items):
            self.live.align(bundle.items)
        with self._following:
            state = State(bundle, self.live, self.settings, self.clock.now())
            slates([Request(user_key=NOBODY, recommendation_id="warm-up")], state)
            self._bundle = bundle
        self.metrics.swapped()

    # --- events

    def catch_up(self) -> int:
        """Fold what the journal holds beyond the live state; return how many rows that were."""
        folded = 0
        with self._following:
            while rows := self.journal.read(self.live.offset, FOLD_AT_ONCE):
                with self._state:
                    self.live.fold(rows)
                self.recent.extend(rows)
                folded += len(rows)
        self.metrics.folded(self.live.offset)
        return folded

    def record_events(
        self, rows: Sequence[Mapping[str, Any]], idempotency_key: str = "", *, interactions_only: bool = False
    ) -> list[RowResult]:
        """Journal the rows (on disk when this returns) and fold them; bad rows are rejected one by one.

        `interactions_only` is for keys that stand readable in a page: they must not change items or join shoppers.
        """
        most = self.settings.serve.max_batch
        if len(rows) > most:
            raise InputError(
                "body", got=f"{len(rows)} events", wanted=f"at most {most}", remedy="Send several lists."
            )
        allowed = [not interactions_only or row.get("type", "interaction") == "interaction" for row in rows]
        done = iter(self._intake.record(list(compress(rows, allowed)), idempotency_key=idempotency_key))
        self.catch_up()
        results = [next(done) if fine else NOT_ALLOWED for fine in allowed]
        for result in results:
            self.metrics.row(result.status)
        return results

    # --- slates

    def recommend(self, user_id: str = "", *, anonymous_id: str = "", session: str = "", **wishes: Any) -> Slate:
        """A slate for a shopper named by exactly one id; `wishes` are the fields of `Ask`: limit, item, ..."""
        ask = read_ask("recommend", wishes)
        return self.slate(
            self.key(shopper("recommend", user_id=user_id, anonymous_id=anonymous_id, session=session)), ask
        )

    def slate(self, key: int, ask: Ask) -> Slate:
        """A slate for the shopper of a key; its decision goes to the journal before it is returned."""
        request = Request(
            user_key=key, recommendation_id=_new_id(), slot=ask.slot, limit=ask.limit, exclude=ask.exclude,
            filters=self._filters(ask), item=ask.item, language=ask.language,
        )  # fmt: skip
        with self._state:
            state = State(self._bundle, self.live, self.settings, self.clock.now())
            [slate] = slates([request], state)
            self.journal.submit(decision(slate, request, state))
        self.metrics.slate(len(slate.items))
        return slate

    def _filters(self, ask: Ask) -> Filters:
        given, scale = ask.filters, 10 ** exponent(self.settings.shop.currency)
        low, high = (None if price is None else round(price * scale) for price in (given.price_min, given.price_max))
        return Filters(category=given.category, price_min=low, price_max=high, kind=given.kind,
                       in_stock=given.in_stock)  # fmt: skip

    def questions(self, n: int, external: str = "") -> Questions:
        """At most `n` items to ask a new shopper about, whose answers say most; call it from a thread.

        Of the shopper of an `external` those are left out that they had to do with: what they said already.
        """
        bundle = self._bundle
        if bundle is None:
            return Questions(item_ids=())
        with self._state:
            state = State(bundle, self.live, self.settings, self.clock.now())
            allowed, asked = may_ask(self.known_key(external) if external else NOBODY, state, bundle)
        chosen = ask(bundle, self.live.n_shoppers, allowed, asked, n)
        return Questions(item_ids=tuple(bundle.items[idx] for idx in chosen.tolist()), model_version=bundle.version)

    # --- items

    def items(self) -> list[Item]:
        """All items as they are now."""
        with self._state:
            catalogue = self.live.catalogue
            found = [catalogue.get(item_id) for item_id in catalogue.items.ids]
        return [item for item in found if item is not None]

    def item(self, item_id: str) -> Item:
        """The item as it is now."""
        with self._state:
            found = self.live.catalogue.get(item_id)
        if found is None:
            raise NotFound(f"item {item_id!r}", got="an item this shop does not have", wanted="a known item id")
        return found

    def put_item(self, item_id: str, body: ItemBody) -> Item:
        """From now on the item is as given."""
        change = self._change({**msgspec.structs.asdict(body), "type": "item", "item_id": item_id})
        return change.item if isinstance(change, ItemChange) else self.item(item_id)

    def delete_item(self, item_id: str) -> None:
        """Take an item out of the shop."""
        item = self.item(item_id)
        self._write(ItemChange(event_id=_new_id(), timestamp=self.clock.now(), item=item, deleted=True))

    def show(self, item: Item) -> ItemAnswer:
        """The item in the form in which it is put."""
        price = None if item.price is None else item.price / 10 ** exponent(self.settings.shop.currency)
        released = None if item.released_at is None else format_instant(item.released_at)
        return ItemAnswer(**{**msgspec.structs.asdict(item), "price": price, "released_at": released, "currency": ""})

    # --- shoppers

    def key(self, external: str) -> int:
        """The key of a shopper; one never seen gets a new one, which waits for the disk."""
        return self._identities.keys([external])[0]

    def known_key(self, external: str) -> int:
        """The key of a shopper, `NOBODY` for one never seen; it waits for nothing."""
        return self._identities.keys([external], create=False)[0]

    def user(self, user_id: str) -> UserAnswer:
        """What is kept of a shopper beyond events."""
        return self._user(user_id, self._known_key(user_id))

    def _user(self, user_id: str, key: int) -> UserAnswer:
        """Attributes, and links to those who are not forgotten."""
        names = [self._identities.external(link) or "" for link in self.live.links_of(key)]
        links = tuple(name.removeprefix("u:") for name in names if name.startswith("u:"))
        return UserAnswer(user_id=user_id, attributes=self.profile_of(key).attributes, links=links)

    def profile(self, user_id: str) -> Profile | None:
        """Who a shopper is, as of now; None for an id never seen."""
        key = self.known_key(f"u:{user_id}")
        return None if key == NOBODY else self.profile_of(key)

    def profile_of(self, key: int) -> Profile:
        """Who the shopper of a key is, as of now."""
        return self.live.profile(key, self.clock.now())

    def some_profiles(self, limit: int) -> list[tuple[str, Profile]]:
        """User ids and profiles of some shoppers."""
        return [(user_id, self.profile_of(key)) for user_id, key in self._identities.users(limit)]

    def put_user(self, user_id: str, body: UserBody) -> UserAnswer:
        """From now on the shopper's attributes and links are as given."""
        row = {"type": "user", "user_id": user_id, "attributes": body.attributes, "links": body.links}
        change = self._change(row)
        return self._user(user_id, change.user_key) if isinstance(change, UserChange) else self.user(user_id)

    def delete_user(self, user_id: str) -> None:
        """Forget a shopper: every mapping, the profile and the attributes go at once, a tombstone stays.

        It lies as far ahead as any event may, so it covers what was dated in the future. No later event meets it:
        without its mappings the key never comes again.
        """
        key = self._known_key(user_id)
        self.catch_up()  # another process may have joined keys a moment ago
        keys = self.live.keys_of(key)
        until = self.clock.now() + self.settings.events.max_future
        self._write(Tombstone(event_id=_new_id(), timestamp=until, user_key=key))
        self._identities.forget(keys)

    def _known_key(self, user_id: str) -> int:
        key = self.known_key(f"u:{user_id}")
        if key == NOBODY:
            raise NotFound(f"user {user_id!r}", got="a shopper never seen", wanted="a known user id")
        return key

    def _change(self, row: Mapping[str, Any]) -> Event:
        """Record one change that stands in a path and a body; whatever is wrong with it is the caller's error."""
        [result] = self._intake.record([row])
        if result.event is None:
            raise InputError("body", got="; ".join(result.why), wanted="an acceptable change")
        self.catch_up()
        return result.event

    def _write(self, event: Event) -> None:
        self.journal.append([event])
        self.catch_up()
