"""Numbers and sentences that every format shares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from segbench.errors import counted
from segbench.gates.judging import ORDER

if TYPE_CHECKING:
    from segbench.comparison import Comparison, Row
    from segbench.gates import Outcome
    from segbench.results import Result
    from segbench.significance.paired import Difference

SYMBOLS = {"failed": "❌", "inconclusive": "❔", "warned": "⚠️", "acknowledged": "☑️", "skipped": "⏭️", "passed": "✅"}
"""Gate outcomes, for formats that have pictures."""

MEANINGS = {
    "+": "better",
    "-": "worse",
    "~": "within chance",
    "=": "the same",
    "x": "only in one of the runs",
    "!": "has no value any more",
}
"""Marks of rows."""


def percent(value: float | None) -> str:
    """Two decimals of a percentage."""
    return "-" if value is None else f"{100 * value:.2f}"


def change(value: float | None) -> str:
    """Percentage points with their sign; -0.00 is 0.00."""
    return "-" if value is None else f"{100 * value:+.2f}".replace("-0.00", "0.00").replace("+0.00", "0.00")


def interval(found: Difference) -> str:
    """`[-1.92, -0.90]`, or nothing."""
    return "" if found.low is None or found.high is None else f"[{change(found.low)}, {change(found.high)}]"


def p_value(p: float | None) -> str:
    """Three decimals, `<.001` below them."""
    return "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"


def model(result: Result | None) -> str:
    """What a side is called."""
    return "no baseline" if result is None else str(result.model["name"])


def headline(comparison: Comparison) -> str:
    """The first sentence: how the gates ended."""
    outcomes = comparison.outcomes
    failed = sum(outcome.fails for outcome in outcomes)
    names = f"{model(comparison.candidate)} against {model(comparison.baseline)}"
    if not outcomes:
        return f"{names}: no gates"
    if failed:
        return f"{names}: {failed} of {counted(len(outcomes), 'gate check')} failed"
    if comparison.status == "inconclusive":
        unsure = sum(outcome.unsure for outcome in outcomes)
        return f"{names}: no gate check failed, but {unsure} of {len(outcomes)} could not tell"
    return f"{names}: {counted(len(outcomes), 'gate check')} passed"


def footnote(comparison: Comparison) -> str:
    """On what and how: one line."""
    method = comparison.method
    clusters = f" in {counted(method['num_clusters'], 'cluster')}" if method.get("num_clusters") else ""
    parts = [counted(method["num_images"], "image") + clusters]
    if comparison.identical:
        parts.append("identical predictions")
    elif "replicates" in method:
        parts.append(
            f"{100 * method['confidence']:g} % intervals by paired bootstrap ({method['replicates']}), p by paired permutation "
            f"({method['permutations']}), seed {method['seed']}"
        )
        smallest = next((row.difference.detectable for row in comparison.metrics if row.metric in comparison.contributions), None)
        if smallest is not None:
            parts.append(f"smallest detectable change {percent(smallest)} pt (80 % power)")
    parts.append(f"data set {comparison.candidate.dataset['name']} {comparison.candidate.dataset['digest'][:19]}")
    parts.append(f"segbench {comparison.candidate.segbench}")
    return " · ".join(parts)


def doubts(comparison: Comparison) -> list[str]:
    """Why some numbers cannot be trusted, each reason once."""
    reasons: dict[str, int] = {}
    for row in comparison.metrics:
        if row.difference.reason:
            reasons[row.difference.reason] = reasons.get(row.difference.reason, 0) + 1
    return [f"intervals of {count} metrics are not reliable: {reason}" for reason, count in reasons.items()]


def tally(rows: list[Row]) -> str:
    """`3 worse, 1 better of 19`, of those that have a value in either run."""
    worse, better = (sum(row.mark in marks for row in rows) for marks in ("-!", "+"))
    known = sum(row.difference.baseline is not None or row.difference.candidate is not None for row in rows)
    return f"{worse} worse, {better} better of {known}"


def moved(rows: list[Row]) -> list[Row]:
    """Rows that changed, the largest changes first: significant ones, then the rest."""
    changed = [row for row in rows if row.mark not in "=x"]
    return sorted(changed, key=lambda row: ("!-+~".index(row.mark), -abs(row.difference.delta or 0), row.metric))


def gated(comparison: Comparison) -> dict[str, Outcome]:
    """What the gates say of each metric of all images; of several the gravest."""
    of_all = [outcome for outcome in comparison.outcomes if outcome.gate.slice is None]
    return {outcome.metric: outcome for outcome in sorted(of_all, key=lambda outcome: -ORDER.index(outcome.status))}


def families(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by what their ids begin with, such as `semantic` or `semantic/iou`."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.metric.rpartition("/")[0], []).append(row)
    return found


def legend(rows: Iterable[Row]) -> str:
    """What the marks of these rows mean: `+ better, ~ within chance`."""
    marks = {row.mark for row in rows}
    return ", ".join(f"{mark} {meaning}" for mark, meaning in MEANINGS.items() if mark in marks)


def documents(comparisons: list[Comparison]) -> dict[str, Any]:
    """`segbench.compare/1`."""
    from segbench import __version__
    from segbench.comparison.rows import side

    baseline = comparisons[0].baseline
    code = exit_code(comparisons)
    statuses = [comparison.status for comparison in comparisons]
    return {
        "schema": "segbench.compare/1",
        "segbench": __version__,
        "status": next((status for status in ("failed", "inconclusive") if status in statuses), "passed"),
        "exit_code": code,
        "baseline": None if baseline is None else side(baseline),
        "comparisons": [comparison.document() for comparison in comparisons],
    }


def exit_code(comparisons: list[Comparison]) -> int:
    """Of several candidates: 1 where any failed, else 5 where any was inconclusive and that was asked about."""
    codes = {comparison.exit_code for comparison in comparisons}
    return 1 if 1 in codes else 5 if 5 in codes else 0
