"""Slow, obvious twins of the instance kernels and metrics: dense masks, nested loops, dictionaries."""

from __future__ import annotations

import numpy as np


def counts_of(pixels):
    """Run lengths of a dense mask down its columns, background first."""
    runs, value = [0], 0
    for pixel in pixels.reshape(-1, order="F"):
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def string_of(runs):
    """The counts string of run lengths."""
    text = ""
    for index, run in enumerate(runs):
        number = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            group = number & 31
            number >>= 5
            more = number != (-1 if group & 16 else 0)
            text += chr(48 + (group | 32 if more else group))
    return text


def box_of(pixels):
    """x, y, width, height of the set pixels as COCO gives them: a run over a column's end reaches from top to bottom."""
    runs = counts_of(pixels)
    height = pixels.shape[0]
    if len(runs) < 2:
        return [0, 0, 0, 0]
    columns, rows, position = [], [], 0
    for index, run in enumerate(runs):
        if index % 2 and run:
            first, last = divmod(position, height), divmod(position + run - 1, height)
            columns += [first[0], last[0]]
            rows += [first[1], last[1]] if first[0] == last[0] else [0, height - 1]
        position += run
    return [min(columns), min(rows), max(columns) - min(columns) + 1, max(rows) - min(rows) + 1]


def mask_iou(pred, gt, crowd):
    """(intersection, union) of dense masks; a crowd's union is the prediction."""
    both = int((pred & gt).sum())
    return both, int(pred.sum()) if crowd else int((pred | gt).sum())


def boundary_of(pixels, ratio=0.02):
    """Set pixels with an unset one, or the image's edge, within d rows and columns."""
    height, width = pixels.shape
    depth = max(1, round(float(ratio * np.sqrt(height**2 + width**2))))
    padded = np.pad(pixels, depth)
    thin = np.zeros_like(pixels)
    for y, x in np.argwhere(pixels):
        thin[y, x] = not padded[y : y + 2 * depth + 1, x : x + 2 * depth + 1].all()
    return thin


def matches(ious, ignored, crowd, threshold):
    """Greedy matching of one image and class: for each detection, best first, (ground truth or None, ignored)."""
    order = [gt for gt in range(len(ignored)) if not ignored[gt]] + [gt for gt in range(len(ignored)) if ignored[gt]]
    taken, result = set(), []
    for row in ious:
        best, found = min(threshold, 1 - 1e-10), None
        for gt in order:
            if gt in taken and not crowd[gt]:
                continue
            if found is not None and not ignored[found] and ignored[gt]:
                break
            if row[gt] >= best:
                best, found = row[gt], gt
        if found is not None:
            taken.add(found)
        result.append((found, found is not None and bool(ignored[found])))
    return result


def average_precision(hits, scores, truths):
    """101-point interpolated precision of (score, right) detections; NaN without ground truth."""
    if not truths:
        return float("nan")
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    true = false = 0
    points = []
    for index in order:
        true += hits[index]
        false += not hits[index]
        points.append((true / truths, true / (true + false + np.spacing(1))))
    total = []
    for threshold in np.linspace(0, 1, 101):
        total.append(max((precision for recall, precision in points if recall >= threshold), default=0.0))
    return float(np.mean(total))
