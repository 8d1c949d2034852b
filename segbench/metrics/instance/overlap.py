"""Matching by overlap alone, and curves summed in steps: what the instance task of Cityscapes does.

A detection overlaps a ground truth of its class where their IoU is above the threshold. Of those that overlap one, the best-scored is right
and the others are wrong. One that overlaps none is wrong unless more than the threshold's share of it lies on void, crowds or ground truth
outside the area range. Detections without a pixel do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import ComparabilityError
from segbench.evidence import Evidence
from segbench.instances import CROWD
from segbench.metrics.instance.pairs import ANY, VOID, pair_table
from segbench.protocols.instance import AreaRange, InstanceRules


@dataclass(frozen=True, eq=False)
class Examples:
    """What the curve of one class, at one IoU threshold and in one area range, is made of.

    Attributes:
        scores: float64[E], ascending. images: int64[E]. hits: bool[E].
        truths: int64[G], the image of each ground truth that counts.
    """

    scores: NDArray[np.float64]
    images: NDArray[np.int64]
    hits: NDArray[np.bool_]
    truths: NDArray[np.int64]

    def precision(self, weights: NDArray) -> NDArray[np.float64]:
        """Average precision when image i counts `weights[b, i]` times, float64[B]; NaN without ground truth.

        AP = sum over scores i of precision_i * (recall_(i-1) - recall_(i+1)) / 2, and of precision 1 at recall 0 beyond the highest score.

        Source: cityscapesScripts, `evaluateMatches`; equal to the bit where all weights are 1.
        """
        count = weights[:, self.truths].sum(1, dtype=np.int64)
        first = np.flatnonzero(np.diff(self.scores, prepend=np.nan) != 0)
        given = weights[:, self.images].astype(np.int64)
        true, every = (_from_each_on(column, first) for column in (given * self.hits, given))
        with np.errstate(invalid="ignore"):
            precision = np.where(every > 0, true / np.maximum(every, 1), 1.0)
            recall = true / count[:, None]
        ends = np.ones((len(weights), 1)), np.zeros((len(weights), 1))
        precision, recall = (np.ascontiguousarray(np.hstack(pair)) for pair in zip((precision, recall), ends, strict=True))
        padded = np.hstack((recall[:, :1], recall, ends[1]))
        widths = 0.5 * padded[:, :-2] - 0.5 * padded[:, 2:]
        values = np.array([np.dot(*row) for row in zip(precision, widths, strict=True)])
        return np.where(count > 0, values, np.nan)

    def joined(self, other: Examples, num_images: int) -> Examples:
        """Both runs' examples in one ranking; the other's images are numbered from `num_images` on."""
        scores = np.concatenate((self.scores, other.scores))
        order = np.argsort(scores, kind="stable")
        images = np.concatenate((self.images, other.images + num_images))[order]
        hits = np.concatenate((self.hits, other.hits))[order]
        return Examples(scores[order], images, hits, np.concatenate((self.truths, other.truths + num_images)))


def _from_each_on(values: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[B, S]: sums from each of some columns to the last one."""
    sums = np.cumsum(values, axis=1)
    before = np.where(first > 0, sums[:, first - 1], 0) if len(first) else sums
    return sums[:, -1:] - before


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Examples of the classes that have instances.

    Attributes:
        classes: Their indices.
        ranges: For each area range, each of these classes and each threshold the examples.
    """

    classes: list[int]
    ranges: list[list[list[Examples]]]


def classes_with_instances(dataset: Dataset) -> list[int]:
    """Indices of the classes that are scored: all but stuff."""
    return [index for index, row in enumerate(dataset.evaluated) if row.isthing is not False]


def overlaps(evidence: Evidence, family: str, dataset: Dataset, rules: InstanceRules) -> Overlaps:
    """What overlaps what, for every area range and threshold.

    Raises:
        ComparabilityError: the evidence was collected for other protocols.
    """
    _check(evidence)
    classes = classes_with_instances(dataset)
    return Overlaps(classes, [_of_range(evidence, family, area, classes, rules) for area in rules.area_ranges])


def _check(evidence: Evidence) -> None:
    if VOID not in evidence.tables or evidence.rows("collected")["floor"].max(initial=0.0) > ANY:
        raise ComparabilityError(
            "the evidence does not say how much of each detection lies on void and on groups",
            hint="evaluate again with --protocol cityscapes",
        )


def _of_range(evidence: Evidence, family: str, area: AreaRange, classes: Sequence[int], rules: InstanceRules) -> list[list[Examples]]:
    detections, truths = evidence.rows("detections"), evidence.rows("ground_truths")
    table = evidence.rows(pair_table(family))
    detection = evidence.starts("detections")[table["image"]] + table["detection"]
    truth = evidence.starts("ground_truths")[table["image"]] + table["gt"]
    same = detections["category"][detection] == truths["category"][truth]
    detection, truth = detection[same], truth[same]
    iou = (table["intersection"] / table["union"])[same]
    outside = (truths["mask_area"] < area.low) | (truths["mask_area"] > area.high)
    crowd = (truths["flags"] & CROWD) > 0
    counted = ~outside & ~crowd
    used = _used(evidence, rules)

    # a group that lies outside the range is subtracted twice, as the reference does
    hidden = np.bincount(detection, table["intersection"][same] * (outside.astype(int) + crowd)[truth], minlength=len(used))
    void = evidence.rows(VOID)
    hidden = hidden + np.bincount(evidence.starts("detections")[void["image"]] + void["detection"], void["pixels"], minlength=len(used))
    with np.errstate(invalid="ignore"):
        share = hidden / detections["mask_area"]
    candidate = counted[truth] & used[detection]
    detection, truth, iou = detection[candidate], truth[candidate], iou[candidate]
    by_truth = np.lexsort((-detections["score"][detection], truth))  # of each ground truth the best-scored detection first
    detection, truth, iou = detection[by_truth], truth[by_truth], iou[by_truth]

    columns = []
    for threshold in rules.iou_thresholds:
        above = iou > threshold
        matched, of_truth = detection[above], truth[above]
        first = np.diff(of_truth, prepend=-1) != 0
        free = used & (share <= threshold)
        free[matched] = False
        rows = np.concatenate((matched, np.flatnonzero(free)))
        hits = np.concatenate((first, np.zeros(len(rows) - len(matched), bool)))
        order = np.argsort(detections["score"][rows], kind="stable")
        columns.append((rows[order], hits[order]))
    return [[_examples(evidence, rows, hits, counted, label) for rows, hits in columns] for label in classes]


def _used(evidence: Evidence, rules: InstanceRules) -> NDArray[np.bool_]:
    """Whether each detection counts: it has pixels, and is among the best-scored of its image and class where there is a limit."""
    detections = evidence.rows("detections")
    used = detections["mask_area"] > 0
    if rules.max_detections:
        key = detections["image"].astype(np.int64) * evidence.num_classes + detections["category"]
        order = np.lexsort((-detections["score"], key))
        place = np.arange(len(order)) - np.searchsorted(key[order], key[order])
        used[order[place >= rules.most]] = False
    return used


def _examples(evidence: Evidence, rows: NDArray[np.int64], hits: NDArray[np.bool_], counted: NDArray[np.bool_], label: int) -> Examples:
    detections, truths = evidence.rows("detections"), evidence.rows("ground_truths")
    mine = detections["category"][rows] == label
    rows = rows[mine]
    images = truths["image"][counted & (truths["category"] == label)]
    return Examples(detections["score"][rows], detections["image"][rows].astype(np.int64), hits[mine], images.astype(np.int64))


def precisions(found: Sequence[Sequence[Examples]], weights: NDArray) -> NDArray[np.float64]:
    """float64[B, K, T]: average precision of every class at every threshold; NaN without ground truth."""
    values = np.empty((len(weights), len(found), len(found[0]) if found else 0))
    for label, row in enumerate(found):
        for threshold, examples in enumerate(row):
            values[:, label, threshold] = examples.precision(weights)
    return values


def unweighted(evidence: Evidence) -> NDArray[np.int64]:
    """Every image once."""
    return np.ones((1, len(evidence.images)), np.int64)


def means(values: NDArray[np.float64], area: int, rules: InstanceRules) -> dict[str, float]:
    """AP over classes and thresholds, and at IoU 0.50, of one area range, from float64[K, T]; NaN without ground truth."""
    name = "" if area == 0 else f"_{rules.area_ranges[area].name}"
    found = {f"ap{name}": _mean_of_defined(values)}
    if area == 0:
        found["ap50"] = _mean_of_defined(values[:, rules.iou_thresholds.index(0.5)]) if 0.5 in rules.iou_thresholds else np.nan
    return found


def of_classes(values: NDArray[np.float64], rules: InstanceRules) -> dict[str, NDArray[np.float64]]:
    """AP and AP50 of each class in the first area range, from float64[K, T]."""
    columns = {"ap": values.mean(1)}
    if 0.5 in rules.iou_thresholds:
        columns["ap50"] = values[:, rules.iou_thresholds.index(0.5)]
    return columns


def _mean_of_defined(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else np.nan


def outcomes(evidence: Evidence, found: Overlaps) -> dict[str, NDArray[np.int64]]:
    """Right, wrong and missed of each image at the first threshold and in the first area range."""
    count = len(evidence.images)
    first = [row[0] for row in found.ranges[0]]
    true, false, truths = (
        np.bincount(np.concatenate([part(examples) for examples in first] or [np.zeros(0, np.int64)]), minlength=count)
        for part in (lambda row: row.images[row.hits], lambda row: row.images[~row.hits], lambda row: row.truths)
    )
    return {"tp": true, "fp": false, "fn": truths - true}
