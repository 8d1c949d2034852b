"""From batches of instances to evidence: which predicted and true instances overlap, and by how much. The only place that walks masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from segbench.errors import InputError, PairingError, ShapeError
from segbench.evidence import Evidence, Images, Table
from segbench.instances import CROWD, InstanceBatch, Masks, no_masks
from segbench.kernels import iou

FLOOR = 0.5
"""Least IoU of the pairs that are kept, unless a protocol has lower thresholds."""
ANALYSIS_FLOOR = 0.1
"""The same where errors are analysed, across categories."""
ANY = 5e-324
"""The same where every pair that shares a pixel is kept."""
FAMILIES = ("segm", "bbox", "boundary")
VOID = "void_pixels"
"""The table of how much of each detection lies on void."""

PAIR_DTYPES = {"segm": np.int64, "bbox": np.float64, "boundary": np.int64}


def pair_table(family: str) -> str:
    """The evidence table of a family's pairs."""
    return f"{family}_pairs"


Columns = dict[str, tuple[type, tuple[int, ...]]]


def columns_of(families: tuple[str, ...]) -> dict[str, Columns]:
    """Every table with its columns: dtype and further dimensions. `VOID` may stand among the families."""
    detections: Columns = {
        "image": (np.int32, ()),
        "category": (np.int32, ()),
        "id": (np.int64, ()),
        "score": (np.float64, ()),
        "area": (np.float64, ()),
        "mask_area": (np.int64, ()),
        "box": (np.float64, (4,)),
        "flags": (np.uint8, ()),
    }
    truths = {name: kind for name, kind in detections.items() if name != "score"}
    tables: dict[str, Columns] = {
        "detections": detections,
        "ground_truths": truths,
        "image_categories": {"image": (np.int32, ()), "category": (np.int32, ()), "kind": (np.uint8, ())},
        "collected": {"image": (np.int32, ()), "floor": (np.float64, ()), "cross": (np.uint8, ())},
    }
    if VOID in families:
        tables[VOID] = {"image": (np.int32, ()), "detection": (np.int32, ()), "pixels": (np.int64, ())}
    for family in (name for name in FAMILIES if name in families):
        dtype = PAIR_DTYPES[family]
        tables[pair_table(family)] = {
            "image": (np.int32, ()),
            "detection": (np.int32, ()),
            "gt": (np.int32, ()),
            "intersection": (dtype, ()),
            "union": (dtype, ()),
        }
    return tables


def empty_tables(families: tuple[str, ...]) -> dict[str, Table]:
    """Tables without rows."""
    return {
        name: {column: np.zeros((0, *shape), dtype) for column, (dtype, shape) in columns.items()}
        for name, columns in columns_of(families).items()
    }


def evidence_of(pred: InstanceBatch, gt: InstanceBatch, families: tuple[str, ...], num_classes: int, floor: float, cross: bool) -> Evidence:
    """The evidence of the images of `gt`.

    An image that `pred` does not hold has no detections.

    Raises:
        PairingError: predictions of an image that `gt` does not hold.
        ShapeError: SB101: the images differ in size.
        InputError: a family that these files cannot be scored by.
    """
    pred = aligned(pred, gt)
    tables = {
        "detections": _instances(pred) | {"score": pred.scores},
        "ground_truths": _instances(gt),
        "image_categories": _image_categories(gt),
        "collected": {
            "image": np.arange(len(gt.images), dtype=np.int32),
            "floor": np.full(len(gt.images), floor),
            "cross": np.full(len(gt.images), cross, np.uint8),
        },
    }
    starts = np.searchsorted(gt.image, np.arange(len(gt.images) + 1)).astype(np.int64)
    pred_starts = np.searchsorted(pred.image, np.arange(len(gt.images) + 1)).astype(np.int64)
    if VOID in families:
        det, pixels = _on_void(pred, gt)
        image = pred.image[det]
        tables[VOID] = {"image": image, "detection": (det - pred_starts[image]).astype(np.int32), "pixels": pixels}
    for family in (name for name in FAMILIES if name in families):
        det, truth, intersection, union = _PAIRS[family](pred, gt, starts, floor, cross)
        image = pred.image[det]
        tables[pair_table(family)] = {
            "image": image,
            "detection": (det - pred_starts[image]).astype(np.int32),
            "gt": (truth - starts[image]).astype(np.int32),
            "intersection": intersection,
            "union": union,
        }
    return Evidence("instance", num_classes, Images(gt.images, gt.order, gt.sizes), tables)


def aligned(pred: InstanceBatch, gt: InstanceBatch) -> InstanceBatch:
    """The predictions, with the images of the ground truth in its order."""
    place = {image: index for index, image in enumerate(gt.images)}
    stray = [image for image in pred.images if image not in place]
    if stray:
        raise PairingError(f"predictions for image {stray[0]} came without its ground truth", count=len(stray), code="SB131")
    target = np.array([place[image] for image in pred.images], np.int64)
    both = (pred.sizes >= 0).all(1) & (gt.sizes[target] >= 0).all(1)
    differing = np.flatnonzero(both & (pred.sizes != gt.sizes[target]).any(1))
    if len(differing):
        first = int(differing[0])
        sizes = ["x".join(map(str, size)) for size in (pred.sizes[first], gt.sizes[target[first]])]
        swapped = (pred.sizes[first] == gt.sizes[target[first]][::-1]).all()
        raise ShapeError(
            f"masks and ground truth differ in size: {sizes[0]} vs {sizes[1]} (image {pred.images[first]})",
            files=[(role, file) for role, file in (("pred", pred.file), ("gt", gt.file)) if file],
            count=len(differing),
            hint="size is [height, width]" if swapped else "make masks at the size of the image",
            code="SB104" if swapped else "SB101",
        )
    images = target[pred.image].astype(np.int32)
    rows = np.argsort(images, kind="stable") if (np.diff(images) < 0).any() else slice(None)
    masks = pred.masks if isinstance(rows, slice) or pred.masks is None else pred.masks.take(rows)
    return InstanceBatch(
        gt.images,
        gt.order,
        gt.sizes,
        images[rows],
        pred.category[rows],
        pred.ids[rows],
        pred.scores[rows],
        pred.areas[rows],
        pred.boxes[rows],
        pred.flags[rows],
        masks,
        pred.file,
    )


def _instances(batch: InstanceBatch) -> Table:
    areas = np.full(len(batch), -1, np.int64) if batch.masks is None else batch.masks.areas
    return {
        "image": batch.image,
        "category": batch.category,
        "id": batch.ids,
        "area": batch.areas,
        "mask_area": areas,
        "box": boxes_of(batch),
        "flags": batch.flags,
    }


def boxes_of(batch: InstanceBatch) -> NDArray[np.float64]:
    """float64[M, 4]: the stated boxes, those of the masks where none is stated."""
    if batch.masks is None or np.isfinite(batch.boxes).all():
        return batch.boxes
    stated = np.isfinite(batch.boxes).all(axis=1, keepdims=True)
    return np.where(stated, batch.boxes, batch.masks.boxes)


def _image_categories(batch: InstanceBatch) -> Table:
    known = batch.categories
    if known is None:
        return empty_tables(())["image_categories"]
    order = np.argsort(known.image, kind="stable")
    return {"image": known.image[order], "category": known.category[order], "kind": known.kind[order]}


Pairs = tuple[NDArray[np.int32], NDArray[np.int32], NDArray, NDArray]


def _grown(call: Callable, count: int, most: int, dtype: type) -> Pairs:
    """Calls a kernel until it is done, with output that always holds the pairs of one more detection."""
    parts: list[tuple[NDArray, ...]] = []
    filled = np.zeros(1, np.int64)
    capacity = max(most, count + 1024)
    at = 0
    while at < count or not parts:
        out: tuple[NDArray, ...] = (
            np.empty(capacity, np.int32),
            np.empty(capacity, np.int32),
            np.empty(capacity, dtype),
            np.empty(capacity, dtype),
        )
        at = call(at, *out, filled)
        parts.append(tuple(column[: filled[0]] for column in out))
    if len(parts) == 1:
        return parts[0]  # type: ignore[return-value]
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))  # type: ignore[return-value]


def _needed(batch: InstanceBatch, side: str) -> Masks:
    if not len(batch):
        return no_masks()
    if batch.masks is None:
        raise InputError(
            f"the {side} hold no masks, so there is no mask AP",
            files=[batch.file] if batch.file else [],
            hint="evaluate boxes alone: --metrics 'bbox/*'",
        )
    return batch.masks


def _mask_pairs(pred: InstanceBatch, gt: InstanceBatch, starts: NDArray[np.int64], floor: float, cross: bool) -> Pairs:
    return _overlaps(pred, gt, _needed(pred, "predictions"), _needed(gt, "ground truths"), starts, floor, cross)


def _overlaps(
    pred: InstanceBatch, gt: InstanceBatch, masks: Masks, truths: Masks, starts: NDArray[np.int64], floor: float, cross: bool
) -> Pairs:
    crowd = gt.flags & CROWD
    most = int(np.diff(starts).max(initial=0))
    heights = np.ascontiguousarray(gt.sizes[:, 0])

    def call(first: int, *out: NDArray) -> int:
        return iou.overlap_masks(
            *(pred.image, pred.category, masks.spans.reshape(-1), masks.offsets, masks.areas, masks.boxes),
            *(starts, gt.category, crowd, truths.spans.reshape(-1), truths.offsets, truths.areas, truths.boxes),
            *(heights, floor, int(cross), first),
            *out,
        )

    return _grown(call, len(pred), most, np.int64)


def _on_void(pred: InstanceBatch, gt: InstanceBatch) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Detections with pixels on the void of their image, and how many."""
    if gt.void is None or not len(pred):
        return np.zeros(0, np.int32), np.zeros(0, np.int64)
    count = len(gt.images)
    nothing = np.zeros(count, np.int32)
    regions = replace(gt, image=np.arange(count, dtype=np.int32), category=nothing, flags=nothing.astype(np.uint8))
    starts = np.arange(count + 1, dtype=np.int64)
    det, _, pixels, _ = _overlaps(pred, regions, _needed(pred, "predictions"), gt.void, starts, ANY, cross=True)
    return det, pixels


def _box_pairs(pred: InstanceBatch, gt: InstanceBatch, starts: NDArray[np.int64], floor: float, cross: bool) -> Pairs:
    boxes, truths = boxes_of(pred), boxes_of(gt)
    for batch, found in ((pred, boxes), (gt, truths)):
        if not np.isfinite(found).all():
            row = int(np.flatnonzero(~np.isfinite(found).all(1))[0])
            raise InputError(
                f"instance {batch.ids[row]} of image {batch.images[batch.image[row]]} has no box",
                files=[batch.file] if batch.file else [],
                hint="add its bbox, or evaluate masks alone: --metrics 'segm/*'",
                code="SB172",
            )
    from segbench.kernels import box_iou

    crowd = gt.flags & CROWD

    def call(first: int, *out: NDArray) -> int:
        return box_iou.overlap_boxes(
            *(pred.image, pred.category, np.ascontiguousarray(boxes)),
            *(starts, gt.category, crowd, np.ascontiguousarray(truths), floor, int(cross), first),
            *out,
        )

    return _grown(call, len(pred), int(np.diff(starts).max(initial=0)), np.float64)


def _boundary_pairs(pred: InstanceBatch, gt: InstanceBatch, starts: NDArray[np.int64], floor: float, cross: bool) -> Pairs:
    """The smaller of mask and boundary IoU, a crowd's mask IoU; of equal ones the mask's."""
    masks, truths = _needed(pred, "predictions"), _needed(gt, "ground truths")
    det, truth, intersection, union = _overlaps(pred, gt, masks, truths, starts, floor, cross)
    used, back = np.unique(det, return_inverse=True)
    used_gt, back_gt = np.unique(truth, return_inverse=True)
    thin = boundaries(masks.take(used.astype(np.int64)), gt.sizes[pred.image[used]])
    thin_gt = boundaries(truths.take(used_gt.astype(np.int64)), gt.sizes[gt.image[used_gt]])
    inner = np.array([_common(thin, int(a), thin_gt, int(b)) for a, b in zip(back, back_gt, strict=True)], np.int64)
    outer = thin.areas[back] + thin_gt.areas[back_gt] - inner
    crowd = (gt.flags[truth] & CROWD) > 0
    # an empty intersection is IoU 0 whatever the union
    smaller = ~crowd & (inner / np.maximum(outer, 1) < intersection / union)
    intersection, union = np.where(smaller, inner, intersection), np.where(smaller, outer, union)
    kept = (union > 0) & (intersection / np.maximum(union, 1) >= floor)
    return det[kept], truth[kept], intersection[kept], union[kept]


def _common(first: Masks, a: int, second: Masks, b: int) -> int:
    """Pixels that two masks share."""
    one = first.spans[first.offsets[a] : first.offsets[a + 1]]
    two = second.spans[second.offsets[b] : second.offsets[b + 1]]
    if not len(one) or not len(two):
        return 0
    # every span of one meets the spans of two that end behind its start and begin before its end
    low = np.searchsorted(two[:, 1], one[:, 0], "right")
    high = np.searchsorted(two[:, 0], one[:, 1], "left")
    counts = np.maximum(high - low, 0)
    ends = np.cumsum(counts)
    index = np.arange(ends[-1]) + np.repeat(low - (ends - counts), counts)
    mine = np.repeat(np.arange(len(one)), counts)
    return int((np.minimum(one[mine, 1], two[index, 1]) - np.maximum(one[mine, 0], two[index, 0])).sum())


def boundaries(masks: Masks, sizes: NDArray[np.int32], ratio: float = 0.02) -> Masks:
    """Each mask without what lies deeper than d pixels in it (Chebyshev), the image's edge counting as outside.

    d = max(1, round(ratio * diagonal)), rounding half to even.

    Source: Cheng et al., Boundary IoU, CVPR 2021; equal to boundary-iou-api.
    """
    spans, offsets, areas = [], [0], []
    for index, (height, width) in enumerate(sizes.tolist()):
        edges = np.zeros(height * width + 1, np.int8)
        drawn = masks.spans[masks.offsets[index] : masks.offsets[index + 1]]
        edges[drawn[:, 0]] += 1
        edges[drawn[:, 1]] -= 1
        pixels = np.cumsum(edges[:-1], dtype=np.int8).view(np.uint8)
        depth = max(1, round(float(ratio * np.sqrt(height**2 + width**2))))
        left, top, box_width, box_height = masks.boxes[index].astype(np.int64).clip(0).tolist()
        if masks.areas[index]:
            whole = pixels.reshape(width, height)
            crop = whole[left : left + box_width, top : top + box_height]
            crop -= _eroded(crop, depth)
        flat = np.flatnonzero(np.diff(pixels, prepend=0, append=0))
        found = flat.reshape(-1, 2).astype(np.int32)
        spans.append(found)
        offsets.append(offsets[-1] + len(found))
        areas.append(int((found[:, 1] - found[:, 0]).sum()))
    joined = np.concatenate(spans) if spans else np.zeros((0, 2), np.int32)
    return Masks(joined, np.array(offsets, np.int64), np.array(areas, np.int64), masks.boxes)


def _eroded(pixels: NDArray[np.uint8], depth: int) -> NDArray[np.uint8]:
    """Pixels whose whole square of side 2 * depth + 1 is set; outside the array nothing is."""
    for axis in (0, 1):
        sums = np.cumsum(pixels, axis=axis, dtype=np.int32)
        shape = list(pixels.shape)
        shape[axis] = 1
        sums = np.concatenate((np.zeros(shape, np.int32), sums), axis=axis)
        count = pixels.shape[axis]
        inside = np.zeros(pixels.shape, np.uint8)
        window = 2 * depth + 1
        if count >= window:
            moved = np.take(sums, np.arange(window, count + 1), axis) - np.take(sums, np.arange(count + 1 - window), axis)
            target = [slice(None), slice(None)]
            target[axis] = slice(depth, count - depth)
            inside[tuple(target)] = moved == window
        pixels = inside
    return pixels


_PAIRS = {"segm": _mask_pairs, "bbox": _box_pairs, "boundary": _boundary_pairs}
