"""Sums under many weightings of the images."""

from __future__ import annotations

from numba import types

from segbench.kernels._jit import F8, I4, I8, U1, kernel, ro, rw


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
