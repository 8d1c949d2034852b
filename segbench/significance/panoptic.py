"""Panoptic metrics under weights: functions of the sums of IoU, true positives, false positives and misses of every class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.evidence import Evidence
from segbench.metrics.panoptic import matching as panoptic_matching
from segbench.metrics.panoptic.matching import Scene
from segbench.metrics.panoptic.totals import ClassTotals, Quality, covering, image_class_totals, quality
from segbench.protocols import RuleSet
from segbench.protocols.panoptic import PanopticRules
from segbench.significance.columns import Block, Columns
from segbench.significance.measure import SumsMeasure, Values, mean_of_defined, ratio

Sums = dict[str, NDArray[np.float64]]

PARTS = ("iou", "tp", "fp", "fn")


class PanopticMeasure(SumsMeasure):
    """Panoptic metrics under weights of the images.

    Counts are exact; the IoUs of a class are added image by image, so the last bits may differ from a protocol that adds pair by pair.
    """

    interval_method = "bca"
    means = {"panoptic/pq": "panoptic/pq", "panoptic/sq": "panoptic/sq", "panoptic/rq": "panoptic/rq"}
    families = tuple(means)

    def __init__(self, evidence: Evidence, dataset: Dataset, rules: RuleSet) -> None:
        super().__init__(evidence, dataset, rules)
        self.rules: PanopticRules = rules.rules
        self.kinds = dataset.isthing
        self.dagger_rules = msgspec.structs.replace(self.rules, stuff="merged", stuff_score="any")
        self.boundary_rules = msgspec.structs.replace(self.rules, stuff="separate", stuff_score="match")
        whole = panoptic_matching.scene(evidence)
        plain = replace(whole, boundaries=None)
        merged = panoptic_matching.merged_stuff(whole, dataset)
        scored = merged if self.rules.stuff == "merged" else plain
        self.scene = scored
        blocks = _blocks("", scored, self.rules, dataset)
        blocks += _blocks("dagger_", merged, self.dagger_rules, dataset)
        if whole.boundaries is not None:
            blocks += _blocks("boundary_", whole, self.boundary_rules, dataset)
        blocks += _covering_blocks(scored, dataset.num_classes)
        self.columns = Columns.of(blocks, len(evidence.images))

    def averages(self, metric: str) -> bool:
        return True

    def truth_images(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        size = len(self.names)
        keys = np.unique(self.scene.gt.image * size + self.scene.gt.label)
        return keys // size, keys % size

    def finish(self, sums: Sums, families: Sequence[str]) -> Values:
        found = _quality("", sums, self.rules)
        columns = {"pq": found.pq, "sq": found.sq, "rq": found.rq}
        values: Values = {}
        for suffix, thing in (("", None), ("_things", True), ("_stuff", False)):
            for name, column in columns.items():
                values[f"panoptic/{name}{suffix}"] = self._mean(column, thing)
        values["panoptic/pq_dagger"] = self._mean(_quality("dagger_", sums, self.dagger_rules).pq)
        values["panoptic/parsing_covering"] = self._mean(ratio(sums["covered"], sums["area"]))
        if "boundary_tp" in sums:
            values["panoptic/boundary_pq"] = self._mean(_quality("boundary_", sums, self.boundary_rules).pq)
        for family in families:
            values |= {f"{family}/{label}": row for label, row in zip(self.names, columns[family.partition("/")[2]], strict=True)}
        return values

    def _mean(self, values: NDArray[np.float64], thing: bool | None = None) -> NDArray[np.float64]:
        if thing is not None and None in self.kinds:
            return np.full(values.shape[1], np.nan)
        kept = np.array([thing is None or kind is thing for kind in self.kinds], bool)
        return mean_of_defined(values[kept])


def _quality(prefix: str, sums: Sums, rules: PanopticRules) -> Quality:
    return quality(ClassTotals(*(sums[prefix + part] for part in PARTS)), rules)  # type: ignore[arg-type]


def _blocks(prefix: str, scene: Scene, rules: PanopticRules, dataset: Dataset) -> list[Block]:
    matches = panoptic_matching.match(scene, panoptic_matching.chosen_areas(scene.gt, rules), rules, dataset)
    totals = image_class_totals(scene, matches, dataset.num_classes)
    return [_dense(prefix + part, getattr(totals, part), dataset.num_classes) for part in PARTS]


def _covering_blocks(scene: Scene, num_classes: int) -> list[Block]:
    """Covered and whole area per image and class: each image's classes are taken for classes of their own."""
    gt, pred = (replace(side, label=side.image * num_classes + side.label) for side in (scene.gt, scene.pred))
    size = scene.num_images * num_classes
    area = np.bincount(gt.label, np.where(gt.crowd, 0, gt.area), minlength=size)
    share = covering(replace(scene, gt=gt, pred=pred), size)
    return [_dense("covered", np.nan_to_num(share) * area, num_classes), _dense("area", area, num_classes)]


def _dense(name: str, values: NDArray, num_classes: int) -> Block:
    """A block from values per image and class, flat: [N * C]."""
    at = np.flatnonzero(values)
    return Block(name, num_classes, at % num_classes, at // num_classes, values[at])
