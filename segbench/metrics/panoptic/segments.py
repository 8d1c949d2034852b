"""Pixels to rows: two maps of segment ids become the segments of both and the pixels that every pair of them shares."""

from __future__ import annotations

from dataclasses import replace

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

Listed = tuple[NDArray[np.int64], NDArray[np.int64]]

_FIRST_ROWS = np.arange(65)

MAX_TABLE = 1 << 22
"""Cells of a dense table of segment pairs; beyond, pairs are sorted instead."""

SHOWN_IDS = 8


def size_of(sample: PanopticMap) -> tuple[int, ...]:
    """Shape of a map in pixels: (H, W), or (N,) for points. RGB maps have a third axis that is no part of it."""
    return sample.values.shape[:2]


def _height_width(sample: PanopticMap) -> tuple[int, int]:
    size = size_of(sample)
    return (size[0], size[1]) if len(size) == 2 else (1, size[0])


def pixel_bytes(sample: PanopticMap) -> tuple[NDArray[np.uint8], int]:
    """The bytes of a map, the lowest of each pixel first, and how many a pixel has."""
    values = sample.values
    if values.ndim == 3:
        return np.ascontiguousarray(values, np.uint8).reshape(-1), values.shape[2]
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8), little.dtype.itemsize


def as_read(ids: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    """Ids as `step` bytes hold them: without a sign, unless there are eight."""
    return ids & ((1 << 8 * step) - 1) if step < 8 else ids


def id_values(sample: PanopticMap) -> NDArray[np.int64]:
    """The id of every pixel, flat."""
    values, step = pixel_bytes(sample)
    if step == 8:
        return values.view("<i8").astype(np.int64, copy=False)
    columns = values.reshape(-1, step).astype(np.int64)
    return sum(columns[:, k] << 8 * k for k in range(step))  # type: ignore[return-value]


def segment_table(pred: PanopticMap, gt: PanopticMap) -> NDArray[np.int64]:
    """Pixels that every pair of segments shares.

    Returns:
        int64[G + 2, P + 2]: row 0 is void, rows 1 to G the ground truth's segments in their order, the last row ids that are not
        listed; columns the same of the prediction.
    """
    (gt_bytes, step), (pred_bytes, pred_step) = pixel_bytes(gt), pixel_bytes(pred)
    gt_listed, pred_listed = listed_ids(gt, step), listed_ids(pred, pred_step)
    if len(gt_listed[1]) * len(pred_listed[1]) > MAX_TABLE:
        return _sorted_table(pred, gt, gt_listed, pred_listed)
    if step != pred_step:
        gt_bytes, pred_bytes = (id_values(sample).view(np.uint8) for sample in (gt, pred))
        step = 8
    return pair_table(gt_bytes, pred_bytes, step, gt_listed, pred_listed)


def listed_ids(sample: PanopticMap, step: int) -> Listed:
    """The void id and the listed ids, ascending where they are many, and their rows in `segment_table`; the last row for all others."""
    count = len(sample.segment_ids) + 1
    ids = np.empty(count, np.int64)
    ids[0], ids[1:] = sample.void, sample.segment_ids
    ids = as_read(ids, step)
    if count < len(_FIRST_ROWS):
        return ids, _FIRST_ROWS[: count + 1]
    order = ids.argsort(kind="stable")
    return ids[order], np.append(order, count)


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


def pair_table(gt: NDArray[np.uint8], pred: NDArray[np.uint8], step: int, gt_listed: Listed, pred_listed: Listed) -> NDArray[np.int64]:
    """Pixels of every pair of listed ids of two maps, given as bytes."""
    from segbench.kernels.panoptic import SLOTS, count_segment_pairs

    (gt_ids, gt_rows), (pred_ids, pred_rows) = gt_listed, pred_listed
    table = np.zeros((len(gt_rows), len(pred_rows)), np.int64)
    count_segment_pairs(gt, pred, step, gt_ids, pred_ids, gt_rows, pred_rows, np.zeros((2, SLOTS, 2), np.int64), table)
    return table


def _sorted_table(pred: PanopticMap, gt: PanopticMap, gt_listed: Listed, pred_listed: Listed) -> NDArray[np.int64]:
    """The same for thousands of segments on both sides: only the pairs that occur are looked at, the table is still whole."""
    rows = []
    for sample, (ids, places) in ((gt, gt_listed), (pred, pred_listed)):
        values = id_values(sample)
        order = ids.argsort()
        at = order[np.minimum(np.searchsorted(ids[order], values), len(ids) - 1)]
        rows.append(places[np.where(ids[at] == values, at, len(ids))])
    width = len(pred_listed[1])
    keys, pixels = np.unique(rows[0] * width + rows[1], return_counts=True)
    table = np.zeros(len(gt_listed[1]) * width, np.int64)
    table[keys] = pixels
    return table.reshape(-1, width)


def segment_rows(pred: PanopticMap, gt: PanopticMap, dataset: Dataset, unlisted: bool = False) -> dict[str, Table]:
    """The rows of the `segments` and `overlaps` tables of one image.

    Segments of a class that is named but not evaluated are void.

    Args:
        unlisted: Ground-truth ids that the table does not list, or lists with an unknown category, are neither void nor segments (as in
            panopticapi); else they are an error.

    Raises:
        ShapeError: SB101, the maps differ in size.
        LabelError: SB110, an unknown category; SB150, map and table list different segments.
    """
    if size_of(pred) != size_of(gt):
        raise mismatch([(_height_width(pred), _height_width(gt), pred.file, gt.file)])
    table = segment_table(pred, gt)
    areas = table.sum(1), table.sum(0)
    plain = all_evaluated(gt, dataset) and all_evaluated(pred, dataset)
    check_segments(gt, "gt", areas[0], dataset, unlisted, plain)
    check_segments(pred, "pred", areas[1], dataset, False, plain)
    if not plain:
        table = _folded(_folded(table, gt, 0, dataset), pred, 1, dataset)
        areas = table.sum(1), table.sum(0)
        gt, pred = (_without_void(sample, dataset) for sample in (gt, pred))
    side = np.zeros(sum(table.shape) - 4, np.int64)
    side[table.shape[0] - 2 :] = 1
    segments: Table = {
        "side": side,
        "segment": np.concatenate((gt.segment_ids, pred.segment_ids)),
        "class": np.concatenate((gt.classes, pred.classes)),
        "area": np.concatenate((areas[0][1:-1], areas[1][1:-1])),
        "crowd": np.concatenate((gt.crowd, pred.crowd)),
        "stated": np.concatenate((gt.areas, pred.areas)),
    }
    return {"segments": segments, "overlaps": overlap_columns(table)}


def overlap_columns(table: NDArray[np.int64]) -> Table:
    """The cells of a table as `segment_table` gives that are not zero."""
    gt, pred = table.nonzero()
    pixels = table[gt, pred]
    gt[gt == table.shape[0] - 1] = UNLISTED
    pred[pred == table.shape[1] - 1] = UNLISTED
    return {"gt": gt, "pred": pred, "pixels": pixels}


def all_evaluated(sample: PanopticMap, dataset: Dataset) -> bool:
    """Whether every listed segment is of an evaluated class; INVALID is beyond all of them as an unsigned number."""
    return not len(sample.classes) or bool(sample.classes.view(np.uint32).max() < dataset.num_classes)


def evaluated(sample: PanopticMap, dataset: Dataset) -> NDArray[np.bool_]:
    """Which listed segments are of an evaluated class."""
    return (sample.classes != INVALID) & (sample.classes < dataset.num_classes)


def _without_void(sample: PanopticMap, dataset: Dataset) -> PanopticMap:
    kept = evaluated(sample, dataset)
    columns = {name: getattr(sample, name)[kept] for name in ("segment_ids", "classes", "areas", "crowd")}
    return replace(sample, **columns)


def _folded(table: NDArray[np.int64], sample: PanopticMap, axis: int, dataset: Dataset) -> NDArray[np.int64]:
    """Segments of classes that are not evaluated counted as void, those of unknown categories as not listed."""
    kept = evaluated(sample, dataset)
    rows = np.moveaxis(table, axis, 0)
    ignored, unknown = rows[1:-1][sample.classes == dataset.num_classes], rows[1:-1][sample.classes == INVALID]
    folded = np.concatenate((rows[:1] + ignored.sum(0), rows[1:-1][kept], rows[-1:] + unknown.sum(0)))
    return np.moveaxis(folded, 0, axis)


def check_segments(
    sample: PanopticMap, role: str, pixels: NDArray[np.int64], dataset: Dataset, unlisted: bool = False, known: bool = False
) -> None:
    """Raises LabelError where the map and the table beside it do not list the same segments, or a category is unknown.

    Args:
        pixels: int64[S + 2], pixels of void, of each listed segment, and of ids that are not listed.
        known: Whether every category is known to be one of the data set's.
    """
    if not (unlisted or known) and (lost := sample.segment_ids[sample.classes == INVALID]).size:
        raise _refusal(sample, role, "of a category that the data set does not have", lost, "SB110", f"is it {dataset.name}?")
    if pixels[-1] and not unlisted:
        listed = np.append(sample.segment_ids, sample.void)
        strange = np.setdiff1d(id_values(sample), as_read(listed, pixel_bytes(sample)[1]))
        hint = f"list every segment, or draw what is none with the void id {sample.void}"
        if np.isin((strange & 255) << 16 | strange & 255 << 8 | strange >> 16, listed).all():
            hint = "red and blue are swapped: OpenCV writes B, G, R, so reverse the channels before cv2.imwrite"
        raise _refusal(sample, role, "in the map and not in the table beside it", strange, "SB150", hint)
    if not unlisted and np.count_nonzero(pixels[1:-1]) < len(pixels) - 2:
        absent = sample.segment_ids[pixels[1:-1] == 0]
        hint = "leave segments out that other segments cover whole; is it the map of this image?"
        raise _refusal(sample, role, "in the table and not in the map", absent, "SB150", hint)


def _refusal(sample: PanopticMap, role: str, what: str, ids: NDArray, code: str, hint: str) -> InputError:
    side = {"pred": "prediction", "gt": "ground truth"}[role]
    shown = ", ".join(str(segment) for segment in ids[:SHOWN_IDS].tolist()) + (", ..." if len(ids) > SHOWN_IDS else "")
    return LabelError(
        f"image {sample.id}, {side}: {counted(len(ids), 'segment')} {what}: {shown}",
        files=[(role, sample.file)] if sample.file else [],
        hint=hint,
        code=code,
    )
