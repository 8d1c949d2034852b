"""Boundary pixels of all classes of a label map in one pass."""

from __future__ import annotations

from numba import types

from segbench.kernels._jit import I4, I8, U1, U2, kernel, ro, rw


@kernel(types.void(ro(U2, 2), I8, rw(I4), rw(U1, 2)))
def mark_interior(classes, distance_px, rows, interior):
    """Marks the pixels whose (2d + 1) x (2d + 1) neighbourhood lies in the image and holds one class only; all others are boundary.

    Per class that is the mask minus its d-fold 3x3 erosion, the image edge eroding too. A row's runs give the pixels with d equal
    neighbours on either side; 2d + 1 such rows of one class in a row make the middle one interior.

    Args:
        classes: uint16[H, W].
        distance_px: d, at least 1.
        rows: int32[W], zero: per column, how many rows up to here were such rows of one class.
        interior: uint8[H, W], zero; set to 1.
    """
    height, width = classes.shape
    window = 2 * distance_px + 1
    for y in range(height):
        row = classes[y]
        start = 0
        while start < width:
            value = row[start]
            end = start + 1
            while end < width and row[end] == value:
                end += 1
            low, high = start + distance_px, end - distance_px
            if high <= low:
                for x in range(start, end):
                    rows[x] = 0
            else:
                for x in range(start, low):
                    rows[x] = 0
                for x in range(high, end):
                    rows[x] = 0
                if y == 0:
                    for x in range(low, high):
                        rows[x] = 1
                else:
                    above = classes[y - 1]
                    for x in range(low, high):
                        rows[x] = rows[x] + 1 if above[x] == value else 1
                if y >= window - 1:
                    middle = interior[y - distance_px]
                    for x in range(low, high):
                        middle[x] = rows[x] >= window
            start = end


@kernel(types.void(ro(U2), ro(U2), ro(U1), ro(U1), rw(I8, 2)))
def count_boundaries(gt, pred, gt_interior, pred_interior, counts):
    """Counts boundary pixels per class where the ground truth is not void.

    Args:
        gt, pred: uint16[N] class indices, void is C.
        gt_interior, pred_interior: uint8[N], as `mark_interior` gives.
        counts: int64[3, C + 1], zero: intersection, ground truth, prediction. Column C, void, is to be ignored.
    """
    void = counts.shape[1] - 1
    for i in range(gt.shape[0]):
        if gt_interior[i] & pred_interior[i]:
            continue
        label = gt[i]
        if label == void:
            continue
        guess = pred[i]
        if not gt_interior[i]:
            counts[1, label] += 1
            if guess == label and not pred_interior[i]:
                counts[0, label] += 1
        if not pred_interior[i]:
            counts[2, guess] += 1
