"""Boundary IoU of semantic label maps: all classes at once."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from segbench.errors import InputError
from segbench.evidence import Evidence
from segbench.metrics.confusion import Totals
from segbench.samples import LabelMap

DILATION_RATIO = 0.02
TABLE_SIZE = 1 << 17
"""Up to this span of values one table look-up maps a whole image."""


def boundary_distance_px(height: int, width: int) -> int:
    """Boundary width d: 2 % of the image diagonal, rounded half to even, at least one pixel."""
    return max(1, round(DILATION_RATIO * math.sqrt(height**2 + width**2)))


def class_map(sample: LabelMap) -> NDArray[np.uint16]:
    """Class index of every pixel, void as C. All values must mean something."""
    values = sample.values
    if not values.size:
        return np.zeros(values.shape, np.uint16)
    low, high = int(values.min()), int(values.max())
    if high - low < TABLE_SIZE:
        table = sample.meaning.classes(np.arange(low, high + 1)).astype(np.uint16)
        return table[values - low if low else values]
    distinct, at = np.unique(values, return_inverse=True)
    return sample.meaning.classes(distinct).astype(np.uint16)[at].reshape(values.shape)


def boundary_counts(pred: NDArray[np.uint16], gt: NDArray[np.uint16], num_classes: int) -> dict[str, NDArray]:
    """Boundary pixels of one image per class.

    A pixel is a boundary pixel of its class where another class or the image's edge lies within Chebyshev distance d. The ground truth's
    void is laid over the prediction first, so that both maps have the same edge towards void, and void pixels are not counted: a prediction
    that is right on every labelled pixel has Boundary IoU 1. A void prediction on a labelled pixel belongs to no class.

    Args:
        pred: uint16[H, W] class indices, void is C.
        gt: uint16[H, W] class indices, void is C.

    Returns:
        Columns `class`, `intersection`, `gt`, `pred` of the `boundary` table; classes ascending, empty ones absent.
    """
    from segbench.kernels.boundary import count_boundaries, mark_interior

    if gt.ndim != 2:
        raise InputError("boundary metrics need images with rows and columns", hint="leave boundary metrics out for point clouds")
    distance_px = boundary_distance_px(*gt.shape)
    pred = np.where(gt == num_classes, gt, pred)
    interiors = np.zeros((2, *gt.shape), np.uint8)
    for classes, interior in zip((gt, pred), interiors, strict=True):
        mark_interior(classes, distance_px, np.zeros(gt.shape[1], np.int32), interior)
    counts = np.zeros((3, num_classes + 1), np.int64)
    count_boundaries(gt.ravel(), pred.ravel(), interiors[0].ravel(), interiors[1].ravel(), counts)
    counts = counts[:, :-1]
    present = np.flatnonzero(counts[1:].any(0))
    return {"class": present.astype(np.int32), **dict(zip(("intersection", "gt", "pred"), counts[:, present], strict=True))}


def boundary_totals(evidence: Evidence) -> Totals:
    """Exact boundary counts per class over the whole set."""
    table = evidence.rows("boundary")
    sums = np.zeros((3, evidence.num_classes), np.int64)
    for row, column in zip(sums, ("intersection", "gt", "pred"), strict=True):
        np.add.at(row, table["class"], table[column])
    tp, gt, pred = sums
    return Totals(tp, gt, pred, (gt + pred - tp).astype(np.float64))
