"""The only wiring: a shop's folder becomes journal, live state, model versions and a service.

app = App.open(home)
app.record([{"event_type": "view", "user_id": "ann", "item_id": "tea-1"}])
slate = app.recommend("ann")
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from regulars.clean.dataset import Cleaning
from regulars.core.clock import Clock, SystemClock
from regulars.core.data import Dataset
from regulars.core.errors import StorageError, WrongUse
from regulars.core.settings import FILE_NAME, Settings, load_settings
from regulars.events.identity import Identities
from regulars.events.ingest import ImportReport
from regulars.events.intake import Intake, RowResult
from regulars.events.journal import Journal
from regulars.events.schema import Profile, Slate
from regulars.profiles.live import Live
from regulars.rank.bundle import Bundle
from regulars.rank.versions import Versions
from regulars.serve.service import Service

log = logging.getLogger(__name__)

FOLLOW = 10_000  # journal rows folded at a time


class App:
    """One shop's folder, opened. Parts are made when first asked for; `close` ends them."""

    def __init__(self, home: Path, settings: Settings, clock: Clock) -> None:
        self.home, self.settings, self.clock = home, settings, clock
        self.journal = Journal(home, clock=clock, settings=settings.events)
        self.identities = Identities(self.journal)
        self.intake = Intake(self.journal, self.identities, settings, clock)
        self.versions = Versions(home)
        self._live: Live | None = None
        self._service: Service | None = None

    @classmethod
    def open(cls, home: Path | str, *, flags: Mapping[str, Any] | None = None, clock: Clock | None = None) -> Self:
        """Open a shop's folder that `init` has made."""
        home = Path(home)
        if not (home / FILE_NAME).exists():
            raise WrongUse(
                str(home), got="a folder without " + FILE_NAME, wanted="a shop's folder",
                remedy=f"Run `regulars init {home}` first, or name another folder with --home.",
            )  # fmt: skip
        return cls(home, load_settings(home, flags=flags), clock or SystemClock())

    @classmethod
    def create(cls, home: Path, settings: Settings, *, clock: Clock | None = None) -> Self:
        """Make a shop's folder with these settings and open it."""
        try:
            home.mkdir(parents=True, exist_ok=True)
            if not (home / FILE_NAME).exists():
                (home / FILE_NAME).write_text(settings_text(settings), encoding="utf-8")
        except OSError as error:
            raise StorageError(str(home), got=str(error), wanted="a folder that can be written") from error
        return cls(home, settings, clock or SystemClock())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what waits, and let go of the journal."""
        self.journal.close()

    @property
    def live(self) -> Live:
        """The live state: the last snapshot (or a batch fold), then every later row of the journal."""
        if self._live is None:
            self._live = self._load_live()
        return self._live

    def _load_live(self) -> Live:
        live = self._saved_live()
        if self.journal.last_offset - live.offset > 5 * FOLLOW:
            cleaning = self.cleaning()
            live = self._folded(cleaning, cleaning.whole()[0])
        self.follow(live)
        return live

    def _saved_live(self) -> Live:
        """What the last training saved; nothing where it cannot be read: all of it stands in the journal as well."""
        folder = self.home / "live"
        try:
            return Live.load(folder, self.settings) if folder.exists() else Live(self.settings)
        except StorageError as error:
            log.warning("the saved live state is folded anew: %s", error)
            return Live(self.settings)

    def follow(self, live: Live) -> None:
        """Fold what the journal holds beyond the live state's offset."""
        while rows := self.journal.read(live.offset, FOLLOW):
            live.fold(rows)

    def refold(self, cleaning: Cleaning, dataset: Dataset) -> None:
        """Take the batch fold of a whole Dataset as the live state, and keep a snapshot for the next start."""
        live = self._folded(cleaning, dataset)
        self.follow(live)
        live.save(self.home / "live")
        self._live, self._service = live, None

    def _folded(self, cleaning: Cleaning, dataset: Dataset) -> Live:
        return Live.from_dataset(dataset, self.settings, offset=cleaning.offset, records=cleaning.changes())

    @property
    def service(self) -> Service:
        """What requests do, without HTTP."""
        if self._service is None:
            self._service = Service(
                settings=self.settings, journal=self.journal, identities=self.identities, intake=self.intake,
                live=self.live, bundle_source=self.versions.load_current, clock=self.clock, home=self.home,
            )  # fmt: skip
            self._service.start()
        return self._service

    def cleaning(self) -> Cleaning:
        """One view of the log as it is now, for Datasets of several instants."""
        return Cleaning(self.journal, self.settings)

    def bundle(self) -> Bundle | None:
        """The model version being served."""
        return self.versions.load_current()

    def record(self, rows: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> list[RowResult]:
        """Take in one event or many: journaled, on disk and folded when this returns."""
        return self.service.record_events([rows] if isinstance(rows, Mapping) else list(rows))

    def ingest(self, paths: Sequence[Path], **options: Any) -> ImportReport:
        """Import files; see `Intake.ingest`."""
        return self.intake.ingest(paths, **options)

    def recommend(self, user_id: str = "", **wishes: Any) -> Slate:
        """A slate for a shopper, journaled like any other; `wishes` as in `Service.recommend`: limit, item, ...

        Instead of a user id `session="..."` or `anonymous_id="..."` names a visitor.
        """
        return self.service.recommend(user_id, **wishes)

    def profile(self, user_id: str) -> Profile | None:
        """Who a shopper is now; None when nothing is known of that id."""
        return self.service.profile(user_id)


def settings_text(settings: Settings) -> str:
    """A settings file that says what differs from the defaults, and shows what most shops change."""
    default = Settings()
    lines = ["# Settings of this shop. Every key has a default; `regulars doctor --settings` lists them all.", ""]
    for section in ("shop", "events", "clean", "profiles", "feedback", "train", "rank", "serve"):
        part, usual = getattr(settings, section), getattr(default, section)
        changed = {
            key: getattr(part, key) for key in part.__dataclass_fields__ if getattr(part, key) != getattr(usual, key)
        }
        if section == "shop":
            changed = {"name": part.name, "currency": part.currency, "timezone": part.timezone, **changed}
        if section == "rank":
            lines.append(
                "# The last positions of a slate explore a little, so that the shop learns what it never shows."
            )
            changed = {"explore": part.explore, "epsilon": part.epsilon, **changed}
        if section == "train":
            changed = {"every": part.every, **changed}
        if changed:
            lines += [f"[{section}]", *[f"{key} = {_toml(value)}" for key, value in changed.items()], ""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {number}" for key, number in value.items()) + " }"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if type(value) in (int, float):
        return str(value)
    text = str(value) if isinstance(value, str) else repr(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
