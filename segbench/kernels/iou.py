"""Overlaps of the masks of an image; only pairs whose boxes and areas can reach the asked-for IoU are walked."""

from __future__ import annotations

import numpy as np

from segbench.kernels._jit import F8, I4, I8, U1, U8, kernel, ro, rw

_ONE, _TWO = np.uint64(1), np.uint64(2)
"""Positions of spans are unsigned: a signed index costs a test for being negative at every access."""

_DETECTIONS = (ro(I4), ro(I4), ro(I4), ro(I8), ro(I8), ro(F8, 2))
_TRUTHS = (ro(I8), ro(I4), ro(U1), ro(I4), ro(I8), ro(I8), ro(F8, 2))
_OUT = (rw(I4), rw(I4), rw(I8), rw(I8), rw(I8))


@kernel(I8(*_DETECTIONS, *_TRUTHS, ro(I4), F8, I8, I8, *_OUT))
def overlap_masks(
    det_image,
    det_category,
    det_spans,
    det_offsets,
    det_areas,
    det_boxes,
    gt_starts,
    gt_category,
    gt_crowd,
    gt_spans,
    gt_offsets,
    gt_areas,
    gt_boxes,
    heights,
    floor,
    cross,
    first,
    out_det,
    out_gt,
    out_intersection,
    out_union,
    filled,
):
    """Pairs of masks with IoU >= floor, from detection `first` until the end or until the output may not hold another detection's pairs.

    IoU is intersection / union; with a crowd it is intersection / area of the detection, and the union is that area.

    Args:
        det_image, det_category: int32[D]. det_spans, det_offsets, det_areas, det_boxes: their `Masks`.
        gt_starts: int64[N + 1]: the ground truths of image i are rows `gt_starts[i]` up to `gt_starts[i + 1]`.
        gt_category: int32[G]. gt_crowd: uint8[G]. gt_spans, gt_offsets, gt_areas, gt_boxes: their `Masks`.
        heights: int32[N].
        floor: Least IoU; pairs with an empty intersection are never given.
        cross: 1 to pair different categories too.
        first: Where to begin.
        out_det, out_gt: int32[P], rows. out_intersection, out_union: int64[P], pixels.
        filled: int64[1], pairs written.

    Returns:
        The detection at which to go on: D when done.
    """
    count = 0
    det = first
    while det < len(det_image):
        image = det_image[det]
        if count + gt_starts[image + 1] - gt_starts[image] > len(out_det):
            break
        height = I8(heights[image])
        det_left = det_boxes[det, 0]
        det_top = det_boxes[det, 1]
        det_right = det_left + det_boxes[det, 2]
        det_bottom = det_top + det_boxes[det, 3]
        det_area = det_areas[det]
        for gt in range(gt_starts[image], gt_starts[image + 1]):
            if gt_category[gt] != det_category[det] and not cross:
                continue
            left = max(det_left, gt_boxes[gt, 0])
            right = min(det_right, gt_boxes[gt, 0] + gt_boxes[gt, 2])
            top = max(det_top, gt_boxes[gt, 1])
            bottom = min(det_bottom, gt_boxes[gt, 1] + gt_boxes[gt, 3])
            if right <= left or bottom <= top:
                continue
            # the largest intersection there can be, and its IoU: both divisions round alike, so nothing is lost
            most = min(I8((right - left) * (bottom - top)), min(det_area, gt_areas[gt]))
            union = det_area if gt_crowd[gt] else det_area + gt_areas[gt] - most
            if most == 0 or most < floor * union * (1 - 1e-12):
                continue
            start = I8(left) * height
            stop = I8(right) * height
            low = U8(det_offsets[det])
            a_end = U8(det_offsets[det + 1])
            high = a_end
            while low < high:
                middle = (low + high) >> _ONE
                if det_spans[_TWO * middle + _ONE] > start:
                    high = middle
                else:
                    low = middle + _ONE
            a = low
            low = U8(gt_offsets[gt])
            b_end = U8(gt_offsets[gt + 1])
            high = b_end
            while low < high:
                middle = (low + high) >> _ONE
                if gt_spans[_TWO * middle + _ONE] > start:
                    high = middle
                else:
                    low = middle + _ONE
            b = low
            intersection = 0
            if a < a_end and b < b_end:
                a_start, a_stop = I8(det_spans[_TWO * a]), I8(det_spans[_TWO * a + _ONE])
                b_start, b_stop = I8(gt_spans[_TWO * b]), I8(gt_spans[_TWO * b + _ONE])
                while a_start < stop and b_start < stop:
                    # which mask's span ends first follows the shapes, so that the processor guesses it
                    if a_stop <= b_stop:
                        intersection += max(0, a_stop - max(a_start, b_start))
                        a += _ONE
                        if a == a_end:
                            break
                        a_start, a_stop = I8(det_spans[_TWO * a]), I8(det_spans[_TWO * a + _ONE])
                    else:
                        intersection += max(0, b_stop - max(a_start, b_start))
                        b += _ONE
                        if b == b_end:
                            break
                        b_start, b_stop = I8(gt_spans[_TWO * b]), I8(gt_spans[_TWO * b + _ONE])
            if intersection == 0:
                continue
            union = det_area if gt_crowd[gt] else det_area + gt_areas[gt] - intersection
            if intersection / union < floor:
                continue
            out_det[count] = det
            out_gt[count] = gt
            out_intersection[count] = intersection
            out_union[count] = union
            count += 1
        det += 1
    filled[0] = count
    return det
