"""What commands share on a terminal: consoles, progress, tables."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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


CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What would move the cursor, change colours or turn the direction of text; and bytes of a file name that are no UTF-8."""

written: list[str] = []
"""What this run of the command line has written, for the message of an interruption."""


def printable(text: str) -> str:
    """Text as it can be shown: control characters as `\\x1b`."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def stdout(markup: bool = True, pipe_width: int | None = PIPE_WIDTH) -> Console:
    """Where results go.

    Args:
        markup: Whether `[bold]` means something; then text that others wrote is to be escaped.
        pipe_width: Columns where stdout is no terminal.
    """
    from segbench.cli.terminal import Terminal

    console = Terminal(width=None if sys.stdout.isatty() else pipe_width, highlight=False, soft_wrap=False, emoji=False, markup=markup)
    if console.width < 1:  # COLUMNS=0
        console.width = PIPE_WIDTH
    return console


def block() -> str:
    """What bars are drawn with."""
    try:
        "\u2588".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError, AttributeError):
        return "#"
    return "\u2588"


def say(text: str) -> None:
    """A sentence for the person, on stderr; one that cannot be said stops nothing."""
    with suppress(OSError):
        click.echo(printable(text), err=True)


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
