"""The documentation of instance metrics, protocols and formats says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from segbench.adapters.base import Format
from segbench.adapters.instance import coco_formats, voc_objects
from segbench.adapters.instance import formats as instance_formats
from segbench.adapters.instance import maps as instance_maps
from segbench.adapters.instance import memory as instance_memory
from segbench.adapters.instance import pickles as instance_pickles
from segbench.metrics.instance import analysis as instance_analysis
from segbench.metrics.instance import extra as instance_extra
from segbench.metrics.instance.catalogue import METRICS
from segbench.metrics.instance.scoring import PER_CLASS
from segbench.protocols.instance import INSTANCE, RULE_TITLES

TEXT = (Path(__file__).parents[1] / "docs/instance.md").read_text()


def test_every_metric_is_documented_and_explained():
    for name, info in METRICS.items():
        assert f"`{name.partition('/')[2]}`" in TEXT, name
        assert all((info.title, info.formula, info.undefined, info.differs, info.source))
    for column in PER_CLASS:
        assert f"`{column.partition('_')[2]}`" in TEXT


def shown(value):
    if value is None or value == ():
        return "all"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        if isinstance(value[0], dict):
            return ", ".join(area["name"] for area in value)
        return "0.50 to 0.95" if isinstance(value[0], float) else ", ".join(map(str, value))
    return str(value)


def test_the_protocol_table_is_the_code():
    rows = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("|")]
    header = next(row for row in rows if row[0] == "rule")
    assert [cell.strip("`") for cell in header[1:]] == [rules.name for rules in INSTANCE]
    table = {row[0].strip("`"): row[1:] for row in rows if len(row) == len(header)}
    assert RULE_TITLES.keys() == INSTANCE[0].options.keys()
    for rule, usual in INSTANCE[0].options.items():
        values = [rules.options[rule] for rules in INSTANCE]
        assert table[rule] == [shown(value) if value == usual else f"**{shown(value)}**" for value in values], rule
    for rules in INSTANCE:
        assert f"\n- `{rules.name}`: " in TEXT
        assert rules.reference
        assert rules.note


def test_every_format_is_documented():
    modules = (coco_formats, instance_formats, instance_maps, instance_memory, instance_pickles, voc_objects)
    formats = [entry for module in modules for entry in vars(module).values() if isinstance(entry, Format)]
    assert len(formats) == 10
    for entry in formats:
        assert f"| `{entry.name}` |" in TEXT, entry.name


def test_the_python_names_exist():
    for module, name in re.findall(r"(instance_extra|instance_analysis)\.(\w+)\(", TEXT):
        assert callable(getattr({"instance_extra": instance_extra, "instance_analysis": instance_analysis}[module], name))
