"""From curves to named numbers: means over classes and thresholds, in the order in which the references add them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.metrics.instance.matching import Curves
from segbench.protocols.instance import InstanceRules

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}

NO_TRUTH = "no ground truth that counts"
NO_THRESHOLD = "this IoU threshold is not among the run's"


def defined_mean(values: NDArray[np.float64]) -> float:
    """Mean of the values above -1, NaN without any. `np.mean` on the reference's layout: its pairwise sums depend on it."""
    kept = values[values > -1]
    return float(np.mean(kept)) if kept.size else np.nan


def _at(thresholds: tuple[float, ...], value: float) -> int | None:
    return thresholds.index(value) if value in thresholds else None


def summary(curves: Curves, rules: InstanceRules, family: str, groups: dict[str, list[int]] | None = None) -> dict[str, float]:
    """The numbers of the summary, by metric id; NaN where undefined.

    AP is the mean of precision over IoU thresholds, recall thresholds and classes; AR that of the recall reached, over IoU thresholds and
    classes. Size ranges, 0.5 and 0.75 and the class groups restrict it.
    """
    last = len(rules.max_detections) - 1
    values: dict[str, float] = {}
    first = rules.area_ranges[0].name

    def ap(threshold: float | None = None, area: int = 0, classes: Any = slice(None)) -> float:
        precision = curves.precision
        if threshold is not None:
            index = _at(rules.iou_thresholds, threshold)
            precision = precision[[index] if index is not None else []]
        return defined_mean(precision[:, :, classes, area, last])

    values["ap"] = ap()
    values["ap50"] = ap(0.5)
    values["ap75"] = ap(0.75)
    for index, area in enumerate(rules.area_ranges):
        if area.name != first:
            values[f"ap_{area.name}"] = ap(area=index)
    for name, members in (groups or {}).items():
        values[f"ap_{name}"] = ap(classes=members)
    for index, limit in enumerate(rules.max_detections):
        values[f"ar{limit}"] = defined_mean(curves.recall[:, :, 0, index])
    for index, area in enumerate(rules.area_ranges):
        if area.name != first:
            values[f"ar_{area.name}"] = defined_mean(curves.recall[:, :, index, last])
    return {f"{family}/{name}": value for name, value in values.items()}


def reason(metric: str, rules: InstanceRules) -> str:
    """Why a metric of the summary has no value."""
    name = metric.partition("/")[2]
    if name in ("ap50", "ap75") and _at(rules.iou_thresholds, int(name[2:]) / 100) is None:
        return NO_THRESHOLD
    area = name.partition("_")[2]
    if area in FREQUENCIES.values():
        return f"no {area} category has ground truth"
    return f"{NO_TRUTH} in the area range {area!r}" if area else NO_TRUTH


def frequency_groups(dataset: Dataset) -> dict[str, list[int]]:
    """Class indices of rare, common and frequent categories."""
    return {title: [index for index, row in enumerate(dataset.evaluated) if row.frequency == key] for key, title in FREQUENCIES.items()}


def class_columns(curves: Curves, rules: InstanceRules) -> dict[str, NDArray[np.float64]]:
    """AP, AP50, AP75 and AR of each class in the first area range; NaN where it has no ground truth."""
    last = len(rules.max_detections) - 1
    columns = {}
    for name, threshold in (("ap", None), ("ap50", 0.5), ("ap75", 0.75)):
        index = None if threshold is None else _at(rules.iou_thresholds, threshold)
        if threshold is not None and index is None:
            continue
        chosen = curves.precision if index is None else curves.precision[[index]]
        columns[name] = np.array([defined_mean(chosen[:, :, label, 0, last]) for label in range(chosen.shape[2])])
    if rules.max_detections:
        recalls = [defined_mean(curves.recall[:, label, 0, last]) for label in range(curves.recall.shape[1])]
        columns[f"ar{rules.max_detections[last]}"] = np.array(recalls)
    return columns
