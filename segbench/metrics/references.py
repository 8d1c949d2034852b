"""Whether evidence that comes from outside refers only to what it holds: kernels index by it and check nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segbench.errors import FormatError
from segbench.evidence import Evidence

LISTS = {"instance": ("detections", "ground_truths", "image_categories"), "panoptic": ("segments",)}
"""Tables that hold a class per row, by task."""


def check(evidence: Evidence) -> None:
    """Checks classes, and the numbers by which pairs of an image name its instances or segments.

    Raises:
        FormatError: one that is not there.
    """
    classes = evidence.num_classes
    for name in LISTS.get(evidence.task, ()):
        table = evidence.tables[name]
        column = "category" if "category" in table else "class"
        _within(name, column, table[column], 0 if column == "category" else -1, classes)
    if evidence.task == "instance":
        counts = {"detection": _counts(evidence, "detections"), "gt": _counts(evidence, "ground_truths")}
        for name, table in evidence.tables.items():
            for column, count in counts.items():
                if column in table:
                    _within(name, column, table[column], 0, count[table["image"]])
    if evidence.task == "panoptic":
        sides = evidence.tables["segments"]["side"]
        _within("segments", "side", sides, 0, 2)
        counts = {side: _counts(evidence, "segments", sides == number) for number, side in enumerate(("gt", "pred"))}
        for name, table in evidence.tables.items():
            if name.endswith("overlaps"):
                for column, count in counts.items():
                    _within(name, column, table[column], -2, count[table["image"]] + 1)


def _counts(evidence: Evidence, name: str, chosen: NDArray[np.bool_] | slice = slice(None)) -> NDArray[np.int64]:
    return np.bincount(evidence.tables[name]["image"][chosen], minlength=len(evidence.images))


def _within(table: str, column: str, values: NDArray, low: int, high: NDArray[np.int64] | int) -> None:
    if ((values < low) | (values >= high)).any():
        raise FormatError(f"evidence table {table!r} is damaged: its {column} column refers to what is not there")
