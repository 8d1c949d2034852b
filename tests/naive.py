"""Slow, obvious twins of the fast code: loops over pixels, one definition per function, no cleverness to share a mistake with."""

from __future__ import annotations

import math

import numpy as np


def confusion(pairs, num_classes):
    """`matrix[g][p]` over all pixels of all (pred, gt) class maps; void is class `num_classes`."""
    matrix = [[0] * (num_classes + 1) for _ in range(num_classes + 1)]
    for pred, gt in pairs:
        for p, g in zip(np.ravel(pred).tolist(), np.ravel(gt).tolist(), strict=True):
            matrix[g][p] += 1
    return matrix


def class_counts(pairs, num_classes, void_prediction="wrong"):
    """(tp, gt, pred) per class over pixels whose ground truth is not void."""
    tp, gt_pixels, pred_pixels = ([0] * num_classes for _ in range(3))
    for pred, gt in pairs:
        for p, g in zip(np.ravel(pred).tolist(), np.ravel(gt).tolist(), strict=True):
            if g == num_classes or (p == num_classes and void_prediction == "excluded"):
                continue
            gt_pixels[g] += 1
            if p < num_classes:
                pred_pixels[p] += 1
            if p == g:
                tp[g] += 1
    return tp, gt_pixels, pred_pixels


def divide(numerator, denominator):
    return numerator / denominator if denominator else math.nan


def per_class(pairs, num_classes):
    """IoU, recall, precision and Dice per class; NaN where 0/0."""
    tp, gt, pred = class_counts(pairs, num_classes)
    return {
        "iou": [divide(tp[c], gt[c] + pred[c] - tp[c]) for c in range(num_classes)],
        "recall": [divide(tp[c], gt[c]) for c in range(num_classes)],
        "precision": [divide(tp[c], pred[c]) for c in range(num_classes)],
        "dice": [divide(2 * tp[c], gt[c] + pred[c]) for c in range(num_classes)],
        "support": gt,
    }


def mean(values):
    """Mean of what is not NaN."""
    kept = [value for value in values if not math.isnan(value)]
    return math.fsum(kept) / len(kept) if kept else math.nan


def pixel_accuracy(pairs, num_classes):
    tp, gt, _ = class_counts(pairs, num_classes)
    return divide(sum(tp), sum(gt))


def fwiou(pairs, num_classes):
    ious, support = (per_class(pairs, num_classes)[name] for name in ("iou", "support"))
    if not sum(support):
        return math.nan
    return math.fsum(ious[c] * support[c] / sum(support) for c in range(num_classes) if support[c])


def kappa(pairs, num_classes):
    """(po - pe) / (1 - pe), over labelled pixels."""
    matrix = confusion(pairs, num_classes)[:num_classes]
    pixels = sum(map(sum, matrix))
    if not pixels:
        return math.nan
    observed = sum(matrix[c][c] for c in range(num_classes)) / pixels
    chance = sum(sum(matrix[c]) / pixels * (sum(row[c] for row in matrix) / pixels) for c in range(num_classes))
    return (observed - chance) / (1 - chance) if chance < 1 - 1e-12 else math.nan


def image_ious(pairs, num_classes):
    """Per image: IoU per class that the image's ground truth has, as `{class: iou}`."""
    images = []
    for pair in pairs:
        values = per_class([pair], num_classes)
        images.append({c: values["iou"][c] for c in range(num_classes) if values["support"][c]})
    return images


def miou_image(pairs, num_classes):
    return mean([mean(image.values()) for image in image_ious(pairs, num_classes)])


def miou_worst(pairs, num_classes, percent=10):
    values = sorted(mean(image.values()) for image in image_ious(pairs, num_classes) if image)
    return mean(values[: max(1, int(percent / 100 * len(values)))])


def miou_class(pairs, num_classes):
    images = image_ious(pairs, num_classes)
    return mean([mean([image[c] for image in images if c in image]) for c in range(num_classes)])


def interior(classes, distance_px):
    """1 where every pixel within Chebyshev distance d exists and has the same class."""
    height, width = classes.shape
    out = np.zeros(classes.shape, np.uint8)
    for y in range(height):
        for x in range(width):
            inside = distance_px <= y < height - distance_px and distance_px <= x < width - distance_px
            if inside:
                window = classes[y - distance_px : y + distance_px + 1, x - distance_px : x + distance_px + 1]
                out[y, x] = (window == classes[y, x]).all()
    return out


def eroded(mask, times):
    """`times` erosions by 3x3, one after the other; outside the image counts as not in the mask."""
    for _ in range(times):
        padded = np.pad(mask, 1)
        shifted = [padded[dy : dy + mask.shape[0], dx : dx + mask.shape[1]] for dy in range(3) for dx in range(3)]
        mask = np.logical_and.reduce(shifted)
    return mask


def boundary_counts(pred, gt, num_classes):
    """`{class: (intersection, gt, pred)}` of boundary pixels, each class as a mask of its own."""
    height, width = gt.shape
    distance_px = max(1, round(0.02 * math.sqrt(height**2 + width**2)))
    pred = np.where(gt == num_classes, num_classes, pred)
    counts = {}
    for c in range(num_classes):
        masks = [side == c for side in (gt, pred)]
        gt_edge, pred_edge = (mask & ~eroded(mask, distance_px) for mask in masks)
        if gt_edge.any() or pred_edge.any():
            counts[c] = int((gt_edge & pred_edge).sum()), int(gt_edge.sum()), int(pred_edge.sum())
    return counts
