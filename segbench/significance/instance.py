"""Average precision and recall under weights: the matching stays, the curves are made again from weighted counts."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.evidence import Evidence
from segbench.kernels import weighted_curves
from segbench.metrics.instance.matching import RECALL_THRESHOLDS, Matches, match
from segbench.metrics.instance.scoring import families_of, per_image
from segbench.metrics.instance.summary import frequency_groups
from segbench.protocols import RuleSet
from segbench.protocols.instance import InstanceRules
from segbench.significance.measure import Measure, Values, joined
from segbench.significance.units import Weights

AFFORDABLE = 1_000_000
"""Detections times size ranges of a replicate: beyond it only the numbers over all sizes get intervals."""

LEAST = 16
"""Replicates that are worth a thread."""

EFFECTS = 100
"""Images whose effect is computed: those whose right, wrong and missed instances changed most."""


THRESHOLDS = {"ap50": 0.5, "ap75": 0.75}


@dataclass(frozen=True, eq=False)
class Curve:
    """What the curves of one size range are made of.

    Attributes:
        starts: int64[K + 1], detections by class, best score first.
        images, ranks, rows: int32[D]. scores: float64[D].
        matched, ignored: uint64[S].
        gt_class, gt_image: int64[G], ground truths that count.
    """

    starts: NDArray[np.int64]
    images: NDArray[np.int32]
    ranks: NDArray[np.int32]
    rows: NDArray[np.int32]
    scores: NDArray[np.float64]
    matched: NDArray[np.uint64]
    ignored: NDArray[np.uint64]
    gt_class: NDArray[np.int64]
    gt_image: NDArray[np.int64]

    @property
    def num_classes(self) -> int:
        return len(self.starts) - 1

    def weighted(self, weights: NDArray[np.uint8], num_thresholds: int, limits: Sequence[int]) -> tuple[NDArray, NDArray, NDArray]:
        """Precision float64[T, R, P] and recall float64[L, T, P] under one weighting of the images, and the P classes with ground truth.

        Args:
            limits: Numbers of detections per image and class that recall is asked for, ascending; the last is that of the curve.
        """
        num_gt = np.bincount(self.gt_class, weights[self.gt_image], minlength=self.num_classes).astype(np.int64)
        classes = np.flatnonzero(num_gt)
        best = np.zeros((len(classes), len(RECALL_THRESHOLDS), num_thresholds))
        precision = np.empty(best.shape[::-1])
        recall = np.zeros((len(limits), num_thresholds, len(classes)))
        weighted_curves.weigh_curves(
            *(self.starts, self.images, self.ranks, self.rows, self.matched, self.ignored, weights, num_gt),
            *(RECALL_THRESHOLDS, np.array(limits, np.int64), np.empty(num_gt.max(initial=0) + 1, np.int64)),
            *(np.empty((2, num_thresholds)), best, precision, recall),
        )
        return precision, recall, classes

    def pooled(self, other: Curve, num_images: int) -> Curve:
        """Both runs' detections in one ranking; the other's images are numbered from `num_images` on."""
        label = np.concatenate([np.repeat(np.arange(self.num_classes), np.diff(side.starts)) for side in (self, other)])
        images = np.concatenate((self.images, other.images + num_images)).astype(np.int32)
        scores = np.concatenate((self.scores, other.scores))
        rows = np.concatenate((self.rows, np.where(other.rows >= 0, other.rows + len(self.matched), -1))).astype(np.int32)
        order = np.lexsort((images % num_images, -scores, label))
        return Curve(
            self.starts + other.starts,
            images[order],
            np.concatenate((self.ranks, other.ranks))[order],
            rows[order],
            scores[order],
            np.concatenate((self.matched, other.matched)),
            np.concatenate((self.ignored, other.ignored)),
            np.concatenate((self.gt_class, other.gt_class)),
            np.concatenate((self.gt_image, other.gt_image + num_images)),
        )


class RankedMeasure(Measure):
    """What measures share whose replicates rank all detections again."""

    interval_method = "basic"
    costly = True

    @abstractmethod
    def outcomes(self) -> dict[str, dict[str, NDArray[np.int64]]]:
        """By family: right, wrong and missed instances of each image, `tp`, `fp`, `fn`."""

    def averages(self, metric: str) -> bool:
        return bool(self.means)

    def effects(self, other: Self, metrics: Sequence[str]) -> Values:
        images = self._most_changed(other)
        count = len(self.evidence.images)
        if not len(images):
            return {name: np.zeros(count) for name in metrics}
        weights = np.zeros((len(images), count), np.uint8)
        weights[np.arange(len(images)), images] = 1
        base = self.values(np.ones((1, count), np.uint8))
        mixed = self.swapped(other, weights)[0]
        effects: Values = {}
        for name in metrics:
            effects[name] = np.zeros(count)
            effects[name][images] = mixed[name] - base[name]
        return effects

    def _most_changed(self, other: Self) -> NDArray[np.int64]:
        changed = np.zeros(len(self.evidence.images))
        theirs = other.outcomes()
        for family, mine in self.outcomes().items():
            for column in ("tp", "fp", "fn") if family in theirs else ():
                changed += np.abs(theirs[family][column] - mine[column])
        # scores alone may have changed: they decide among images that are equal otherwise
        sums = [_score_sums(side.evidence) for side in (self, other)]
        changed += np.minimum(np.abs(sums[1] - sums[0]) / 100, 0.5)
        order = np.argsort(-changed, kind="stable")[:EFFECTS]
        return np.sort(order[changed[order] > 0])


class InstanceMeasure(RankedMeasure):
    """AP and AR under weights of the images.

    A weight of k equals k copies of the image, except where detections of one image and class have equal scores: real copies would come
    in turns. All weights 1 give the run's own numbers to the bit.
    """

    def __init__(self, evidence: Evidence, dataset: Dataset, rules: RuleSet) -> None:
        super().__init__(evidence, dataset, rules)
        self.rules: InstanceRules = rules.rules
        self.dataset = dataset
        self.compared = [family for family in families_of(evidence) if family in self.rules.families]
        self.groups = frequency_groups(dataset) if self.rules.groups == "frequency" else {}
        by_class = self.rules.categories == "each"
        last = self.rules.max_detections[-1]
        columns = ["ap", *(name for name, value in THRESHOLDS.items() if value in self.rules.iou_thresholds), f"ar{last}"]
        names = [f"{family}/{name}" for family in self.compared for name in columns]
        self.families = tuple(names) if by_class else ()
        self.means = {name: name for name in names} if by_class else {}
        self.matches: dict[str, Matches] = {family: match(evidence, family, self.rules) for family in self.compared}
        areas = len(self.rules.area_ranges)
        size = len(evidence.rows("detections")["image"]) * len(self.compared)
        self.areas = range(areas if size * areas <= AFFORDABLE else 1)
        self.curves = {(family, area): self._curve(family, area) for family in self.compared for area in self.areas}
        self._pool: tuple[Measure, dict] | None = None

    def _curve(self, family: str, area: int) -> Curve:
        matches, detections = self.matches[family], self.evidence.rows("detections")
        order = matches.order
        label = np.repeat(np.arange(len(matches.starts) - 1), np.diff(matches.starts))
        rows, outside = matches.rows[order], matches.outside[order, area] > 0
        everywhere = np.uint64((1 << len(self.rules.iou_thresholds)) - 1)
        hits, hidden = (column[:, area] & everywhere for column in (matches.matched, matches.ignored))
        of_row = np.zeros(len(hits), bool)
        of_row[rows[rows >= 0]] = outside[rows >= 0]
        hidden = np.where(of_row, hidden | (~hits & everywhere), hidden)
        # what is false at every threshold needs no row, what is ignored at every one no place
        plain = (hits == 0) & (hidden == 0)
        rows = np.where((rows >= 0) & ~np.append(plain, False)[rows], rows, np.where(rows < 0, -1, -2))
        lost = (rows == -1) & outside
        rows = np.where(rows == -2, -1, rows)
        lost |= (rows >= 0) & np.append(hidden == everywhere, False)[rows]
        kept = ~lost & (matches.ranks[order] < self.rules.max_detections[-1])
        truths = self.evidence.rows("ground_truths")
        counted = matches.gt_ignored[:, area] == 0
        classes = truths["category"] if self.rules.categories == "each" else np.zeros(len(counted), np.int64)
        return Curve(
            np.concatenate(([0], np.cumsum(np.bincount(label[kept], minlength=len(matches.starts) - 1)))).astype(np.int64),
            detections["image"][order][kept].astype(np.int32),
            matches.ranks[order][kept].astype(np.int32),
            rows[kept].astype(np.int32),
            detections["score"][order][kept].astype(np.float64),
            np.ascontiguousarray(hits, np.uint64),
            np.ascontiguousarray(hidden, np.uint64),
            classes[counted].astype(np.int64),
            truths["image"][counted].astype(np.int64),
        )

    def truth_images(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if not self.compared:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        curve = self.curves[self.compared[0], 0]
        pairs = np.unique(curve.gt_image * len(self.names) + curve.gt_class)
        return pairs // len(self.names), pairs % len(self.names)

    def values(self, weights: Weights, families: Sequence[str] = ()) -> Values:
        return self._values(self.curves, weights, families)

    def swapped(self, other: Self, swaps: Weights, families: Sequence[str] = ()) -> tuple[Values, Values]:
        count = len(self.evidence.images)
        if self._pool is None or self._pool[0] is not other:
            self._pool = other, {key: curve.pooled(other.curves[key], count) for key, curve in self.curves.items() if key in other.curves}
        pool = self._pool[1]
        sides = np.concatenate((1 - swaps, swaps), 1), np.concatenate((swaps, 1 - swaps), 1)
        return self._values(pool, sides[0], families), self._values(pool, sides[1], families)

    def outcomes(self) -> dict[str, dict[str, NDArray[np.int64]]]:
        columns = {family: per_image(self.evidence, self.matches[family], self.rules) for family in self.compared}
        return {family: {name: np.array(column[name]) for name in ("tp", "fp", "fn")} for family, column in columns.items()}

    def _values(self, curves: dict[tuple[str, int], Curve], weights: Weights, families: Sequence[str]) -> Values:
        """The replicates, spread over threads: each is computed alone, so that their number changes nothing."""
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        parts = np.array_split(np.ascontiguousarray(weights), max(1, min(processors, len(weights) // LEAST)))
        if len(parts) == 1:
            return self._replicates(curves, parts[0], families)
        with ThreadPoolExecutor(len(parts)) as pool:
            return joined(list(pool.map(lambda rows: self._replicates(curves, rows, families), parts)))

    def _replicates(self, curves: dict[tuple[str, int], Curve], rows: Weights, families: Sequence[str]) -> Values:
        found: dict[str, list[float]] = {}
        by_class: dict[str, list[NDArray]] = {}
        for (family, area), curve in curves.items():
            limits = self.rules.max_detections if area == 0 else self.rules.max_detections[-1:]
            for row in rows:
                precision, recall, classes = curve.weighted(row, len(self.rules.iou_thresholds), limits)
                for name, value in self._summary(area, limits, precision, recall, classes).items():
                    found.setdefault(f"{family}/{name}", []).append(value)
                if families and area == 0:
                    for name, column in self._class_values(precision, recall[-1], classes).items():
                        by_class.setdefault(f"{family}/{name}", []).append(column)
        values = {name: np.array(column, np.float64) for name, column in found.items()}
        for name in families:
            values |= {f"{name}/{label}": column for label, column in zip(self.names, np.array(by_class[name]).T, strict=True)}
        return values

    def _summary(
        self, area: int, limits: Sequence[int], precision: NDArray, recall: NDArray, classes: NDArray[np.int64]
    ) -> dict[str, float]:
        """The numbers that this curve gives, as `instance_summary.summary` names and adds them."""
        if area > 0:
            name = self.rules.area_ranges[area].name
            return {f"ap_{name}": _mean(precision), f"ar_{name}": _mean(recall[-1])}
        values = {"ap": _mean(precision)}
        for title, threshold in THRESHOLDS.items():
            at = [self.rules.iou_thresholds.index(threshold)] if threshold in self.rules.iou_thresholds else []
            values[title] = _mean(precision[at])
        for group, members in self.groups.items():
            # fancy indices give another layout in memory than a mask, in whose order the references add
            values[f"ap_{group}"] = _mean(np.ascontiguousarray(precision[:, :, np.isin(classes, members)]))
        return values | {f"ar{limit}": _mean(reached) for limit, reached in zip(limits, recall, strict=True)}

    def _class_values(self, precision: NDArray, recall: NDArray, classes: NDArray[np.int64]) -> dict[str, NDArray]:
        """float64[K] of every class metric; NaN without ground truth."""
        by_threshold = precision.mean(1)
        thresholds = self.rules.iou_thresholds
        columns = {"ap": by_threshold.mean(0), f"ar{self.rules.max_detections[-1]}": recall.mean(0)}
        columns |= {title: by_threshold[thresholds.index(value)] for title, value in THRESHOLDS.items() if value in thresholds}
        filled = {}
        for title, column in columns.items():
            filled[title] = np.full(len(self.names) if self.rules.categories == "each" else 1, np.nan)
            filled[title][classes] = column
        return filled


def _mean(values: NDArray[np.float64]) -> float:
    """NaN of nothing."""
    return float(values.mean()) if values.size else np.nan


def _score_sums(evidence: Evidence) -> NDArray[np.float64]:
    """Sum of the scores of each image's detections."""
    detections = evidence.rows("detections")
    return np.bincount(detections["image"], detections["score"], minlength=len(evidence.images)).astype(np.float64)
