"""From two label maps to how often each pair of values meets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segbench.samples import LabelMap


def label_pairs(pred: LabelMap, gt: LabelMap) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """How often each (ground-truth value, predicted value) occurs at the same pixel.

    Args:
        pred: Prediction.
        gt: Ground truth of the same shape.

    Returns:
        `gt_values, pred_values, pixels`, int64[K] each, ascending by (gt, pred), no zero counts; values as the files hold them.
    """
    keys = (gt.values.astype(np.int64).ravel() << 32) + pred.values.astype(np.int64).ravel() + (1 << 31)
    keys, pixels = np.unique(keys, return_counts=True)
    return keys >> 32, (keys & 0xFFFFFFFF) - (1 << 31), pixels.astype(np.int64)
