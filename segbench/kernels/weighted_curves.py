"""Precision over recall when images count several times: the one expensive step of resampling AP."""

from __future__ import annotations

from numba import types

from segbench.kernels._jit import F8, I4, I8, U1, U8, kernel, ro, rw


@kernel(
    types.void(
        *(ro(I8), ro(I4), ro(I4), ro(U8), ro(U8), ro(U1), ro(I8), ro(F8)),
        *(rw(F8, 2), rw(F8, 2), rw(F8, 3), rw(F8, 2)),
    )
)
def weigh_curves(
    starts, images, rows, matched, ignored, weights, num_gt, recall_thresholds, precisions, recalls, out_precision, out_recall
):
    """Interpolated precision at every recall threshold, and the recall reached, when an image counts as often as its weight says.

    A true positive of weight w is w copies at one score: between the copies precision only rises, so the last of them decides.

    Args:
        starts: int64[K + 1], the detections of class k, best score first.
        images: int32[D], the image of a detection. rows: int32[D], its row in `matched`, -1 where it is false at every threshold.
        matched, ignored: uint64[S], bit t is threshold t.
        weights: uint8[N]. num_gt: int64[K], weighted. recall_thresholds: float64[R], ascending.
        precisions, recalls: float64[T, D + 1], scratch.
        out_precision: float64[T, R, K], out_recall: float64[T, K], preset to -1; stay so without ground truth.
    """
    num_thresholds = out_precision.shape[0]
    for label in range(len(starts) - 1):
        total = num_gt[label]
        if total == 0:
            continue
        counts = 0
        false_everywhere = 0
        # entry 0 holds, per threshold, the true and the false positives so far; precision and recall begin at entry 1
        for threshold in range(num_thresholds):
            recalls[threshold, 0] = 0.0
            precisions[threshold, 0] = 0.0
            out_recall[threshold, label] = 0.0
        for at in range(starts[label], starts[label + 1]):
            weight = int(weights[images[at]])
            if weight == 0:
                continue
            row = rows[at]
            if row < 0:
                false_everywhere += weight
                continue
            hits = matched[row]
            hidden = ignored[row]
            for threshold in range(num_thresholds):
                bit = U8(1) << U8(threshold)
                if hidden & bit:
                    continue
                if hits & bit:
                    index = int(out_recall[threshold, label]) + 1
                    out_recall[threshold, label] = index
                    recalls[threshold, 0] += weight
                    true = recalls[threshold, 0]
                    false = false_everywhere + precisions[threshold, 0]
                    precisions[threshold, index] = true / (false + true + 2.220446049250313e-16)
                    recalls[threshold, index] = true / total
                else:
                    precisions[threshold, 0] += weight
        for threshold in range(num_thresholds):
            counts = int(out_recall[threshold, label])
            out_recall[threshold, label] = recalls[threshold, counts] if counts else 0.0
            for index in range(counts - 1, 0, -1):
                precisions[threshold, index] = max(precisions[threshold, index], precisions[threshold, index + 1])
            index = 1
            for at in range(len(recall_thresholds)):
                while index <= counts and recalls[threshold, index] < recall_thresholds[at]:
                    index += 1
                value = 0.0
                if recall_thresholds[at] <= 0:
                    value = precisions[threshold, 1] if counts else 0.0
                elif index <= counts:
                    value = precisions[threshold, index]
                out_precision[threshold, at, label] = value
