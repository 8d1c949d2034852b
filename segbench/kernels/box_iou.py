"""Overlaps of the boxes of an image: compiled only where boxes are compared."""

from __future__ import annotations

from segbench.kernels._jit import F8, I4, I8, U1, kernel, ro, rw


@kernel(I8(ro(I4), ro(I4), ro(F8, 2), ro(I8), ro(I4), ro(U1), ro(F8, 2), F8, I8, I8, rw(I4), rw(I4), rw(F8), rw(F8), rw(I8)))
def overlap_boxes(
    det_image,
    det_category,
    det_boxes,
    gt_starts,
    gt_category,
    gt_crowd,
    gt_boxes,
    floor,
    cross,
    first,
    out_det,
    out_gt,
    out_intersection,
    out_union,
    filled,
):
    """Pairs of boxes with IoU >= floor, in the reference's order of float operations.

    Args: see `segbench.kernels.iou.overlap_masks`; boxes are x, y, width, height, and intersections and unions are float64[P].

    Returns:
        The detection at which to go on: D when done.
    """
    count = 0
    det = first
    while det < len(det_image):
        image = det_image[det]
        if count + gt_starts[image + 1] - gt_starts[image] > len(out_det):
            break
        det_area = det_boxes[det, 2] * det_boxes[det, 3]
        for gt in range(gt_starts[image], gt_starts[image + 1]):
            if gt_category[gt] != det_category[det] and not cross:
                continue
            right = min(det_boxes[det, 2] + det_boxes[det, 0], gt_boxes[gt, 2] + gt_boxes[gt, 0])
            width = right - max(det_boxes[det, 0], gt_boxes[gt, 0])
            if width <= 0:
                continue
            bottom = min(det_boxes[det, 3] + det_boxes[det, 1], gt_boxes[gt, 3] + gt_boxes[gt, 1])
            height = bottom - max(det_boxes[det, 1], gt_boxes[gt, 1])
            if height <= 0:
                continue
            intersection = width * height
            union = det_area
            if not gt_crowd[gt]:
                union = det_area + gt_boxes[gt, 2] * gt_boxes[gt, 3] - intersection
            if union <= 0 or intersection / union < floor:
                continue
            out_det[count] = det
            out_gt[count] = gt
            out_intersection[count] = intersection
            out_union[count] = union
            count += 1
        det += 1
    filled[0] = count
    return det
