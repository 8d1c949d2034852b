"""`segbench slice RUN --by COLUMN|REGEX`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from segbench.cli.console import say, stdout, table


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--by", required=True, metavar="COLUMN|REGEX", help="A column of --images, or an expression on the image ids.")
@click.option("--images", "table_file", metavar="CSV|JSON", help="What is known of the images: a column id, and others.")
@click.option("--metrics", metavar="GLOB,...", help="Which metrics are shown.")
@click.option("-o", "--output", metavar="FOLDER", help="Write a run folder of every slice there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def slice(run: str, by: str, table_file: str | None, metrics: str | None, output: str | None, as_json: bool) -> None:
    """The scores of a run on parts of its images; no pixel is read.

    \b
    segbench slice runs/a --by '^([a-z]+)_'
    segbench slice runs/a --by weather --images images.csv
    """
    from fnmatch import fnmatchcase

    from rich.markup import escape

    from segbench.comparison.labels import read_table
    from segbench.comparison.shards import slice_result
    from segbench.results import percent

    parts = slice_result(run, by, read_table(table_file) if table_file else None)
    if output:
        folders: set[str] = set()
        for label, part in parts.items():
            # a label may hold anything, a folder's name not
            folder = re.sub(r"[^\w-]", "_", label) or "_"
            folder += f"-{len(folders)}" if folder in folders else ""
            folders.add(folder)
            part.save(Path(output) / folder)
        say(f"wrote {len(parts)} run folders to {output}")
    # without a choice the table shows what fits beside one another, JSON everything
    usual = "*" if as_json else "pixel_accuracy,miou,mdice,pq,sq,rq,*/ap,*/ap50"
    patterns = [pattern.strip() for pattern in (metrics or usual).split(",")]
    rows = {
        label: {
            metric: entry.value
            for task in part.tasks.values()
            for metric, entry in task.metrics.items()
            if any(fnmatchcase(metric, pattern) or fnmatchcase(metric.partition("/")[2], pattern) for pattern in patterns)
        }
        for label, part in parts.items()
    }
    if as_json:
        slices = [{"slice": label, "num_images": parts[label].images["count"], "metrics": values} for label, values in rows.items()]
        click.echo(json.dumps({"schema": "segbench.slice/1", "by": by, "slices": slices}, indent=1))
        return
    shown = table(f"by {by}, %")
    names = list(next(iter(rows.values()), {}))
    several = len({metric.partition("/")[0] for metric in names}) > 1
    for column in ("slice", "images", *(metric if several else metric.partition("/")[2] for metric in names)):
        shown.add_column(column, justify="left" if column == "slice" else "right")
    for label, values in rows.items():
        shown.add_row(escape(label), str(parts[label].images["count"]), *(percent(values.get(metric)) for metric in names))
    stdout().print(shown)
