"""`segbench profile TARGET`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from segbench.cli.console import say

if TYPE_CHECKING:
    from segbench.profiling.profiles import Profiles
    from segbench.profiling.records import Record
    from segbench.results import Result

SHOWN = 12
"""Names of models that a message lists."""


@click.command()
@click.argument("targets", metavar="TARGET", nargs=-1, required=True)
@click.option(
    "--input", "input_", metavar="[NAME=]3x512x512[:TYPE]", multiple=True, help="Input without batch; repeatable. [default: the model's]"
)
@click.option(
    "--batch", default="1", show_default=True, metavar="N,...", help="Batch sizes, one record each; auto: doubled until it no longer pays."
)
@click.option("--size", metavar="HxW,...", help="Heights and widths that replace the input's, one record each.")
@click.option(
    "--dtype", default="fp32", show_default=True, metavar="NAME", help="fp32, tf32, fp16, bf16 or int8; the record says what ran."
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu or cuda:0.")
@click.option(
    "--backend",
    metavar="NAME",
    help="torch, torch.compile, onnxruntime[:PROVIDER], openvino, tensorrt or python. [default: what fits TARGET]",
)
@click.option("--backbone", default="auto", show_default=True, metavar="PREFIX,...", help="Modules that are the backbone; auto, or none.")
@click.option("--neck", metavar="PREFIX,...", help="Modules that are the neck. [default: the family's]")
@click.option("--neck-in", default="head", show_default=True, metavar="PART", help="Where ratios put the neck: head or backbone.")
@click.option(
    "--estimator", default="auto", show_default=True, metavar="NAME", help="The head's time: in-situ, counterfactual, both or auto."
)
@click.option("--reference", metavar="TARGET", help="A model to compare with, such as the detector without its mask branch.")
@click.option("--post", default="none", show_default=True, metavar="NAME", help="Time post-processing too: semantic, instance or panoptic.")
@click.option("--detections", metavar="N,...", help="Synthetic detections it gets. [default: 1,10,100]")
@click.option("--output-size", metavar="HxW", help="Size of its result. [default: the input's]")
@click.option("--threads", metavar="N,...", help="CPU threads, one record each. [default: 1, and all cores]")
@click.option(
    "--precision", type=float, default=0.01, show_default=True, metavar="R", help="Stop when the median is known to this fraction."
)
@click.option("--max-time", type=float, default=20.0, show_default=True, metavar="S", help="Measured seconds of each part.")
@click.option("--time-limit", type=float, default=600.0, show_default=True, metavar="S", help="Seconds until a measurement is given up.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of the inputs.")
@click.option("--name", metavar="MODEL", help="The model's name in the record.")
@click.option("--task", metavar="NAME", help="The model's task in the record.")
@click.option("--merge", is_flag=True, help="TARGET are files of records, and run folders whose scores join them: one table.")
@click.option("-o", "--output", metavar="FILE", help="Write the records there.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No messages and no progress.")
def profile(targets: tuple[str, ...], merge: bool, output: str | None, as_json: bool, quiet: bool, **options: Any) -> int:
    """What a model costs: multiply-accumulates, latency, memory, and its head's share.

    TARGET is package.module:factory, file.py:factory, model.onnx, hf:ConfigClass or a config.json (transformers, random weights). Each
    measurement runs in a process of its own.

    \b
    segbench profile models.py:unet --input 3x512x512
    segbench profile hf:SegformerConfig --input 3x512x512 --batch 1,4 --post semantic -o segformer.json
    segbench profile --merge laptop.json server.json runs/unet
    """
    from segbench.cli import profile_tables

    files, runs = _sorted(targets) if merge else ([], [])
    profiles = _merged(files) if merge else _measured(targets, quiet, **options)
    if output:
        path = profiles.save(output)
        if not quiet:
            say(f"wrote {path}")
    if as_json:
        click.echo(profiles.to_json(), nl=False)
    elif merge:
        profile_tables.show_merged(profiles, _accuracy(runs, profiles, quiet))
    else:
        for record in profiles.records:
            profile_tables.show(record)
        profile_tables.show_hints(profiles)
    return 3 if profiles.records and all(_is_broken(record) for record in profiles.records) else 0


def _is_broken(record: Record) -> bool:
    """Out of memory, a failed export and an unsupported operation are results; a crash and a time-out are not."""
    return record.error is not None and record.error.kind in ("crash", "timeout", "input")


def _sorted(paths: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Files of records, and run folders of `segbench evaluate`."""
    runs = [path for path in paths if os.path.isdir(path) or os.path.basename(path) == "result.json"]
    return [path for path in paths if path not in runs], runs


def _accuracy(runs: list[str], profiles: Profiles, quiet: bool) -> dict[str, dict[str, float | None]]:
    """Scores of the models that have records; runs of others are named, because nothing of them is shown."""
    if not runs:
        return {}
    from segbench.profiling.profiles import accuracy
    from segbench.results import Result

    results = {run: Result.load(run) for run in runs}
    names = list(dict.fromkeys(record.model.name for record in profiles.records))
    if not quiet:
        for run, result in results.items():
            if result.model["name"] not in names:
                say(_unmatched(run, result, names))
    return {name: values for name, values in accuracy(results.values()).items() if name in names}


def _unmatched(run: str, result: Result, names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return (
        f"{run}: no record is of its model {result.model['name']!r}; the records are of {shown}\n"
        f"  hint: segbench evaluate --name {shlex.quote(names[0]) if len(names) == 1 else 'NAME'} names the model as its record does"
    )


def _merged(files: list[str]) -> Profiles:
    from segbench.profiling.profiles import Profiles

    return Profiles.load(*files)


def _measured(
    targets: tuple[str, ...], quiet: bool, input_: tuple[str, ...], precision: float, max_time: float, **options: Any
) -> Profiles:
    from segbench.errors import ConfigError
    from segbench.profiling import spec
    from segbench.profiling.api import profile as measure
    from segbench.profiling.timing import Policy

    if len(targets) > 1:
        raise ConfigError("one model at a time", hint="or --merge, where these are files of records")
    for name in ("batch", "threads", "detections"):
        if options[name] is not None and options[name] != "auto":
            options[name] = spec.parse_counts(options[name], name)
    options["size"] = options["size"].split(",") if options["size"] else None
    options["backbone"] = None if options["backbone"] == "none" else options["backbone"]
    policy = Policy(relative_halfwidth=precision, max_time_s=max_time, min_time_s=min(2.0, max_time))
    command = shlex.join(["segbench", *sys.argv[1:]])
    with progress_bar(not quiet) as progress:
        return measure(targets[0], input=list(input_) or None, policy=policy, command=command, progress=progress, **options)


@contextmanager
def progress_bar(shown: bool) -> Iterator[Callable[[int, int, str, float], None]]:
    """Which measurement runs and what it is doing, on stderr where that is a terminal."""
    if not shown or not sys.stderr.isatty():
        yield lambda done, total, what, share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.fields[which]}"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("start", total=1.0, which="")

        def progress(done: int, total: int, what: str, share: float) -> None:
            which = f"{min(done + 1, total)}/{total}" if total > 1 else ""
            bar.update(task, completed=min(1.0, share), description=what, which=which)

        yield progress
