"""From two label maps to how often each pair of values meets."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from segbench.kernels.pairs import count_pairs_u8
from segbench.samples import LabelMap

RUNS = 1 << 14
"""Runs that the general kernel writes before they are summed up."""

_scratch = threading.local()

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def label_pairs(pred: LabelMap, gt: LabelMap) -> Pairs:
    """How often each (ground-truth value, predicted value) occurs at the same pixel.

    Args:
        pred: Prediction.
        gt: Ground truth of the same shape.

    Returns:
        `gt_values, pred_values, pixels`, int64[K] each, ascending by (gt, pred), no zero counts; values as the files hold them.
    """
    if not gt.values.size:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing
    if pred.values.dtype == gt.values.dtype == np.uint8:
        return _byte_pairs(pred.values.reshape(-1), gt.values.reshape(-1))
    return _run_pairs(pred.values.reshape(-1).astype(np.int32, copy=False), gt.values.reshape(-1).astype(np.int32, copy=False))


def _byte_pairs(pred: NDArray[np.uint8], gt: NDArray[np.uint8]) -> Pairs:
    if not hasattr(_scratch, "counts"):
        _scratch.counts, _scratch.touched = np.zeros(1 << 16, np.int64), np.zeros(1 << 16, np.int32)
    counts, touched = _scratch.counts, _scratch.touched
    keys = touched[: count_pairs_u8(pred, gt, counts, touched)].astype(np.int64)
    keys.sort()
    pixels = counts[keys]
    counts[keys] = 0  # the next image finds the table empty
    return keys >> 8, keys & 255, pixels


def _run_pairs(pred: NDArray[np.int32], gt: NDArray[np.int32]) -> Pairs:
    from segbench.kernels.pair_runs import pair_runs_i32

    pairs, lengths, filled = np.empty((RUNS, 2), np.int32), np.empty(RUNS, np.int64), np.zeros(1, np.int64)
    keys, pixels = np.zeros(0, np.int64), np.zeros(0, np.int64)
    at = 0
    while at < len(pred):
        at = pair_runs_i32(pred, gt, at, pairs, lengths, filled)
        count = int(filled[0])
        runs = (pairs[:count, 0].astype(np.int64) << 32) + pairs[:count, 1] + (1 << 31)
        keys, pixels = _summed(np.concatenate([keys, runs]), np.concatenate([pixels, lengths[:count]]))
    return keys >> 32, (keys & 0xFFFFFFFF) - (1 << 31), pixels


def _summed(keys: NDArray[np.int64], pixels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(keys, kind="stable")
    keys, pixels = keys[order], pixels[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(pixels, first)
