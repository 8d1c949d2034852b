"""Pixels to rows: two maps of segment ids become the segments of both and the pixels that every pair of them shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import InputError, LabelError, counted
from segbench.evidence import Table
from segbench.samples import INVALID, PanopticMap
from segbench.sizes import mismatch, resized

VOID, UNLISTED, INTERIOR = 0, -1, -2
"""What `gt` and `pred` of the overlap tables hold beside 1, 2, ..., the segments of the image in their order: no segment; an id that the
table beside the map does not list; and, of boundaries, the inside of any segment."""

Listed = tuple[int, NDArray[np.int64]]
"""The void id of a map, and its segments' ids."""

NO_PIXEL = 1 << 62
"""An id that no map holds."""

MAX_TABLE = 1 << 22
"""Cells of a dense table of segment pairs; beyond, pairs are sorted instead."""

MIN_SLOTS = 256
"""Entries of the hash table of a few ids: more than they need, so that ids that are not listed find an empty one at once."""

SHOWN_IDS = 8


def size_of(sample: PanopticMap) -> tuple[int, ...]:
    """Shape of a map in pixels: (H, W), or (N,) for points. RGB maps have a third axis that is no part of it."""
    return sample.values.shape[:2]


def pixel_bytes(sample: PanopticMap) -> tuple[NDArray[np.uint8], int]:
    """The bytes of a map, the lowest of each pixel first, and how many a pixel has."""
    values = sample.values
    if values.ndim == 3:
        return np.ascontiguousarray(values, np.uint8).reshape(-1), values.shape[2]
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8), little.dtype.itemsize


def as_read(ids: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    """Ids as `step` bytes are read: without a sign, unless there are eight. Ids that are too large for them stay as they are."""
    return np.where(ids < 0, ids & ((1 << 8 * step) - 1), ids) if step < 8 else ids


def listed(sample: PanopticMap) -> Listed:
    """The void id and the segments' ids. No pixel without a sign means -1, whatever its bytes."""
    void = NO_PIXEL if sample.void < 0 and sample.values.dtype.kind == "u" else sample.void
    return void, np.ascontiguousarray(sample.segment_ids, np.int64)


def id_values(sample: PanopticMap) -> NDArray[np.int64]:
    """The id of every pixel, flat."""
    values, step = pixel_bytes(sample)
    if step == 8:
        return values.view("<i8").astype(np.int64, copy=False)
    columns = values.reshape(-1, step).astype(np.int64)
    return sum(columns[:, k] << 8 * k for k in range(step))  # type: ignore[return-value]


class Counts(NamedTuple):
    """Pixels that every pair of segments of two maps shares: a sparse table, and its sums.

    Row 0 of the table is void, rows 1 to G are the ground truth's segments in their order, the last row is for ids that are not listed;
    columns the same of the prediction.

    Attributes:
        rows, columns: G + 2 and P + 2.
        cells: int64[K], ascending: `row * columns + column` of the pairs that share a pixel.
        pixels: int64[K], how many.
        gt_areas, pred_areas: int64[rows] and int64[columns].
        whole: Whether both maps hold every segment and no other id.
    """

    rows: int
    columns: int
    cells: NDArray[np.int64]
    pixels: NDArray[np.int64]
    gt_areas: NDArray[np.int64]
    pred_areas: NDArray[np.int64]
    whole: bool

    @property
    def table(self) -> NDArray[np.int64]:
        """int64[rows, columns], every pair."""
        dense = np.zeros((self.rows, self.columns), np.int64)
        dense.put(self.cells, self.pixels)
        return dense


def segment_pairs(pred: PanopticMap, gt: PanopticMap) -> Counts:
    """How the segments of two maps of one size overlap."""
    (gt_bytes, step), (pred_bytes, pred_step) = pixel_bytes(gt), pixel_bytes(pred)
    large = (len(gt.segment_ids) + 2) * (len(pred.segment_ids) + 2) > MAX_TABLE
    if not large and step == pred_step:
        return count_pairs(gt_bytes, pred_bytes, step, listed(gt), listed(pred))
    sides = _listed_as_read(gt, step), _listed_as_read(pred, pred_step)
    gt_values, pred_values = id_values(gt), id_values(pred)
    if large:
        return _sorted_pairs(gt_values, pred_values, *sides)
    return count_pairs(gt_values.view(np.uint8), pred_values.view(np.uint8), 8, *sides)


def _listed_as_read(sample: PanopticMap, step: int) -> Listed:
    ids = as_read(np.append(*listed(sample)), step)
    return int(ids[0]), ids[1:]


def count_pairs(gt: NDArray[np.uint8], pred: NDArray[np.uint8], step: int, gt_listed: Listed, pred_listed: Listed) -> Counts:
    """The same of maps given as bytes, `step` a pixel."""
    from segbench.kernels.panoptic import count_segment_pairs

    (gt_void, gt_ids), (pred_void, pred_ids) = gt_listed, pred_listed
    rows, columns = len(gt_ids) + 2, len(pred_ids) + 2
    table, gt_areas, pred_areas = np.zeros((rows, columns), np.int64), np.zeros(rows, np.int64), np.zeros(columns, np.int64)
    slots = hash_table(max(rows, columns), 2)
    whole = count_segment_pairs(gt, pred, step, gt_void, pred_void, gt_ids, pred_ids, slots, table, gt_areas, pred_areas)
    cells = table.reshape(-1).nonzero()[0]
    return Counts(rows, columns, cells, table.take(cells), gt_areas, pred_areas, whole)


def hash_table(ids: int, *sides: int) -> NDArray[np.int64]:
    """An empty hash table of so many ids, as the kernels take it."""
    return np.zeros((*sides, max(MIN_SLOTS, 1 << (2 * ids).bit_length()), 2), np.int64)


def _sorted_pairs(gt: NDArray[np.int64], pred: NDArray[np.int64], gt_listed: Listed, pred_listed: Listed) -> Counts:
    """The same for thousands of segments on both sides: only the pairs that occur are looked at."""
    places = []
    for values, side in ((gt, gt_listed), (pred, pred_listed)):
        ids = np.append(*side)
        order = ids.argsort(kind="stable")
        at = order[np.minimum(np.searchsorted(ids[order], values), len(ids) - 1)]
        places.append(np.where(ids[at] == values, at, len(ids)))
    rows, columns = len(gt_listed[1]) + 2, len(pred_listed[1]) + 2
    cells, pixels = np.unique(places[0] * columns + places[1], return_counts=True)
    gt_areas, pred_areas = np.bincount(places[0], minlength=rows), np.bincount(places[1], minlength=columns)
    whole = not any(areas[-1] or not areas[1:-1].all() for areas in (gt_areas, pred_areas))
    return Counts(rows, columns, cells, pixels, gt_areas, pred_areas, whole)


def void_like(gt: PanopticMap) -> PanopticMap:
    """A prediction of an image that says nothing anywhere."""
    none = np.zeros(0, np.int64)
    return PanopticMap(gt.id, np.zeros(size_of(gt), np.uint8), none, none.astype(np.int32), none, none.astype(bool), "(no prediction)")


def resized_to(pred: PanopticMap, gt: PanopticMap, rule: str) -> PanopticMap:
    """A prediction at the size of its ground truth, by nearest neighbour; segments too small to survive leave its table."""
    if size_of(pred) == size_of(gt):
        return pred
    values = resized(pred.values, (*size_of(gt), *pred.values.shape[len(size_of(gt)) :]), rule)
    smaller = replace(pred, values=values)
    left = np.isin(as_read(pred.segment_ids, pixel_bytes(smaller)[1]), np.unique(id_values(smaller)))
    columns = {name: getattr(pred, name)[left] for name in ("segment_ids", "classes", "areas", "crowd")}
    return replace(smaller, **columns)


class Segments(NamedTuple):
    """The segments of a map, in its order: columns as of `PanopticMap`, and the pixels counted."""

    ids: NDArray[np.int64]
    classes: NDArray[np.int32]
    areas: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    stated: NDArray[np.int64]


class ImageSegments(NamedTuple):
    """What is kept of one image: both sides' segments, and `rows`, `columns`, `cells` and `pixels` as of `Counts`."""

    gt: Segments
    pred: Segments
    rows: int
    columns: int
    cells: NDArray[np.int64]
    pixels: NDArray[np.int64]


def image_segments(pred: PanopticMap, gt: PanopticMap, dataset: Dataset, unlisted: bool = False) -> ImageSegments:
    """Counts one image. Segments of a class that is named but not evaluated are void.

    Args:
        unlisted: Ground-truth ids that the table does not list, or lists with an unknown category, are neither void nor segments (as in
            panopticapi); else they are an error.

    Raises:
        ShapeError: SB101, the maps differ in size.
        LabelError: SB110, an unknown category; SB150, map and table list different segments; SB153, ids that no pixel can hold.
    """
    if size_of(pred) != size_of(gt):
        raise mismatch([(size_of(pred), size_of(gt), pred.file, gt.file)])
    counts = segment_pairs(pred, gt)
    plain = all_evaluated(gt, dataset) and all_evaluated(pred, dataset)
    if not (counts.whole and plain):
        check_segments(gt, "gt", counts.gt_areas, dataset, unlisted)
        check_segments(pred, "pred", counts.pred_areas, dataset)
    if not plain:
        counts = _folded(counts, gt, pred, dataset)
        gt, pred = (_without_void(sample, dataset) for sample in (gt, pred))
    rows, columns, cells, pixels, gt_areas, pred_areas, _ = counts
    return ImageSegments(_segments(gt, gt_areas), _segments(pred, pred_areas), rows, columns, cells, pixels)


def _segments(sample: PanopticMap, areas: NDArray[np.int64]) -> Segments:
    return Segments(sample.segment_ids, sample.classes, areas[1:-1], sample.crowd, sample.areas)


def segment_tables(images: Sequence[ImageSegments]) -> dict[str, Table]:
    """The `segments` and `overlaps` tables of images."""
    sides = [side for image in images for side in (image.gt, image.pred)]
    lengths = [len(side.ids) for side in sides]
    columns = dict(zip(Segments._fields, (np.concatenate(column) for column in zip(*sides, strict=True)), strict=True))
    kept = np.array([len(image.cells) for image in images])
    rows, width = (np.repeat([getattr(image, name) for image in images], kept) for name in ("rows", "columns"))
    gt, pred = np.divmod(np.concatenate([image.cells for image in images]), width)
    gt[gt == rows - 1] = UNLISTED
    pred[pred == width - 1] = UNLISTED
    return {
        "segments": {
            "image": np.repeat(np.arange(len(sides)) // 2, lengths),
            "side": np.repeat(np.arange(len(sides)) % 2, lengths),
            "segment": columns["ids"],
            "class": columns["classes"],
            "area": columns["areas"],
            "crowd": columns["crowd"],
            "stated": columns["stated"],
        },
        "overlaps": {
            "image": np.repeat(np.arange(len(images)), kept),
            "gt": gt,
            "pred": pred,
            "pixels": np.concatenate([image.pixels for image in images]),
        },
    }


def all_evaluated(sample: PanopticMap, dataset: Dataset) -> bool:
    """Whether every listed segment is of an evaluated class."""
    classes = sample.classes.tolist()  # of the dozen that an image has, Python finds the ends sooner than NumPy
    return not classes or (min(classes) > INVALID and max(classes) < dataset.num_classes)


def evaluated(sample: PanopticMap, dataset: Dataset) -> NDArray[np.bool_]:
    """Which listed segments are of an evaluated class."""
    return (sample.classes != INVALID) & (sample.classes < dataset.num_classes)


def _without_void(sample: PanopticMap, dataset: Dataset) -> PanopticMap:
    kept = evaluated(sample, dataset)
    columns = {name: getattr(sample, name)[kept] for name in ("segment_ids", "classes", "areas", "crowd")}
    return replace(sample, **columns)


def _folded(counts: Counts, gt: PanopticMap, pred: PanopticMap, dataset: Dataset) -> Counts:
    """Segments of classes that are not evaluated counted as void, those of unknown categories as not listed."""
    new_rows, new_columns = _new_places(gt, dataset), _new_places(pred, dataset)
    sizes = int(new_rows[-1]) + 1, int(new_columns[-1]) + 1
    old_row, old_column = np.divmod(counts.cells, counts.columns)
    cells, where = np.unique(new_rows[old_row] * sizes[1] + new_columns[old_column], return_inverse=True)
    pixels = _sums(where, counts.pixels, len(cells))
    areas = _sums(new_rows, counts.gt_areas, sizes[0]), _sums(new_columns, counts.pred_areas, sizes[1])
    return Counts(*sizes, cells, pixels, *areas, counts.whole)


def _new_places(sample: PanopticMap, dataset: Dataset) -> NDArray[np.int64]:
    """int64[S + 2]: where the rows of a table go when only evaluated segments keep one."""
    kept = evaluated(sample, dataset)
    last = int(kept.sum()) + 1
    inner = np.where(kept, kept.cumsum(), np.where(sample.classes == INVALID, last, VOID))
    return np.concatenate(([VOID], inner, [last]))


def _sums(places: NDArray[np.int64], numbers: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    sums = np.zeros(size, np.int64)
    np.add.at(sums, places, numbers)
    return sums


def check_segments(sample: PanopticMap, role: str, pixels: NDArray[np.int64], dataset: Dataset, unlisted: bool = False) -> None:
    """Raises LabelError where the map and the table beside it do not list the same segments, or a category is unknown.

    Args:
        pixels: int64[S + 2], pixels of void, of each listed segment, and of ids that are not listed.
    """
    if not unlisted and (lost := sample.segment_ids[sample.classes == INVALID]).size:
        raise _refusal(sample, role, "of a category that the data set does not have", lost, "SB110", f"is it {dataset.name}?")
    values = sample.values
    highest = np.iinfo(values.dtype).max if values.ndim < 3 else (1 << 8 * values.shape[2]) - 1
    if not unlisted and (beyond := sample.segment_ids[sample.segment_ids > highest]).size:
        hint = "was the map cast to a smaller type? Give it as it was"
        raise _refusal(sample, role, f"with ids beyond {highest}, the largest that its pixels hold", beyond, "SB153", hint)
    if pixels[-1] and not unlisted:
        ids = np.append(*listed(sample))
        strange = np.setdiff1d(id_values(sample), as_read(ids, pixel_bytes(sample)[1]))
        hint = "list every segment"
        if ids[0] != NO_PIXEL:
            hint += f", or draw what is none with the void id {sample.void}"
        if np.isin((strange & 255) << 16 | strange & 255 << 8 | strange >> 16, ids).all():
            hint = "red and blue are swapped: OpenCV writes B, G, R, so reverse the channels before cv2.imwrite"
        raise _refusal(sample, role, "in the map and not in the table beside it", _as_written(strange, sample), "SB150", hint)
    if not unlisted and np.count_nonzero(pixels[1:-1]) < len(pixels) - 2:
        absent = sample.segment_ids[pixels[1:-1] == 0]
        hint = "leave segments out that other segments cover whole; is it the map of this image?"
        raise _refusal(sample, role, "in the table and not in the map", absent, "SB150", hint)


def _as_written(ids: NDArray[np.int64], sample: PanopticMap) -> NDArray:
    """Ids as the map's type has them, from how its bytes are read."""
    return ids.astype(sample.values.dtype) if sample.values.ndim < 3 else ids


def _refusal(sample: PanopticMap, role: str, what: str, ids: NDArray, code: str, hint: str) -> InputError:
    side = {"pred": "prediction", "gt": "ground truth"}[role]
    shown = ", ".join(str(segment) for segment in ids[:SHOWN_IDS].tolist()) + (", ..." if len(ids) > SHOWN_IDS else "")
    return LabelError(
        f"image {sample.id}, {side}: {counted(len(ids), 'segment')} {what}: {shown}",
        files=[(role, sample.file)] if sample.file else [],
        hint=hint,
        code=code,
    )
