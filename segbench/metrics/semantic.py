"""Semantic segmentation: exact counts per image, and every score from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import FormatError
from segbench.evidence import Evidence, Table, Tables, stacked
from segbench.metrics import boundaries, cityscapes, confusion, per_image
from segbench.metrics import suspicions as suspicious
from segbench.metrics.accumulator import MapAccumulator, check_evidence
from segbench.metrics.base import Scores, defined, defined_list
from segbench.metrics.catalogue import METRICS, chosen_of
from segbench.metrics.labels import pair_classes
from segbench.metrics.pairs import label_pairs
from segbench.protocols import RuleSet
from segbench.protocols.semantic import SemanticRules
from segbench.samples import LabelMap, ValueMap
from segbench.sizes import mismatch, resized

PER_CLASS = {column: f"semantic/{column}" for column in ("iou", "recall", "precision", "dice", "boundary_iou", "iiou")}
"""Columns of the per-class rows that are metrics of a class; the last two only where they were counted."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "pixels": ("gt", "pred", "pixels"),
    "boundary": ("class", "intersection", "gt", "pred"),
    "instances": ("class", "size", "tp", "category_tp"),
}
"""Columns of the evidence tables, after `image`."""


class SemanticAccumulator(MapAccumulator):
    """Exact evidence of semantic predictions; `tables`: `pixels`, and where asked for `boundary` and `instances`."""

    task = "semantic"
    COLUMNS = COLUMNS
    ALWAYS = ("pixels",)

    def count(self, pred: LabelMap, gt: LabelMap) -> dict[str, Table]:
        """The rows of one image, by table.

        Raises:
            ShapeError: the two maps differ in size.
            LabelError: a value means no class.
        """
        if pred.values.shape != gt.values.shape:
            raise mismatch([(pred.values.shape, gt.values.shape, pred.file, gt.file)])
        rows = {"pixels": pair_classes(pred, gt, *label_pairs(pred, gt), self.dataset)}
        if "boundary" in self.tables:
            maps = boundaries.class_map(pred), boundaries.class_map(gt)
            rows["boundary"] = boundaries.boundary_counts(*maps, self.dataset.num_classes)
        if "instances" in self.tables:
            rows["instances"] = cityscapes.instance_rows(pred, gt, self.dataset)
        return rows

    def tables_of(self, counted: Sequence[dict[str, Table]]) -> Tables:
        return {name: stacked([rows[name] for rows in counted]) for name in counted[0]}

    def compute(self, rules: RuleSet) -> Scores:
        """Scores of what was counted so far."""
        return scores(self.evidence(), self.dataset, rules)


@dataclass(frozen=True)
class _Counts:
    """Everything a metric may need, each made once and only if needed."""

    evidence: Evidence
    dataset: Dataset
    rules: SemanticRules

    @cached_property
    def matrix(self) -> NDArray[np.int64]:
        return confusion.confusion(self.evidence)

    @cached_property
    def images(self) -> confusion.ImageClasses:
        return confusion.image_classes(self.evidence, self.rules.void_prediction)

    @cached_property
    def totals(self) -> confusion.Totals:
        return confusion.totals(self.images, self.rules)

    @cached_property
    def ious(self) -> NDArray:
        if self.rules.pooling == "image_class":
            values = per_image.class_means(self.images, self.totals.dtype)
        else:
            values = confusion.iou(self.totals)
        values = confusion.absent_as(values, self.totals, self.rules)
        return np.where(self.totals.gt > 0, values, np.nan) if self.rules.mean_over == "gt" else values

    @cached_property
    def values(self) -> per_image.ImageValues:
        return per_image.image_values(self.images)

    @cached_property
    def instances(self) -> tuple[NDArray[np.float64], dict[str, float]]:
        return cityscapes.instance_ious(self.evidence, self.matrix, self.dataset)

    @cached_property
    def categories(self) -> dict[str, float]:
        return cityscapes.category_ious(self.matrix, self.dataset)

    @cached_property
    def boundary_totals(self) -> confusion.Totals:
        return boundaries.boundary_totals(self.evidence)

    def mean(self, values: NDArray, totals: confusion.Totals) -> float:
        return confusion.mean(values, confusion.entering(totals, self.rules), self.rules.summation)


def _miou(counts: _Counts) -> float:
    if counts.rules.pooling == "image_class":
        return per_image.pair_mean(counts.images, counts.totals.dtype)
    return counts.mean(counts.ious, counts.totals)


def _mean_accuracy(counts: _Counts) -> float:
    return confusion.mean(confusion.recall(counts.totals), counts.totals.gt > 0, counts.rules.summation)


def _mdice(counts: _Counts) -> float:
    return counts.mean(confusion.absent_as(confusion.dice(counts.totals), counts.totals, counts.rules), counts.totals)


def _fwiou(counts: _Counts) -> float:
    keep = confusion.entering(counts.totals, counts.rules)
    return confusion.fwiou(counts.ious, counts.totals, keep, counts.rules.summation)


def _boundary_iou(counts: _Counts) -> float:
    totals = counts.boundary_totals
    return counts.mean(confusion.absent_as(confusion.iou(totals), totals, counts.rules), totals)


def _mean_of_defined(values: Iterable[float]) -> float:
    kept = [float(value) for value in values if not np.isnan(value)]
    total = 0.0
    for value in kept:  # one after the other, as the reference: sum() rounds differently from Python 3.12 on
        total += value
    return total / len(kept) if kept else np.nan


COMPUTE: dict[str, Callable[[_Counts], float]] = {
    "semantic/pixel_accuracy": lambda counts: confusion.pixel_accuracy(counts.totals),
    "semantic/mean_accuracy": _mean_accuracy,
    "semantic/miou": _miou,
    "semantic/fwiou": _fwiou,
    "semantic/mdice": _mdice,
    "semantic/kappa": lambda counts: confusion.kappa(counts.matrix, counts.rules.void_prediction),
    "semantic/miou_image": lambda counts: per_image.miou_image(counts.values),
    "semantic/miou_class": lambda counts: per_image.miou_class(counts.images),
    "semantic/miou_worst10": lambda counts: per_image.miou_worst(counts.values),
    "semantic/boundary_iou": _boundary_iou,
    "semantic/category_iou": lambda counts: _mean_of_defined(counts.categories.values()),
    "semantic/iiou": lambda counts: _mean_of_defined(counts.instances[0]),
    "semantic/category_iiou": lambda counts: _mean_of_defined(counts.instances[1].values()),
}
"""The metrics of a whole set."""


def choose(patterns: Iterable[str] | None) -> tuple[str, ...]:
    """Metric ids for `--metrics` patterns such as `semantic/miou`, `miou*`, `boundary_iou`; None: all that need nothing but the pixels.

    Raises:
        ConfigError: a pattern fits no metric.
    """
    return chosen_of({name: METRICS[name] for name in COMPUTE}, patterns)


def tables_for(metrics: Iterable[str]) -> tuple[str, ...]:
    """The evidence tables that these metrics need."""
    needed = {METRICS[name].table for name in metrics} | {"pixels"}
    return tuple(name for name in COLUMNS if name in needed)


def scores(evidence: Evidence, dataset: Dataset, rules: RuleSet, metrics: Iterable[str] | None = None) -> Scores:
    """Every score that the evidence allows, under a rule set.

    Args:
        metrics: Ids or patterns. Default: all whose tables are there; category IoU only where the data set has categories.

    Raises:
        ComparabilityError: the evidence has another number of classes than the data set.
        FormatError: its rows are out of order or name classes that do not exist.
    """
    _check(evidence, dataset)
    if metrics is None:
        chosen = [name for name in COMPUTE if METRICS[name].table in evidence.tables]
        chosen = [name for name in chosen if name != "semantic/category_iou" or dataset.groups]
    else:
        chosen = list(choose(metrics))
    counts = _Counts(evidence, dataset, rules.rules)
    found: dict[str, float | None] = {}
    undefined: dict[str, str] = {}
    for name in chosen:
        missing = METRICS[name].table not in evidence.tables
        found[name] = None if missing else defined(COMPUTE[name](counts))
        if found[name] is None:
            undefined[name] = "not counted in this run: evaluate again with --metrics" if missing else _why(name, counts)
    rows = _class_rows(counts, undefined)
    values = counts.values
    images = {
        "id": list(evidence.images.ids),
        "pixels": values.pixels.tolist(),
        "pixel_accuracy": defined_list(values.pixel_accuracy),
        "miou": defined_list(values.miou),
        "miou_active": defined_list(values.miou_active),
    }
    return Scores(found, undefined, rows, images)


def _class_rows(counts: _Counts, undefined: dict[str, str]) -> list[dict[str, Any]]:
    totals = counts.totals
    recall, precision, dice = (measure(totals) for measure in (confusion.recall, confusion.precision, confusion.dice))
    columns: dict[str, list] = {
        "iou": defined_list(counts.ious),
        "recall": defined_list(recall),
        "precision": defined_list(precision),
        "dice": defined_list(confusion.absent_as(dice, totals, counts.rules)),
        "support": np.bincount(counts.images.label, counts.images.gt, minlength=counts.dataset.num_classes).astype(np.int64).tolist(),
    }
    if "boundary" in counts.evidence.tables:
        columns["boundary_iou"] = defined_list(confusion.iou(counts.boundary_totals))
    if "instances" in counts.evidence.tables:
        columns["iiou"] = defined_list(counts.instances[0])
    reasons = {
        "iou": "no ground truth" if counts.rules.mean_over == "gt" else "neither ground truth nor prediction",
        "recall": "no ground truth",
        "precision": "never predicted on a labelled pixel",
        "dice": "neither ground truth nor prediction",
        "boundary_iou": "neither ground truth nor prediction",
        "iiou": "no instances and no false positives, or a class without instances",
    }
    rows = []
    for index, label in enumerate(counts.dataset.evaluated):
        rows.append({"id": label.id, "name": label.name} | {column: values[index] for column, values in columns.items()})
        for column, reason in reasons.items():
            if column in columns and columns[column][index] is None:
                undefined[f"semantic/{column}/{label.name}"] = reason
    return rows


def _why(metric: str, counts: _Counts) -> str:
    if not len(counts.evidence.images):
        return "no images"
    if metric in ("semantic/miou", "semantic/mdice", "semantic/fwiou", "semantic/boundary_iou") and counts.rules.mean_over == "all":
        absent = np.flatnonzero(counts.totals.gt + counts.totals.pred == 0)
        if len(absent) and counts.rules.absent == "undefined":
            names = ", ".join(counts.dataset.names[index] for index in absent[:5]) + (", ..." if len(absent) > 5 else "")
            return f"this protocol averages over all classes, and these have neither ground truth nor prediction: {names}"
    return METRICS[metric].undefined


def void_like(gt: LabelMap) -> LabelMap:
    """A prediction of an image that says nothing anywhere."""
    classes = gt.meaning.num_classes
    return LabelMap(gt.id, np.zeros(gt.values.shape, np.uint8), ValueMap.of({0: classes}, classes), "(no prediction)")


def resized_to(pred: LabelMap, gt: LabelMap, rule: str) -> LabelMap:
    """A prediction at the size of its ground truth, by nearest neighbour; maps of other axes stay as they are."""
    if pred.values.shape == gt.values.shape or not pred.values.ndim == gt.values.ndim == 2:
        return pred
    return replace(pred, values=resized(pred.values, gt.values.shape, rule))


def ground_truth(evidence: Evidence) -> Table:
    """The part of an evidence that comes from the ground truth alone, for digests: the pixels of each class in each image."""
    table, size = evidence.rows("pixels"), evidence.num_classes + 1
    keys, at = np.unique(table["image"].astype(np.int64) * size + table["gt"], return_inverse=True)
    pixels = np.zeros(len(keys), np.int64)
    np.add.at(pixels, at, table["pixels"])
    return {"image": keys // size, "gt": keys % size, "pixels": pixels}


def suspicions(evidence: Evidence, dataset: Dataset) -> list[str]:
    """Sentences about evidence that looks like a mistake."""
    return suspicious.semantic(confusion.confusion(evidence), dataset)


def _check(evidence: Evidence, dataset: Dataset) -> None:
    check_evidence(evidence, "semantic", dataset)
    for name, table in evidence.tables.items():
        for column in ("gt", "pred") if name == "pixels" else ("class",):
            if len(table[column]) and not 0 <= table[column].min() <= table[column].max() <= evidence.num_classes:
                raise FormatError(f"evidence table {name!r} is damaged: its column {column!r} holds a class that does not exist")
    pixels = evidence.rows("pixels")
    if (np.diff(pixels["image"].astype(np.int64) * (evidence.num_classes + 1) + pixels["gt"]) < 0).any():
        raise FormatError("evidence table 'pixels' is damaged: its rows are out of order")
