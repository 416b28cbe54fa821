"""`regulars serve`: open the doors of a shop's folder, and retrain it as often as its settings say."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from regulars.app import App
from regulars.core.clock import SECOND
from regulars.core.errors import WrongUse
from regulars.core.settings import FILE_NAME, Settings, load_settings
from regulars.models.registry import check_models
from regulars.rank.versions import CURRENT
from regulars.serve import server
from regulars.serve.service import Service

log = logging.getLogger(__name__)


def make_service(settings: Settings, home: Path) -> Service:
    """A service of its own for one server process."""
    from regulars.core.clock import SystemClock

    return App(home, settings, SystemClock()).service


def run(home: Path, flags: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Serve until told to stop."""
    if not (home / FILE_NAME).exists():
        raise WrongUse(str(home), got="a folder without " + FILE_NAME, wanted="a shop's folder",
                       remedy=f"Run `regulars init {home}` first, or name another folder with --home.")  # fmt: skip
    settings = load_settings(home, flags=flags)
    check_models(settings.train.models, settings.models)
    server.log_to_stderr(as_json=settings.serve.log == "json")

    def announce(opened: server.Opened) -> None:
        page = "storefront and dashboard" if settings.shop.practice else "dashboard"
        say(f"Serving {settings.shop.name!r} at {opened.url}\n"
            f"Log in once for {page}: {opened.login}\nStop with Ctrl-C.")  # fmt: skip

    stop = threading.Event()
    trainer = threading.Thread(target=retrain, args=(home, settings, stop), daemon=True)
    if settings.train.every:
        trainer.start()
    signal.signal(signal.SIGTERM, _leave)
    try:
        server.run(make_service, settings, home, announce)
    except KeyboardInterrupt:
        say("Stopped.")  # what the person was told to press is no failure
    finally:
        stop.set()


def _age(home: Path) -> float:
    """Seconds since the version that serves was published; 0 before the first."""
    try:
        return time.time() - (home / "models" / CURRENT).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _leave(*_: Any) -> None:
    """End with 0: the server, once it has shut down, raises the signal that stopped it again."""
    sys.exit(0)


def retrain(home: Path, settings: Settings, stop: threading.Event) -> None:
    """Run `train` in a child process every `[train] every`; the server swaps when a new version stands.

    The first time counts from the version that serves, so that a server which is restarted daily trains as well.
    """
    every = settings.train.every / SECOND
    wait = max(0.0, every - _age(home))
    while not stop.wait(wait):
        wait = every
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "regulars", "train", "--home", str(home), "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            log.error("training failed: %s", done.stderr.strip().splitlines()[-1:] or done.returncode)
        else:
            log.info("trained: %s", done.stdout[:200].replace("\n", " "))
