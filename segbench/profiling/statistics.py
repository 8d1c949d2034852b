"""What may be said about a handful of latencies: order statistics only, no distribution assumed, no sample thrown away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

PERCENTILES = ((0.90, 10), (0.95, 20), (0.99, 100))
"""Percentile and the number of samples below which it is not given: fewer would only repeat the maximum."""

CONFIDENCE_MLPERF = 0.99
NOISY_SPREAD = 0.05
NOISY_DRIFT = 0.03
NOISY_WAITS = 0.03
"""Share of the time a process waited for a CPU: work that always takes a part of it spreads no samples, and makes them all slower."""


class Interval(NamedTuple):
    """Bounds that are two of the samples."""

    low: float
    high: float


def median(values: Sequence[float]) -> float:
    """The middle value; of an even number, the mean of the two."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Distribution-free interval of the median from two order statistics.

    The median lies between the k-th smallest and the k-th largest value with probability 1 - 2 P(Bin(n, 1/2) < k); k is the largest
    that keeps this at `confidence` or above.

    Returns:
        None where no k does (95 %: fewer than 6 values).
    """
    rank = _median_rank(len(values), confidence)
    if rank == 0:
        return None
    ordered = sorted(values)
    return Interval(ordered[rank - 1], ordered[-rank])


def _median_rank(count: int, confidence: float) -> int:
    tail, rank = 0.0, 0
    while 2 * rank < count - 1:
        tail += math.exp(_log_binomial(count, rank, 0.5))
        if 1 - 2 * tail < confidence:
            break
        rank += 1
    return rank


def _log_binomial(count: int, successes: int, probability: float) -> float:
    ways = math.lgamma(count + 1) - math.lgamma(successes + 1) - math.lgamma(count - successes + 1)
    return ways + successes * math.log(probability) + (count - successes) * math.log1p(-probability)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest observed value that at least `share` of the values do not exceed; never an interpolation."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def early_stopping_percentile(values: Sequence[float], share: float, confidence: float = CONFIDENCE_MLPERF) -> float | None:
    """The percentile as MLPerf's load generator states it after few queries: an upper bound at `confidence`.

    The t-th highest value, for the largest t >= 1 with P(Bin(n, 1 - share) <= t) <= 1 - confidence. Were the true percentile above it,
    seeing so few slower queries would be that unlikely.

    Returns:
        None where the number of values does not allow t = 1 (p90: fewer than 64, p99: fewer than 662).

    Source: MLPerf Inference rules, early stopping; LoadGen's MinPassingQueriesFinder with tolerance 0.
    """
    tail = math.exp(_log_binomial(len(values), 0, 1 - share)) if values else 1.0
    dropped = 0
    while dropped + 1 < len(values):
        tail += math.exp(_log_binomial(len(values), dropped + 1, 1 - share))
        if tail > 1 - confidence:
            break
        dropped += 1
    return sorted(values)[-dropped] if dropped else None


def spread(values: Sequence[float]) -> float:
    """Interquartile range over median: noise that a few slow calls do not move."""
    return (percentile(values, 0.75) - percentile(values, 0.25)) / median(values)


def drift(values: Sequence[float]) -> float:
    """Median of the last third over median of the first third, minus 1, in order of time; 0 for fewer than 3 values."""
    third = len(values) // 3
    return median(values[-third:]) / median(values[:third]) - 1 if third else 0.0


def variation(values: Sequence[float]) -> float | None:
    """Standard deviation over mean; None for one value."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)) / mean


def slow_outliers(values: Sequence[float]) -> int:
    """How many values exceed the upper quartile by three interquartile ranges. They are counted, not removed."""
    low, high = percentile(values, 0.25), percentile(values, 0.75)
    return sum(value > high + 3 * (high - low) for value in values)


def is_noisy(values: Sequence[float]) -> bool:
    """Whether the machine did other work or changed its clock meanwhile."""
    return spread(values) > NOISY_SPREAD or abs(drift(values)) > NOISY_DRIFT
