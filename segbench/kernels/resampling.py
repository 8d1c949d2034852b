"""Random weights of images, and sums under them.

The generator is SplitMix64, used as a counter: a replicate's stream depends on the seed and the replicate's number alone, never on NumPy's
version, the machine, or how replicates are spread over threads.
"""

from __future__ import annotations

from numba import types

from segbench.kernels._jit import F8, I4, I8, U1, U8, kernel, ro, rw


@kernel(U8(U8))
def mix(state):
    """The output function of SplitMix64."""
    state = (state ^ (state >> U8(30))) * U8(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> U8(27))) * U8(0x94D049BB133111EB)
    return state ^ (state >> U8(31))


@kernel(types.void(U8, U8, rw(U1, 2)))
def draw_weights(seed, first, weights):
    """How often each unit is drawn when as many units as there are, are drawn with replacement.

    Args:
        seed: Any number. first: Number of the first replicate.
        weights: uint8[B, U], out, zeros: one row per replicate.
    """
    units = weights.shape[1]
    for row in range(weights.shape[0]):
        state = mix(mix(seed) + (first + U8(row)) * U8(0x9E3779B97F4A7C15))
        for _ in range(units):
            state += U8(0x9E3779B97F4A7C15)
            weights[row, int(float(mix(state) >> U8(11)) * 1.1102230246251565e-16 * units)] += 1


@kernel(types.void(U8, U8, rw(U1, 2)))
def draw_swaps(seed, first, swaps):
    """A fair coin per replicate and unit: uint8[B, U], out, 0 or 1."""
    for row in range(swaps.shape[0]):
        state = mix(mix(~seed) + (first + U8(row)) * U8(0x9E3779B97F4A7C15))
        for unit in range(swaps.shape[1]):
            state += U8(0x9E3779B97F4A7C15)
            swaps[row, unit] = mix(state) >> U8(63)


@kernel(types.void(ro(I8), ro(I4), ro(F8), ro(U1, 2), rw(F8, 2)))
def add_weighted(starts, rows, values, weights, sums):
    """Sums of sparse columns under many weightings: sums[k, b] = sum over the entries of column k of value * weights[row, b].

    Entries are added in their order, so that sums of fractions have the same bits everywhere; sums of integers below 2^53 are exact.

    Args:
        starts: int64[K + 1], the entries of column k are `starts[k]:starts[k + 1]`.
        rows: int32[E]. values: float64[E]. weights: uint8[N, B].
        sums: float64[K, B], out, zeros.
    """
    for column in range(len(starts) - 1):
        for entry in range(starts[column], starts[column + 1]):
            value = values[entry]
            row = rows[entry]
            for replicate in range(weights.shape[1]):
                sums[column, replicate] += value * float(weights[row, replicate])


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
