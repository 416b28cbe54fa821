"""A progress bar on a terminal's stderr, with rate and time left; silence elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """Write the rate of a running task."""
        return Text(f"{task.speed or 0:,.0f} rows/s", style="progress.data.speed")


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield `update(done, total)`; nothing is drawn where stderr is not a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.completed:,} rows"),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=None)

        def update(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield update
