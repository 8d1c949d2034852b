"""`segbench evaluate PREDICTIONS GROUND_TRUTH`."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from segbench.cli.console import progress_bar, say, stdout, table

if TYPE_CHECKING:
    from segbench.results import Result, TaskResult


@click.command()
@click.argument("predictions", metavar="PREDICTIONS")
@click.argument("ground_truth", metavar="GROUND_TRUTH")
@click.option("--task", default="auto", show_default=True, help="auto, semantic, instance, panoptic")
@click.option("--dataset", metavar="NAME|FILE", help="The classes: a preset (segbench datasets) or a file of the same schema.")
@click.option("--num-classes", type=int, metavar="N", help="Classes 0 to N-1, where there is no data set file.")
@click.option("--ignore-index", type=int, metavar="K", help="With --num-classes: the value of void pixels. [default: 255]")
@click.option("--format", metavar="NAME", help="Format of the predictions; recognised where left out (segbench formats).")
@click.option("--gt-format", metavar="NAME", help="Format of the ground truth.")
@click.option("--id-space", metavar="NAME", help="Which ids the predictions hold: label, train, contiguous (segbench datasets NAME).")
@click.option("--gt-id-space", metavar="NAME", help="Which ids the ground truth holds.")
@click.option("--layout", metavar="CHW|HWC", help="Axes of score arrays.")
@click.option("--threshold", type=float, metavar="T", help="One-channel scores: foreground is score >= T.")
@click.option("--protocol", metavar="NAME", help="Named rules, such as cityscapes or mmseg; default: the data set's own.")
@click.option("--metrics", metavar="GLOB,...", help="Adds metrics that cost extra: boundary_iou, iiou, category_iiou.")
@click.option("--missing", default="auto", show_default=True, help="Ground truth without prediction: error, skip, or empty (all missed).")
@click.option("--resize", metavar="RULE", help="Resize predictions to the ground truth: nearest or nearest-exact.")
@click.option("--strict", is_flag=True, help="Predictions without ground truth are an error.")
@click.option("--adapter", metavar="FILE:FUNCTION", help="A reader of your own for the predictions.")
@click.option("--trust-pickle", is_flag=True, help="Read pickled files, which can run code.")
@click.option("--maps", metavar="DIR", help="Folder of the maps that the predictions' panoptic JSON describes.")
@click.option("--gt-maps", metavar="DIR", help="The same of the ground truth.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N images.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Workers; default: the CPUs.")
@click.option("--executor", metavar="NAME", help="serial, threads, processes or dask. [default: threads]")
@click.option("--address", metavar="URL", help="With --executor dask: the scheduler, such as tcp://host:8786.")
@click.option("--name", metavar="MODEL", help="The model's name in the result.")
@click.option("-o", "--output", metavar="RUN_DIR", help="Write result.json, evidence.npz and dataset.json there.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No messages and no progress.")
def evaluate(output: str | None, as_json: bool, quiet: bool, metrics: str | None, **options: Any) -> None:
    """Scores of predictions against ground truth.

    PREDICTIONS and GROUND_TRUTH are folders or files; formats are recognised and said. Scores go to stdout, everything else to stderr.

    \b
    segbench evaluate preds/ gt/ --dataset cityscapes
    segbench evaluate preds/ gt/ --num-classes 21 --ignore-index 255 -o runs/a
    """
    from segbench.evaluation import evaluate as run

    patterns = [pattern.strip() for pattern in (metrics or "").split(",") if pattern.strip()]
    command = shlex.join(["segbench", *sys.argv[1:]])
    with progress_bar(not quiet) as progress:
        result = run(**options, metrics=patterns, command=command, say=(lambda text: None) if quiet else say, progress=progress)
    if output:
        folder = result.save(output)
        if not quiet:
            say(f"wrote {folder}/result.json, evidence.npz, dataset.json")
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        show(result)


def show(result: Result) -> None:
    """The result as tables."""
    for name, task in result.tasks.items():
        _show_task(result, name, task)


def _show_task(result: Result, name: str, task: TaskResult) -> None:
    from segbench.metrics.catalogue import every
    from segbench.results import percent

    console, known = stdout(), every()
    title = f"{result.model['name']} on {result.dataset['name']}: {result.images['count']} images, {name}, protocol {task.protocol['name']}"
    summary = table(title)
    summary.add_column("metric")
    summary.add_column("%", justify="right")
    summary.add_column("id", style="dim")
    for metric, entry in task.metrics.items():
        summary.add_row(known[metric].title, percent(entry.value), metric)
    console.print(summary)
    columns = [column for column in task.per_class[0] if column not in ("id", "name")]
    classes = table("per class, %")
    classes.add_column("class")
    for column in columns:
        classes.add_column(TITLES.get(column, column), justify="right")
    for row in task.per_class:
        cells = [str(row[column]) if isinstance(row[column], int) else percent(row[column]) for column in columns]
        classes.add_row(f"{row['name']}", *cells)
    console.print(classes)
    undefined = {metric: reason for metric, reason in task.undefined.items() if metric in task.metrics}
    for metric, reason in undefined.items():
        console.print(f"[dim]{metric} is undefined: {reason}[/dim]")


TITLES = {"iou": "IoU", "recall": "Acc", "precision": "Precision", "dice": "Dice", "support": "support (px)"}
"""Column heads; recall is what most papers of the field print as Acc."""
