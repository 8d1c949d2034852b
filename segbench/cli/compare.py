"""`segbench compare BASELINE CANDIDATE...`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segbench.cli.console import say, stdout, table

if TYPE_CHECKING:
    from segbench.comparison import Comparison, Options, Row
    from segbench.gates import Gate
    from segbench.results import Result


@click.command()
@click.argument("runs", nargs=-1, metavar="BASELINE CANDIDATE...")
@click.option("--gt", metavar="PATH", help="The runs are predictions: evaluate them against this ground truth first.")
@click.option("--dataset", metavar="NAME|FILE", help="With --gt: the classes.")
@click.option("--num-classes", type=int, metavar="N", help="With --gt: classes 0 to N-1.")
@click.option("--ignore-index", type=int, metavar="K", help="With --gt and --num-classes: the value of void pixels.")
@click.option("--protocol", metavar="NAME", help="Score both sides by this protocol.")
@click.option("--config", metavar="FILE", help="Gates and settings. [default: segbench.toml, else pyproject.toml, of this folder]")
@click.option("--max-drop", multiple=True, metavar="METRIC=AMOUNT", help="A gate: 0.5pt are percentage points, 2% of the baseline.")
@click.option("--max-rise", multiple=True, metavar="METRIC=AMOUNT", help="The same for metrics that should be low.")
@click.option("--min", "least", multiple=True, metavar="METRIC=VALUE", help="A gate: at least this, such as semantic/miou=78pt.")
@click.option("--max", "most", multiple=True, metavar="METRIC=VALUE", help="A gate: at most this.")
@click.option("--mode", default="regression", show_default=True, help="Of --max-drop and --max-rise: regression, point, non_inferiority.")
@click.option("--fail-on", metavar="WHAT", help="fail, inconclusive or never: what makes the exit code other than 0.")
@click.option("--baseline-missing", metavar="WHAT", help="No baseline yet: pass or fail.")
@click.option("--any-hardware", is_flag=True, help="Profiles: compare measurements of different machines.")
@click.option("--intersect", is_flag=True, help="Compare the images that both have.")
@click.option("--images", "table_file", metavar="CSV|JSON", help="What is known of the images: an id, and columns to cluster or slice by.")
@click.option("--cluster", metavar="COLUMN|REGEX", help="Images of one video, patient or city are drawn together.")
@click.option("--slice", "slices", multiple=True, metavar="COLUMN|REGEX", help="Also compare on each value of this.")
@click.option("--confidence", type=float, metavar="LEVEL", help="Of intervals and tests. [default: 0.95]")
@click.option("--replicates", type=click.IntRange(100, 1_000_000), metavar="N", help="Of the bootstrap. [default: 2000]")
@click.option("--permutations", type=click.IntRange(100, 1_000_000), metavar="N", help="Of the test. [default: 5000]")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Equal seeds draw equal images. [default: 0]")
@click.option("--markdown", metavar="FILE", help="Write the report as Markdown.")
@click.option("--html", metavar="FILE", help="Write it as one HTML page.")
@click.option("--junit", metavar="FILE", help="Write the gates as JUnit XML.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write every row as CSV.")
@click.option("--benchmark-json", metavar="FILE", help="Write the candidate's metrics for github-action-benchmark.")
@click.option("--badge", metavar="METRIC=FILE", help="Write a badge: .json is a shields.io endpoint, .svg a picture.")
@click.option("--lint", is_flag=True, help="Only check the gates, against the baseline if one is given.")
@click.option("--no-ci", is_flag=True, help="Do not write to the files of a GitHub Actions job.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as one JSON object.")
def compare(runs: tuple[str, ...], lint: bool, as_json: bool, no_ci: bool, **given: Any) -> int:
    """Is the candidate better than the baseline, and does it pass the gates?

    BASELINE and CANDIDATE are run folders of segbench evaluate -o, predictions with --gt, or two files of segbench profile -o.

    \b
    segbench compare runs/main runs/candidate --max-drop semantic/miou=0.5pt
    segbench compare preds/main/ preds/candidate/ --gt gt/ --markdown report.md
    """
    options = _options(given)
    if lint:
        return _lint(runs, options, given, as_json)
    if len(runs) < 2:
        raise click.UsageError("compare needs a BASELINE and at least one CANDIDATE")
    from segbench.comparison.profiles import is_profile

    profiles = [is_profile(path) for path in runs]
    reports = [given[name] for name in REPORTS if given[name]]
    if len(runs) == 2 and all(profiles):
        if reports or given["badge"]:
            raise click.UsageError("of profiles there is the table or --json; reports and badges are of runs")
        return _profiles(runs, options, given["any_hardware"], as_json)
    if any(profiles):
        _check_there(runs)
        raise click.UsageError("profiles are compared two at a time, and not with runs")
    if as_json and "-" in reports:
        raise click.UsageError("--json has stdout for itself: name a file in place of -")
    _badge(given["badge"])
    comparisons = _compared(runs, options, given)
    _write(comparisons, given)
    if not no_ci and os.environ.get("GITHUB_ACTIONS") == "true":
        from segbench.reporting.github import publish

        for line in publish(comparisons, os.environ):
            say(line)
    from segbench.reporting.words import documents, exit_code

    if as_json:
        click.echo(json.dumps(documents(comparisons), indent=1, allow_nan=False))
    elif "-" not in reports:
        for comparison in comparisons:
            show(comparison)
    return exit_code(comparisons)


def _check_there(runs: tuple[str, ...]) -> None:
    """What is not there is neither a run nor a profile."""
    from segbench.errors import FormatError

    for path in runs:
        if not Path(path).exists():
            raise FormatError("no such file", files=[path], hint="check the path")


def _profiles(runs: tuple[str, ...], options: Options, any_hardware: bool, as_json: bool) -> int:
    """Two files of profiles."""
    from rich.markup import escape

    from segbench.comparison.profiles import METRICS, compare_profiles
    from segbench.reporting.words import p_value

    found = compare_profiles(runs[0], runs[1], options.policy, any_hardware)
    if as_json:
        click.echo(json.dumps(found.document(), indent=1))
        return found.exit_code
    console = stdout()
    for note in found.notes:
        console.print(f"[dim]{escape(note)}[/dim]")
    for where in dict.fromkeys(row.where for row in found.rows):
        shown = table(escape(where))
        shown.add_column("")
        shown.add_column("cost")
        for column in ("baseline", "candidate", "ratio", "interval", "p"):
            shown.add_column(column, justify="right")
        for row in found.rows:
            if row.where == where:
                ends = f"{row.low:.3f} to {row.high:.3f}" if row.low is not None and row.low != row.high else ""
                cells = (row.mark, METRICS[row.metric], f"{row.baseline:,.6g}", f"{row.candidate:,.6g}", f"{row.ratio:.3f}", ends)
                shown.add_row(*map(escape, (*cells, p_value(row.p) if ends else "")), style=STYLES[row.mark])
        console.print(shown)
    for reason in dict.fromkeys(row.reason for row in found.rows if row.reason):
        console.print(f"[dim]not reliable: {reason}[/dim]")
    for outcome in found.outcomes:
        if outcome.status not in ("passed", "skipped") or outcome.underpowered:
            console.print(f"{outcome.status} {escape(outcome.rule)}: {escape(outcome.message)}")
    return found.exit_code


def _options(given: dict[str, Any]) -> Options:
    from segbench.comparison import Options
    from segbench.comparison.labels import read_table
    from segbench.gates import Policy, config

    found = given["config"] or config.find()
    policy = config.load(found) if found else Policy()
    if found and not given["config"]:
        say(f"gates and settings of {found}")
    changes = {
        key: given[key]
        for key in ("cluster", "confidence", "replicates", "permutations", "seed", "fail_on", "baseline_missing")
        if given[key] is not None
    }
    _check_words(changes)
    policy = replace(policy, gates=(*policy.gates, *_gates(given)), **changes)
    labels = read_table(given["table_file"]) if given["table_file"] else None
    return Options(policy, given["intersect"], labels, given["slices"])


def _check_words(changes: dict[str, Any]) -> None:
    from segbench.gates.config import parse_setting

    for key, value in changes.items():
        parse_setting(key, value, f"--{key.replace('_', '-')}")


def _gates(given: dict[str, Any]) -> list[Gate]:
    from segbench.errors import ConfigError
    from segbench.gates.config import Lines, gate

    gates = []
    for option, key in (("max_drop", "max_drop"), ("max_rise", "max_rise"), ("least", "min"), ("most", "max")):
        for text in given[option]:
            metric, equals, amount = text.rpartition("=")
            if not equals or not metric:
                raise ConfigError(f"--{key.replace('_', '-')} {text!r} is no METRIC=AMOUNT", hint="semantic/miou=0.5pt")
            rule = {"metric": metric, key: amount, "mode": given["mode"]}
            gates.append(gate(rule, Lines("", f"--{key.replace('_', '-')}"), 0))
    return gates


def _compared(runs: tuple[str, ...], options: Options, given: dict[str, Any]) -> list[Comparison]:
    from segbench.comparison import compare as run
    from segbench.comparison.comparing import first_run
    from segbench.errors import FormatError

    candidates = [_result(path, given) for path in runs[1:]]
    if not Path(runs[0]).exists():
        if options.policy.baseline_missing == "fail":
            raise FormatError("there is no baseline", files=[runs[0]], hint="--baseline-missing pass accepts a first run")
        say(f"no baseline at {runs[0]}: this is taken for the first run")
        return [first_run(candidate, options) for candidate in candidates]
    baseline = _result(runs[0], given)
    return [run(baseline, candidate, options=options) for candidate in candidates]


def _result(path: str, given: dict[str, Any]) -> Result:
    from segbench.errors import FormatError
    from segbench.results import Result

    if given["gt"] is None or (Path(path) / "result.json").is_file():
        if Path(path).is_dir() and not (Path(path) / "result.json").is_file():
            raise FormatError(
                "not a run folder", files=[path], hint="segbench evaluate ... -o FOLDER writes one; predictions need --gt GROUND_TRUTH"
            )
        result = Result.load(path)
        return result.rescore(given["protocol"]) if given["protocol"] else result
    from segbench.evaluation import evaluate

    chosen = {key: given[key] for key in ("dataset", "num_classes", "ignore_index", "protocol")}
    return evaluate(path, given["gt"], intervals=False, command="segbench compare", say=say, **chosen)


def _lint(runs: tuple[str, ...], options: Options, given: dict[str, Any], as_json: bool) -> int:
    """Checks the gates without a candidate: that their metrics exist, and that losses beyond their tolerance could be seen."""
    from segbench.comparison.linting import lint
    from segbench.errors import counted

    baseline = _result(runs[0], given) if runs else None
    findings, code = lint(options, baseline)
    if as_json:
        document = {"schema": "segbench.compare-lint/1", "gates": len(options.policy.gates), "findings": findings, "exit_code": code}
        click.echo(json.dumps(document, indent=1))
    else:
        for finding in findings:
            click.echo(finding)
        click.echo(f"{counted(len(options.policy.gates), 'gate')}, {counted(len(findings), 'finding')}")
    return code


def _write(comparisons: list[Comparison], given: dict[str, Any]) -> None:
    from segbench.reporting import markdown, tables

    texts: dict[str, str] = {}
    if given["markdown"]:
        board = comparisons[0].candidate.dataset["name"]
        texts[given["markdown"]] = markdown.marked(comparisons, board)
    if given["html"]:
        from segbench.reporting.page import comparison_page

        texts[given["html"]] = comparison_page(comparisons)
    if given["junit"]:
        texts[given["junit"]] = tables.junit(comparisons)
    if given["csv_file"]:
        texts[given["csv_file"]] = tables.comparison_csv(comparisons)
    if given["benchmark_json"]:
        texts[given["benchmark_json"]] = tables.benchmark_json(comparisons)
    if given["badge"]:
        metric, file = _badge(given["badge"])
        made = tables.badge_svg if file.endswith(".svg") else lambda *what: json.dumps(tables.badge(*what)) + "\n"
        texts[file] = made(comparisons[0].candidate, metric)
    for file, text in texts.items():
        _write_text(file, text)


def _badge(text: str | None) -> tuple[str, str]:
    """What --badge METRIC=FILE names."""
    metric, _, file = (text or "").rpartition("=")
    if text is not None and (not metric or not file.endswith((".svg", ".json"))):
        raise click.UsageError(f"--badge {text!r} is no METRIC=FILE, where the file ends in .svg or .json")
    return metric, file


def _write_text(file: str, text: str) -> None:
    from segbench.errors import InputError
    from segbench.storage import write_whole

    if file == "-":
        sys.stdout.write(text)
        return
    try:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(file), text.encode())
    except OSError as error:
        raise InputError(f"the report cannot be written: {error.strerror}", files=[file]) from error
    say(f"wrote {file}")


REPORTS = ("markdown", "html", "junit", "csv_file", "benchmark_json")
"""Options that name a file, or - for stdout in place of the table."""

UNSEEN = 5
"""Gate checks that passed and are underpowered: so many are told one by one."""

STYLES = {"+": "green", "-": "red", "!": "red", "~": "dim", "=": "dim", "x": "dim"}


def show(comparison: Comparison) -> None:
    """The comparison as tables."""
    from rich.markup import escape

    from segbench.reporting import words

    console = stdout()
    for note in (*comparison.notes, *words.doubts(comparison)):
        console.print(f"[dim]{escape(note)}[/dim]")
    console.print(f"[bold]{escape(words.headline(comparison))}[/bold]")
    changed = [row for row in words.moved(comparison.classes) if row.mark in "+-!"]
    shown = [("", comparison.metrics), (f"; classes: {words.tally(comparison.classes)}", changed[:20])]
    shown += [(f", slice {label}", rows) for label, rows in comparison.slices.items()]
    for title, rows in shown:
        for family, members in words.families(rows).items():
            console.print(_rows(f"{family}/*, %{title}", members))
    console.print(f"[dim]{words.legend(row for _, rows in shown for row in rows)}[/dim]")
    for metric, parts in comparison.contributions.items():
        names = [f"{label} {words.change(delta)}" for label, delta in parts[:5] if delta]
        if names:
            console.print(f"{metric} by class, in points: {', '.join(map(escape, names))}")
    for metric, parts in comparison.images.items():
        names = [f"{image} {100 * delta:+.3f}" for image, delta in parts[:5]]
        if names:
            console.print(f"{metric} by image, in points: {', '.join(map(escape, names))}")
    told = [outcome for outcome in comparison.outcomes if outcome.status not in ("passed", "skipped")]
    unseen = [outcome for outcome in comparison.outcomes if outcome.status == "passed" and outcome.underpowered]
    for outcome in told + unseen[:UNSEEN]:
        style = "red" if outcome.fails else "yellow"
        console.print(f"[{style}]{outcome.status}[/{style}] {escape(outcome.rule)}: {escape(outcome.message)}")
    if len(unseen) > UNSEEN:
        console.print(f"[yellow]underpowered[/yellow] are {len(unseen) - UNSEEN} more of the gate checks that passed")
    console.print(f"[dim]{escape(words.footnote(comparison))}[/dim]")


def _rows(title: str, rows: list[Row]) -> Any:
    from rich.markup import escape

    from segbench.reporting import words

    shown = table(escape(title))
    shown.add_column("")
    shown.add_column("metric")
    for column in ("baseline", "candidate", "change", "interval", "p"):
        shown.add_column(column, justify="right")
    for row in rows:
        found = row.difference
        values = words.percent(found.baseline), words.percent(found.candidate), words.change(found.delta)
        cells = (row.mark, row.metric.rpartition("/")[2], *values)
        shown.add_row(*map(escape, (*cells, words.interval(found), words.p_value(found.least_p))), style=STYLES[row.mark])
    return shown
