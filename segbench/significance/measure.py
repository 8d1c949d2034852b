"""What a task gives so that its numbers can be resampled: metrics under weights of the images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import ConfigError
from segbench.evidence import Evidence
from segbench.protocols import RuleSet
from segbench.significance.columns import Columns
from segbench.significance.units import Units, Weights

Values = dict[str, NDArray[np.float64]]
"""Metric id -> float64[B], one value per replicate, NaN where undefined."""

_MEASURES = {
    "semantic": "segbench.significance.semantic:SemanticMeasure",
    "panoptic": "segbench.significance.panoptic:PanopticMeasure",
    "instance": "segbench.significance.instance:InstanceMeasure",
    "by_overlap": "segbench.significance.instance_overlap:OverlapMeasure",
}


class Measure(ABC):
    """The metrics of one run under weights of its images.

    Attributes:
        evidence: The run's evidence.
        names: The classes.
        families: Metrics of a class, such as `semantic/iou`; of one class `semantic/iou/road`.
        means: Metric of the whole set -> the metric of a class whose mean it is.
        costly: Whether replicates take milliseconds each.
    """

    interval_method: ClassVar[str]
    costly = False
    families: tuple[str, ...]
    means: Mapping[str, str]

    def __init__(self, evidence: Evidence, dataset: Dataset, rules: RuleSet) -> None:
        self.evidence = evidence
        self.names = dataset.names

    @abstractmethod
    def values(self, weights: Weights, families: Sequence[str] = ()) -> Values:
        """The metrics when image i counts `weights[b, i]` times.

        A weight of k equals k copies of the image, all weights 1 equal the run's own numbers.

        Args:
            weights: uint8[B, N].
            families: Also these metrics of every class.
        """

    @abstractmethod
    def swapped(self, other: Self, swaps: Weights, families: Sequence[str] = ()) -> tuple[Values, Values]:
        """The metrics of both runs when the images with `swaps[b, i]` = 1 change sides (uint8[B, N])."""

    @abstractmethod
    def truth_images(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(image, class) of every class that is in an image's ground truth, once each."""

    @abstractmethod
    def effects(self, other: Self, metrics: Sequence[str]) -> Values:
        """What each image alone does to a metric: the change when only that image comes from the other run, float64[N]."""

    def averages(self, metric: str) -> bool:
        """Whether a metric of the whole set is a mean over classes, which rare classes make uncertain."""
        return metric in self.means

    def support(self, units: Units) -> NDArray[np.int64]:
        """int64[C]: how many units have the class in their ground truth."""
        image, label = self.truth_images()
        pairs = np.unique(units.of[image] * len(self.names) + label)
        return np.bincount(pairs % len(self.names), minlength=len(self.names))


class SumsMeasure(Measure):
    """Metrics that are functions of sums over images."""

    columns: Columns

    @abstractmethod
    def finish(self, sums: dict[str, NDArray[np.float64]], families: Sequence[str]) -> Values:
        """Metrics from the sums of blocks, float64[width, B]; a metric whose blocks are not there is left out."""

    def values(self, weights: Weights, families: Sequence[str] = ()) -> Values:
        return self.finish(self.columns.split(self.columns.sums(weights)), families)

    def swapped(self, other: Self, swaps: Weights, families: Sequence[str] = ()) -> tuple[Values, Values]:
        mine, theirs, difference = self.paired(other)
        moved = difference.sums(swaps)
        first = self.finish(mine.split(mine.totals - moved), families)
        second = self.finish(theirs.split(theirs.totals + moved), families)
        return first, second

    def effects(self, other: Self, metrics: Sequence[str]) -> Values:
        mine, _, difference = self.paired(other)
        count, width = len(self.evidence.images), len(difference.starts) - 1
        order = np.argsort(difference.rows, kind="stable")
        column = np.repeat(np.arange(width), np.diff(difference.starts))[order]
        rows, values = difference.rows[order], difference.values[order]
        base = self.finish(mine.split(mine.totals), ())
        parts: dict[str, list[NDArray]] = {name: [] for name in metrics}
        for start in range(0, count, 512):
            stop = min(start + 512, count)
            first, last = np.searchsorted(rows, (start, stop))
            moved = np.zeros((width, stop - start))
            moved[column[first:last], rows[first:last] - start] = values[first:last]
            mixed = self.finish(mine.split(mine.totals - moved), ())
            for name in metrics:
                parts[name].append(mixed[name] - base[name])
        return {name: np.concatenate(part) if part else np.zeros(0) for name, part in parts.items()}

    def paired(self, other: Self) -> tuple[Columns, Columns, Columns]:
        """The columns that both runs have, of each, and this run's minus the other's; made once per pair."""
        cached = self.__dict__.get("_paired")
        if cached is None or cached[0] is not other:
            # one of the runs may have been asked for more, such as boundaries
            shared = {name for name, _ in self.columns.blocks} & {name for name, _ in other.columns.blocks}
            mine, theirs = (side.columns.only(shared) for side in (self, other))
            cached = self.__dict__["_paired"] = other, (mine, theirs, mine.minus(theirs))
        return cached[1]


def measure(task: str, evidence: Evidence, dataset: Dataset, rules: RuleSet) -> Measure:
    """The measure of a task.

    Raises:
        ConfigError: a task without one.
    """
    if task not in _MEASURES:
        raise ConfigError(f"numbers of task {task!r} cannot be resampled yet")
    chosen = task if task != "instance" or rules.rules.matching == "by_score" else rules.rules.matching
    module, _, name = _MEASURES[chosen].partition(":")
    return getattr(import_module(module), name)(evidence, dataset, rules)


def joined(parts: Sequence[Values]) -> Values:
    """Replicates that were computed a part at a time, in order."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis of what is no NaN; NaN where nothing is."""
    present = ~np.isnan(values)
    count = present.sum(0)
    sums = np.where(present, values, 0.0).sum(0)
    return np.divide(sums, count, out=np.full(np.shape(sums), np.nan), where=count > 0)


def ratio(numerator: NDArray, denominator: NDArray) -> NDArray[np.float64]:
    """numerator / denominator, NaN where the denominator is 0 or less."""
    return np.divide(
        numerator, denominator, out=np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan), where=denominator > 0
    )
