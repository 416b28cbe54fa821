"""Who may come in: API keys (stored as digests), one-time login links, signed sessions and CSRF tokens.

Keys and tickets hold 256 random bits, so a plain SHA-256 digest cannot be searched back; comparisons take
the same time whether they match or not.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from enum import Enum
from pathlib import Path

import msgspec

from regulars.core.clock import DAY, MINUTE, Duration, Instant
from regulars.core.errors import StorageError

FILE = "keys.json"
TICKETS = "tickets"
TICKET_LIFETIME: Duration = 15 * MINUTE
SESSION_LIFETIME: Duration = 7 * DAY


class Role(Enum):
    """What a key may do."""

    ADMIN = "admin"  # everything
    BROWSER = "browser"  # send events, fetch slates of sessions: it stands readable in the shop's pages


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """The plaintext of both keys; shown once, never stored."""

    admin: str
    browser: str

    def __repr__(self) -> str:
        return "Keys(admin=..., browser=...)"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def make_keys(home: Path) -> Keys:
    """Make both keys, store their digests in `home/keys.json` (readable by its owner alone), return the plaintext.

    Keys made earlier stop working.
    """
    keys = Keys(admin="rga_" + secrets.token_urlsafe(32), browser="rgb_" + secrets.token_urlsafe(32))
    table = {"format": 1, "admin": _digest(keys.admin), "browser": _digest(keys.browser)}
    path = home / FILE
    scratch = path.with_suffix(".new")
    try:
        scratch.unlink(missing_ok=True)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(table, file)
        scratch.replace(path)
    except OSError as error:
        raise StorageError(str(path), got=str(error), wanted="a writable folder") from error
    return keys


class KeyRing:
    """The digests of a shop's keys."""

    def __init__(self, digests: dict[Role, str]) -> None:
        self._digests = digests

    @classmethod
    def load(cls, home: Path) -> KeyRing:
        """Read `home/keys.json`."""
        path = home / FILE
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            return cls({role: str(table[role.value]) for role in Role})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(str(path), got=str(error), wanted="the digests of the shop's keys",
                               remedy="Run `regulars init` to make new keys.") from error  # fmt: skip

    def role(self, key: str) -> Role | None:
        """The role of a key, None for a wrong one."""
        digest, found = _digest(key), None
        for role, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = role
        return found


class Tickets:
    """Login tickets that open once: a file named by the ticket's digest; whoever removes it has won.

    The file system decides, so it holds over processes too.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / TICKETS

    def issue(self, now: Instant) -> str:
        """Make a ticket."""
        token = secrets.token_urlsafe(32)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            (self._folder / _digest(token)).write_text(str(now + TICKET_LIFETIME))
        except OSError as error:
            raise StorageError(str(self._folder), got=str(error), wanted="a writable folder") from error
        return token

    def redeem(self, token: str, now: Instant) -> bool:
        """Whether the ticket is genuine, in time, and used for the first time."""
        path = self._folder / _digest(token)
        try:
            until = int(path.read_text())
            path.unlink()
        except (OSError, ValueError):
            return False
        return now < until


class Sessions:
    """Browser sessions without a store: `id.expiry.mac`, signed with a secret that lives as long as the server."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.new(self._secret, f"{purpose}\x1f{text}".encode(), hashlib.sha256).hexdigest()

    def start(self, now: Instant) -> str:
        """Return the cookie of a new session."""
        body = f"{secrets.token_urlsafe(16)}.{now + SESSION_LIFETIME}"
        return f"{body}.{self._mac('session', body)}"

    def open(self, cookie: str, now: Instant) -> str | None:
        """Return the session's id, None when the cookie is forged, damaged or over."""
        body, _, mac = cookie.rpartition(".")
        name, _, until = body.partition(".")
        if not hmac.compare_digest(self._mac("session", body).encode(), mac.encode()):
            return None
        return name if now < int(until) else None

    def csrf(self, session: str) -> str:
        """The token that this session's forms carry."""
        return self._mac("csrf", session)

    def csrf_fits(self, session: str, token: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.csrf(session).encode(), token.encode())

    def seal(self, session: str, text: str) -> str:
        """Sign a text for this session's own cookie."""
        return f"{self._mac('seal', f'{session}.{text}')}.{text}"

    def unseal(self, session: str, sealed: str) -> str | None:
        """Read what `seal` wrote, None when it was changed or is another session's."""
        mac, _, text = sealed.partition(".")
        return text if hmac.compare_digest(self._mac("seal", f"{session}.{text}").encode(), mac.encode()) else None
