"""Model versions on disk: `models/VERSION/` each, and `models/CURRENT` that names the one being served.

`shop.id` in the shop's folder is a random mark that every version carries, so that another shop's are refused.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from regulars.core.data import IdMap
from regulars.core.errors import ModelError, WrongUse
from regulars.rank.bundle import FILE, Bundle, read_about

log = logging.getLogger(__name__)

CURRENT = "CURRENT"
SHOP = "shop.id"


class Versions:
    """The versions of one shop; switching is one atomic rename, so readers never see half of one."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "models"
        self._mark = home / SHOP
        self._maps: WeakValueDictionary[str, IdMap[str]] = WeakValueDictionary()  # of bundles in use, by digest

    def names(self) -> list[str]:
        """Finished versions, oldest first (names begin with their time)."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{FILE}"))

    def current(self) -> str:
        """The version being served, empty before the first."""
        try:
            return (self.folder / CURRENT).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""

    def load_current(self) -> Bundle | None:
        """The bundle being served."""
        name = self.current()
        if not name:
            return None
        bundle = Bundle.load(self.folder / name, self._maps)
        mark = self.folder / name / SHOP
        if not mark.exists() or mark.read_text(encoding="utf-8") != self._shop():
            raise ModelError(str(self.folder / name), got="a model of another shop", wanted="one trained here",
                             remedy="Run `regulars train`.")  # fmt: skip
        return bundle

    def load_sound(self) -> Bundle | None:
        """The bundle being served, None as well where it cannot be read: that is said, and harms no training."""
        try:
            return self.load_current()
        except ModelError as error:
            log.warning("the live version cannot be read: %s", error)
            return None

    def _shop(self) -> str:
        """The mark of this shop, made when first asked for."""
        try:
            with self._mark.open("x", encoding="utf-8") as file:
                file.write(secrets.token_hex(16))
        except FileExistsError:
            pass
        return self._mark.read_text(encoding="utf-8")

    def about(self, name: str) -> dict[str, Any]:
        """What is known of a version, without loading its models."""
        return read_about(self.folder / name)

    def publish(self, bundle: Bundle, keep: int) -> Path:
        """Save a bundle, serve it, and drop the oldest versions beyond `keep`."""
        folder = self.folder / bundle.version
        bundle.save(folder)
        (folder / SHOP).write_text(self._shop(), encoding="utf-8")
        self.switch(bundle.version)
        old = [name for name in self.names() if name != bundle.version]
        for name in old[: max(0, len(old) + 1 - keep)]:
            shutil.rmtree(self.folder / name)
        return folder

    def switch(self, name: str) -> None:
        """Serve another version."""
        if name not in self.names():
            known = ", ".join(self.names()) or "none"
            raise ModelError(str(self.folder / name), got="no such version", wanted=f"one of: {known}")
        beside = self.folder / f"{CURRENT}.{os.getpid()}"
        beside.write_text(name, encoding="utf-8")
        beside.replace(self.folder / CURRENT)

    def rollback(self) -> str:
        """Serve the version before the current one, and return its name."""
        older = [name for name in self.names() if name < self.current()]
        if not older:
            raise WrongUse("rollback", got=f"current version {self.current() or 'none'}", wanted="an older version",
                           remedy="Train first; old versions are kept as [train] keep says.")  # fmt: skip
        self.switch(older[-1])
        return older[-1]
