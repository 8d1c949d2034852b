"""From matches to panoptic quality: totals per class, over the set or per image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segbench.metrics.panoptic.matching import NONE, Matches, Scene, Side
from segbench.protocols.panoptic import PanopticRules

Bins = Callable[[Side, NDArray], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class ClassTotals:
    """Per class over some images: float64[C] sum of the matched IoUs, int64[C] true positives, false positives, false negatives."""

    iou: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Classes that enter the means."""
        return self.tp + self.fp + self.fn > 0


@dataclass(frozen=True, eq=False)
class Quality:
    """PQ, SQ and RQ, float64[...]; 0/0 is NaN, and SQ without a true positive 0."""

    pq: NDArray[np.float64]
    sq: NDArray[np.float64]
    rq: NDArray[np.float64]


def quality(totals: ClassTotals, rules: PanopticRules) -> Quality:
    """Panoptic quality from totals.

    PQ = sum of matched IoU / (TP + FP/2 + FN/2), SQ = sum / TP, RQ = TP / (TP + FP/2 + FN/2).

    Source: Kirillov et al., Panoptic Segmentation, CVPR 2019, eq. 1; equal bitwise to panopticapi (tests/parity).
    """
    single = rules.arithmetic == "float32"
    tp = totals.tp.astype(np.float32 if single else np.float64)
    half = tp.dtype.type(0.5)
    denominator = tp + half * totals.fp.astype(tp.dtype) + half * totals.fn.astype(tp.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        sq = np.where(totals.tp > 0, totals.iou / totals.tp, 0.0)
        rq = (tp / denominator).astype(np.float64)
        pq = sq * rq if single else totals.iou / denominator
    absent = ~totals.present
    return Quality(*(np.where(absent, np.nan, values) for values in (pq, sq, rq)))


def mean_of(values: NDArray[np.float64], kept: NDArray[np.bool_]) -> float:
    """Mean over the kept classes that have a value, added one after the other; NaN where there is none."""
    kept = kept & ~np.isnan(values)
    return float(np.add.accumulate(values[kept])[-1] / kept.sum()) if kept.any() else np.nan


def class_totals(scene: Scene, matches: Matches, num_classes: int, rules: PanopticRules) -> ClassTotals:
    """Totals per class over all images. The IoUs are added in the order of the matches."""
    label = scene.gt.label[matches.gt]
    if rules.summation == "images":
        groups = scene.gt.image[matches.gt] * num_classes + label
        found, at = np.unique(groups, return_inverse=True)
        iou = np.bincount(found % num_classes, np.bincount(at, matches.iou, minlength=len(found)), minlength=num_classes)
    else:
        iou = np.bincount(label, matches.iou, minlength=num_classes)
    return _with_counts(scene, matches, iou, lambda side, rows: side.label[rows], num_classes)


def image_class_totals(scene: Scene, matches: Matches, num_classes: int) -> ClassTotals:
    """The same per image and class, flat: [N * C]."""
    size = scene.num_images * num_classes

    def bins(side: Side, rows: NDArray) -> NDArray[np.int64]:
        return side.image[rows] * num_classes + side.label[rows]

    iou = np.bincount(bins(scene.gt, matches.gt), matches.iou, minlength=size)
    return _with_counts(scene, matches, iou, bins, size)


def _with_counts(scene: Scene, matches: Matches, iou: NDArray, bins: Bins, size: int) -> ClassTotals:
    tp, fn = (np.bincount(bins(scene.gt, rows), minlength=size) for rows in (matches.counted, np.flatnonzero(matches.missed)))
    fp = np.bincount(bins(scene.pred, np.flatnonzero(matches.false)), minlength=size)
    return ClassTotals(iou.astype(np.float64), tp, fp, fn)


def covering(scene: Scene, num_classes: int) -> NDArray[np.float64]:
    """Parsing covering of every class: how well the best prediction covers each segment, weighted by its area.

    Cov_c = sum over ground-truth segments of area * (best IoU with a prediction of class c) / sum of areas; crowds are left out, and the
    union leaves out predicted pixels on void.

    Returns:
        float64[C]; NaN for a class without ground truth.

    Source: Yang et al., DeeperLab: Single-Shot Image Parser, 2019, section 4.
    """
    gt, pred, pairs = scene.gt, scene.pred, scene.pairs
    void = np.zeros(len(pred), np.int64)
    on_void = (pairs.gt == NONE) & (pairs.pred >= 0)
    void[pairs.pred[on_void]] = pairs.pixels[on_void]
    both = (pairs.gt >= 0) & (pairs.pred >= 0)
    g, p, pixels = pairs.gt[both], pairs.pred[both], pairs.pixels[both]
    same = gt.label[g] == pred.label[p]
    g, p, pixels = g[same], p[same], pixels[same]
    best = np.zeros(len(gt))
    np.maximum.at(best, g, pixels / (pred.area[p] + gt.area[g] - pixels - void[p]))
    weights = np.where(gt.crowd, 0, gt.area)
    covered, whole = (np.bincount(gt.label, values, minlength=num_classes) for values in (best * weights, weights))
    return np.divide(covered, whole, out=np.full(num_classes, np.nan), where=whole > 0)
