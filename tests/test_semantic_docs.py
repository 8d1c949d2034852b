"""The documentation of the semantic metrics and protocols says what the code does."""

from __future__ import annotations

from pathlib import Path

from segbench import protocols
from segbench.metrics.catalogue import METRICS
from segbench.metrics.semantic import COMPUTE, PER_CLASS

DOCS = Path(__file__).parents[1] / "docs"


def test_every_metric_is_documented_and_explained():
    text = (DOCS / "metrics.md").read_text()
    for name in COMPUTE:
        assert f"`{name}`" in text, name
        assert ("asked for" in next(line for line in text.splitlines() if f"`{name}`" in line)) == METRICS[name].asked
    for column in PER_CLASS:
        assert f"`{column}`" in text
    for info in METRICS.values():
        assert all((info.title, info.formula, info.undefined, info.differs, info.source))
        assert info.better in ("higher", "lower")


def test_the_protocol_table_is_the_code():
    rows = [line.strip("| ").split(" | ") for line in (DOCS / "protocols.md").read_text().splitlines() if line.startswith("|")]
    header = next(row for row in rows if row[0] == "rule" and len(row) > 2)
    names = [cell.strip("`") for cell in header[1:]]
    assert tuple(names) == protocols.available("semantic")
    table = {row[0].strip("`"): [cell.strip("*") for cell in row[1:]] for row in rows if len(row) == len(header)}
    for rule in protocols.load("pooled", "semantic").options:
        assert table[rule] == [protocols.load(name, "semantic").options[rule] for name in names]


def test_every_protocol_has_its_reference():
    text = (DOCS / "protocols.md").read_text()
    for name in protocols.available("semantic"):
        assert protocols.load(name, "semantic").reference
        assert f"\n| `{name}` |" in text
