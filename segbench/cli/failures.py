"""How errors reach a person (stderr) or a script (`--json`: one object on stdout)."""

from __future__ import annotations

import json
import os
import sys
import traceback

import click

from segbench.errors import SegbenchError

INTERNAL = 70


def report_error(error: SegbenchError, as_json: bool) -> int:
    """An error that segbench raised on purpose."""
    if as_json:
        files = [path for _, path in error.files]
        _print_json(error.code, error.message, error.hint, files, error.count, error.exit_code)
    else:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
    return error.exit_code


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
        click.echo(f"{message}\n  hint: {hint}", err=True)
    if os.environ.get("SEGBENCH_DEBUG"):
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
