"""`segbench evaluate PREDICTIONS GROUND_TRUTH`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from segbench.cli.console import progress_bar, say, stdout, table, written
from segbench.errors import counted

if TYPE_CHECKING:
    from rich.table import Table

    from segbench.results import Result, TaskResult


def _numbers(kind: Callable[[str], Any]) -> Callable:
    def parse(ctx: click.Context, param: click.Parameter, value: str | None) -> list | None:
        try:
            return None if value is None else [kind(item) for item in value.split(",")]
        except ValueError as error:
            raise click.BadParameter(f"{value!r} is not a list of numbers with commas between them") from error

    return parse


def _ranges(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, tuple[float, float]] | None:
    if value is None:
        return None
    found = {}
    for item in value.split(","):
        name, _, ends = item.partition(":")
        low, _, high = ends.partition("-")
        try:
            found[name] = float(low), float(high)
        except ValueError as error:
            raise click.BadParameter(f"{item!r} is not NAME:LOW-HIGH, such as small:0-1024") from error
    return found


@click.command()
@click.argument("predictions", metavar="PREDICTIONS")
@click.argument("ground_truth", metavar="GROUND_TRUTH")
@click.option("--task", default="auto", show_default=True, help="auto, semantic, instance, panoptic, all")
@click.option("--dataset", metavar="NAME|FILE", help="The classes: a preset (segbench datasets) or a file of the same schema.")
@click.option("--num-classes", type=int, metavar="N", help="Classes 0 to N-1, where there is no data set file.")
@click.option("--ignore-index", type=int, metavar="K", help="With --num-classes: the value of void pixels. [default: 255]")
@click.option("--format", metavar="NAME", help="Format of the predictions; recognised where left out (segbench formats).")
@click.option("--gt-format", metavar="NAME", help="Format of the ground truth.")
@click.option("--id-space", metavar="NAME", help="Which ids the predictions hold: label, train, contiguous (segbench datasets NAME).")
@click.option("--gt-id-space", metavar="NAME", help="Which ids the ground truth holds.")
@click.option("--layout", metavar="CHW|HWC", help="Axes of score arrays.")
@click.option("--threshold", type=float, metavar="T", help="One-channel scores: foreground is score >= T.")
@click.option("--protocol", metavar="[TASK=]NAME", help="Named rules, such as cityscapes or mmseg; default: the data set's own.")
@click.option("--metrics", metavar="GLOB,...", help="Maps: adds costly metrics, such as boundary_iou. Instances: segm/*, bbox/*.")
@click.option("--analysis", is_flag=True, help="Instances: also where AP is lost, best F1, oLRP, calibration.")
@click.option(
    "--missing",
    default="auto",
    show_default=True,
    help="Ground truth without prediction: error, skip, empty (all missed); auto: empty for instances, else error.",
)
@click.option("--resize", metavar="RULE", help="Resize predictions to the ground truth: nearest or nearest-exact.")
@click.option("--strict", is_flag=True, help="Predictions without ground truth are an error.")
@click.option("--adapter", metavar="FILE:FUNCTION", help="A reader of your own for the predictions.")
@click.option("--trust-pickle", is_flag=True, help="Read pickled files, which can run code.")
@click.option("--iou-thresholds", metavar="T,...", callback=_numbers(float), help="Instances: such as 0.5,0.75.")
@click.option("--area-ranges", metavar="NAME:LOW-HIGH,...", callback=_ranges, help="Instances: such as all:0-1e10,tiny:0-256.")
@click.option("--max-dets", metavar="N,...", callback=_numbers(int), help="Instances: such as 1,10,100.")
@click.option("--unknown-class", default="error", show_default=True, help="Instances: rows of an unknown category: error or drop.")
@click.option("--maps", metavar="DIR", help="Folder of the maps that the predictions' panoptic JSON describes.")
@click.option("--gt-maps", metavar="DIR", help="The same of the ground truth.")
@click.option("--intervals/--no-intervals", default=None, help="95 % intervals; maps have them unless told, AP where asked for.")
@click.option("--cluster", metavar="COLUMN|REGEX", help="Intervals, of AP too: images of one video, patient or city are drawn together.")
@click.option("--images", metavar="CSV|JSON", help="What is known of the images: a column id, and columns to cluster by.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N images.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Workers; default: the CPUs.")
@click.option("--executor", metavar="NAME", help="serial, threads, processes or dask. [default: threads]")
@click.option("--address", metavar="URL", help="With --executor dask: the scheduler, such as tcp://host:8786.")
@click.option("--name", metavar="MODEL", help="The model's name in the result.")
@click.option("-o", "--output", metavar="RUN_DIR", help="Write result.json, evidence.npz and dataset.json there.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No messages and no progress.")
def evaluate(
    output: str | None,
    as_json: bool,
    quiet: bool,
    metrics: str | None,
    intervals: bool | None,
    **options: Any,
) -> None:
    """Scores of predictions against ground truth.

    PREDICTIONS and GROUND_TRUTH are folders or files; formats are recognised and said. Scores go to stdout, everything else to stderr.

    \b
    segbench evaluate preds/ gt/ --dataset cityscapes
    segbench evaluate preds/ gt/ --num-classes 21 --ignore-index 255 -o runs/a
    """
    from segbench.evaluation import evaluate as run
    from segbench.metrics.tasks import QUICK
    from segbench.results import check_run_folder

    if output is not None:
        check_run_folder(output, options["predictions"], options["ground_truth"])
    patterns = [pattern.strip() for pattern in (metrics or "").split(",") if pattern.strip()]
    command = shlex.join(["segbench", *sys.argv[1:]])
    # stdout is the result's alone, whatever an adapter prints
    with progress_bar(not quiet) as progress, redirect_stdout(sys.stderr):
        told = (lambda text: None) if quiet else say
        result = run(**options, metrics=patterns, intervals=intervals, command=command, say=told, progress=progress)
    if output is not None:
        folder = result.save(output)
        written.append(str(folder))
        if not quiet:
            say(f"wrote {folder}/result.json, evidence.npz, dataset.json")
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        show(result)
    if intervals is None and not quiet and not set(result.tasks) <= set(QUICK):
        # right behind the command: what follows a -- would be a path
        say(f"AP has no intervals, which take seconds; with them:\n{command.replace(' evaluate', ' evaluate --intervals', 1)}")


def show(result: Result) -> None:
    """The result as tables."""
    for name, task in result.tasks.items():
        _show_task(result, name, task)


def _show_task(result: Result, name: str, task: TaskResult) -> None:
    from rich.markup import escape

    console = stdout()
    images = counted(result.images["count"], "image")
    title = f"{result.model['name']} on {result.dataset['name']}: {images}, {name}, protocol {task.protocol['name']}"
    console.print(f"[bold]{escape(title)}[/bold]", soft_wrap=True)
    console.print(_summary(task))
    shown = [row for row in task.per_class if len(task.per_class) <= MANY_CLASSES or any(row.get(column) for column in COUNTS)]
    columns = [column for column in task.per_class[0] if column not in ("id", "name")]
    console.print("[bold]per class, %[/bold]")
    classes = table()
    classes.collapse_padding = len(columns) > FEW_COLUMNS
    classes.add_column("class", no_wrap=True)
    for column in columns:
        classes.add_column(TITLES.get(column, column), justify="right")
    for row in shown[:MOST_CLASSES]:
        classes.add_row(escape(row["name"]), *(_cell(column, row[column]) for column in columns))
    console.print(classes)
    if len(shown) < len(task.per_class):
        console.print(f"[dim]{len(task.per_class) - len(shown)} classes with neither ground truth nor prediction are not shown[/dim]")
    if len(shown) > MOST_CLASSES:
        console.print(f"[dim]... {len(shown) - MOST_CLASSES} more classes; --json lists all[/dim]")
    for reason in _doubts(task):
        console.print(f"[dim]? this interval is not reliable: {escape(reason)}[/dim]")
    for metric, reason in task.undefined.items():
        if metric in task.metrics:
            console.print(f"[dim]{metric} is undefined: {escape(reason)}[/dim]")


def _summary(task: TaskResult) -> Table:
    """One row per metric; families that share their metrics, as masks and boxes do, side by side."""
    from segbench.metrics.catalogue import every
    from segbench.results import percent, shown_interval

    known = every()
    families = list(dict.fromkeys(metric.partition("/")[0] for metric in task.metrics))
    names = list(dict.fromkeys(metric.partition("/")[2] for metric in task.metrics))
    summary = table()
    summary.add_column("metric")
    intervals = [entry.interval for entry in task.metrics.values() if entry.interval]
    for family in families:
        summary.add_column(f"{family} %" if len(families) > 1 else "%", justify="right")
        if intervals:
            summary.add_column(f"{100 * intervals[0]['level']:g} % interval", justify="right")
    summary.add_column("id", style="dim", no_wrap=True)  # it is to be typed
    for name in names:
        ids = [f"{family}/{name}" for family in families]
        first = known.get(ids[0])
        words = name if first is None else first.title.split(" ", 1)[1] if len(families) > 1 else first.title
        values = []
        for metric in ids:
            values.append(percent(task.metrics[metric].value) if metric in task.metrics else "")
            if intervals:
                values.append(shown_interval(task.metrics[metric].interval if metric in task.metrics else None))
        summary.add_row(words, *values, f"*/{name}" if len(families) > 1 else ids[0])
    return summary


def _doubts(task: TaskResult) -> list[str]:
    """Why intervals are not reliable, each reason once."""
    return list(
        dict.fromkeys(entry.interval["reason"] for entry in task.metrics.values() if entry.interval and not entry.interval["reliable"])
    )


def _cell(column: str, value: Any) -> str:
    from segbench.results import percent

    if column == "is_thing":
        return {True: "thing", False: "stuff"}.get(value, "-")
    return str(value) if isinstance(value, int) else percent(value)


MANY_CLASSES = 40
"""With more classes than this, those with neither ground truth nor prediction are left out of the table."""

FEW_COLUMNS = 6
"""With more columns than this, they stand closer together: 80 characters are what many terminals have."""

MOST_CLASSES = 200
"""Rows of the table at most."""

COUNTS = ("support", "num_gt", "num_pred", "tp", "fp", "fn")
"""Columns that tell whether a class occurs."""

TITLES = {
    "iou": "IoU",
    "boundary_iou": "Boundary IoU",
    "iiou": "iIoU",
    "recall": "Acc",
    "precision": "Precision",
    "dice": "Dice",
    "support": "support (px)",
    "is_thing": "kind",
}
TITLES |= {
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "boundary_pq": "Boundary PQ",
    "tp": "TP",
    "fp": "FP",
    "fn": "FN",
    "num_gt": "gt",
    "num_pred": "pred",
}
TITLES |= {
    f"{family}_{name}": f"{family} {name.upper()}" for family in ("segm", "bbox", "boundary") for name in ("ap", "ap50", "ap75", "ar100")
}
"""Column heads; recall is what most papers of the field print as Acc."""
