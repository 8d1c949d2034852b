"""`segbench merge RUN...`."""

from __future__ import annotations

import click

from segbench.cli.console import say


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("-o", "--output", metavar="RUN_DIR", help="Write result.json, evidence.npz and dataset.json there.")
@click.option("--name", metavar="MODEL", help="The model's name in the result; that of the first run where left out.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def merge(runs: tuple[str, ...], output: str | None, name: str | None, as_json: bool) -> None:
    """One run of all images of several: the shards of a distributed evaluation.

    The numbers are those of one evaluation of all images, to the bit.

    \b
    segbench merge runs/shard-* -o runs/whole
    """
    from segbench.cli.evaluate import show
    from segbench.comparison.shards import merge_results
    from segbench.metrics.tasks import QUICK

    result = merge_results(runs, name).with_intervals(only=QUICK)
    if output:
        say(f"wrote {result.save(output)}/result.json, evidence.npz, dataset.json")
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        show(result)
