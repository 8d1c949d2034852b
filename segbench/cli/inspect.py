"""`segbench inspect PATH`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from segbench.cli.console import block, stdout, table

if TYPE_CHECKING:
    from segbench.inspection import Inspection

SHOWN_VALUES = 24


@click.command()
@click.argument("path")
@click.option("--dataset", metavar="NAME|FILE", help="Check the values against this data set.")
@click.option("--maps", metavar="DIR", help="Folder of the maps that a panoptic JSON describes.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Read only the first N files.")
@click.option("--strict", is_flag=True, help="Exit 3 where anything is wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(path: str, dataset: str | None, maps: str | None, limit: int | None, strict: bool, as_json: bool) -> int:
    """What PATH holds: format, sizes, id histogram, which data set it fits, and what is wrong with it."""
    from segbench import datasets
    from segbench.inspection import inspect as run

    found = run(path, datasets.load(dataset) if dataset else None, limit, maps)
    if as_json:
        click.echo(json.dumps({"schema": "segbench.inspection/1", **dataclasses.asdict(found)}))
    else:
        show(found)
    return 3 if strict and (found.problems or not found.files) else 0


def show(found: Inspection) -> None:
    """The report as text and a histogram."""
    from rich.markup import escape

    console = stdout()
    console.print(escape(f"{found.path}: {found.what}"))
    if found.read < found.files:
        console.print(f"read {found.read} of {found.files}")
    if found.sizes:
        console.print("sizes: " + ", ".join(f"{size} ({count})" for size, count in list(found.sizes.items())[:6]))
    if found.values:
        total = sum(found.values.values())
        histogram, bar = table(), block()
        histogram.add_column("value")
        histogram.add_column("pixels", justify="right")
        histogram.add_column("%", justify="right")
        histogram.add_column("")
        for value, count in list(found.values.items())[:SHOWN_VALUES]:
            histogram.add_row(value, str(count), f"{100 * count / total:.2f}", bar * round(40 * count / total))
        console.print(histogram)
        if len(found.values) > SHOWN_VALUES:
            console.print(f"... {len(found.values)} values in all; --json lists them")
    for fit in found.fits[:6]:
        console.print(escape(f"fits {fit['dataset']} ({fit['space']} ids): {fit['why']}"))
    if len(found.fits) > 6:
        console.print(f"... and {len(found.fits) - 6} more data sets; values alone seldom tell")
    for problem in found.problems:
        console.print(f"[red]{problem.code}[/red] {escape(problem.message)}")
        for file in problem.files:
            console.print(f"  {escape(file)}")
        if problem.count > len(problem.files) > 0:
            console.print(f"  ... {problem.count} in all")
        if problem.hint:
            console.print(f"  hint: {escape(problem.hint)}")
    if not found.problems:
        console.print("nothing wrong was found")
