"""The command line. One file per command; bodies are a few lines over the public API. `segbench --help` imports click alone."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
import warnings
from importlib import import_module

import click

from segbench import __version__

COMMANDS = {
    "evaluate": "Scores of predictions against ground truth.",
    "compare": "Is a model better than another, and does it pass the gates?",
    "profile": "What a model costs: MACs, latency, memory, and its head's share.",
    "power": "How small a difference the images can show, and how many it takes.",
    "merge": "One run of several: shards to a whole, exact.",
    "slice": "The scores of a run on parts of its images.",
    "inspect": "What a path holds, which data set it fits, what is wrong with it.",
    "explain": "What a metric means, and which tools give another number and why.",
    "convert": "Predictions as COCO panoptic files, also from label maps and instances.",
    "datasets": "The data sets that are known by name.",
    "formats": "The file formats that can be read.",
    "doctor": "Whether this installation is in order.",
}
"""Each command with its one line of help; the module of the same name is imported when the command runs."""


class Commands(click.Group):
    """Imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"segbench.cli.{name}")
        return getattr(module, name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, 2, 0.5)
            guess = f"Did you mean {' or '.join(close)}?" if close else f"One of: {', '.join(COMMANDS)}."
            raise click.UsageError(f"No command is called {args[0]!r}. {guess}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="segbench")
def segbench() -> None:
    """Evaluation and benchmarking of segmentation models.

    segbench evaluate PREDICTIONS GROUND_TRUTH prints the numbers the field publishes.
    """


BROKEN_PIPE = 141
"""As of a program that a signal ends whose reader went away: neither success nor a failed gate."""

LOST_OUTPUT = 3

UNWRITABLE = (errno.EPIPE, errno.EBADF, errno.ENOSPC, errno.EIO, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
"""What writing to stdout fails with; errors of files name the file."""


def main(args: list[str] | None = None) -> None:
    """The entry point: every error becomes one message and an exit code, never a traceback."""
    # imports make a hundred thousand objects that live to the end: looking through them for garbage is 7 % of a short run
    gc.set_threshold(100_000)
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a file, our own message says
    _prepare_streams()
    code = run(sys.argv[1:] if args is None else args)
    gc.freeze()  # the interpreter looks through all of them several times more before it goes: another 15 %
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Runs a command line.

    Returns:
        0 ok, 1 a gate failed, 2 usage, 3 bad input, 4 not comparable, 5 inconclusive, 6 a missing dependency, 70 internal, 130 interrupted,
        141 the reader of the output went away.
    """
    try:
        from segbench.cli import failures

        try:
            return _outcome(arguments)
        except BrokenPipeError:
            failures.discard_stdout()
            return BROKEN_PIPE
        except OSError as error:  # only output that cannot be written is left
            return failures.report_lost_output(error, LOST_OUTPUT)
    except KeyboardInterrupt:
        from segbench.cli import failures

        return failures.report_interrupted("--json" in arguments)


def _outcome(arguments: list[str]) -> int:
    from segbench.cli import failures
    from segbench.errors import SegbenchError

    as_json = "--json" in arguments
    try:
        code = segbench.main(arguments, prog_name="segbench", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except SegbenchError as error:
        return failures.report_error(error, as_json)
    except click.ClickException as error:
        return failures.report_usage(error, as_json)
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except SystemExit as error:  # click's answer to a reader that went away; nothing else in a command exits
        raise BrokenPipeError from error
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno in UNWRITABLE and error.filename is None:
            raise
        return failures.report_internal(error, as_json)
    except Exception as error:
        return failures.report_internal(error, as_json)


class _Closed(io.TextIOBase):
    """In the place of a stdout that was closed before we began: there is nowhere to write to."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _prepare_streams() -> None:
    if sys.stdout is None:
        sys.stdout = _Closed()
    elif hasattr(sys.stdout, "reconfigure"):
        # a character that the terminal lacks, or a file name that is no UTF-8, is no reason to stop
        sys.stdout.reconfigure(errors="backslashreplace" if (sys.stdout.encoding or "").lower().startswith("utf") else "replace")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
