"""The command line: parse, call, print. Data goes to stdout, progress and errors to stderr.

Exit codes: 0 fine, 1 failed, 2 wrong use. Heavy modules are imported inside the commands that need them.
"""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regulars import __version__
from regulars.core.errors import RegularsError, StorageError, WrongUse

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


def _open(home: Path, **flags: Any) -> App:
    _kernel_cache(home)
    from regulars.app import App

    return App.open(
        home, flags={name.replace("__", "."): value for name, value in flags.items() if value is not None}
    )


def _kernel_cache(home: Path) -> None:
    """Where the install is read-only, compiled kernels are kept in the shop's folder."""
    if not os.access(Path(__file__).parent, os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(home / "cache" / "kernels"))


def _print(value: Any) -> None:
    sys.stdout.write(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1))
    sys.stdout.write("\n")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(str(path), got=str(error), wanted="a file that can be written") from error


def _known_models(settings: Settings) -> None:
    from regulars.models.registry import check_models

    check_models(settings.train.models, settings.models)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@cli.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    name: Annotated[str, typer.Option(help="Name of the shop.")] = "My shop",
    currency: Annotated[str, typer.Option(help="ISO 4217 code of all money.")] = "USD",
    timezone: Annotated[str, typer.Option(help="Zone of times without one.")] = "UTC",
) -> None:
    """Make a shop's folder: settings, journal and two keys."""
    _kernel_cache(folder)
    from regulars.app import App
    from regulars.core.settings import FILE_NAME, load_settings
    from regulars.serve.security import make_keys

    if (folder / FILE_NAME).exists():
        raise WrongUse(str(folder / FILE_NAME), got="a shop that is there already", wanted="a new folder")
    flags = {"shop.name": name, "shop.currency": currency, "shop.timezone": timezone}
    settings = load_settings(flags=flags)
    with App.create(folder, settings):
        keys = make_keys(folder)
    _print(
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

    with _open(home) as app, bar("Importing") as progress:
        report = app.ingest([Path(file) for file in files], layout=layout, columns=columns, on_progress=progress)
    _print(show.import_json(report) if as_json else show.import_text(report))


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

    with _open(home, train__budget=budget) as app:
        _known_models(app.settings)
        report = pipeline.train_once(app, say=_say, gate=gate)
    _print(report.to_json() if as_json else report.text())


OF_FILE = "With a FILE"


@cli.command()
def evaluate(  # noqa: PLR0913 - options of a command
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Any log: CSV, JSONL, Parquet, XLSX, also .gz.")
    ] = None,
    home: Home = HERE,
    models: Annotated[
        str, typer.Option(help="Comma-separated models; default: the settings', or popular, item-knn, ease, als.")
    ] = "",
    plot: Annotated[Path | None, typer.Option(help="Write a chart to this HTML file.")] = None,
    split: Annotated[
        Split | None, typer.Option(help="What is asked: after a cut in time (default), each shopper's last row, "
                                        "or rows drawn at random.", rich_help_panel=OF_FILE)
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Share of rows that are asked; default: 0.1.", rich_help_panel=OF_FILE)
    ] = None,
    k: Annotated[int | None, typer.Option(help="Cut-off; default: 20.", min=1, rich_help_panel=OF_FILE)] = None,
    user: Annotated[str | None, typer.Option(help="Column of shoppers.", rich_help_panel=OF_FILE)] = None,
    item: Annotated[str | None, typer.Option(help="Column of items.", rich_help_panel=OF_FILE)] = None,
    time: Annotated[str | None, typer.Option(help="Column of times.", rich_help_panel=OF_FILE)] = None,
    weight: Annotated[
        str | None, typer.Option(help='Column of ratings or weights; "": do without.', rich_help_panel=OF_FILE)
    ] = None,
    at_least: Annotated[
        float | None, typer.Option(help="Leave out rows of a smaller weight.", rich_help_panel=OF_FILE)
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="MODEL.NAME=VALUE", help="A model's setting, such as "
                                       "als.factors=128; repeat for several.", rich_help_panel=OF_FILE)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed; default: 0.", rich_help_panel=OF_FILE)] = None,
    save: Annotated[Path | None, typer.Option(help="Write the report to this file.", rich_help_panel=OF_FILE)] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Every model against popularity, with intervals: on the shop's last days with the slate, or on any log in FILE.

    A FILE needs columns of shoppers and items, and of times for a cut in time: user_id, sku, date, ..., or named.
    """
    from regulars.evaluate import plot as charts

    options = {"split": split, "share": share, "k": k, "seed": seed}
    columns = {"user": user, "item": item, "time": time, "weight": weight, "at_least": at_least}
    if file is None:
        others = {**options, **columns, "set": settings, "save": save}
        _need_file([name.replace("_", "-") for name, value in others.items() if value is not None])
        rows, text, values, metric = *_last_days(home, models), "ndcg@20"
    else:
        from regulars.evaluate import comparison
        from regulars.models.registry import settings_of

        _kernel_cache(home)
        given = {name: value for name, value in options.items() if value is not None}
        names = models.split(",") if models else comparison.USUAL
        found = comparison.compare_file(file, names, settings_of(settings or []), columns, given, _say)
        rows, text, values, metric = found.rows, found.to_markdown().rstrip(), found.to_json(), f"ndcg@{found.k}"
    if plot is not None:
        _write(plot, charts.to_html(rows, metric))
    if save is not None:
        _write(save, f"{text}\n")
    _print(values if as_json else text)


def _need_file(options: list[str]) -> None:
    if options:
        wanted = f"regulars evaluate FILE --{options[0]} ..."
        raise WrongUse(f"--{options[0]}", got="no FILE", wanted=wanted)


def _last_days(home: Path, models: str) -> tuple[list[dict[str, Any]], str, Any]:
    """The table of a shop: rows, for people, for programs."""
    from regulars import pipeline, show

    with _open(home, train__models=models or None) as app:
        _known_models(app.settings)
        rows = pipeline.evaluate_once(app, say=_say)
    return rows, show.evaluation_text(rows), rows


@cli.command()
def rollback(home: Home = HERE, as_json: AsJson = False) -> None:
    """Serve the version before the current one."""
    with _open(home) as app:
        name = app.versions.rollback()
    _print({"version": name} if as_json else f"Serving version {name} again.")


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
    with _open(home) as app:
        done = exchange.take(app, folder, secret) if take else exchange.give(app, folder, secret, factors)
    told = f"{done.folder}: {done.items:,} items, {done.shoppers:,} shared shoppers, {done.factors} factors."
    if take:
        told += (
            f'\n\nTo learn from it, put into regulars.toml, with "transfer-ease" among the models of [train]:\n\n'
            f"[models.transfer-ease]\nsource = {json.dumps(done.folder)}"
        )
    _print(asdict(done) if as_json else told)


@cli.command()
def recommend(
    user: Annotated[str, typer.Argument(metavar="USER", help="User id.")],
    home: Home = HERE,
    limit: Annotated[int | None, typer.Option(help="Items in the slate.", min=1, max=200)] = None,
    item: Annotated[str, typer.Option(help="The item looked at now.")] = "",
    language: Annotated[Language | None, typer.Option(help="Language of the reasons; default: the shop's.")] = None,
    as_json: AsJson = False,
) -> None:
    """A slate for a shopper, with reasons. It is journaled like any other decision."""
    from regulars import show

    with _open(home) as app:
        slate = app.recommend(user, limit=limit, item=item, language=language or "")
        _print(show.slate_json(slate, user) if as_json else show.slate_text(slate, app.live.catalogue))


@cli.command()
def profile(
    user: Annotated[str, typer.Argument(metavar="USER", help="User id.")], home: Home = HERE, as_json: AsJson = False
) -> None:
    """Who a shopper is, as a person would want to read it."""
    from regulars import show

    with _open(home) as app:
        found = app.profile(user)
        if found is None:
            raise WrongUse(f"profile {user}", got="a user id that no event names", wanted="a known user id")
        _print(show.profile_json(found, user) if as_json else show.profile_text(found, user, app))


@cli.command()
def serve(
    home: Home = HERE,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 = any free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.")] = None,
) -> None:
    """Open the doors: HTTP API, dashboard, and the storefront of a practice shop."""
    from regulars import launch

    _kernel_cache(home)
    flags = {"serve.host": host, "serve.port": port, "serve.workers": workers}
    launch.run(home, {name: value for name, value in flags.items() if value is not None}, say=_say)


@cli.command()
def simulate(  # noqa: PLR0913 - options of a command
    days: Annotated[int, typer.Option(help="Days to play: a return within 7 days needs 8.", min=8)] = 60,
    policy: Annotated[list[str] | None, typer.Option(help="Policy to play; repeat for several.")] = None,
    seeds: Annotated[int, typer.Option(help="Worlds to play each policy in.", min=1)] = 5,
    preset: Annotated[str, typer.Option(help="Kind of shop.")] = "default",
    shoppers: Annotated[int, typer.Option(help="Shoppers in the starting cohort.")] = 2000,
    items: Annotated[int, typer.Option(help="Items in the catalogue.")] = 500,
    data: Annotated[Path | None, typer.Option(help="Folder of real logs to compare gaps and skew with.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a chart to this HTML file.")] = None,
    processes: Annotated[int, typer.Option(help="Runs at a time.", min=1)] = 2,
    as_json: AsJson = False,
) -> None:
    """Play policies side by side in a practice shop with known truth."""
    from regulars import practice, practice_realism
    from regulars.simulate.presets import preset as preset_of

    # first what is quick: a wrong preset or folder is said before minutes of play
    preset_of(preset, shoppers=shoppers, items=items)
    beside = None if data is None else practice_realism.realism(data, preset, shoppers, items)
    report = practice.compare(
        policy or ["popular", "slate"], days=days, seeds=seeds, preset=preset, shoppers=shoppers, items=items,
        processes=processes, say=_say,
    )  # fmt: skip
    if plot is not None:
        _write(plot, report.to_html())
    if as_json:
        _print(report.to_json() | ({"realism": beside.to_json()} if beside else {}))
    else:
        _print(report.text() + (f"\n\n{beside.text()}" if beside else ""))


@cli.command()
def doctor(
    home: Home = HERE,
    settings: Annotated[bool, typer.Option("--settings", help="List every setting.")] = False,
    as_json: AsJson = False,
) -> None:
    """What is in the shop's folder, what cleaning touched, and what looks wrong."""
    from regulars import show

    with _open(home) as app:
        _print(show.doctor(app, settings=settings, as_json=as_json))


@cli.command()
def demo(
    home: Annotated[Path | None, typer.Option("--home", help="Folder to use; default: a fresh one.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Do not serve at the end.")] = False,
    shoppers: Annotated[int, typer.Option(help="Shoppers.")] = 20_000,
    items: Annotated[int, typer.Option(help="Items.")] = 3_000,
    events: Annotated[int, typer.Option(help="Interactions at least.")] = 1_000_000,
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8080,
) -> None:
    """The whole loop on a practice shop: ingest, train, evaluate, slates, outcomes, retrain; then serve it."""
    from regulars import demo as demonstration
    from regulars.core.clock import SystemClock

    summary = demonstration.run(
        home, shoppers=shoppers, items=items, events=events, now=SystemClock().now(), say=_say
    )
    if once:
        sys.stdout.write(json.dumps(summary.to_json()) + "\n")
        return
    _serve_demo(summary.home, port)


def _serve_demo(home: Path, port: int) -> None:
    from regulars import launch

    launch.run(home, {"serve.port": port}, say=_say)
