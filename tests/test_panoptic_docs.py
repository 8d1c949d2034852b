"""The documentation of the panoptic metrics, protocols and formats says what the code does."""

from __future__ import annotations

from pathlib import Path

from segbench.metrics.panoptic.catalogue import METRICS
from segbench.metrics.panoptic.scoring import COMPUTE, PER_CLASS
from segbench.protocols.panoptic import PANOPTIC

TEXT = (Path(__file__).parents[1] / "docs/panoptic.md").read_text()


def test_every_metric_is_documented_and_explained():
    for name in COMPUTE:
        group, _, suffix = name.partition("/")[2].partition("_")
        key = f"{group}_{suffix}" if suffix in ("things", "stuff") and group != "pq" else name
        assert f"`{key}`" in TEXT, name
    asked = next(line for line in TEXT.splitlines() if "asked for" in line)
    assert [name for name in COMPUTE if METRICS[name].asked] == [name for name in COMPUTE if f"`{name}`" in asked]
    for column in (*PER_CLASS, "tp", "fp", "fn", "is_thing"):
        assert f"`{column}`" in TEXT
    for info in METRICS.values():
        assert all((info.title, info.formula, info.undefined, info.differs, info.source))


def test_pq_is_explained_where_the_tools_differ():
    told = METRICS["panoptic/pq"].differs
    for fact in ("number of CPU cores", "torchmetrics takes void predictions out", "areas in the ground truth's JSON", "boundary-iou-api"):
        assert fact in told
    assert "highest category id + 1" in METRICS["panoptic/boundary_pq"].differs
    for group in ("things", "stuff"):
        assert "ZeroDivisionError" in METRICS[f"panoptic/pq_{group}"].undefined


def test_the_protocol_table_is_the_code():
    rows = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("|")]
    header = next(row for row in rows if row[0] == "rule" and len(row) > 2)
    assert [cell.strip("`") for cell in header[1:]] == [rules.name for rules in PANOPTIC]
    table = {row[0].strip("`"): row[1:] for row in rows if len(row) == len(header)}
    for rule, usual in PANOPTIC[0].options.items():
        values = [rules.options[rule] for rules in PANOPTIC]
        assert table[rule] == [value if value == usual else f"**{value}**" for value in values]
        assert f"\n| `{rule}` | " in TEXT
    for rules in PANOPTIC:
        assert f"\n| `{rules.name}` | " in TEXT
        assert rules.reference
        assert rules.note


def test_every_format_is_documented():
    from segbench.adapters.base import Format
    from segbench.adapters.panoptic import maps as panoptic_maps
    from segbench.adapters.panoptic import memory as panoptic_memory
    from segbench.adapters.panoptic.coco import COCO_PANOPTIC

    formats = [entry for module in (panoptic_maps, panoptic_memory) for entry in vars(module).values() if isinstance(entry, Format)]
    for entry in (COCO_PANOPTIC, *formats):
        assert f"| `{entry.name}` |" in TEXT, entry.name
