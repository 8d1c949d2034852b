"""The command line. One file per command; bodies are a few lines over the public API. `segbench --help` imports click alone."""

from __future__ import annotations

import gc
import os
import sys
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


def main(args: list[str] | None = None) -> None:
    """The entry point: every error becomes one message and an exit code, never a traceback."""
    # imports make a hundred thousand objects that live to the end: looking through them for garbage is 7 % of a short run
    gc.set_threshold(100_000)
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(arguments: list[str]) -> int:
    """Runs a command line.

    Returns:
        0 ok, 1 a gate failed, 2 usage, 3 bad input, 4 not comparable, 5 inconclusive, 6 a missing dependency, 70 internal, 130 interrupted.
    """
    from segbench.cli.failures import report_error, report_internal, report_usage
    from segbench.errors import SegbenchError

    as_json = "--json" in arguments
    try:
        code = segbench.main(arguments, prog_name="segbench", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except SegbenchError as error:
        return report_error(error, as_json)
    except click.ClickException as error:
        return report_usage(error, as_json)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; nothing was written", err=True)
        return 130
    except BrokenPipeError:
        # the reader of our output went away: nothing is left to say, also not at interpreter exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return report_internal(error, as_json)
