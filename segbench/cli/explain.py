"""`segbench explain METRIC`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from segbench.cli.console import stdout, table

if TYPE_CHECKING:
    from segbench.metrics.splitting import RuleStep


@click.command()
@click.argument("metric", required=False)
@click.option("--run", "run_folder", metavar="RUN_DIR", help="Explain a stored run: what another protocol would change, rule by rule.")
@click.option("--protocol", metavar="NAME", help="With --run: the other protocol.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain(metric: str | None, run_folder: str | None, protocol: str | None, as_json: bool) -> None:
    """What METRIC means: formula, edge cases, and which tools give another number and why. Without METRIC: all of them.

    \b
    segbench explain semantic/miou
    segbench explain semantic/miou --run runs/a --protocol mmseg
    """
    from segbench.metrics.catalogue import every, find

    if run_folder or protocol:
        _explain_run(metric, run_folder, protocol, as_json)
    elif metric is None:
        if as_json:
            click.echo(json.dumps({"schema": "segbench.metrics/1", "metrics": [dataclasses.asdict(info) for info in every().values()]}))
            return
        listing = table()
        for head in ("metric", "what", "formula"):
            listing.add_column(head)
        for info in every().values():
            listing.add_row(info.id, info.title, info.formula)
        stdout(markup=False).print(listing)
    else:
        info = find(metric)
        if as_json:
            click.echo(json.dumps({"schema": "segbench.metric/1", **dataclasses.asdict(info)}))
            return
        click.echo(f"{click.style(info.id, bold=True)}: {info.title} ({info.better} is better)\n")
        parts = (("formula", info.formula), ("undefined", info.undefined), ("other tools", info.differs), ("source", info.source))
        for head, text in parts:
            click.echo(click.wrap_text(f"{head}: {text}", 100, "", "  "))
        if info.asked:
            click.echo(f"asked for:  segbench evaluate ... --metrics {info.id.partition('/')[2]}")


def _explain_run(metric: str | None, run_folder: str | None, protocol: str | None, as_json: bool) -> None:
    from segbench import protocols
    from segbench.errors import ConfigError
    from segbench.metrics.catalogue import find
    from segbench.metrics.splitting import split
    from segbench.results import Result

    if not run_folder or not protocol:
        raise ConfigError("--run and --protocol go together", hint="segbench explain semantic/miou --run RUN_DIR --protocol mmseg")
    result = Result.load(run_folder)
    name = find(metric).id if metric else next(metric for task in result.tasks.values() for metric in task.metrics)
    task = next((task for task, scored in result.tasks.items() if name in scored.metrics), None)
    if task is None:
        raise ConfigError(f"this run holds no {name}", hint="segbench evaluate ... --metrics adds metrics")
    first, second = result.rules(task), protocols.load(protocol, task)
    steps = split(result.evidences[task], result.dataset_spec, first, second)
    if as_json:
        document = {
            "schema": "segbench.split/1",
            "metric": name,
            "from": first.name,
            "to": second.name,
            "steps": [_plain(s) for s in steps],
        }
        click.echo(json.dumps(document))
        return
    _show_steps(task, name, result.value(name), first.name, second.name, steps)


def _plain(step: RuleStep) -> dict:
    return dataclasses.asdict(step)


def _show_steps(task: str, name: str, value: float | None, first: str, second: str, steps: list[RuleStep]) -> None:
    from segbench.protocols import rule_titles
    from segbench.results import percent

    def exact(number: float | None) -> str:
        return "-" if number is None else f"{100 * number:.6f}"

    listing = table(f"{name} under {first}: {percent(value)} %; under {second}, rule by rule")
    for head, justify in (("rule", "left"), ("from", "left"), ("to", "left"), ("change, points", "right"), ("then %", "right")):
        listing.add_column(head, justify=justify)  # type: ignore[arg-type]
    titles = rule_titles(task)
    for step in steps:
        listing.add_row(titles[step.rule], str(step.old), str(step.new), exact(step.delta.get(name)), exact(step.after.get(name)))
    if steps:
        stdout(markup=False).print(listing)
    else:
        click.echo(f"{first} and {second} have the same rules for {name}")
