"""What commands share on a terminal: consoles, progress, tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from segbench.evaluation import Progress

DELAY_S = 0.5
"""Work that ends sooner shows no progress."""

PIPE_WIDTH = 120
"""Columns where stdout is no terminal: tables are not squeezed for a file."""


def stdout() -> Console:
    """Where results go."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, soft_wrap=False)


def say(text: str) -> None:
    """A sentence for the person, on stderr."""
    click.echo(text, err=True)


def table(title: str | None = None) -> Table:
    """A table in the house's style."""
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", title_style="bold")


@contextmanager
def progress_bar(shown: bool) -> Iterator[Progress]:
    """A progress bar on stderr where that is a terminal; it appears once the work has taken half a second."""
    if not shown or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with ExitStack() as stack:
        bar: Any = None
        began = time.monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal bar
            if bar is None and time.monotonic() - began > DELAY_S:
                bar = stack.enter_context(_bar())
                bar.add_task("images")
            if bar is not None:
                bar.update(bar.task_ids[0], completed=done, total=total)

        yield progress


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    return Progress("images", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True)
