"""Polygons to run-length masks, many at once and exactly as pycocotools draws them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from segbench.instances import Masks

MOST_PARTS = 1024
"""Polygons of one mask at most."""
AT_ONCE = 2**21
"""Masks at once at most."""


def polygon_masks(shapes: Sequence[Sequence[Sequence[float]]], sizes: NDArray[np.int32]) -> Masks:
    """The union of each shape's polygons.

    Args:
        shapes: M lists of at most `MOST_PARTS` polygons, each a flat list of x and y; checked. M at most `AT_ONCE`.
        sizes: int32[M, 2], height and width of each shape's image.
    """
    from segbench.kernels import polygons as kernels

    parts = list(chain.from_iterable(shapes))
    counts = np.array([len(shape) for shape in shapes], np.int64)
    ends = np.cumsum(counts)
    mask_of = np.repeat(np.arange(len(shapes)), counts)
    part_of = np.arange(len(parts)) - np.repeat(ends - counts, counts)
    starts = np.concatenate(([0], np.cumsum([len(part) for part in parts], dtype=np.int64)))
    points = np.fromiter(chain.from_iterable(parts), np.float64, int(starts[-1]))
    sizes = np.ascontiguousarray(sizes, np.int32)
    keys = np.empty(_most_crossings(points, starts, sizes[mask_of, 1]), np.int64)
    keys = np.sort(keys[: kernels.cross_columns(points, starts, mask_of, part_of, sizes, keys)])
    count = len(shapes)
    spans = np.empty((len(keys) // 2 + count, 2), np.int32)
    masks = Masks(spans, np.empty(count + 1, np.int64), np.empty(count, np.int64), np.empty((count, 4)))
    used = kernels.fill_spans(keys, sizes, np.zeros(MOST_PARTS, np.uint8), spans, masks.offsets, masks.areas, masks.boxes)
    return Masks(spans[:used], masks.offsets, masks.areas, masks.boxes)


def _most_crossings(points: NDArray[np.float64], starts: NDArray[np.int64], widths: NDArray[np.int32]) -> int:
    """Columns of the images that the edges span, those that close a polygon too, and two for each edge."""
    columns = np.clip(points[::2], 0, np.repeat(widths, np.diff(starts) // 2))
    steps = np.abs(np.diff(columns, append=0.0))
    closing = columns[starts[:-1] // 2] + columns[starts[1:] // 2 - 1]
    return int(steps.sum() + closing.sum()) + 3 * len(points) + 16
