"""Commands that open doors and play: serve, simulate, demo."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from regulars.cli.base import (
    HERE,
    AsJson,
    Home,
    cli,
    kernel_cache,
    put,
    say,
    write,
)


@cli.command()
def serve(
    home: Home = HERE,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 = any free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.")] = None,
) -> None:
    """Open the doors: HTTP API, dashboard, and the storefront of a practice shop."""
    from regulars import launch

    kernel_cache(home)
    flags = {"serve.host": host, "serve.port": port, "serve.workers": workers}
    launch.run(home, {name: value for name, value in flags.items() if value is not None}, say=say)


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
        processes=processes, say=say,
    )  # fmt: skip
    if plot is not None:
        write(plot, report.to_html())
    if as_json:
        put(report.to_json() | ({"realism": beside.to_json()} if beside else {}))
    else:
        put(report.text() + (f"\n\n{beside.text()}" if beside else ""))


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

    summary = demonstration.run(home, shoppers=shoppers, items=items, events=events, now=SystemClock().now(), say=say)
    if once:
        sys.stdout.write(json.dumps(summary.to_json()) + "\n")
        return
    _serve_demo(summary.home, port)


def _serve_demo(home: Path, port: int) -> None:
    from regulars import launch

    launch.run(home, {"serve.port": port}, say=say)
