"""Boundaries of panoptic segments: the pixels that the boundaries of every pair of segments share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import InputError
from segbench.evidence import Table
from segbench.metrics.boundaries import boundary_distance_px
from segbench.metrics.panoptic.segments import INTERIOR, UNLISTED, VOID, count_pairs, evaluated, hash_table, listed, pixel_bytes, size_of
from segbench.samples import INVALID, PanopticMap

LAST_INDEX = 65533
_UNLISTED, _INTERIOR = LAST_INDEX + 1, LAST_INDEX + 2


def boundary_rows(pred: PanopticMap, gt: PanopticMap, dataset: Dataset) -> Table:
    """Rows of the `boundary_overlaps` table of one image.

    A pixel is a boundary pixel of its segment where another segment, void or the image's edge lies within Chebyshev distance d.

    Raises:
        InputError: points instead of an image, or more segments than 16 bits count.
    """
    if len(size_of(gt)) != 2:
        raise InputError("boundary metrics need images with rows and columns", hint="leave boundary_pq out of --metrics for point clouds")
    maps = [boundary_map(sample, dataset) for sample in (gt, pred)]
    ids = [np.union1d(values, [VOID]).astype(np.int64) for values in maps]
    gt_bytes, pred_bytes = (values.view(np.uint8).reshape(-1) for values in maps)
    counts = count_pairs(gt_bytes, pred_bytes, 2, *((found[0], found[1:]) for found in ids))
    g, p = np.divmod(counts.cells, counts.columns)
    codes = [_codes(found) for found in ids]
    return {"gt": codes[0][g], "pred": codes[1][p], "pixels": counts.pixels}


def _codes(indices: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.where(indices == _INTERIOR, INTERIOR, np.where(indices == _UNLISTED, UNLISTED, indices)).astype(np.int32)


def boundary_map(sample: PanopticMap, dataset: Dataset) -> NDArray[np.uint16]:
    """The segment whose boundary a pixel belongs to: 1, 2, ... in the order of the evidence; 0 for void, other numbers inside segments."""
    from segbench.kernels.boundary import mark_interior

    indices = index_map(sample, dataset)
    interior = np.zeros(indices.shape, np.uint8)
    mark_interior(indices, boundary_distance_px(*indices.shape), np.zeros(indices.shape[1], np.int32), interior)
    indices[(interior == 1) & (indices != VOID)] = _INTERIOR
    return indices


def index_map(sample: PanopticMap, dataset: Dataset) -> NDArray[np.uint16]:
    """The segment of every pixel: 1, 2, ... in the order of the evidence, 0 for void."""
    from segbench.kernels.panoptic import index_segments

    kept = evaluated(sample, dataset)
    if kept.sum() > LAST_INDEX:
        raise InputError(f"image {sample.id} has {kept.sum()} segments; boundary metrics take {LAST_INDEX}", hint="leave boundary_pq out")
    values, step = pixel_bytes(sample)
    numbers = np.where(sample.classes == INVALID, _UNLISTED, np.where(kept, np.cumsum(kept), VOID))
    indices = np.concatenate(([VOID], numbers, [_UNLISTED])).astype(np.uint16)
    found = np.empty(len(values) // step, np.uint16)
    void, ids = listed(sample)
    index_segments(values, step, void, ids, hash_table(len(ids)), indices, found)
    return found.reshape(size_of(sample))
