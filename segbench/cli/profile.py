"""`segbench profile TARGET`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from segbench.cli.console import say, stdout, table

if TYPE_CHECKING:
    from segbench.profiling.profiles import Profiles
    from segbench.profiling.records import Ratios, Record


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
    files, runs = _sorted(targets) if merge else ([], [])
    profiles = _merged(files) if merge else _measured(targets, quiet, **options)
    if output:
        path = profiles.save(output)
        if not quiet:
            say(f"wrote {path}")
    if as_json:
        click.echo(profiles.to_json(), nl=False)
    elif merge:
        show_merged(profiles, _accuracy(runs))
    else:
        for record in profiles.records:
            show(record)
    return 3 if profiles.records and all(_is_broken(record) for record in profiles.records) else 0


def _is_broken(record: Record) -> bool:
    """Out of memory, a failed export and an unsupported operation are results; a crash and a time-out are not."""
    return record.error is not None and record.error.kind in ("crash", "timeout", "input")


def _sorted(paths: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Files of records, and run folders of `segbench evaluate`."""
    runs = [path for path in paths if os.path.isdir(path) or os.path.basename(path) == "result.json"]
    return [path for path in paths if path not in runs], runs


def _accuracy(runs: list[str]) -> dict[str, dict[str, float | None]]:
    if not runs:
        return {}
    from segbench.profiling.profiles import accuracy
    from segbench.results import Result

    return accuracy(Result.load(run) for run in runs)


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


def show(record: Record) -> None:
    """One record as a table: columns are the network and its parts."""
    from rich.markup import escape

    from segbench.profiling.profiles import runtime, workload

    console = stdout()
    title = f"{record.model.name}: {workload(record)}, {runtime(record)} on {record.hardware.key}"
    if record.error is not None:
        where = f" while it did: {record.error.stage}" if record.error.stage else ""
        console.print(title, style="bold", markup=False)
        console.print(f"  {record.error.kind}{where}: {record.error.message}", markup=False)
        return
    listing = table(escape(title))
    listing.add_column("", no_wrap=True)
    rows = list(_lines(record))
    shown = [i for i, part in enumerate(PARTS) if i == 0 or any(cells[i].strip("-") for _, *cells in rows)]
    for i in shown:
        listing.add_column(PARTS[i], justify="right")
    for label, *cells in rows:
        listing.add_row(label, *(cells[i] for i in shown))
    console.print(listing)
    for line in _heads(record):
        console.print(line, markup=False)
    for line in _remarks(record):
        console.print(line, style="dim", markup=False)


PARTS = ("network", "backbone", "neck", "head", "post")
"""Columns of a record; the network's stands always, the others where something is in them."""


def _lines(record: Record) -> Iterator[tuple[str, ...]]:
    compute, parameters, latency, memory = record.compute, record.parameters, record.latency, record.memory
    if compute is not None:
        parts = (compute.macs_backbone, compute.macs_neck or None, compute.macs_head, compute.macs_post or None)
        yield ("GMACs", _giga(compute.macs), *(_giga(part) for part in parts))
    if parameters is not None:
        yield (
            "parameters, M",
            *(_mega(part) for part in (parameters.total, parameters.backbone, parameters.neck or None, parameters.head)),
            "-",
        )
    if latency is not None:
        stages = [record.stages.get(name) for name in ("backbone", "neck", "head", "post")]
        yield ("latency, ms", _ms(latency.p50), *(_ms(stage.p50) if stage else "-" for stage in stages))
        intervals = [latency.p50_interval, *(stage.interval if stage else None for stage in stages)]
        yield (f"  {100 * latency.confidence:g} % interval", *(_interval(interval) for interval in intervals))
        for name, stage in record.stages.items():
            if name.startswith("post "):
                count = name.removeprefix("post ")
                yield (f"  {count} detection{'' if count == '1' else 's'}", "", "", "", "", _ms(stage.p50))
    if record.throughput is not None:
        yield ("images/s", f"{record.throughput.images_per_s:.1f}", *["-"] * 4)
    if memory is not None:
        yield (
            "peak memory, MiB",
            _peak(memory.rss_peak, memory.rss_base, memory.cuda_allocated),
            _peak(memory.backbone_peak, memory.backbone_base, memory.backbone_cuda_allocated),
            *["-"] * 3,
        )


def _heads(record: Record) -> Iterator[str]:
    """The head's two ratios, each in every currency that was measured, and what other estimators say."""
    over = record.overhead
    if over is None:
        return
    names = ("head / backbone", "head's share of the network")
    if over.method == "reference-model":
        names = ("over the reference model", "share of what the reference lacks")
    lines = [(names[0], over.head_over_backbone, "+"), (names[1], over.head_share, "")]
    for method, ratios in over.others.items():
        lines.append(("over the reference model" if method == "reference-model" else f"head / backbone, {method}", ratios, "+"))
    yield from (f"{name}: {cells}" for name, ratios, sign in lines if (cells := _percents(ratios, sign)))


def _percents(ratios: Ratios, sign: str) -> str:
    found = []
    for label in ("MACs", "parameters", "latency", "memory"):
        value = getattr(ratios, label.lower())
        bounds = ratios.latency_interval if label == "latency" else None
        interval = f" [{100 * bounds[0]:{sign}.1f}, {100 * bounds[1]:{sign}.1f}]" if bounds else ""
        if value is not None:
            found.append(f"{label} {100 * value:{sign}.1f} %{interval}")
    return ", ".join(found)


def _remarks(record: Record) -> Iterator[str]:
    latency, over = record.latency, record.overhead
    if record.split is not None:
        neck = f", neck {', '.join(record.split.neck)} counted to the {record.split.neck_in}" if record.split.neck else ""
        how = f"; times {over.method}" if over else ""
        yield f"backbone {', '.join(record.split.backbone)}{neck} (by {record.split.decided}){how}"
    if latency is not None:
        noise = ", noisy: other work on this machine, or a changing clock" if record.noisy else ""
        runs = "1 run" if latency.n == 1 else f"{latency.n} runs"
        yield f"median of {runs}, stopped by {latency.stopped}{noise}"
    if record.roof is not None and record.roof.of_peak is not None and not record.noisy:
        rate = f"{(record.roof.achieved_flops_per_s or 0) / 1e9:.1f} GFLOP/s, {record.roof.of_peak:.0%}"
        yield f"{rate} of what this machine reaches in large products ({record.roof.flops_per_s / 1e9:.0f} GFLOP/s in float32)"
    if record.energy is not None:
        yield f"{record.energy.joules_per_image:.3g} J per image, from {record.energy.source.upper()}'s counter"
    if record.compute is not None:
        flops = _giga(record.compute.flops)
        yield f"MACs of convolutions and matrix products ({record.compute.convention}); FLOPs are twice that: {flops} G"
    yield from record.warnings


def _giga(value: int | None) -> str:
    """Billions, to the third decimal or, of less, to three digits."""
    return "-" if value is None else f"{value / 1e9:.3f}" if value >= 1e8 else f"{value / 1e9:.3g}"


def _mega(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e6:.3f}" if value >= 1e5 else f"{value / 1e6:.3g}"


def _ms(nanoseconds: float) -> str:
    """Milliseconds to four digits."""
    value = nanoseconds / 1e6
    return f"{value:.{3 if value < 10 else 2 if value < 100 else 1 if value < 1000 else 0}f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"[{_ms(interval[0])}, {_ms(interval[1])}]"


def _peak(peak: int | None, base: int | None, device: int | None = None) -> str:
    value = device if device is not None else None if peak is None or base is None else peak - base
    return "-" if value is None else f"{value / 2**20:.0f}"


def show_merged(profiles: Profiles, scores: dict[str, dict[str, float | None]]) -> None:
    """Models by machines: median latency with interval and, below it, the head over the backbone; a word where it failed.

    Scores of evaluated models, by model and metric, stand beside them.
    """
    from rich.markup import escape

    machines = profiles.hardware()
    metrics = list(dict.fromkeys(metric for values in scores.values() for metric in values))
    listing = table(f"{len(profiles)} records: median latency in ms with interval, and head / backbone; ~ is noisy")
    for head in ("model", "input", "runtime"):
        listing.add_column(head)
    for head in (*metrics, "GMACs", "head / backbone"):
        listing.add_column(head, justify="right")
    for machine in machines:
        listing.add_column(escape(machine), justify="right", overflow="fold")
    for line in profiles.merged_table():
        records = [line[machine] for machine in machines if machine in line]
        counts = {_giga(record.compute.macs) for record in records if record.compute is not None}
        heads = {_head(record.overhead.head_over_backbone.macs) for record in records if record.overhead is not None} - {""}
        names = (escape(line[name]) for name in ("model", "workload", "runtime"))
        values = (scores.get(line["model"], {}).get(metric) for metric in metrics)
        shared = (" or ".join(sorted(found)) or "-" for found in (counts, heads))
        listing.add_row(*names, *map(_score, values), *shared, *(_cell(line.get(machine)) for machine in machines))
    stdout().print(listing)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _cell(record: Record | None) -> str:
    if record is None:
        return "-"
    if record.latency is None:
        return record.error.kind if record.error else "-"
    below = _head(record.overhead.head_over_backbone.latency) if record.overhead is not None else ""
    noisy = "~" if record.noisy else ""
    return f"{noisy}{_ms(record.latency.p50)} {_interval(record.latency.p50_interval)}" + (f"\n{below}" if below else "")


def _head(ratio: float | None) -> str:
    return "" if ratio is None else f"{100 * ratio:+.1f} %"
