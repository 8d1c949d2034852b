"""`segbench power RUN [OTHER]`."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from segbench.cli.console import say, stdout, table


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("other", required=False, metavar="[OTHER]")
@click.option("--target", metavar="AMOUNT", help="A difference to see: 0.5pt, or 2% of the value.")
@click.option("--cluster", metavar="COLUMN|REGEX", help="Images of one video, patient or city are drawn together.")
@click.option("--images", "table_file", metavar="CSV|JSON", help="What is known of the images: a column id, and columns to cluster by.")
@click.option("--confidence", type=click.FloatRange(0.5, 1, max_open=True), default=0.95, show_default=True, help="Of the test.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def power(
    run: str, other: str | None, target: str | None, cluster: str | None, table_file: str | None, confidence: float, as_json: bool
) -> None:
    """How small a difference the images of a run can show, and how many it takes.

    With OTHER, a second run on the same images, the two runs say how much of their errors is shared; without it half is assumed.

    \b
    segbench power runs/main runs/candidate --target 0.5pt
    """
    from segbench.comparison.labels import read_table
    from segbench.comparison.power import power as compute
    from segbench.gates import Tolerance
    from segbench.reporting.words import percent
    from segbench.results import Result

    wanted = Tolerance.parse(target, "--target") if target else None
    labels = read_table(table_file) if table_file else None
    rows = compute(Result.load(run), Result.load(other) if other else None, wanted, cluster, confidence, labels)
    if as_json:
        click.echo(json.dumps({"schema": "segbench.power/1", "target": target, "metrics": [asdict(row) for row in rows]}, indent=1))
        return
    if rows and rows[0].assumed:
        say("one run alone: the errors of the models to be compared are taken to be half shared")
    shown = table(f"{rows[0].count} {rows[0].noun}, 80 % power" if rows else None)
    shown.add_column("metric")
    for column in ("%", "smallest change, pt", *([f"{rows[0].noun} for {target}"] if rows and target else [])):
        shown.add_column(column, justify="right")
    for row in rows:
        needed = [] if row.needed is None else [f"{row.needed:,}"]
        shown.add_row(row.metric, percent(row.value), percent(row.detectable), *needed)
    stdout().print(shown)
