"""Average precision of matches by overlap alone under weights of the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.evidence import Evidence
from segbench.metrics.instance import overlap as instance_overlap
from segbench.metrics.instance.overlap import Examples
from segbench.metrics.instance.scoring import families_of
from segbench.protocols import RuleSet
from segbench.significance.instance import RankedMeasure
from segbench.significance.measure import Values
from segbench.significance.units import Weights

BLOCK = 32
"""Replicates computed side by side: their curves fit the memory of any machine."""

Ranges = dict[str, list[list[list[Examples]]]]


class OverlapMeasure(RankedMeasure):
    """AP under weights of the images. A weight of k equals k copies; all weights 1 give the run's own numbers to the bit."""

    def __init__(self, evidence: Evidence, dataset: Dataset, rules: RuleSet) -> None:
        super().__init__(evidence, dataset, rules)
        self.rules = rules.rules
        self.compared = [family for family in families_of(evidence) if family in self.rules.families]
        self.found = {family: instance_overlap.overlaps(evidence, family, dataset, self.rules) for family in self.compared}
        self.classes = instance_overlap.classes_with_instances(dataset)
        names = [f"{family}/{name}" for family in self.compared for name in ("ap", "ap50")]
        self.families = tuple(name for name in names if name.endswith("ap") or 0.5 in self.rules.iou_thresholds)
        self.means = {name: name for name in self.families}
        self._pool: tuple[OverlapMeasure, Ranges] | None = None

    def truth_images(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        pairs = [
            np.unique(row[0].truths) * len(self.names) + label
            for label, row in zip(self.classes, self.found[self.compared[0]].ranges[0], strict=True)
        ]
        both = np.sort(np.concatenate(pairs)) if pairs else np.zeros(0, np.int64)
        return both // len(self.names), both % len(self.names)

    def values(self, weights: Weights, families: Sequence[str] = ()) -> Values:
        return self._values({family: found.ranges for family, found in self.found.items()}, weights, families)

    def swapped(self, other: Self, swaps: Weights, families: Sequence[str] = ()) -> tuple[Values, Values]:
        if self._pool is None or self._pool[0] is not other:
            self._pool = other, self._pooled(other)
        pool = self._pool[1]
        sides = np.concatenate((1 - swaps, swaps), 1), np.concatenate((swaps, 1 - swaps), 1)
        return self._values(pool, sides[0], families), self._values(pool, sides[1], families)

    def outcomes(self) -> dict[str, dict[str, NDArray[np.int64]]]:
        return {family: instance_overlap.outcomes(self.evidence, found) for family, found in self.found.items()}

    def _pooled(self, other: Self) -> Ranges:
        count = len(self.evidence.images)
        return {
            family: [
                [[one.joined(two, count) for one, two in zip(*rows, strict=True)] for rows in zip(*ranges, strict=True)]
                for ranges in zip(found.ranges, other.found[family].ranges, strict=True)
            ]
            for family, found in self.found.items()
            if family in other.found
        }

    def _values(self, ranges: Ranges, weights: Weights, families: Sequence[str]) -> Values:
        found: dict[str, list[float]] = {}
        by_class: dict[str, list[NDArray[np.float64]]] = {}
        for start in range(0, len(weights), BLOCK):
            block = weights[start : start + BLOCK]
            for family, of_family in ranges.items():
                for area, of_range in enumerate(of_family):
                    for values in instance_overlap.precisions(of_range, block):
                        for name, value in instance_overlap.means(values, area, self.rules).items():
                            found.setdefault(f"{family}/{name}", []).append(value)
                        if area == 0 and families:
                            for name, column in instance_overlap.of_classes(values, self.rules).items():
                                by_class.setdefault(f"{family}/{name}", []).append(column)
        result = {name: np.array(values) for name, values in found.items()}
        for name in families:
            whole = np.full((len(weights), len(self.names)), np.nan)
            whole[:, self.classes] = np.array(by_class[name]).reshape(len(weights), -1)
            result |= {f"{name}/{label}": column for label, column in zip(self.names, whole.T, strict=True)}
        return result
