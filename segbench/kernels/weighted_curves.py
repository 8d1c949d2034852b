"""Precision over recall when images count several times: the one expensive step of resampling AP."""

from __future__ import annotations

from numba import types

from segbench.kernels._jit import F8, I4, I8, U1, U8, kernel, ro, rw


@kernel(
    types.void(
        *(ro(I8), ro(I4), ro(I4), ro(I4), ro(U8), ro(U8), ro(U1), ro(I8), ro(F8), ro(I8)),
        *(rw(I8), rw(F8, 2), rw(F8, 3), rw(F8, 3), rw(F8, 3)),
    )
)
def weigh_curves(
    starts,
    images,
    ranks,
    rows,
    matched,
    ignored,
    weights,
    num_gt,
    recall_thresholds,
    limits,
    slots,
    counts,
    best,
    out_precision,
    out_recall,
):
    """Interpolated precision at every recall threshold, and the recall reached, when an image counts as often as its weight says.

    A true positive of weight w is w copies at one score: between the copies precision only rises, so the last of them decides.

    Args:
        starts: int64[K + 1], the detections of class k, best score first.
        images, ranks: int32[D], the image of a detection, and its place among those of the same image and class.
        rows: int32[D], its row in `matched`, -1 where it is false at every threshold.
        matched, ignored: uint64[S], bit t is threshold t.
        weights: uint8[N]. num_gt: int64[K], weighted. recall_thresholds: float64[R], ascending, the first is 0.
        limits: int64[L], ascending; recall is that of the detections of rank below each, precision that of all. No rank reaches the last.
        slots: int64[max(num_gt) + 1], counts: float64[2, T], best: float64[P, R, T], scratch; best is zeros.
        out_precision: float64[T, R, P], out_recall: float64[L, T, P], of the P classes with ground truth; recall is zeros.
    """
    num_limits, num_thresholds = out_recall.shape[0], out_recall.shape[1]
    last = len(recall_thresholds) - 1
    column = -1
    for label in range(len(starts) - 1):
        total = num_gt[label]
        if total == 0:
            continue
        column += 1
        # the highest recall threshold that so many true positives reach
        slot = 0
        for count in range(total + 1):
            while slot < last and count / total >= recall_thresholds[slot + 1]:
                slot += 1
            slots[count] = slot
        counts[:] = 0.0
        false_everywhere = 0.0
        for at in range(starts[label], starts[label + 1]):
            weight = float(weights[images[at]])
            row = rows[at]
            if row < 0:
                false_everywhere += weight
                continue
            if weight == 0:
                continue
            hits = matched[row]
            hidden = ignored[row]
            limit = 0
            while ranks[at] >= limits[limit]:
                limit += 1
            for threshold in range(num_thresholds):
                bit = U8(1) << U8(threshold)
                if hidden & bit:
                    continue
                if hits & bit:
                    true = counts[0, threshold] + weight
                    counts[0, threshold] = true
                    slot = slots[int(true)]
                    precision = true / (false_everywhere + counts[1, threshold] + true + 2.220446049250313e-16)
                    best[column, slot, threshold] = max(best[column, slot, threshold], precision)
                    out_recall[limit, threshold, column] += weight
                else:
                    counts[1, threshold] += weight
        for at in range(last - 1, -1, -1):
            for threshold in range(num_thresholds):
                best[column, at, threshold] = max(best[column, at, threshold], best[column, at + 1, threshold])
        for threshold in range(num_thresholds):
            true = 0.0
            for limit in range(num_limits):
                true += out_recall[limit, threshold, column]
                out_recall[limit, threshold, column] = true / total
    # into the order in which the references add, eight classes at a time: a line of the cache
    for first in range(0, len(best), 8):
        for at in range(last + 1):
            for threshold in range(num_thresholds):
                for column in range(first, min(first + 8, len(best))):
                    out_precision[threshold, at, column] = best[column, at, threshold]
