"""Polygons to run-length masks, many at once and exactly as pycocotools draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from segbench.errors import FormatError
from segbench.instances import Masks

MOST_PARTS = 1024
"""Polygons of one mask at most."""
AT_ONCE = 2**21
"""Masks at once at most."""
MAX_COORDINATE = 100_000
"""Polygon coordinates beyond it are refused: the rasteriser's time and memory grow with them."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Polygons of masks, as columns.

    Attributes:
        points: float64[N], x and y in turn.
        starts: int64[P + 1]: polygon p is `points[starts[p]:starts[p + 1]]`.
        masks: int64[P], the mask it is a part of. parts: int64[P], which part, below `MOST_PARTS`.
    """

    points: NDArray[np.float64]
    starts: NDArray[np.int64]
    masks: NDArray[np.int64]
    parts: NDArray[np.int64]

    def and_those(self, more: Outlines, masks: NDArray[np.int64]) -> Outlines:
        """These and others, mask i of which is `masks[i]` here."""
        return Outlines(
            np.concatenate((self.points, more.points)),
            np.concatenate((self.starts, more.starts[1:] + self.starts[-1])),
            np.concatenate((self.masks, masks[more.masks])),
            np.concatenate((self.parts, more.parts)),
        )


def outlines_of(shapes: Sequence[Sequence[Sequence[float]]]) -> Outlines:
    """The columns of M lists of at most `MOST_PARTS` polygons, each a flat list of x and y; checked."""
    polygons = list(chain.from_iterable(shapes))
    counts = np.array([len(shape) for shape in shapes], np.int64)
    ends = np.cumsum(counts)
    starts = np.concatenate(([0], np.cumsum([len(polygon) for polygon in polygons], dtype=np.int64)))
    return Outlines(
        np.fromiter(chain.from_iterable(polygons), np.float64, int(starts[-1])),
        starts,
        np.repeat(np.arange(len(shapes)), counts),
        np.arange(len(polygons)) - np.repeat(ends - counts, counts),
    )


def read_outlines(text: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> tuple[Outlines, NDArray[np.int64]]:
    """The polygons of masks from their JSON, and the masks that must be read one by one: they are written in an unusual way, or damaged.

    Args:
        text: uint8[B], valid JSON of all masks. starts, stops: int64[M], the bytes of each.
    """
    from segbench.kernels import coco_rows as kernels

    most = int((stops - starts).sum()) // 2 + len(starts)
    points = np.empty(most, np.int64)
    ends, masks, parts = (np.empty(most // 6 + 1, np.int64) for _ in range(3))
    status = np.empty(len(starts), np.uint8)
    count = kernels.read_polygons(text, starts, stops, points, ends, masks, parts, status)
    ends = np.concatenate((np.zeros(1, np.int64), ends[:count]))
    found = points[: ends[-1]].view(np.float64)
    if (np.abs(found) > MAX_COORDINATE).any():
        return outlines_of([]), np.arange(len(starts))
    return Outlines(found, ends, masks[:count], parts[:count]), np.flatnonzero(status)


def polygon_masks(outlines: Outlines, sizes: NDArray[np.int32]) -> Masks:
    """The union of each mask's polygons.

    Args:
        sizes: int32[M, 2], height and width of each mask's image.

    Raises:
        FormatError: SB192, more than `AT_ONCE` masks: a crossing's key has no room for the number of the mask.
    """
    if len(sizes) > AT_ONCE:
        raise FormatError(f"{len(sizes)} masks at once are beyond the limit of {AT_ONCE}", hint="give fewer images at a time", code="SB192")
    from segbench.kernels import polygons as kernels

    points, starts, masks, parts = outlines.points, outlines.starts, outlines.masks, outlines.parts
    sizes = np.ascontiguousarray(sizes, np.int32)
    keys = np.empty(_most_crossings(points, starts, sizes[masks, 1]), np.int64)
    keys = keys[: kernels.cross_columns(points, starts, masks, parts, sizes, keys)]
    keys.sort(kind="stable")  # merges the runs that outlines give, several times faster than sorting anew
    count = len(sizes)
    spans = np.empty((len(keys) // 2 + count, 2), np.int32)
    found = Masks(spans, np.empty(count + 1, np.int64), np.empty(count, np.int64), np.empty((count, 4)))
    used = kernels.fill_spans(keys, sizes, np.zeros(MOST_PARTS, np.uint8), spans, found.offsets, found.areas, found.boxes)
    return Masks(spans[:used], found.offsets, found.areas, found.boxes)


def _most_crossings(points: NDArray[np.float64], starts: NDArray[np.int64], widths: NDArray[np.int32]) -> int:
    """Columns of the images that the edges span, and two for each edge."""
    columns = np.clip(points[::2], 0, np.repeat(widths, np.diff(starts) // 2))
    steps = np.abs(np.diff(columns, append=0.0))
    last = starts[1:] // 2 - 1
    steps[last] = np.abs(columns[last] - columns[starts[:-1] // 2])
    return int(steps.sum()) + len(points) + 16
