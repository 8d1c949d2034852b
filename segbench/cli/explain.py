"""`segbench explain METRIC`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from segbench.cli.console import stdout, table

if TYPE_CHECKING:
    from segbench.metrics.splitting import RuleStep
    from segbench.results import Result


HEADS = {"wrong_class": "wrong class", "hallucinated": "invented"}
"""Causes of errors in short words: nine columns of numbers fit into 80 characters."""

ADDED = "segbench evaluate ... --metrics adds metrics"


@click.command()
@click.argument("metric", required=False)
@click.option(
    "--run",
    "run_folder",
    metavar="RUN_DIR",
    help="Explain a stored run: what another protocol would change, or where PQ is lost.",
)
@click.option("--protocol", metavar="NAME", help="With --run: the other protocol.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain(metric: str | None, run_folder: str | None, protocol: str | None, as_json: bool) -> None:
    """What METRIC means: formula, edge cases, and which tools give another number and why. Without METRIC: all of them.

    \b
    segbench explain semantic/miou
    segbench explain semantic/miou --run runs/a --protocol mmseg
    segbench explain panoptic/pq --run runs/a
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

    if not run_folder:
        raise ConfigError("--protocol needs --run", hint="segbench explain semantic/miou --run RUN_DIR --protocol mmseg")
    result = Result.load(run_folder)
    name = find(metric).id if metric else next(metric for task in result.tasks.values() for metric in task.metrics)
    task = next((task for task, scored in result.tasks.items() if name in scored.metrics), None)
    if task is None:
        other = name.partition("/")[0] not in result.tasks
        hint = "segbench evaluate ... --task all scores panoptic files as labels and instances too" if other else ADDED
        raise ConfigError(f"this run holds no {name}", hint=hint)
    if not protocol:
        if name != "panoptic/pq":
            raise ConfigError(f"{name} of a run is explained against another protocol", hint="add --protocol NAME")
        _explain_losses(result, as_json)
        return
    first, second = result.rules(task), protocols.load(protocol, task)
    steps = split(result.evidences[task], result.dataset_spec, first, second)
    if as_json:
        document = {
            "schema": "segbench.split/1",
            "metric": name,
            "from": first.name,
            "to": second.name,
            "steps": [step.document() for step in steps],
        }
        click.echo(json.dumps(document))
        return
    _show_steps(task, name, result.value(name), first.name, second.name, steps)


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


def _explain_losses(result: Result, as_json: bool) -> None:
    """Where PQ is lost, by class and cause, and PQ of small, medium and large segments."""
    from rich.markup import escape

    from segbench.metrics.panoptic.analysis import FALSE, MISSES, SIZES, by_size, error_budget
    from segbench.results import percent

    given = result.evidences["panoptic"], result.dataset_spec, result.rules("panoptic")
    budget, sizes = error_budget(*given), by_size(*given)
    if as_json:
        click.echo(json.dumps({"schema": "segbench.losses/1", "metric": "panoptic/pq", "classes": budget, "sizes": sizes}))
        return
    causes = tuple(dict.fromkeys((*MISSES, *FALSE)))
    losses = {
        row["name"]: [
            row["pq"],
            row["loss"],
            row["segmentation"],
            *(row.get(f"miss_{cause}", 0.0) + row.get(f"false_{cause}", 0.0) for cause in causes),
        ]
        for row in sorted(budget, key=lambda row: -row["loss"])
    }
    heads = ["PQ", "lost", "outlines", *(HEADS.get(cause, cause) for cause in causes)]
    shown = [at for at in range(len(heads)) if at < 3 or any(values[at] for values in losses.values())]
    listing = table("where PQ is lost, points of each class; the largest loss first")
    listing.collapse_padding = True
    listing.add_column("class", no_wrap=True)
    for at in shown:
        listing.add_column(heads[at], justify="right", min_width=max(map(len, heads[at].split())))
    for name, values in losses.items():
        listing.add_row(escape(name), *(percent(values[at]) for at in shown))
    if losses:
        means = [sum(column) / len(losses) for column in zip(*losses.values(), strict=True)]
        listing.add_row("mean", *(percent(means[at]) for at in shown), style="bold")
    stdout().print(listing)
    listing = table("by size, %")
    for head in ("segments", "PQ", "SQ", "RQ", "TP", "FP", "FN"):
        listing.add_column(head, justify="left" if head == "segments" else "right")
    for name, row in sizes.items():
        low, high = SIZES[name]
        ends = f"{low} to {high - 1} px" if high < 1 << 60 else f"from {low} px"
        shares = map(percent, (row["pq"], row["sq"], row["rq"]))
        listing.add_row(f"{name}, {ends}", *shares, *(str(row[key]) for key in ("tp", "fp", "fn")))
    stdout().print(listing)
