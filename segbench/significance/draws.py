"""Random numbers of resampling.

The generator is SplitMix64, used as a counter: a replicate's stream depends on the seed and the replicate's number alone, never on NumPy's
version, the machine, or how replicates are spread over threads. It is written with arrays and not as a kernel, because a process that draws
little would pay more for loading the kernel than for all of its draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""What SplitMix64 adds to its state for every output."""

BLOCK = 1 << 15
"""Numbers made at a time: they stay in the processor's cache from one step to the next."""


def mix(states: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64, element by element; the argument is used up."""
    states ^= states >> np.uint64(30)
    states *= np.uint64(0xBF58476D1CE4E5B9)
    states ^= states >> np.uint64(27)
    states *= np.uint64(0x94D049BB133111EB)
    states ^= states >> np.uint64(31)
    return states


def counts(seed: int, first: int, replicates: int, units: int) -> NDArray[np.uint8]:
    """How often each unit is drawn when as many units as there are, are drawn with replacement.

    Args:
        seed: Any number. first: Number of the first replicate.

    Returns:
        uint8[replicates, units].
    """
    drawn = np.empty((replicates, units), np.uint8)
    rows = max(1, BLOCK // max(units, 1))
    for row in range(0, replicates, rows):
        some = drawn[row : row + rows]
        bits = _bits(seed, first + row, *some.shape)
        unit = ((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 * units).astype(np.int64)
        unit += np.arange(len(some))[:, None] * units
        some[:] = np.bincount(unit.reshape(-1), minlength=some.size).reshape(some.shape)
    return drawn


def coins(seed: int, first: int, replicates: int, units: int) -> NDArray[np.uint8]:
    """A fair coin for each unit: uint8[replicates, units]."""
    drawn = np.empty((replicates, units), np.uint8)
    rows = max(1, BLOCK // max(units, 1))
    for row in range(0, replicates, rows):
        some = drawn[row : row + rows]
        some[:] = _bits(~seed, first + row, *some.shape) >> np.uint64(63)
    return drawn


def shuffled(number: int, seed: int) -> NDArray[np.int64]:
    """A random order of 0 to number - 1."""
    return np.argsort(mix((np.arange(number, dtype=np.uint64) + np.uint64(seed + 1)) * GOLDEN), kind="stable")


def _bits(seed: int, first: int, replicates: int, units: int) -> NDArray[np.uint64]:
    """Random bits, uint64[replicates, units]: a stream per replicate."""
    start = mix(np.array([seed % 2**64], np.uint64))
    streams = mix(start + (np.arange(replicates, dtype=np.uint64) + np.uint64(first)) * GOLDEN)
    return mix(streams[:, None] + np.arange(1, units + 1, dtype=np.uint64) * GOLDEN)
