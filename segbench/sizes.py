"""Sizes of predictions against sizes of ground truth: what a mismatch looks like, and resizing labels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.errors import SHOWN, ShapeError

RESIZE_RULES = ("nearest", "nearest-exact")

Size = tuple[int, ...]


def resized(values: NDArray, size: tuple[int, ...], rule: str) -> NDArray:
    """Labels at another size by nearest neighbour, in exact integer arithmetic.

    `nearest` takes row floor(i * s) (OpenCV INTER_NEAREST, torch `nearest`), `nearest-exact` floor((i + 0.5) * s) (Pillow NEAREST, torch
    `nearest-exact`, up to their rounding), with s = old / new.
    """
    axes = []
    for new, old in zip(size, values.shape, strict=True):
        steps = np.arange(new, dtype=np.int64)
        axes.append(steps * old // new if rule == "nearest" else (2 * steps + 1) * old // (2 * new))
    return np.ascontiguousarray(values[np.ix_(*axes)])


def looks_like(pred: Size, gt: Size) -> str:
    """What a difference in size looks like, in words that follow "the prediction is"."""
    if pred == gt[::-1]:
        return "transposed (rows and columns exchanged, or the image's EXIF rotation was applied)"
    rows, columns = gt[0] / pred[0], gt[1] / pred[1]
    if rows == columns:
        return f"scaled by 1/{rows:g}" if rows > 1 else f"scaled by {1 / rows:g}"
    if pred[0] == pred[1] and pred[0] >= 32:
        return "square: letterboxed or resized to the network's input"
    if abs(rows - columns) / max(rows, columns) < 0.02:
        return f"scaled by about {1 / rows:.3g}, rounded"
    return "cropped, padded or resized"


def mismatch(found: Sequence[tuple[Size, Size, str, str]]) -> ShapeError:
    """The error for (pred size, gt size, pred file, gt file) rows that differ."""
    pred, gt, _, _ = found[0]
    what = looks_like(pred, gt) if len(pred) == len(gt) == 2 else "of other axes"
    hint = "export at full size, or pass --resize nearest (floor(i*s)) or nearest-exact (Pillow)"
    if len(pred) != len(gt):
        hint = "give both as images (height, width), or both as points (N,)"
    if what.startswith("transposed"):
        hint = "save labels as (height, width), and load images without rotating them"
    shown = [item for row in found[:SHOWN] for item in (("pred", row[2]), ("gt", row[3])) if item[1]]
    ours, theirs = ("x".join(map(str, size)) for size in (pred, gt))
    return ShapeError(
        f"prediction and ground truth differ in size: {ours} vs {theirs}; the prediction is {what}",
        files=shown,
        count=len(found),
        hint=hint,
        code="SB101",
    )


def check_sizes(pred: Any, gt: Any, pairs: Sequence[tuple[Any, Any]]) -> int:
    """Compares the sizes that headers tell, before anything is decoded.

    Returns:
        Pixels of the largest image, as far as headers tell.

    Raises:
        ShapeError: SB101.
    """
    known_pred = dict(zip(pred.keys, pred.sizes(), strict=True))
    known_gt = dict(zip(gt.keys, gt.sizes(), strict=True))
    found = []
    for pred_key, gt_key in pairs:
        ours, theirs = known_pred.get(pred_key), known_gt.get(gt_key)
        if ours and theirs and ours != theirs:
            found.append((ours, theirs, pred.file(pred_key), gt.file(gt_key)))
    if found:
        raise mismatch(found)
    return max((prod(size) for known in (known_pred, known_gt) for size in known.values() if size), default=0)
