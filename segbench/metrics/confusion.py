"""The confusion family: pure functions on counts, and the one place where a rule set turns counts into class totals.

A confusion is int64[C + 1, C + 1], rows ground truth, columns prediction, last index void. Pixels whose ground truth is void never count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segbench.evidence import Evidence
from segbench.protocols.semantic import SemanticRules

SPACING = float(np.spacing(1))


@dataclass(frozen=True, eq=False)
class Totals:
    """Pixel counts per class, in the number type the rules ask for.

    Attributes:
        tp: Right pixels.
        gt: Ground-truth pixels.
        pred: Predicted pixels on labelled ground truth.
        union: gt + pred - tp, plus an epsilon where the rules add one.
        dtype: float64, or float32 where the reference divides in it.
    """

    tp: NDArray
    gt: NDArray
    pred: NDArray
    union: NDArray
    dtype: type = np.float64


@dataclass(frozen=True, eq=False)
class ImageClasses:
    """The classes of each image, sparse: one row per (image, class) with ground truth or prediction, sorted by image, then class."""

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    tp: NDArray[np.int64]
    gt: NDArray[np.int64]
    pred: NDArray[np.int64]
    num_images: int
    num_classes: int

    @property
    def union(self) -> NDArray[np.int64]:
        return self.gt + self.pred - self.tp


def confusion(evidence: Evidence) -> NDArray[np.int64]:
    """Pixels of the whole set, int64[C + 1, C + 1]: rows ground truth, columns prediction, last index void."""
    table, size = evidence.rows("pixels"), evidence.num_classes + 1
    matrix = np.zeros((size, size), np.int64)
    np.add.at(matrix, (table["gt"], table["pred"]), table["pixels"])
    return matrix


def image_classes(evidence: Evidence, void_prediction: str = "wrong") -> ImageClasses:
    """Pixel counts per image and class, without a dense images x classes array."""
    table, num_classes = evidence.rows("pixels"), evidence.num_classes
    gt, pred = table["gt"], table["pred"]
    kept = gt < num_classes
    if void_prediction == "excluded":
        kept &= pred < num_classes
    image, pixels = table["image"][kept].astype(np.int64), table["pixels"][kept]
    gt, pred = gt[kept], pred[kept]
    gt_keys = image * num_classes + gt
    named = pred < num_classes
    pred_keys = (image * num_classes + pred)[named]
    # Rows are sorted by (image, gt), so ground-truth keys come in runs: only the predicted ones need a sort.
    starts = np.flatnonzero(np.diff(gt_keys, prepend=-1))
    gt_unique = gt_keys[starts]
    keys = np.union1d(gt_unique, pred_keys)
    tp, truth, guessed = np.zeros((3, len(keys)), np.int64)
    if len(gt_keys):
        at = np.searchsorted(keys, gt_unique)
        tp[at] = np.add.reduceat(np.where(gt == pred, pixels, 0), starts)
        truth[at] = np.add.reduceat(pixels, starts)
        np.add.at(guessed, np.searchsorted(keys, pred_keys), pixels[named])
    return ImageClasses(keys // num_classes, keys % num_classes, tp, truth, guessed, len(evidence.images), num_classes)


def totals(counts: ImageClasses, rules: SemanticRules) -> Totals:
    """Class totals as the rules make them: exact integers, running float32 sums in image order, with an epsilon per image, ..."""
    label, num_classes = counts.label, counts.num_classes
    exact = np.zeros((3, num_classes), np.int64)
    for row, column in zip(exact, (counts.tp, counts.gt, counts.pred), strict=True):
        np.add.at(row, label, column)
    tp, gt, pred = exact
    if rules.arithmetic == "exact":
        union = (gt + pred - tp).astype(np.float64)
        if rules.epsilon == "spacing":
            union = _spaced_union(counts)
        return Totals(tp, gt, pred, union)
    spacing = np.float32(SPACING if rules.epsilon == "spacing" else 0)
    columns = [column.astype(np.float32) for column in (counts.tp, counts.gt, counts.pred)]
    columns.append(columns[2] + columns[1] - columns[0] + spacing)
    sums = [_running_float32(column, label, num_classes) for column in columns]
    return Totals(sums[0], sums[1], sums[2], sums[3], np.float32)


def pixel_accuracy(totals: Totals) -> float:
    """Right pixels / labelled pixels. NaN where nothing is labelled."""
    tp, gt = _sum(totals.tp), _sum(totals.gt)
    return float(tp / gt) if gt else np.nan


def recall(totals: Totals) -> NDArray:
    """Right pixels / ground-truth pixels per class ("Acc" in many tables). NaN without ground truth."""
    return _ratio(totals.tp, totals.gt, totals.dtype)


def precision(totals: Totals) -> NDArray:
    """Right pixels / predicted pixels per class. NaN where the class is never predicted."""
    return _ratio(totals.tp, totals.pred, totals.dtype)


def iou(totals: Totals) -> NDArray:
    """TP / (TP + FP + FN) per class. NaN with neither ground truth nor prediction."""
    return _ratio(totals.tp, totals.union, totals.dtype)


def dice(totals: Totals) -> NDArray:
    """2 TP / (2 TP + FP + FN) per class. NaN with neither ground truth nor prediction."""
    return _ratio(2 * totals.tp, totals.pred + totals.gt, totals.dtype)


def kappa(matrix: NDArray[np.int64], void_prediction: str = "wrong") -> float:
    """Cohen's kappa: (observed - chance agreement) / (1 - chance agreement), from exact integers whatever the arithmetic of the rules.

    A void prediction on a labelled pixel is a column that never agrees, or is left out. NaN where nothing is labelled, or where one class
    fills both sides (chance agreement is 1).
    """
    matrix = matrix[:-1, :-1] if void_prediction == "excluded" else matrix[:-1]
    pixels, right = int(matrix.sum()), int(np.trace(matrix))
    rows, columns = matrix.sum(1).tolist(), matrix.sum(0).tolist()
    chance = sum(row * column for row, column in zip(rows, columns, strict=False))
    return (pixels * right - chance) / (pixels * pixels - chance) if pixels * pixels > chance else np.nan


def entering(totals: Totals, rules: SemanticRules) -> NDArray[np.bool_]:
    """Which classes enter the means."""
    if rules.mean_over == "gt":
        return totals.gt > 0
    if rules.mean_over == "all":
        return np.ones(len(totals.gt), bool)
    return totals.gt + totals.pred > 0


def absent_as(values: NDArray, totals: Totals, rules: SemanticRules) -> NDArray:
    """The class values with those of classes that are nowhere set as the rules say."""
    value = 0 if rules.absent == "zero" else np.nan
    return np.where(totals.gt + totals.pred > 0, values, totals.dtype(value))


def mean(values: NDArray, keep: NDArray[np.bool_], summation: str) -> float:
    """Mean of the kept values, added in the order of the rules. NaN where none is kept or a kept one is NaN."""
    if not keep.any() or np.isnan(values[keep]).any():
        return np.nan
    if summation == "zero_filled":
        return float(np.nanmean(np.where(keep, values, values.dtype.type(np.nan))))
    return float(total(values, keep, summation) / np.sum(keep))


def total(values: NDArray, keep: NDArray[np.bool_], summation: str) -> np.number:
    """Sum of the kept values, added in the order of the rules."""
    if summation == "zero_filled":
        return np.sum(np.where(keep, values, values.dtype.type(0)))
    if summation == "present":
        return np.sum(values[keep])
    return _sequential(values[keep])


def fwiou(ious: NDArray, totals: Totals, keep: NDArray[np.bool_], summation: str) -> float:
    """Sum over classes of IoU times the class's share of labelled pixels. NaN where nothing is labelled."""
    labelled = _sum(totals.gt)
    if not labelled:
        return np.nan
    weights = totals.gt / labelled
    return float(total(ious * weights, keep & (totals.gt > 0), summation))


def _ratio(numerator: NDArray, denominator: NDArray, dtype: type) -> NDArray:
    out: NDArray = np.full(len(numerator), np.nan, dtype)
    return np.divide(numerator, denominator, out=out, where=np.asarray(denominator) > 0, casting="same_kind")


def _sum(values: NDArray) -> np.number:
    return values.sum() if values.dtype == np.int64 else _sequential(values)


def _sequential(values: NDArray) -> np.number:
    """The last running sum: NumPy's own `sum` adds in pairs."""
    return np.add.accumulate(values)[-1] if len(values) else values.dtype.type(0)


def _class_runs(label: NDArray, num_classes: int) -> tuple[NDArray, NDArray]:
    """An order that groups rows by class with images ascending, and where each class starts."""
    order = np.argsort(label, kind="stable")
    return order, np.searchsorted(label[order], np.arange(num_classes + 1))


def _running_float32(column: NDArray[np.float32], label: NDArray, num_classes: int) -> NDArray[np.float32]:
    """Running float32 sums over images in order; a class that an image lacks would add 0, which changes nothing."""
    order, bounds = _class_runs(label, num_classes)
    column = column[order]
    return np.array([_sequential(column[bounds[c] : bounds[c + 1]]) for c in range(num_classes)], np.float32)


def _spaced_union(counts: ImageClasses) -> NDArray[np.float64]:
    """Sum over all images of (union + 2^-52), with NumPy's pairwise summation over the image axis: the epsilon of absent images counts
    too.
    """
    order, bounds = _class_runs(counts.label, counts.num_classes)
    image, union = counts.image[order], counts.union[order]
    sums = np.zeros(counts.num_classes)
    row = np.empty(counts.num_images)
    for c in range(counts.num_classes):
        row[:] = SPACING
        run = slice(bounds[c], bounds[c + 1])
        row[image[run]] = SPACING + union[run]
        sums[c] = np.sum(row)
    return sums
