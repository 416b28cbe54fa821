"""Commands that ask: recommend, profile, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from regulars.cli.base import (
    HERE,
    AsJson,
    Home,
    Language,
    Split,
    cli,
    kernel_cache,
    known_models,
    open_shop,
    put,
    say,
    write,
)
from regulars.core.errors import WrongUse

OF_FILE = "With a FILE"  # panel of the help


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

    with open_shop(home) as app:
        slate = app.recommend(user, limit=limit, item=item, language=language or "")
        put(show.slate_json(slate, user) if as_json else show.slate_text(slate, app.live.catalogue))


@cli.command()
def profile(
    user: Annotated[str, typer.Argument(metavar="USER", help="User id.")], home: Home = HERE, as_json: AsJson = False
) -> None:
    """Who a shopper is, as a person would want to read it."""
    from regulars import show

    with open_shop(home) as app:
        found = app.profile(user)
        if found is None:
            raise WrongUse(f"profile {user}", got="a user id that no event names", wanted="a known user id")
        put(show.profile_json(found, user) if as_json else show.profile_text(found, user, app))


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

        kernel_cache(home)
        given = {name: value for name, value in options.items() if value is not None}
        names = models.split(",") if models else comparison.USUAL
        found = comparison.compare_file(file, names, settings_of(settings or []), columns, given, say)
        rows, text, values, metric = found.rows, found.to_markdown().rstrip(), found.to_json(), f"ndcg@{found.k}"
    if plot is not None:
        write(plot, charts.to_html(rows, metric))
    if save is not None:
        write(save, f"{text}\n")
    put(values if as_json else text)


def _need_file(options: list[str]) -> None:
    if options:
        wanted = f"regulars evaluate FILE --{options[0]} ..."
        raise WrongUse(f"--{options[0]}", got="no FILE", wanted=wanted)


def _last_days(home: Path, models: str) -> tuple[list[dict[str, Any]], str, Any]:
    """The table of a shop: rows, for people, for programs."""
    from regulars import pipeline, show

    with open_shop(home, train__models=models or None) as app:
        known_models(app.settings)
        rows = pipeline.evaluate_once(app, say=say)
    return rows, show.evaluation_text(rows), rows
