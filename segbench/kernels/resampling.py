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


@kernel(types.void(U8, U8, I8, rw(U1, 2)))
def draw(seed, first, coins, drawn):
    """How often each unit is drawn when as many units as there are, are drawn with replacement; or a fair coin for each unit.

    Args:
        seed: Any number. first: Number of the first replicate. coins: Not 0 for coins.
        drawn: uint8[B, U], out, zeros: one row per replicate.
    """
    units = drawn.shape[1]
    for row in range(drawn.shape[0]):
        state = mix(mix(~seed if coins else seed) + (first + U8(row)) * U8(0x9E3779B97F4A7C15))
        for unit in range(units):
            state += U8(0x9E3779B97F4A7C15)
            bits = mix(state)
            if coins:
                drawn[row, unit] = bits >> U8(63)
            else:
                drawn[row, int(float(bits >> U8(11)) * 1.1102230246251565e-16 * units)] += 1


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
