"""How errors reach a person (stderr) or a script (`--json`: one object on stdout)."""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import suppress

import click

from segbench.cli.console import printable, say, written
from segbench.errors import SegbenchError

INTERNAL = 70
INTERRUPTED = 130


def report_error(error: SegbenchError, as_json: bool) -> int:
    """An error that segbench raised on purpose."""
    if as_json:
        paths = [path for _, path in error.files]
        _print_json(error.code, error.message, error.hint, paths, error.count, error.exit_code)
    else:
        # a file may be named with a line break: one line each keeps the message readable
        files: list[str | tuple[str, str]] = [(role, path.replace("\n", "\\n")) for role, path in error.files]
        shown = SegbenchError(error.message.replace("\n", "\\n"), files=files, hint=error.hint, code=error.code, count=error.count)
        with suppress(OSError):
            colour = None if os.environ.get("NO_COLOR") else "red"
            click.echo(f"{click.style('error:', fg=colour, bold=True)} {printable(str(shown))}", err=True)
    return error.exit_code


def report_interrupted(as_json: bool) -> int:
    """Ctrl-C: says what is there, because files appear whole or not at all."""
    message = f"interrupted; written before: {', '.join(written)}" if written else "interrupted"
    if as_json:
        _print_json(None, message, None, written, 1, INTERRUPTED)
    else:
        say(message)
    return INTERRUPTED


def report_lost_output(error: OSError, code: int) -> int:
    """stdout cannot be written to: one line, and nothing more goes there."""
    discard_stdout()
    say(f"error: the output cannot be written: {error.strerror or error}")
    return code


def discard_stdout() -> None:
    """Sends what is left in buffers nowhere, so that the interpreter's exit does not fail over it."""
    with suppress(Exception):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report_usage(error: click.ClickException, as_json: bool) -> int:
    """A command line that click refused."""
    if as_json:
        _print_json(None, error.format_message(), None, [], 1, error.exit_code)
    else:
        error.show()
    return error.exit_code


def report_internal(error: Exception, as_json: bool) -> int:
    """A defect of segbench: one line, and the traceback where it is asked for."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    message = f"internal error: {type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})"
    hint = "set SEGBENCH_DEBUG=1 for the traceback, and please report it"
    if as_json:
        _print_json(None, message, hint, [], 1, INTERNAL)
    else:
        say(f"{message}\n  hint: {hint}")
    if os.environ.get("SEGBENCH_DEBUG") and sys.stderr is not None:
        traceback.print_exception(error, file=sys.stderr)
    return INTERNAL


def _print_json(code: str | None, message: str, hint: str | None, files: list[str], count: int, exit_code: int) -> None:
    document = {
        "schema": "segbench.error/1",
        "code": code,
        "message": message,
        "hint": hint,
        "files": files,
        "count": count,
        "exit_code": exit_code,
    }
    click.echo(json.dumps(document))
