"""A comparison as GitHub Markdown: for step summaries, pull-request comments and files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from segbench.reporting import words

if TYPE_CHECKING:
    from segbench.comparison import Comparison, Row

COMMENT_LIMIT = 65_000
"""Characters of a pull-request comment; GitHub takes 65,536."""

SHOWN_ROWS = 40


def comparison_markdown(comparison: Comparison, limit: int = COMMENT_LIMIT) -> str:
    """One comparison; sections that do not fit are left out, the least important first."""
    parts = [_head(comparison), _metrics(comparison), _gates(comparison)]
    optional = [_classes(comparison), _slices(comparison), _images(comparison)]
    end = _foot(comparison)
    room = limit - sum(len(part) for part in parts) - len(end)
    for part in optional:
        if part and len(part) < room:
            parts.append(part)
            room -= len(part)
    text = "".join(part for part in parts if part) + end
    if len(text) <= limit:
        return text
    return text[: limit - 60].rpartition("\n")[0] + "\n\n(cut: the report is longer than may be shown here)\n"


def marked(comparisons: Sequence[Comparison], marker: str, limit: int = COMMENT_LIMIT) -> str:
    """Several comparisons behind a hidden first line by which a comment is found and replaced."""
    share = (limit - len(marker) - 40) // max(len(comparisons), 1)
    return f"<!-- segbench:compare:{marker} -->\n" + "\n".join(comparison_markdown(comparison, share) for comparison in comparisons)


def escape(text: object) -> str:
    """Text that stays text in a table cell."""
    out = str(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "|`*_[]~@#":
        out = out.replace(character, f"\\{character}" if character not in "@#" else f"{character}&#8203;")
    return " ".join(out.split())


def _head(comparison: Comparison) -> str:
    symbol = words.SYMBOLS[comparison.status] if comparison.outcomes else "📊"
    notes = [*comparison.notes, *words.doubts(comparison)]
    if comparison.identical:
        notes.insert(0, "The predictions are identical.")
    return f"### {symbol} segbench: {escape(words.headline(comparison))}\n\n" + "".join(f"- {escape(note)}\n" for note in notes) + "\n"


def _metrics(comparison: Comparison) -> str:
    return _table(comparison.metrics, _gated(comparison))


def _gated(comparison: Comparison) -> dict[str, str]:
    return {metric: f"{words.SYMBOLS[outcome.status]} {outcome.rule}" for metric, outcome in words.gated(comparison).items()}


def _table(rows: Sequence[Row], gated: dict[str, str]) -> str:
    lines = ["| | metric, % | baseline | candidate | change [interval] | p | gate |", "|-|-|-:|-:|-:|-:|-|"]
    for row in rows:
        found = row.difference
        delta = f"{words.change(found.delta)} {words.interval(found)}".strip()
        lines.append(
            f"| `{row.mark}` | {escape(row.metric)} | {words.percent(found.baseline)} | {words.percent(found.candidate)} | {delta} | "
            f"{escape(words.p_value(found.least_p))} | {escape(gated.get(row.metric, ''))} |"
        )
    return "\n".join(lines) + "\n\n"


def _gates(comparison: Comparison) -> str:
    grave = [outcome for outcome in comparison.outcomes if outcome.status not in ("passed", "skipped") or outcome.underpowered]
    if not grave:
        return ""
    order = list(words.SYMBOLS)
    # metrics of the whole set before those of classes
    grave.sort(key=lambda outcome: (order.index(outcome.status), outcome.metric.count("/"), outcome.metric))
    lines = [
        f"- {words.SYMBOLS[outcome.status]} **{outcome.status}**{' (informational)' if outcome.gate.informational else ''} "
        f"{escape(outcome.rule)}: {escape(outcome.message)}"
        for outcome in grave[:SHOWN_ROWS]
    ]
    if len(grave) > SHOWN_ROWS:
        lines.append(f"- and {len(grave) - SHOWN_ROWS} more")
    return "\n".join(lines) + "\n\n"


def _classes(comparison: Comparison) -> str:
    rows = words.moved(comparison.classes)
    if not rows:
        return ""
    summary = f"Per class: {words.tally(comparison.classes)}; p-values corrected for the number of classes"
    more = f"\nand {len(rows) - SHOWN_ROWS} more\n" if len(rows) > SHOWN_ROWS else ""
    return _folded(summary, _table(rows[:SHOWN_ROWS], _gated(comparison)) + more)


def _slices(comparison: Comparison) -> str:
    if not comparison.slices:
        return ""
    body = ""
    for label, rows in comparison.slices.items():
        body += f"**{escape(label)}**\n\n" + _table(rows[:SHOWN_ROWS], {})
    return _folded("Slices; p-values corrected for their number", body)


def _images(comparison: Comparison) -> str:
    body = ""
    for metric, parts in comparison.contributions.items():
        told = [f"{escape(label)} {words.change(delta)}" for label, delta in parts[:10] if delta]
        if told:
            body += f"{escape(metric)} by class, in points of the mean: {', '.join(told)}\n\n"
    for metric, parts in comparison.images.items():
        body += f"| image | change of {escape(metric)} by it alone |\n|-|-:|\n"
        body += "".join(f"| {escape(image)} | {100 * delta:+.3f} |\n" for image, delta in parts[:10]) + "\n"
    return _folded("Classes and images that moved most", body) if body else ""


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n</details>\n\n"


def _foot(comparison: Comparison) -> str:
    return f"<sub>{escape(words.footnote(comparison))}</sub>\n"
