"""What a GitHub Actions job shows: the step summary, outputs, annotations; each within its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from segbench.reporting import words
from segbench.reporting.markdown import comparison_markdown

if TYPE_CHECKING:
    from segbench.comparison import Comparison

SUMMARY_LIMIT = 900_000
"""Bytes of a step summary; GitHub drops one above 1 MiB."""

ANNOTATIONS = 9
"""Annotations of a kind; GitHub shows ten of a step."""


def publish(comparisons: Sequence[Comparison], environment: Mapping[str, str]) -> list[str]:
    """Appends to the files that the job names, and gives the annotation lines for stdout or stderr."""
    for variable, text in (("GITHUB_STEP_SUMMARY", summary(comparisons)), ("GITHUB_OUTPUT", outputs(comparisons))):
        if environment.get(variable):
            with open(environment[variable], "a", encoding="utf-8") as file:
                file.write(text)
    return workflow_commands(comparisons)


def summary(comparisons: Sequence[Comparison]) -> str:
    """The step summary."""
    # a character may take four bytes
    share = SUMMARY_LIMIT // 4 // max(len(comparisons), 1)
    return "\n".join(comparison_markdown(comparison, share) for comparison in comparisons) + "\n"


def outputs(comparisons: Sequence[Comparison]) -> str:
    """`status`, `exit-code`, `failed`, and the change of every headline metric, such as `miou-delta`, of the first candidate."""
    first = comparisons[0]
    lines = {
        "status": words.documents(list(comparisons))["status"],
        "exit-code": words.exit_code(list(comparisons)),
        "failed": sum(outcome.fails for comparison in comparisons for outcome in comparison.outcomes),
    }
    for row in first.metrics:
        if row.metric in first.contributions and row.difference.delta is not None:
            lines[f"{row.metric.partition('/')[2]}-delta"] = repr(row.difference.delta)
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def workflow_commands(comparisons: Sequence[Comparison]) -> list[str]:
    """Workflow commands: failed gates as errors, doubtful ones as warnings."""
    kinds: dict[str, list[str]] = {"error": [], "warning": []}
    for comparison in comparisons:
        for outcome in comparison.outcomes:
            kind = "error" if outcome.fails else "warning" if outcome.status in ("warned", "inconclusive") or outcome.underpowered else None
            if kind:
                title = f"segbench: {outcome.metric} {outcome.rule}"
                kinds[kind].append(f"::{kind} title={_property(title)}::{_data(outcome.message)}")
    lines = []
    for kind, found in kinds.items():
        lines += found[:ANNOTATIONS]
        if len(found) > ANNOTATIONS:
            lines.append(f"::{kind} title=segbench::and {len(found) - ANNOTATIONS} more")
    return lines


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
