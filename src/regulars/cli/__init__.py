"""The command line: parse, call, print. Data goes to stdout, progress and errors to stderr.

Exit codes: 0 fine, 1 failed, 2 wrong use. Heavy modules are imported inside the commands that need them.
"""

from __future__ import annotations

import sys

from regulars.cli import ask, play, shop
from regulars.cli.base import cli
from regulars.core.errors import RegularsError

ORDER = (
    "init", "ingest", "train", "evaluate", "recommend", "profile", "serve", "rollback", "statistics", "doctor",
    "simulate", "demo",
)  # fmt: skip
cli.registered_commands.sort(key=lambda command: ORDER.index(getattr(command.callback, "__name__", "")))

__all__ = ["ask", "cli", "main", "play", "shop"]


def main() -> None:
    """Run the command line; errors of ours end in one clear message and the right exit code."""
    try:
        cli(standalone_mode=True)
    except RegularsError as error:
        sys.stderr.write(f"regulars: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("regulars: stopped\n")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
