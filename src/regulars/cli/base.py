"""What all commands share: the application they register with, options, and ways to print."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regulars import __version__
from regulars.core.errors import StorageError

if TYPE_CHECKING:
    from regulars.app import App
    from regulars.core.settings import Settings

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip

Home = Annotated[Path, typer.Option("--home", envvar="REGULARS_HOME", help="The shop's folder.", show_default="here")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
HERE = Path(".")


class Language(StrEnum):
    """Languages that reasons are written in."""

    en = "en"
    zh = "zh"


class Split(StrEnum):
    """What a comparison on a file asks for."""

    time = "time"
    last = "last"
    random = "random"


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"regulars {__version__}")
        raise typer.Exit


@cli.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Regulars turns a shop's visitors into regulars: events in, personal slates out, and round again."""


def open_shop(home: Path, **flags: Any) -> App:
    """The shop in a folder, with what options say of its settings: `section__key=value`, None = not said."""
    kernel_cache(home)
    from regulars.app import App

    return App.open(
        home, flags={name.replace("__", "."): value for name, value in flags.items() if value is not None}
    )


def kernel_cache(home: Path) -> None:
    """Where the install is read-only, compiled kernels are kept in the shop's folder."""
    if not os.access(Path(__file__).parents[1], os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(home / "cache" / "kernels"))


def put(value: Any) -> None:
    """Print a text as it is, anything else as JSON."""
    sys.stdout.write(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1))
    sys.stdout.write("\n")


def write(path: Path, text: str) -> None:
    """Write a text file, or say why it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(str(path), got=str(error), wanted="a file that can be written") from error


def known_models(settings: Settings) -> None:
    """Refuse a misspelt model or setting before anything is read."""
    from regulars.models.registry import check_models

    check_models(settings.train.models, settings.models)


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
