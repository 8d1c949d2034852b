"""What commands share on a terminal: consoles, progress, tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from segbench.evaluation import Progress

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
    """A progress bar on stderr where that is a terminal."""
    if not shown or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress("images", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task("images", total=None)
        yield lambda done, total: bar.update(job, completed=done, total=total)
