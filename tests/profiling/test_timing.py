"""The timing loop on scripted clocks: exact stopping points, samples and pairs."""

from __future__ import annotations

import gc
from fractions import Fraction
from itertools import chain, cycle, repeat

import pytest

from segbench.errors import ConfigError
from segbench.profiling.statistics import median
from segbench.profiling.timing import Policy, StageTimer, WallClock, alternate, back_to_back, measure, once, warm_up
from tests.profiling.fakes import DeviceClock, FakeCuda, ScriptedClock
from tests.profiling.test_statistics import exact_rank

MS = 1_000_000


def test_the_warm_up_ends_when_two_windows_agree():
    clock = ScriptedClock()
    # slow first call, then 5 slow runs, then fast: the medians of runs 6-10 and 11-15 are the first two that agree
    work = clock.work(chain([900 * MS], repeat(200 * MS, 5), repeat(100 * MS)))
    warmup = warm_up(work, clock, Policy())
    assert warmup.first_call == 900 * MS
    assert warmup.steady
    # windows slide: after runs 3-7 (median 200 still) and 8-12 comes the pair (4-8: 100) and (9-13: 100)
    assert warmup.runs == 1 + 13


def test_the_warm_up_needs_two_windows_at_least():
    clock = ScriptedClock()
    assert warm_up(clock.work(repeat(MS)), clock, Policy()).runs == 11


def test_the_warm_up_gives_up():
    clock = ScriptedClock()
    growing = (1.2**i * MS for i in range(1000))
    assert not warm_up(clock.work(growing), clock, Policy(warmup_time_s=1e9)).steady
    slow = warm_up(clock.work(repeat(4_000 * MS)), clock, Policy())
    assert (slow.runs, slow.steady) == (1 + 3, False)  # after the first call, 4 + 4 + 4 s pass the 10 s


def test_equal_samples_stop_at_the_minimum():
    clock = ScriptedClock()
    series = measure(clock.work(repeat(10 * MS)), clock, Policy(min_runs=20, min_time_s=0.1))
    assert series.stopped == "interval"
    assert series.samples == [10 * MS] * 20


def test_the_minimal_time_is_kept():
    clock = ScriptedClock()
    series = measure(clock.work(repeat(10 * MS)), clock, Policy(min_runs=20, min_time_s=2))
    assert (len(series.samples), series.stopped) == (200, "interval")


def test_the_exact_stopping_point():
    # 40 samples, half of them 100 and half 103, alternating: the interval is [100, 103] until the end, 1.5 % of half-width;
    # from then on all are 102, which fill the middle. With n samples, 20 are 100, 20 are 103 and n - 40 are 102. The order statistics
    # of rank k(n) and n + 1 - k(n) are both within 1 % of the median once k(n) > 20, and k(n) is 21 first at n = 56.
    assert [exact_rank(n, Fraction(95, 100)) for n in (55, 56)] == [20, 21]
    clock = ScriptedClock()
    script = chain([100 * MS, 103 * MS] * 20, repeat(102 * MS))
    series = measure(clock.work(script), clock, Policy(min_runs=20, min_time_s=0, max_time_s=1e9))
    assert (len(series.samples), series.stopped) == (56, "interval")
    assert series.samples[:4] == [100 * MS, 103 * MS] * 2


@pytest.mark.parametrize(
    ("policy", "count", "reason"),
    [({"max_runs": 50}, 50, "max_runs"), ({"max_time_s": 3.0}, 20, "max_time"), ({"max_time_s": 2.9}, 20, "max_time")],
)
def test_the_bounds(policy, count, reason):
    # 10 pairs of 100 and 200 ms make 3 s; the bound is looked at before a run
    clock = ScriptedClock()
    series = measure(clock.work(cycle([100 * MS, 200 * MS])), clock, Policy(**policy))
    assert (len(series.samples), series.stopped) == (count, reason)


@pytest.mark.parametrize(("seconds", "count"), [(3, 7), (7, 6), (11, 6), (13, 5), (60, 1)])
def test_slow_calls_get_the_six_samples_of_an_interval_if_that_takes_no_more_than_three_times_as_long(seconds, count):
    clock = ScriptedClock()
    series = measure(clock.work(repeat(seconds * 1_000 * MS)), clock, Policy(max_time_s=20))
    assert (len(series.samples), series.stopped) == (count, "max_time")


def test_alternation_is_abba_and_pairs_share_the_drift():
    clock = ScriptedClock()
    order: list[str] = []

    def work(name: str, share: float):
        def run() -> None:
            order.append(name)
            clock.pass_time(share * MS * (1 + len(order) / 20))  # the machine slows down all the time

        return run

    first, second = alternate(work("a", 1.5), work("b", 1.0), clock, Policy(min_runs=8, max_runs=8, min_time_s=0))
    assert "".join(order[:8]) == "abbaabba"
    assert len(first.samples) == len(second.samples) == 8
    ratios = [a / b for a, b in zip(first.samples, second.samples, strict=True)]
    below = sum(ratio < 1.5 for ratio in ratios)
    assert below == 4  # by turns the later of the two is slower, so that neither gains
    assert median(ratios) == pytest.approx(1.5, rel=0.01)
    assert first.samples[-1] > 1.7 * first.samples[0]


def test_a_device_is_waited_for_around_every_sample():
    clock = DeviceClock()
    wall, device = once(lambda: clock.submit(1 * MS, 30 * MS), clock)
    assert (wall, device) == (31 * MS, 31 * MS)
    assert (clock.syncs, clock.marks) == (2, 2)
    series = measure(lambda: clock.submit(1 * MS, 30 * MS), clock, Policy(min_runs=5, max_runs=5, min_time_s=0))
    assert series.samples == [31 * MS] * 5
    assert series.device == [31 * MS] * 5
    assert all(device <= wall for device, wall in zip(series.device, series.samples, strict=True))


def test_throughput_waits_once():
    clock = DeviceClock()
    clock.sync()
    assert back_to_back(lambda: clock.submit(1 * MS, 30 * MS), clock, 10) == 301 * MS  # the host's work hides behind the device's
    assert clock.syncs == 3


def test_garbage_is_collected_before_and_not_meanwhile():
    clock = ScriptedClock()
    seen: list[bool] = []

    def run() -> None:
        seen.append(gc.isenabled())
        clock.pass_time(MS)

    assert gc.isenabled()
    measure(run, clock, Policy(min_runs=3, max_runs=3, min_time_s=0))
    assert seen == [False] * 3
    assert gc.isenabled()


def test_garbage_collection_comes_back_after_a_failure():
    def fail() -> None:
        raise ValueError("a model")

    with pytest.raises(ValueError, match="a model"):
        measure(fail, WallClock(), Policy())
    assert gc.isenabled()


def test_the_wall_clock_runs():
    wall, device = once(lambda: sum(range(1000)), WallClock())
    assert wall > 0
    assert device is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": 1.0},
        {"min_runs": 0},
        {"min_runs": 9, "max_runs": 8},
        {"min_time_s": 3, "max_time_s": 2},
        {"relative_halfwidth": float("nan")},
        {"relative_halfwidth": float("inf")},
        {"max_time_s": float("nan")},
        {"max_time_s": float("inf")},
    ],
)
def test_policies_that_cannot_be(wrong):
    with pytest.raises(ConfigError):
        Policy(**wrong)


def test_the_clock_of_a_cuda_device(monkeypatch):
    from segbench.profiling.runner_torch import CudaClock

    cuda = FakeCuda()
    clock = CudaClock(cuda, "cuda:1")
    monkeypatch.setattr(clock, "wall", cuda.clock)
    series = measure(lambda: cuda.clock.submit(1 * MS, 30 * MS), clock, Policy(min_runs=4, max_runs=4, min_time_s=0))
    assert series.samples == series.device == [31 * MS] * 4
    assert cuda.asked == ["synchronize", "record", "record", "synchronize"] * 4
    timer = StageTimer(clock)

    def run() -> None:
        timer.enter("backbone")
        cuda.clock.submit(1 * MS, 30 * MS)
        timer.leave("backbone")
        cuda.clock.submit(1 * MS, 10 * MS)

    cuda.asked.clear()
    assert timer.once(run) == {"": 41 * MS, "backbone": 31 * MS}
    assert cuda.asked == ["synchronize", *["record"] * 4, "synchronize"]  # nothing waits between the stages
