"""A command run in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from regulars import cli


@dataclass(frozen=True)
class Done:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


def call(words: tuple[object, ...]) -> int:
    """Run `regulars WORDS` in this process; return its exit code."""
    before, sys.argv = sys.argv, ["regulars", *map(str, words)]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0
