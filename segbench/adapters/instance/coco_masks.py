"""Masks as COCO files write them (compressed and plain counts, polygons, boxes) to canonical run-length masks, checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from segbench.adapters.instance.polygons import MAX_COORDINATE, MOST_PARTS, outlines_of, polygon_masks, read_outlines
from segbench.errors import SHOWN, FormatError, InputError, ShapeError
from segbench.instances import MAX_PIXELS, Masks, no_masks
from segbench.kernels import rle

NONE, COUNTS, RUNS, POLYGONS, BOX = range(5)
"""How a row writes its mask: not at all, a counts string, a list of counts, polygons, or the box stands for the mask."""

FEW = 128
"""Polygons that pycocotools draws as fast as the kernels are loaded, or compiled."""

_SIZE = "size is [height, width]"
_REASONS = {
    rle.BAD_CHARACTER: "a character that no counts string has",
    rle.TRUNCATED: "the counts string ends in the middle of a number",
    rle.NEGATIVE_RUN: "a run of negative length",
    rle.WRONG_TOTAL: "its runs do not add up to height * width",
}


@dataclass(frozen=True, slots=True, eq=False)
class Segmentations:
    """What a file says about masks, one row per instance, not yet decoded.

    Attributes:
        text: uint8[B]. A row of kind COUNTS is a counts string, of kind RUNS or POLYGONS a piece of JSON.
        starts, stops: int64[M], the bytes of each row.
        kinds: uint8[M].
        sizes: int32[M, 2], height and width as the row states them; -1 where it states none.
    """

    text: NDArray[np.uint8]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    sizes: NDArray[np.int32]

    def take(self, rows: NDArray[np.int64] | slice) -> Segmentations:
        """The given rows; shares the text."""
        return replace(self, starts=self.starts[rows], stops=self.stops[rows], kinds=self.kinds[rows], sizes=self.sizes[rows])

    def packed(self) -> Segmentations:
        """The same with no more text than its rows need."""
        lengths = self.stops - self.starts
        stops = np.cumsum(lengths)
        text = self.text[np.arange(lengths.sum()) + np.repeat(self.starts - (stops - lengths), lengths)]
        return replace(self, text=text, starts=stops - lengths, stops=stops)

    def row(self, index: int) -> bytes:
        """The bytes of one row."""
        return self.text[self.starts[index] : self.stops[index]].tobytes()


def decode(rows: Segmentations, sizes: NDArray[np.int32], boxes: NDArray[np.float64], name: Callable[[int], str], file: str) -> Masks:
    """The masks of all rows.

    Args:
        rows: M rows.
        sizes: int32[M, 2], the size of each row's image; -1 where not known.
        boxes: float64[M, 4], for rows of kind BOX.
        name: What a row is called in messages.
        file: Where they come from, for messages.

    Raises:
        ShapeError: SB101, SB104: a mask has another size than its image.
        FormatError: SB102: a damaged counts string. SB170: a polygon that is none. SB192: an image beyond 2^31 pixels.
    """
    if not len(rows.starts):
        return no_masks()
    full = np.where(sizes < 0, rows.sizes, sizes).astype(np.int32)
    _check_sizes(rows, sizes, full, name, file)
    drawn = np.flatnonzero((rows.kinds == POLYGONS) | (rows.kinds == BOX))
    if len(drawn) > FEW:
        outlines, unread = read_outlines(rows.text, rows.starts[drawn], rows.stops[drawn])
        if len(unread):
            shapes = [_shape(rows, int(row), boxes, name, file) for row in drawn[unread]]
            outlines = outlines.and_those(outlines_of(shapes), unread)
        masks = polygon_masks(outlines, full[drawn])
        if len(drawn) == len(rows.kinds):
            return masks
        written = np.ones(len(rows.kinds), bool)
        written[drawn] = False
        others = np.flatnonzero(written)
        rest = decode(rows.take(others), full[others], boxes[others], lambda row: name(int(others[row])), file)
        return woven(masks, rest, written)
    if (rows.kinds != COUNTS).any():
        rows = _spelled(rows, full, boxes, name, file)
    lengths = rows.stops - rows.starts
    spans = np.empty((int((lengths // 2 + 1).sum()), 2), np.int32)
    masks = Masks(spans, np.empty(len(lengths) + 1, np.int64), np.empty(len(lengths), np.int64), np.empty((len(lengths), 4)))
    status = np.empty(len(lengths), np.uint8)
    used = rle.decode_counts(rows.text, rows.starts, rows.stops, full, spans.reshape(-1), masks.offsets, masks.areas, masks.boxes, status)
    if status.any():
        bad = np.flatnonzero(status)
        raise FormatError(
            f"the run-length mask of {name(int(bad[0]))} is damaged: {_REASONS[int(status[bad[0]])]}",
            files=[file, *(("also", name(int(row))) for row in bad[1:SHOWN])],
            count=len(bad),
            hint="encode masks with pycocotools.mask.encode(np.asfortranarray(mask)), at the size of the image",
            code="SB102",
        )
    return replace(masks, spans=spans[:used])


def _check_sizes(rows: Segmentations, sizes: NDArray, full: NDArray, name: Callable[[int], str], file: str) -> None:
    unsized = np.flatnonzero((rows.sizes < 0).any(1) & ((rows.kinds == COUNTS) | (rows.kinds == RUNS)))
    if len(unsized):
        raise FormatError(
            f"the size of the mask of {name(int(unsized[0]))} is negative", files=[file], count=len(unsized), hint=_SIZE, code="SB102"
        )
    differs = (rows.sizes != full) & (rows.sizes >= 0)
    if differs.any():
        differing = np.flatnonzero(differs.any(1))
        row = int(differing[0])
        stated, image = rows.sizes[row], full[row]
        swapped = stated[0] == image[1] and stated[1] == image[0]
        hint = _SIZE if swapped else "masks must have the size of the image; resize them when they are made"
        raise ShapeError(
            f"the mask of {name(row)} has size {stated[0]}x{stated[1]}, its image {image[0]}x{image[1]} (height x width)",
            files=[file, *(("also", name(int(other))) for other in differing[1:SHOWN])],
            count=len(differing),
            hint=hint,
            code="SB104" if swapped else "SB101",
        )
    if (full < 0).any():
        row = int(np.flatnonzero((full < 0).any(1))[0])
        raise FormatError(
            f"the size of the image of {name(row)} is not known", files=[file], hint="add height and width to the ground truth's images"
        )
    pixels = full[:, 0].astype(np.int64) * full[:, 1]
    if (pixels > MAX_PIXELS).any():
        row = int(np.argmax(pixels > MAX_PIXELS))
        raise FormatError(f"the image of {name(row)} has more than 2^31 pixels", files=[file], code="SB192")


def woven(first: Masks, second: Masks, from_second: NDArray[np.bool_]) -> Masks:
    """The masks of both, each in its own order.

    Args:
        from_second: bool[M], which of all are of the second.
    """
    counts, areas, boxes = np.empty(len(from_second), np.int64), np.empty(len(from_second), np.int64), np.empty((len(from_second), 4))
    for side, places in ((first, ~from_second), (second, from_second)):
        counts[places], areas[places], boxes[places] = np.diff(side.offsets), side.areas, side.boxes
    seconds = np.concatenate(([0], np.cumsum(from_second)))
    cuts = [0, *(np.flatnonzero(from_second[1:] != from_second[:-1]) + 1).tolist(), len(from_second)]
    pieces = []
    for start, stop in pairwise(cuts):
        side, before = (second, int(seconds[start])) if from_second[start] else (first, start - int(seconds[start]))
        pieces.append(side.spans[side.offsets[before] : side.offsets[before + stop - start]])
    return Masks(np.concatenate(pieces), np.concatenate(([0], np.cumsum(counts))), areas, boxes)


def _shape(rows: Segmentations, row: int, boxes: NDArray[np.float64], name: Callable[[int], str], file: str) -> list[list[float]]:
    """The polygons of a row."""
    try:
        return _polygons(rows, row, boxes)
    except (InputError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unusable(name(row), error, file) from None


def _polygons(rows: Segmentations, row: int, boxes: NDArray[np.float64]) -> list[list[float]]:
    return checked_polygons([_corners(boxes[row])] if rows.kinds[row] == BOX else msgspec.json.decode(rows.row(row)))


def _unusable(name: str, error: Exception, file: str) -> FormatError:
    if isinstance(error, InputError):
        return FormatError(f"the mask of {name} cannot be used: {error.message}", files=[file], hint=error.hint, code=error.code)
    return FormatError(f"the mask of {name} cannot be used: not JSON ({error})", files=[file], code="SB102")


def _spelled(rows: Segmentations, sizes: NDArray, boxes: NDArray[np.float64], name: Callable[[int], str], file: str) -> Segmentations:
    """All rows as counts strings."""
    texts = []
    for row, kind in enumerate(rows.kinds):
        size = int(sizes[row, 0]), int(sizes[row, 1])
        try:
            if kind == COUNTS:
                texts.append(rows.row(row))
            elif kind == RUNS:
                texts.append(counts_of_runs(msgspec.json.decode(rows.row(row)), size))
            elif kind in (POLYGONS, BOX):
                texts.append(counts_of_polygons(_polygons(rows, row, boxes), size))
            else:
                raise FormatError("it has no mask", hint="add its segmentation, or evaluate boxes alone: --metrics 'bbox/*'", code="SB170")
        except (InputError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _unusable(name(row), error, file) from None
    return packed_counts(texts, sizes)


def packed_counts(texts: Sequence[bytes], sizes: NDArray) -> Segmentations:
    """Rows of counts strings."""
    stops = np.cumsum([len(text) for text in texts], dtype=np.int64)
    starts = np.concatenate(([0], stops[:-1])).astype(np.int64)[: len(texts)]
    text = np.frombuffer(b"".join(texts), np.uint8)
    return Segmentations(text, starts, stops, np.full(len(texts), COUNTS, np.uint8), np.asarray(sizes, np.int32).reshape(-1, 2))


def counts_of_runs(runs: Any, size: tuple[int, int]) -> bytes:
    """A list of run lengths, background first, as a counts string.

    Raises:
        FormatError: SB102, no list of whole numbers >= 0 that add up to height * width.
    """
    from pycocotools import mask

    if not isinstance(runs, list) or not set(map(type, runs)) <= {int} or min(runs, default=0) < 0:
        raise FormatError("its counts are not whole numbers >= 0", code="SB102")
    if sum(runs) != size[0] * size[1]:
        raise FormatError(f"its runs add up to {sum(runs)}, height * width is {size[0] * size[1]}", code="SB102")
    if not runs:
        return b""
    return mask.frPyObjects({"size": list(size), "counts": runs}, *size)["counts"]


def checked_polygons(polygons: Any) -> list[list[float]]:
    """Polygons that can be drawn.

    Raises:
        FormatError: SB170, not a list of lists of at least six finite numbers, an even count of them.
    """
    if not isinstance(polygons, list) or not polygons:
        raise FormatError("it has no polygon", hint="leave annotations without a mask out", code="SB170")
    if len(polygons) > MOST_PARTS:
        raise FormatError(f"it has {len(polygons)} polygons, more than {MOST_PARTS}", hint="write it as a run-length mask", code="SB170")
    for polygon in polygons:
        if not isinstance(polygon, list):
            raise FormatError("a polygon stands alone", hint="segmentation is a list of polygons: [[x, y, x, y, ...]]", code="SB170")
        if len(polygon) < 6 or len(polygon) % 2:
            raise FormatError(
                f"a polygon of {len(polygon)} numbers", hint="a polygon has at least three points, x and y of each in turn", code="SB170"
            )
        try:
            # a NaN hides from min and max, not from the sum
            good = min(polygon) >= -MAX_COORDINATE and max(polygon) <= MAX_COORDINATE and not math.isnan(sum(polygon))
        except TypeError:
            good = False
        if not good:
            raise FormatError(f"a polygon coordinate that is no number within +-{MAX_COORDINATE}", code="SB170")
    return polygons


def counts_of_polygons(polygons: Any, size: tuple[int, int]) -> bytes:
    """The union of polygons as a counts string, drawn by pycocotools.

    Raises:
        FormatError: SB170, see `checked_polygons`.
    """
    from pycocotools import mask

    checked_polygons(polygons)
    if not size[0] or not size[1]:
        return b""
    parts = mask.frPyObjects(polygons, *size)
    return (parts[0] if len(parts) == 1 else mask.merge(parts))["counts"]


def counts_of_array(pixels: Any) -> tuple[bytes, tuple[int, int]]:
    """A dense mask (H, W), bool or integers, as a counts string and its size."""
    from pycocotools import mask

    array = np.asarray(pixels)
    if array.ndim != 2 or array.dtype.kind not in "bui":
        raise FormatError(f"a mask is a bool or integer array (H, W), not {array.dtype} {array.shape}")
    coded = mask.encode(np.asfortranarray(array != 0, np.uint8))
    return coded["counts"], (array.shape[0], array.shape[1])


def _corners(box: NDArray[np.float64]) -> list[float]:
    left, top, right, bottom = float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3])
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise FormatError("it has neither mask nor box", code="SB170")
    return [left, top, left, bottom, right, bottom, right, top]
