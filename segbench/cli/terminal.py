"""A console for text that others wrote: names of files, classes and models, which may hold anything."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from segbench.cli.console import printable


class Terminal(Console):
    """Shows control characters instead of obeying them, and leaves a reader that went away to the command line's entry point."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Text for the screen; called for everything that is printed, cells of tables too."""
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> None:
        """Rich would exit with 1, which means that a gate failed."""
        raise BrokenPipeError
