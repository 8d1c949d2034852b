"""Order statistics against exact binomial sums and hand-computed cases."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segbench.profiling import statistics


def exact_rank(count: int, confidence: Fraction) -> int:
    """The largest k with 1 - 2 P(Bin(n, 1/2) < k) >= confidence, in exact fractions."""
    return max(
        (k for k in range(count // 2 + 1) if 1 - 2 * Fraction(sum(math.comb(count, i) for i in range(k)), 2**count) >= confidence),
        default=0,
    )


@pytest.mark.parametrize("count", [*range(1, 60), 200, 501])
def test_the_interval_of_the_median_is_the_narrowest_that_holds(count):
    rank = exact_rank(count, Fraction(95, 100))
    values = [3 * value for value in range(count)]
    interval = statistics.median_interval(values[::-1])
    if rank == 0:
        assert count < 6
        assert interval is None
    else:
        assert interval == (values[rank - 1], values[-rank])


def test_published_ranks():
    # Conover, Practical Nonparametric Statistics, and every table of the sign test
    assert statistics.median_interval(range(1, 7)) == (1, 6)
    assert statistics.median_interval(range(1, 21)) == (6, 15)
    assert statistics.median_interval(range(1, 101)) == (40, 61)


def test_coverage_of_the_interval():
    random = np.random.default_rng(0)
    draws = random.lognormal(0, 1, (2000, 25))  # median 1, far from normal
    intervals = [statistics.median_interval(row) for row in draws.tolist()]
    covered = np.mean([interval.low <= 1 <= interval.high for interval in intervals])
    assert 0.945 < covered < 0.975


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=200), st.sampled_from([0.25, 0.5, 0.75, 0.9, 0.95, 0.99]))
def test_percentiles_are_observed_values(values, share):
    found = statistics.percentile(values, share)
    assert found == np.percentile(values, 100 * share, method="inverted_cdf")
    assert found in values


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=99))
def test_the_median_is_numpy_s(values):
    assert statistics.median(values) == np.median(values)


@pytest.mark.parametrize(("share", "dropped", "needed"), [(0.90, 1, 64), (0.95, 1, 130), (0.99, 1, 662), (0.99, 10, 2010)])
def test_early_stopping_needs_as_many_queries_as_mlperf_says(share, dropped, needed):
    values = list(range(needed))
    assert statistics.early_stopping_percentile(values, share) == values[-dropped]
    fewer = statistics.early_stopping_percentile(values[:-1], share)
    assert fewer == (None if dropped == 1 else values[-dropped])  # one query fewer: one query less may be dropped


def test_early_stopping_is_never_below_the_percentile():
    values = list(range(3000))
    for count in range(64, 3000, 97):
        bound = statistics.early_stopping_percentile(values[:count], 0.9)
        assert bound >= statistics.percentile(values[:count], 0.9)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_early_stopping_of_almost_nothing(count):
    assert statistics.early_stopping_percentile([1] * count, 0.9) is None


def test_noise_flags():
    steady = [100 + i % 3 for i in range(30)]
    assert not statistics.is_noisy(steady)
    assert statistics.drift(steady) == 0
    assert statistics.is_noisy([*[100] * 10, *[102] * 10, *[104] * 10])  # 4 % slower at the end
    assert statistics.is_noisy([100, 110] * 15)  # a wide spread
    assert statistics.spread([100, 110] * 15) == pytest.approx(10 / 105)
    assert statistics.slow_outliers([*[100] * 20, *[101] * 20, 105, 1000]) == 2
    assert statistics.drift([1, 2]) == 0
    assert statistics.variation([1]) is None
    assert statistics.variation([1, 3]) == pytest.approx(math.sqrt(2) / 2)
