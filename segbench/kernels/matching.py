"""Greedy matching of detections to ground truth, and precision over recall: all classes, areas and thresholds in one call each."""

from __future__ import annotations

from numba import types

from segbench.kernels._jit import F8, I4, I8, U1, U8, kernel, ro, rw


@kernel(types.void(ro(I8), ro(I4), ro(I4), rw(I8), rw(I8), rw(I4)))
def rank_in_groups(order, group, image, seen, counter, ranks):
    """How many detections of the same group and image stand before each one.

    Args:
        order: int64[D], detections; those of one group stand together.
        group, image: int32[D].
        seen, counter: int64[N], scratch of one entry per image; `seen` begins as -1.
        ranks: int32[D], out.
    """
    for at in range(len(order)):
        det = order[at]
        where = image[det]
        if seen[where] != group[det]:
            seen[where] = group[det]
            counter[where] = 0
        ranks[det] = counter[where]
        counter[where] += 1


@kernel(
    types.void(
        ro(I8), ro(I8), ro(I8), ro(I8), ro(F8), ro(F8), ro(U1, 2), ro(U1), ro(U1), I8, rw(U8, 2), rw(U8, 2), rw(U8, 2), rw(I8, 3), rw(I8, 3)
    )
)
def match_pairs(
    order, starts, stops, pair_gt, pair_iou, thresholds, gt_ignored, gt_reusable, gt_nameless, keep, taken, matched, ignored, det_gt, gt_det
):
    """Gives each detection, best score first, the free ground truth it overlaps most, for every area range and threshold by itself.

    Ground truths that count come before ignored ones; of equal IoUs the later ground truth wins.

    Args:
        order: int64[S], detections in order of their scores (those of one image and category in that order; images do not matter).
        starts, stops: int64[S], the pairs of each entry of `order`, by ascending ground truth.
        pair_gt: int64[P], rows. pair_iou: float64[P].
        thresholds: float64[T], T <= 64.
        gt_ignored: uint8[G, A]. gt_reusable: uint8[G], crowds, which any number of detections may match.
        gt_nameless: uint8[G], matches of it do not count as matches (annotations of id 0 under pycocotools).
        keep: 1 to write `det_gt` and `gt_det`.
        taken: uint64[G, A], scratch, zeros.
        matched, ignored: uint64[S, A], out: bit t is threshold t.
        det_gt: int64[S, A, T], out, the matched ground truth or -1; gt_det: int64[G, A, T], the entry of `order` or -1, preset to -1.
    """
    for at in range(len(order)):
        for area in range(gt_ignored.shape[1]):
            matched[at, area] = 0
            ignored[at, area] = 0
            for threshold in range(len(thresholds)):
                bit = U8(1) << U8(threshold)
                best = thresholds[threshold]
                found = -1
                for pair in range(starts[at], stops[at]):
                    gt = pair_gt[pair]
                    if gt_ignored[gt, area] or pair_iou[pair] < best or (taken[gt, area] & bit and not gt_reusable[gt]):
                        continue
                    best = pair_iou[pair]
                    found = gt
                if found < 0:
                    for pair in range(starts[at], stops[at]):
                        gt = pair_gt[pair]
                        if not gt_ignored[gt, area] or pair_iou[pair] < best or (taken[gt, area] & bit and not gt_reusable[gt]):
                            continue
                        best = pair_iou[pair]
                        found = gt
                if found >= 0:
                    taken[found, area] |= bit
                    if not gt_nameless[found]:
                        matched[at, area] |= bit
                    if gt_ignored[found, area]:
                        ignored[at, area] |= bit
                    if keep:
                        gt_det[found, area, threshold] = at
                if keep:
                    det_gt[at, area, threshold] = found


@kernel(
    types.void(
        *(ro(I8), ro(I8), ro(I4), ro(F8), ro(I4), ro(U8, 2), ro(U8, 2), ro(U1, 2), ro(I8, 2), ro(I8), ro(F8)),
        *(rw(F8, 2), rw(F8, 2), rw(I8, 2), rw(F8, 5), rw(F8, 4), rw(F8, 5)),
    )
)
def accumulate_curves(
    starts,
    order,
    ranks,
    scores,
    rows,
    matched,
    ignored,
    outside,
    num_gt,
    max_detections,
    recall_thresholds,
    precisions,
    recalls,
    positions,
    out_precision,
    out_recall,
    out_scores,
):
    """Interpolated precision and score at every recall threshold, and the recall reached.

    Only true positives are looked at: between two of them precision falls and recall stays.

    Args:
        starts: int64[K + 1]: the detections of category k are `order[starts[k]:starts[k + 1]]`, best score first over all images.
        order: int64[D]. ranks: int32[D'], place within image and category. scores: float64[D'].
        rows: int32[D'], the detection's row in `matched` and `ignored` (uint64[S, A], bit t is threshold t), or -1: never matched.
        outside: uint8[D', A], ignored where unmatched.
        num_gt: int64[K, A], ground truths that count.
        max_detections: int64[M], per image and category. recall_thresholds: float64[R], ascending.
        precisions, recalls: float64[T, N], positions: int64[T, N]: scratch, N the most detections of a category.
        out_precision, out_scores: float64[T, R, K, A, M], out_recall: float64[T, K, A, M], preset to -1; stay so without ground truth.
    """
    num_thresholds = out_precision.shape[0]
    everywhere = U8(0xFFFFFFFFFFFFFFFF)
    for category in range(len(starts) - 1):
        for area in range(num_gt.shape[1]):
            total = num_gt[category, area]
            if total == 0:
                continue
            for limit in range(len(max_detections)):
                for threshold in range(num_thresholds):
                    positions[threshold, 0] = 0
                seen = 0
                first = -1
                false_everywhere = 0
                for threshold in range(num_thresholds):
                    recalls[threshold, 0] = 0  # true positives so far
                    precisions[threshold, 0] = 0  # false positives so far, beyond those of every threshold
                for at in range(starts[category], starts[category + 1]):
                    det = order[at]
                    if ranks[det] >= max_detections[limit]:
                        continue
                    if first < 0:
                        first = at
                    seen += 1
                    row = rows[det]
                    if row < 0:
                        if not outside[det, area]:
                            false_everywhere += 1
                        continue
                    hits = matched[row, area]
                    hidden = ignored[row, area]
                    if outside[det, area]:
                        hidden |= ~hits & everywhere
                    for threshold in range(num_thresholds):
                        bit = U8(1) << U8(threshold)
                        if hidden & bit:
                            continue
                        if hits & bit:
                            index = positions[threshold, 0] + 1
                            positions[threshold, 0] = index
                            recalls[threshold, 0] += 1
                            true = recalls[threshold, 0]
                            false = false_everywhere + precisions[threshold, 0]
                            precisions[threshold, index] = true / (false + true + 2.220446049250313e-16)
                            recalls[threshold, index] = true / total
                            positions[threshold, index] = at
                        else:
                            precisions[threshold, 0] += 1
                for threshold in range(num_thresholds):
                    count = positions[threshold, 0]
                    out_recall[threshold, category, area, limit] = recalls[threshold, count] if count else 0.0
                    for index in range(count - 1, 0, -1):
                        precisions[threshold, index] = max(precisions[threshold, index], precisions[threshold, index + 1])
                    index = 1
                    for at in range(len(recall_thresholds)):
                        while index <= count and recalls[threshold, index] < recall_thresholds[at]:
                            index += 1
                        value = 0.0
                        score = 0.0
                        if recall_thresholds[at] <= 0:
                            # recall 0 is reached by the first detection, whatever it is
                            value = precisions[threshold, 1] if count else 0.0
                            score = scores[order[first]] if seen else 0.0
                        elif index <= count:
                            value = precisions[threshold, index]
                            score = scores[order[positions[threshold, index]]]
                        out_precision[threshold, at, category, area, limit] = value
                        out_scores[threshold, at, category, area, limit] = score
