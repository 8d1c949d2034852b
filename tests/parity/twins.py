"""Reference evaluators that do not install everywhere, written again from their rules, on label arrays and as slow as they come.

Every function takes (pred, gt) pairs of class maps in which 255 is void, and gives what its reference gives, in [0, 1].
"""

from __future__ import annotations

import math

import numpy as np

VOID = 255


def histogram(values, num_classes):
    """Counts of `0..num_classes-1`; anything else is dropped, as the references' histograms do."""
    return np.array([np.count_nonzero(values == c) for c in range(num_classes)])


def areas(pred, gt, num_classes):
    """Intersection, union, prediction and ground truth per class where the ground truth is not void."""
    pred, gt = pred[gt != VOID], gt[gt != VOID]
    intersection = histogram(pred[pred == gt], num_classes)
    predicted, true = histogram(pred, num_classes), histogram(gt, num_classes)
    return intersection, predicted + true - intersection, predicted, true


def mmsegmentation(pairs, num_classes):
    """IoUMetric: float32 areas, added image by image, divided and averaged in float32."""
    sums = [np.zeros(num_classes, np.float32) for _ in range(4)]
    for pred, gt in pairs:
        intersection, _, predicted, true = (area.astype(np.float32) for area in areas(pred, gt, num_classes))
        for total, area in zip(sums, (intersection, predicted + true - intersection, predicted, true), strict=True):
            total += area
    intersection, union, predicted, true = sums
    right, labelled = np.float32(0), np.float32(0)
    for c in range(num_classes):
        right, labelled = right + intersection[c], labelled + true[c]
    with np.errstate(invalid="ignore"):
        iou, acc, dice = intersection / union, intersection / true, 2 * intersection / (predicted + true)
        precision = intersection / predicted
    return {
        "pixel_accuracy": right / labelled,
        "miou": np.nanmean(iou),
        "mean_accuracy": np.nanmean(acc),
        "mdice": np.nanmean(dice),
        "classes": {"iou": iou, "recall": acc, "dice": dice, "precision": precision},
    }


def huggingface(pairs, num_classes):
    """evaluate's mean_iou: float64 areas, np.nanmean."""
    intersection, union, _, true = np.sum([areas(pred, gt, num_classes) for pred, gt in pairs], axis=0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        iou, acc = intersection / union, intersection / true
    return {
        "pixel_accuracy": intersection.sum() / true.sum(),
        "miou": np.nanmean(iou),
        "mean_accuracy": np.nanmean(acc),
        "classes": {"iou": iou, "recall": acc},
    }


def detectron2(pairs, num_classes):
    """SemSegEvaluator: rows are predictions; the void row and column are cut off before anything is summed."""
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for pred, gt in pairs:
        pred, gt = (np.where(side == VOID, num_classes, side) for side in (pred, gt))
        np.add.at(matrix, (pred.ravel(), gt.ravel()), 1)
    right = np.diagonal(matrix)[:-1].astype(float)
    true, predicted = (matrix[:-1, :-1].sum(axis).astype(float) for axis in (0, 1))
    union = true + predicted - right
    acc, iou = np.full((2, num_classes), np.nan)
    has_gt = true > 0
    acc[has_gt] = right[has_gt] / true[has_gt]
    iou[has_gt] = right[has_gt] / union[has_gt]
    weights = true / np.sum(true)
    return {
        "pixel_accuracy": np.sum(right) / np.sum(true),
        "miou": np.sum(iou[has_gt]) / np.sum(has_gt),
        "mean_accuracy": np.sum(acc[has_gt]) / np.sum(has_gt),
        "fwiou": np.sum(iou[has_gt] * weights[has_gt]),
        "classes": {"iou": iou, "recall": acc},
    }


def sceneparsing(pairs, num_classes):
    """utils_eval.py: labels from 1, 0 is void on either side; unions as a (class, image) array with an epsilon in every cell."""
    intersections, unions, right, labelled = [], [], 0, 0
    for pred, gt in pairs:
        pred, gt = (np.where(side == VOID, 0, side + 1) for side in (pred.astype(int), gt.astype(int)))
        pred = pred * (gt > 0)
        intersection = histogram(pred[(pred == gt) & (pred > 0)] - 1, num_classes)
        unions.append(histogram(pred - 1, num_classes) + histogram(gt - 1, num_classes) - intersection)
        intersections.append(intersection)
        right += np.sum((pred == gt) * (gt > 0))
        labelled += np.sum(gt > 0)
    iou = 1.0 * np.sum(np.array(intersections).T, axis=1) / np.sum(np.spacing(1) + np.array(unions).T.copy(), axis=1)
    return {"pixel_accuracy": 1.0 * right / (np.spacing(1) + labelled), "miou": np.mean(iou), "classes": {"iou": iou}}


def voc_devkit(pairs, num_classes):
    """VOCevalseg.m: a joint histogram; the mean is over all classes, NaN if one is."""
    ious = []
    for c in range(num_classes):
        counts = np.sum([[area[c] for area in areas(pred, gt, num_classes)] for pred, gt in pairs], axis=0)
        ious.append(float(counts[0]) / float(counts[1]) if counts[1] else math.nan)
    total = 0.0
    for value in ious:
        total += value
    return {"miou": total / num_classes, "classes": {"iou": np.array(ious)}}


def cityscapes(pairs, num_classes):
    """evalPixelLevelSemanticLabeling.py: TP, FN and FP from a matrix with ground truth as rows; one sum after the other."""
    matrix = np.zeros((VOID + 1, VOID + 1), np.int64)
    for pred, gt in pairs:
        np.add.at(matrix, (gt.ravel(), pred.ravel()), 1)
    ious = []
    for c in range(num_classes):
        tp = int(matrix[c, c])
        fn = int(matrix[c].sum()) - tp
        fp = int(matrix[:num_classes, c].sum()) - tp
        ious.append(tp / (tp + fn + fp) if tp + fn + fp else math.nan)
    total, number = 0.0, 0
    for value in ious:
        if not math.isnan(value):
            total, number = total + value, number + 1
    return {"miou": total / number if number else math.nan, "classes": {"iou": np.array(ious)}}
