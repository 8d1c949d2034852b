"""A comparison for machines: CSV, JUnit, the JSON of github-action-benchmark, badges."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from segbench.gates import Gate, Outcome
from segbench.reporting import words

if TYPE_CHECKING:
    from segbench.comparison import Comparison
    from segbench.results import Result

COLUMNS = (
    *("candidate", "slice", "id", "mark", "baseline", "candidate_value", "delta", "low", "high", "se", "p", "p_adjusted"),
    *("detectable", "reliable"),
)


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """One line per metric, class and slice; fractions at full precision, empty where undefined."""
    from segbench.comparison.rows import row_document

    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for comparison in comparisons:
        labelled = [("", row) for row in (*comparison.metrics, *comparison.classes)]
        labelled += [(label, row) for label, rows in comparison.slices.items() for row in rows]
        for label, row in labelled:
            values = row_document(row)
            ends = values["interval"] or {"low": None, "high": None}
            line = {"candidate": words.model(comparison.candidate), "slice": label, "candidate_value": values["candidate"], **ends}
            writer.writerow(line | {key: values[key] for key in COLUMNS if key in values and key not in ("candidate", *ends)})
    return buffer.getvalue()


def junit(comparisons: Sequence[Comparison]) -> str:
    """JUnit XML: one test case per gate and metric; without gates one per metric."""
    root = ElementTree.Element("testsuites", name="segbench")
    for comparison in comparisons:
        by_task: dict[str, list[Outcome]] = {}
        for outcome in comparison.outcomes:
            by_task.setdefault(outcome.metric.partition("/")[0], []).append(outcome)
        if not comparison.outcomes:  # a report without a test case is an error to most readers
            for row in comparison.metrics:
                told = f"{words.percent(row.difference.baseline)} to {words.percent(row.difference.candidate)}"
                gate = Gate(row.metric, informational=True)
                by_task.setdefault(row.metric.partition("/")[0], []).append(Outcome(gate, row.metric, told, "passed", told))
        for task, outcomes in by_task.items():
            _suite(root, comparison, task, outcomes)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, comparison: Comparison, task: str, outcomes: Sequence[Outcome]) -> None:
    failures = sum(outcome.fails for outcome in outcomes)
    skipped = sum(_skips(outcome) for outcome in outcomes)
    suite = ElementTree.SubElement(
        root, "testsuite", name=f"segbench.{task}", tests=str(len(outcomes)), failures=str(failures), skipped=str(skipped), errors="0"
    )
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in (
        ("baseline", words.model(comparison.baseline)),
        ("candidate", words.model(comparison.candidate)),
        ("dataset", comparison.candidate.dataset["digest"]),
        ("segbench", comparison.candidate.segbench),
    ):
        ElementTree.SubElement(properties, "property", name=key, value=_text(value))
    for outcome in outcomes:
        sliced = f" on {outcome.gate.slice}" if outcome.gate.slice else ""
        title = f"{outcome.metric.partition('/')[2] or outcome.metric} {outcome.rule}{sliced}"
        case = ElementTree.SubElement(suite, "testcase", classname=f"segbench.{task}", name=_text(title), time="0")
        if outcome.fails:
            failure = ElementTree.SubElement(case, "failure", type=outcome.gate.mode, message=_text(outcome.message))
            failure.text = _text(f"{outcome.message}\n{outcome.gate.source}")
        elif _skips(outcome):
            ElementTree.SubElement(case, "skipped", message=_text(f"{outcome.status}: {outcome.message}"))


def _skips(outcome: Outcome) -> bool:
    return not outcome.fails and outcome.status in ("failed", "skipped", "inconclusive", "acknowledged")


def _text(value: object) -> str:
    """Characters that XML allows."""
    return "".join(character if character >= " " or character in "\t\n" else "?" for character in str(value))


def benchmark_json(comparisons: Sequence[Comparison]) -> str:
    """What github-action-benchmark reads with `tool: customBiggerIsBetter`: metrics that should be high, in percent."""
    rows = [
        {
            "name": f"{words.model(comparison.candidate)} {row.metric}" if len(comparisons) > 1 else row.metric,
            "unit": "%",
            "value": 100 * row.difference.candidate,
            **_spread(comparison.candidate, row.metric),
        }
        for comparison in comparisons
        for row in comparison.metrics
        if row.difference.candidate is not None and row.higher_is_better
    ]
    return json.dumps(rows, indent=1) + "\n"


def _spread(result: Result, metric: str) -> dict[str, str]:
    entry = _entry(result, metric)
    made = entry.interval if entry is not None else None
    return {"range": f"± {50 * (made['high'] - made['low']):.2f}"} if made else {}


def _entry(result: Result, metric: str) -> Any:
    return next((task.metrics[metric] for task in result.tasks.values() if metric in task.metrics), None)


def badge(result: Result, metric: str) -> dict[str, Any]:
    """A shields.io endpoint."""
    value = result.value(metric)
    label = metric.partition("/")[2].replace("_", " ")
    label = {"miou": "mIoU", "pq": "PQ", "ap": "AP"}.get(label, label)
    entry = _entry(result, metric)
    message = "undefined" if value is None else f"{100 * value:.1f}"
    if value is not None and entry is not None and entry.interval:
        message += f" ± {50 * (entry.interval['high'] - entry.interval['low']):.1f}"
    return {"schemaVersion": 1, "label": label, "message": message, "color": _color(value), "cacheSeconds": 3600}


def _color(value: float | None) -> str:
    if value is None:
        return "lightgrey"
    steps = ((0.75, "brightgreen"), (0.6, "green"), (0.45, "yellowgreen"), (0.3, "yellow"))
    return next((color for least, color in steps if value >= least), "orange")


_HEX = {
    "lightgrey": "#9f9f9f",
    "brightgreen": "#2d7d0f",
    "green": "#4b7a10",
    "yellowgreen": "#66701a",
    "yellow": "#7d6608",
    "orange": "#b1480b",
}
"""Darker than shields.io's, so that white text on them can be read."""


def badge_svg(result: Result, metric: str) -> str:
    """The same as a picture that needs no server."""
    from html import escape

    content = badge(result, metric)
    label, message = content["label"], content["message"]
    widths = [round(6.6 * len(text)) + 12 for text in (label, message)]
    total = sum(widths)
    title = escape(f"{label}: {message}")
    texts = "".join(
        f'<text x="{x}" y="14" textLength="{width - 12}">{escape(text)}</text>'
        for text, x, width in ((label, 6, widths[0]), (message, widths[0] + 6, widths[1]))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img" aria-label="{title}"><title>{title}</title>'
        f'<clipPath id="r"><rect width="{total}" height="20" rx="3"/></clipPath><g clip-path="url(#r)">'
        f'<rect width="{widths[0]}" height="20" fill="#555"/>'
        f'<rect x="{widths[0]}" width="{widths[1]}" height="20" fill="{_HEX[content["color"]]}"/></g>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{texts}</g></svg>\n'
    )
