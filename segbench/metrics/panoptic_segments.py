"""Pixels to rows: two maps of segment ids become the segments of both and the pixels that every pair of them shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.errors import InputError, LabelError, ShapeError
from segbench.evidence import Table
from segbench.samples import INVALID, PanopticMap

VOID, UNLISTED, INTERIOR = 0, -1, -2
"""What `gt` and `pred` of the overlap tables hold beside 1, 2, ..., the segments of the image in their order: no segment; an id that the
table beside the map does not list; and, of boundaries, the inside of any segment."""

MAX_TABLE = 1 << 22
"""Cells of a dense table of segment pairs; beyond, pairs are sorted instead."""

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
    (gt_bytes, gt_step), (pred_bytes, pred_step) = pixel_bytes(gt), pixel_bytes(pred)
    if gt_step != pred_step:
        gt_bytes, pred_bytes = (id_values(sample).view(np.uint8) for sample in (gt, pred))
    step = gt_step if gt_step == pred_step else 8
    gt_ids, gt_rows = _listed(gt, gt_step)
    pred_ids, pred_rows = _listed(pred, pred_step)
    if len(gt_rows) * len(pred_rows) > MAX_TABLE:
        return _sorted_table(pred, gt, (gt_ids, gt_rows), (pred_ids, pred_rows))
    return pair_table(gt_bytes, pred_bytes, step, gt_ids, pred_ids)[gt_rows[:, None], pred_rows]


def pair_table(
    gt: NDArray[np.uint8], pred: NDArray[np.uint8], step: int, gt_ids: NDArray[np.int64], pred_ids: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Pixels of every pair of ids of two maps, given as bytes; row and column 0 are ids that are not listed."""
    from segbench.kernels.panoptic import SLOTS, count_segment_pairs

    table = np.zeros((len(gt_ids) + 1, len(pred_ids) + 1), np.int64)
    count_segment_pairs(gt, pred, step, gt_ids, pred_ids, np.zeros((2, SLOTS, 2), np.int64), table)
    return table


def _listed(sample: PanopticMap, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The listed ids ascending, void among them, and where each row of `segment_table` stands among them, 0 for not listed."""
    count = len(sample.segment_ids)
    ids = np.empty(count + 1, np.int64)
    ids[0], ids[1:] = sample.void, sample.segment_ids
    ids = as_read(ids, step)
    order = ids.argsort(kind="stable")
    rows = np.zeros(count + 2, np.int64)
    rows[order] = np.arange(1, count + 2)
    return ids[order], rows


def _sorted_table(pred: PanopticMap, gt: PanopticMap, gt_listed: tuple, pred_listed: tuple) -> NDArray[np.int64]:
    """The same for thousands of segments on both sides: only the pairs that occur are looked at, the table is still whole."""
    positions = []
    for sample, (ids, _) in ((gt, gt_listed), (pred, pred_listed)):
        values = id_values(sample)
        at = np.minimum(np.searchsorted(ids, values), len(ids) - 1)
        positions.append(np.where(ids[at] == values, at + 1, 0))
    width = len(pred_listed[1])
    keys, pixels = np.unique(positions[0] * width + positions[1], return_counts=True)
    table = np.zeros(len(gt_listed[1]) * width, np.int64)
    table[keys] = pixels
    return table.reshape(-1, width)[gt_listed[1][:, None], pred_listed[1]]


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
        sizes = ["x".join(map(str, size_of(sample))) for sample in (pred, gt)]
        raise ShapeError(
            f"prediction and ground truth differ in size: {sizes[0]} vs {sizes[1]} (image {gt.id})",
            files=[(role, sample.file) for role, sample in (("pred", pred), ("gt", gt)) if sample.file],
            hint="export at full size, or pass --resize nearest",
            code="SB101",
        )
    table = segment_table(pred, gt)
    check_segments(pred, "pred", table.sum(0), dataset)
    check_segments(gt, "gt", table.sum(1), dataset, unlisted)
    table = _folded(_folded(table, gt, 0, dataset), pred, 1, dataset)
    parts = [_columns(sample, side, dataset) for side, sample in enumerate((gt, pred))]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["area"] = np.concatenate((table.sum(1)[1:-1], table.sum(0)[1:-1]))
    return {"segments": columns, "overlaps": overlap_columns(table)}


def overlap_columns(table: NDArray[np.int64]) -> Table:
    """The cells of a table as `segment_table` gives that are not zero."""
    gt, pred = table.nonzero()
    pixels = table[gt, pred]
    gt[gt == table.shape[0] - 1] = UNLISTED
    pred[pred == table.shape[1] - 1] = UNLISTED
    return {"gt": gt.astype(np.int32), "pred": pred.astype(np.int32), "pixels": pixels}


def evaluated(sample: PanopticMap, dataset: Dataset) -> NDArray[np.bool_]:
    """Which listed segments are of an evaluated class."""
    return (sample.classes != INVALID) & (sample.classes < dataset.num_classes)


def _folded(table: NDArray[np.int64], sample: PanopticMap, axis: int, dataset: Dataset) -> NDArray[np.int64]:
    """Segments of classes that are not evaluated counted as void, those of unknown categories as not listed."""
    kept = evaluated(sample, dataset)
    if kept.all():
        return table
    rows = np.moveaxis(table, axis, 0)
    ignored, unknown = rows[1:-1][sample.classes == dataset.num_classes], rows[1:-1][sample.classes == INVALID]
    folded = np.concatenate((rows[:1] + ignored.sum(0), rows[1:-1][kept], rows[-1:] + unknown.sum(0)))
    return np.moveaxis(folded, 0, axis)


def _columns(sample: PanopticMap, side: int, dataset: Dataset) -> Table:
    kept = evaluated(sample, dataset)
    return {
        "side": np.full(int(kept.sum()), side, np.int64),
        "segment": sample.segment_ids[kept],
        "class": sample.classes[kept],
        "area": np.empty(0, np.int64),
        "crowd": sample.crowd[kept].astype(np.int64),
        "stated": sample.areas[kept],
    }


def check_segments(sample: PanopticMap, role: str, pixels: NDArray[np.int64], dataset: Dataset, unlisted: bool = False) -> None:
    """Raises LabelError where the map and the table beside it do not list the same segments, or a category is unknown.

    Args:
        pixels: int64[S + 2], pixels of void, of each listed segment, and of ids that are not listed.
    """
    if not unlisted and len(sample.classes) and sample.classes.min() == INVALID:
        lost = sample.segment_ids[sample.classes == INVALID]
        raise _refusal(sample, role, "of a category that the data set does not have", lost, "SB110", f"is it {dataset.name}?")
    if pixels[-1] and not unlisted:
        listed = np.append(sample.segment_ids, sample.void)
        strange = np.setdiff1d(id_values(sample), as_read(listed, pixel_bytes(sample)[1]))
        hint = "list every segment, or draw what is none with the void id"
        raise _refusal(sample, role, "in the map and not in the table beside it", strange, "SB150", f"{hint} {sample.void}")
    absent = sample.segment_ids[pixels[1:-1] == 0]
    if len(absent) and not unlisted:
        hint = "leave segments out that other segments cover whole; is it the map of this image?"
        raise _refusal(sample, role, "in the table and not in the map", absent, "SB150", hint)


def _refusal(sample: PanopticMap, role: str, what: str, ids: NDArray, code: str, hint: str) -> InputError:
    side = {"pred": "prediction", "gt": "ground truth"}[role]
    shown = ", ".join(str(segment) for segment in ids[:SHOWN_IDS].tolist()) + (", ..." if len(ids) > SHOWN_IDS else "")
    noun = "segment id is" if len(ids) == 1 else "segment ids are"
    return LabelError(
        f"image {sample.id}: {len(ids)} {noun} {what} of the {side}: {shown}".replace(f"beside it of the {side}", f"of the {side}"),
        files=[(role, sample.file)] if sample.file else [],
        hint=hint,
        code=code,
    )
