"""A comparison as one HTML page that needs nothing else: no script, no request, readable in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segbench.reporting import words

if TYPE_CHECKING:
    from segbench.comparison import Comparison, Row

NAMES = {"+": "better", "-": "worse", "~": "noise", "=": "same", "x": "apart", "!": "worse"}
"""CSS classes of marks."""


def comparison_page(comparisons: Sequence[Comparison]) -> str:
    """The page of one or more candidates."""
    return _environment().get_template("compare.html").render(**_context(comparisons), words=words, whole=True)


def comparison_fragment(comparison: Comparison) -> str:
    """The same without the frame of a page, for notebooks."""
    return _environment().get_template("compare.html").render(**_context([comparison]), words=words, whole=False)


def bar(row: Row, reach: float) -> dict[str, float] | None:
    """Where the interval and the change stand on a line from -reach to reach, in percent of its width."""
    found = row.difference
    if found.delta is None or found.low is None or found.high is None or reach <= 0:
        return None

    def place(value: float) -> float:
        return round(min(max(50 + 50 * value / reach, 0.0), 100.0), 2)

    low, high = place(found.low), place(found.high)
    return {"low": low, "width": round(max(high - low, 0.5), 2), "delta": place(found.delta)}


def reach(rows: Sequence[Row]) -> float:
    """The largest change worth drawing: beyond the middle ones a single outlier would squash all others."""
    ends = sorted(
        max(abs(row.difference.low), abs(row.difference.high))
        for row in rows
        if row.difference.low is not None and row.difference.high is not None
    )
    if not ends:
        return 0.0
    return min(ends[-1], 4 * ends[len(ends) // 2]) * 1.05


def _context(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    return {"comparisons": comparisons, "bar": bar, "reach": reach, "names": NAMES, "symbols": words.SYMBOLS, "meanings": words.MEANINGS}


def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("segbench.reporting", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
