"""Commands that make a shop and change it: init, ingest, train, rollback, statistics, doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from regulars.cli.base import (
    HERE,
    AsJson,
    Home,
    cli,
    kernel_cache,
    known_models,
    open_shop,
    put,
    say,
)
from regulars.core.errors import WrongUse


@cli.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    name: Annotated[str, typer.Option(help="Name of the shop.")] = "My shop",
    currency: Annotated[str, typer.Option(help="ISO 4217 code of all money.")] = "USD",
    timezone: Annotated[str, typer.Option(help="Zone of times without one.")] = "UTC",
) -> None:
    """Make a shop's folder: settings, journal and two keys."""
    kernel_cache(folder)
    from regulars.app import App
    from regulars.core.settings import FILE_NAME, load_settings
    from regulars.serve.security import make_keys

    if (folder / FILE_NAME).exists():
        raise WrongUse(str(folder / FILE_NAME), got="a shop that is there already", wanted="a new folder")
    flags = {"shop.name": name, "shop.currency": currency, "shop.timezone": timezone}
    settings = load_settings(flags=flags)
    with App.create(folder, settings):
        keys = make_keys(folder)
    put(
        f"Made the shop {name!r} in {folder}.\n\n"
        f"Admin key    {keys.admin}\n"
        f"Browser key  {keys.browser}   (may write events, and ask for slates of sessions)\n"
        "They are shown this once; only their digests are kept.\n\n"
        f"Slates explore a little: in the last {settings.rank.explore_positions} positions, with chance "
        f"{settings.rank.epsilon:g}, an item is drawn from the best {settings.rank.explore_pool},\nso that the shop "
        "learns about what it never shows. Switch it off with [rank] explore = \"off\".\n\n"
        f"Next: regulars ingest FILES --home {folder}"
    )  # fmt: skip


@cli.command()
def ingest(
    files: Annotated[
        list[str], typer.Argument(metavar="FILES", help="CSV, JSONL, Parquet, XLSX, also .gz; - for standard input.")
    ],
    home: Home = HERE,
    layout: Annotated[
        str | None, typer.Option(help="Name of the layout, when it cannot be told from the columns.")
    ] = None,
    columns: Annotated[Path | None, typer.Option(help="TOML file that maps columns of another layout.")] = None,
    as_json: AsJson = False,
) -> None:
    """Import files of events, items or shoppers; the same file twice changes nothing."""
    from regulars import show
    from regulars.progress import bar

    with open_shop(home) as app, bar("Importing") as progress:
        report = app.ingest([Path(file) for file in files], layout=layout, columns=columns, on_progress=progress)
    put(show.import_json(report) if as_json else show.import_text(report))


@cli.command()
def train(
    home: Home = HERE,
    gate: Annotated[
        bool | None, typer.Option("--gate/--no-gate", help="Judge the new version before it serves.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Time, such as 10m, in which to choose models and settings as well.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn from everything up to now; the new version serves unless the gate rejects it."""
    from regulars import pipeline

    with open_shop(home, train__budget=budget) as app:
        known_models(app.settings)
        report = pipeline.train_once(app, say=say, gate=gate)
    put(report.to_json() if as_json else report.text())


@cli.command()
def rollback(home: Home = HERE, as_json: AsJson = False) -> None:
    """Serve the version before the current one."""
    with open_shop(home) as app:
        name = app.versions.rollback()
    put({"version": name} if as_json else f"Serving version {name} again.")


@cli.command()
def statistics(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write, or with --take to read.")],
    key: Annotated[Path, typer.Option(help="File of 16 to 64 secret bytes that both shops hold.")],
    home: Home = HERE,
    factors: Annotated[int, typer.Option(help="Numbers that tell of each shared shopper.", min=1, max=4096)] = 128,
    take: Annotated[
        bool, typer.Option("--take", help="Take another shop's statistics in, for transfer-ease.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Statistics of this shop for another one to learn from, never its events; or take in another's."""
    from dataclasses import asdict

    from regulars import exchange

    secret = exchange.read_key(key)
    with open_shop(home) as app:
        done = exchange.take(app, folder, secret) if take else exchange.give(app, folder, secret, factors)
    told = f"{done.folder}: {done.items:,} items, {done.shoppers:,} shared shoppers, {done.factors} factors."
    if take:
        told += (
            f'\n\nTo learn from it, put into regulars.toml, with "transfer-ease" among the models of [train]:\n\n'
            f"[models.transfer-ease]\nsource = {json.dumps(done.folder)}"
        )
    put(asdict(done) if as_json else told)


@cli.command()
def doctor(
    home: Home = HERE,
    settings: Annotated[bool, typer.Option("--settings", help="List every setting.")] = False,
    as_json: AsJson = False,
) -> None:
    """What is in the shop's folder, what cleaning touched, and what looks wrong."""
    from regulars import show

    with open_shop(home) as app:
        put(show.doctor(app, settings=settings, as_json=as_json))
