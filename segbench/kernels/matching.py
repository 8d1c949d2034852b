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
        det_gt: int64[S, A, T], out, the matched ground truth; gt_det: int64[G, A, T], the entry of `order`; both preset to -1.
    """
    for at in range(len(order)):
        most = 0.0
        for pair in range(starts[at], stops[at]):
            most = max(most, pair_iou[pair])
        for area in range(gt_ignored.shape[1]):
            matched[at, area] = 0
            ignored[at, area] = 0
            for threshold in range(len(thresholds)):
                if thresholds[threshold] > most:
                    continue
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
                        det_gt[at, area, threshold] = found


@kernel(
    types.void(
        *(ro(I8), ro(I8), ro(I8), ro(I8), ro(I4), ro(I4), ro(F8), ro(U8, 2), ro(U8, 2), ro(U1, 2), ro(U1, 2), ro(I8, 2), ro(I8), ro(F8)),
        *(rw(I8, 3), rw(I8), rw(I8), rw(F8, 2), rw(I8, 2), rw(F8, 5), rw(F8, 4), rw(F8, 5)),
    )
)
def accumulate_curves(
    starts,
    order,
    near,
    near_starts,
    near_ranks,
    ranks,
    scores,
    matched,
    ignored,
    near_outside,
    outside,
    num_gt,
    max_detections,
    recall_thresholds,
    far,
    hits,
    misses,
    precisions,
    rows,
    out_precision,
    out_recall,
    out_scores,
):
    """Interpolated precision and score at every recall threshold, and the recall reached.

    Only detections that overlap a ground truth are looked at one by one, and precision only at true positives: between two of them it
    falls, and recall stays.

    Args:
        starts: int64[K + 1]: the detections of category k are `order[starts[k]:starts[k + 1]]`, best score first over all images.
        order: int64[D]. ranks: int32[D'], place within image and category. scores: float64[D'].
        near: int64[S], ascending: which of `order` overlap a ground truth.
        near_starts: int64[K + 1]: those of category k are `near[near_starts[k]:near_starts[k + 1]]`. near_ranks: int32[S], their ranks.
        matched, ignored: uint64[S, A], bit t is threshold t; T <= 64.
        outside: uint8[D', A], ignored where unmatched. near_outside: uint8[S, A], the same of `near`.
        num_gt: int64[K, A], ground truths that count.
        max_detections: int64[M], per image and category. recall_thresholds: float64[R], ascending.
        far: int64[A, M, N + 1], scratch, N the most of `near` of a category: the other detections before each of them that count.
        hits, misses: int64[T], precisions: float64[T, N + 1], rows: int64[T, N + 1]: scratch.
        out_precision, out_scores: float64[T, R, K, A, M], out_recall: float64[T, K, A, M], preset to -1; stay so without ground truth.
    """
    every_bit = U8(0xFFFFFFFFFFFFFFFF) >> U8(64 - len(hits))
    for category in range(len(starts) - 1):
        first = near_starts[category]
        last = near_starts[category + 1]
        for area in range(num_gt.shape[1]):
            for limit in range(len(max_detections)):
                far[area, limit, 0] = 0
        index = 0
        for at in range(starts[category], starts[category + 1]):
            det = order[at]
            if first + index < last and near[first + index] == at:
                index += 1
                for area in range(num_gt.shape[1]):
                    for limit in range(len(max_detections)):
                        far[area, limit, index] = far[area, limit, index - 1]
                continue
            for area in range(num_gt.shape[1]):
                if not outside[det, area]:
                    for limit in range(len(max_detections)):
                        far[area, limit, index] += ranks[det] < max_detections[limit]
        for area in range(num_gt.shape[1]):
            total = num_gt[category, area]
            if total == 0:
                continue
            for limit in range(len(max_detections)):
                everywhere = 0
                for threshold in range(len(hits)):
                    hits[threshold] = 0
                    misses[threshold] = 0
                for row in range(first, last):
                    if near_ranks[row] >= max_detections[limit]:
                        continue
                    true = matched[row, area] & ~ignored[row, area]
                    false = ~(matched[row, area] | ignored[row, area]) & every_bit
                    if near_outside[row, area]:
                        false = U8(0)
                    if false == every_bit:
                        everywhere += 1
                        continue
                    for threshold in range(len(hits)):
                        if (true >> U8(threshold)) & U8(1):
                            index = hits[threshold] + 1
                            hits[threshold] = index
                            others = misses[threshold] + everywhere + far[area, limit, row - first]
                            precisions[threshold, index] = index / (others + index + 2.220446049250313e-16)
                            rows[threshold, index] = row
                        else:
                            misses[threshold] += I8((false >> U8(threshold)) & U8(1))
                for threshold in range(len(hits)):
                    count = hits[threshold]
                    out_recall[threshold, category, area, limit] = count / total
                    for index in range(count - 1, 0, -1):
                        precisions[threshold, index] = max(precisions[threshold, index], precisions[threshold, index + 1])
                    index = 1
                    for at in range(len(recall_thresholds)):
                        while index <= count and index / total < recall_thresholds[at]:
                            index += 1
                        value = 0.0
                        score = 0.0
                        if index <= count:
                            value = precisions[threshold, index]
                            score = scores[order[near[rows[threshold, index]]]]
                        if recall_thresholds[at] <= 0 and starts[category] < starts[category + 1]:
                            score = scores[order[starts[category]]]  # recall 0 is reached by the first detection, whatever it is
                        out_precision[threshold, at, category, area, limit] = value
                        out_scores[threshold, at, category, area, limit] = score
