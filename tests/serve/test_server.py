"""Taking a port, starting, stopping, logging."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from regulars.core.errors import StorageError
from regulars.core.settings import Settings
from regulars.serve import follow
from regulars.serve.server import JsonLines, Opened, bind, run
from regulars.serve.service import Service
from serve.parts import Parts, open_parts


def test_a_port_in_use_is_said_clearly() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StorageError, match=rf"127\.0\.0\.1:{port}.*free port") as caught:
            bind("127.0.0.1", port)
    assert caught.value.exit_code == 1


def test_a_shop_without_keys_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="regulars init"):
        run(lambda settings, home: open_parts(home).service, Settings(), tmp_path, lambda opened: None)


@pytest.mark.slow
def test_run_serves_until_the_signal_and_keeps_the_live_state(shop: Parts) -> None:
    said: list[Opened] = []

    def factory(settings: Settings, home: Path) -> Service:
        return shop.service

    def use() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if said and httpx.get(f"{said[0].url}/health/ready").status_code == 200:
                    break
            except httpx.ConnectError:
                pass
            time.sleep(0.05)
        answers.append(httpx.get(said[0].login).status_code)
        os.kill(os.getpid(), signal.SIGTERM)

    answers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn hands the signal on when it has stopped
    thread = threading.Thread(target=use)
    thread.start()
    try:
        run(factory, shop.settings.change(serve={"port": 0}), shop.home, said.append)
    finally:
        thread.join()
        signal.signal(signal.SIGTERM, before)
    assert answers == [303]
    assert (shop.home / "live").exists()


def test_json_lines() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        record = logging.LogRecord("r", logging.ERROR, "f", 1, "hello %s", ("tea",), (type(error), error, None))
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["message"]) == ("error", "hello tea")
    assert "broken" in line["error"]


def test_no_version_yet(tmp_path: Path) -> None:
    assert follow.current_version(tmp_path / "CURRENT") == ""
