"""Keys, tickets, sessions: what opens, what does not, and what is stored."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.core.errors import StorageError
from regulars.serve.security import (
    SESSION_LIFETIME,
    TICKET_LIFETIME,
    TICKETS,
    KeyRing,
    Role,
    Sessions,
    Tickets,
    make_keys,
)

NOW = 1_800_000_000_000_000


def test_only_digests_are_stored_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    keys = make_keys(tmp_path)
    stored = (tmp_path / "keys.json").read_text()
    assert keys.admin not in stored
    assert keys.browser not in stored
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert keys.admin not in repr(keys)


def test_each_key_has_its_role_and_a_changed_one_has_none(tmp_path: Path) -> None:
    keys = make_keys(tmp_path)
    ring = KeyRing.load(tmp_path)
    assert ring.role(keys.admin) is Role.ADMIN
    assert ring.role(keys.browser) is Role.BROWSER
    assert [ring.role(key) for key in ("", keys.admin[:-1], keys.admin + "x", keys.admin.upper())] == [None] * 4


def test_new_keys_end_the_old_ones(tmp_path: Path) -> None:
    old = make_keys(tmp_path)
    make_keys(tmp_path)
    assert KeyRing.load(tmp_path).role(old.admin) is None


@pytest.mark.parametrize("text", [None, "{", "[]", json.dumps({"admin": "x"})])
def test_unusable_key_files_say_what_to_do(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "keys.json").write_text(text)
    with pytest.raises(StorageError, match="regulars init"):
        KeyRing.load(tmp_path)


def test_keys_need_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"keys\.json"):
        make_keys(tmp_path / "missing")


def test_a_ticket_opens_once(tmp_path: Path) -> None:
    tickets = Tickets(tmp_path)
    token = tickets.issue(NOW)
    assert token not in "".join(path.name for path in (tmp_path / TICKETS).iterdir())
    assert tickets.redeem(token, NOW + 1)
    assert not tickets.redeem(token, NOW + 2)


def test_of_many_who_come_together_one_gets_in(tmp_path: Path) -> None:
    tickets = Tickets(tmp_path)
    token = tickets.issue(NOW)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: tickets.redeem(token, NOW), range(32))) == 1


@pytest.mark.parametrize("token", ["", "..", "../keys.json", "wrong"])
def test_wrong_tickets_open_nothing(tmp_path: Path, token: str) -> None:
    make_keys(tmp_path)
    Tickets(tmp_path).issue(NOW)
    assert not Tickets(tmp_path).redeem(token, NOW)
    assert (tmp_path / "keys.json").exists()


def test_a_late_ticket_opens_nothing(tmp_path: Path) -> None:
    tickets = Tickets(tmp_path)
    assert not tickets.redeem(tickets.issue(NOW), NOW + TICKET_LIFETIME)


def test_tickets_need_a_writable_folder(tmp_path: Path) -> None:
    (tmp_path / TICKETS).write_text("a file in the way")
    with pytest.raises(StorageError):
        Tickets(tmp_path).issue(NOW)


def test_sessions_last_as_long_as_they_say() -> None:
    sessions = Sessions(b"secret")
    cookie = sessions.start(NOW)
    assert sessions.open(cookie, NOW + SESSION_LIFETIME - 1)
    assert sessions.open(cookie, NOW + SESSION_LIFETIME) is None
    assert Sessions(b"another server").open(cookie, NOW) is None


@given(st.text(max_size=80))
def test_no_text_is_a_session(text: str) -> None:
    assert Sessions(b"secret").open(text, NOW) is None


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_a_changed_cookie_opens_nothing(place: int, char: str) -> None:
    sessions = Sessions(b"secret")
    cookie = sessions.start(NOW)
    place %= len(cookie)
    changed = cookie[:place] + char + cookie[place + 1 :]
    assert (sessions.open(changed, NOW) is not None) == (changed == cookie)


def test_csrf_tokens_and_seals_belong_to_one_session() -> None:
    sessions = Sessions(os.urandom(16))
    assert sessions.csrf_fits("a", sessions.csrf("a"))
    assert not sessions.csrf_fits("b", sessions.csrf("a"))
    sealed = sessions.seal("a", "ann.of.green gables")
    assert sessions.unseal("a", sealed) == "ann.of.green gables"
    assert sessions.unseal("b", sealed) is None
    assert sessions.unseal("a", sealed + "x") is None
    assert sessions.csrf("a") != sessions.seal("a", "").partition(".")[0]
