"""The one timing loop: warm up until steady, measure until the median is known well enough, keep every sample."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from segbench.errors import ConfigError, InputError
from segbench.profiling.statistics import Interval, median, median_interval

PATIENCE = 3
"""How many times `max_time_s` may be exceeded for the few samples that the median's interval needs (six, at 95 %)."""

WINDOW = 5
"""Runs per window of the warm-up; two windows are compared."""


@dataclass(frozen=True)
class Policy:
    """When to stop.

    Args:
        relative_halfwidth: Of the median's interval; the measurement stops when it is this narrow.
        confidence: Of that interval.
        min_runs, max_runs: Bounds on the runs. Looking after every run makes the interval slightly too narrow; 20 runs keep that small.
        min_time_s, max_time_s: Bounds on the measured time; `PATIENCE` times the upper one where there is no interval before.
        warmup_runs, warmup_time_s: When the warm-up gives up on becoming steady.
        warmup_tolerance: Two windows are steady when their medians differ by less.
    """

    relative_halfwidth: float = 0.01
    confidence: float = 0.95
    min_runs: int = 20
    max_runs: int = 500
    min_time_s: float = 2.0
    max_time_s: float = 20.0
    warmup_runs: int = 50
    warmup_time_s: float = 10.0
    warmup_tolerance: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1 or not 0 <= self.relative_halfwidth < math.inf:
            raise ConfigError("the confidence lies between 0 and 1, the precision is a number of at least 0")
        if not all(map(math.isfinite, (self.min_time_s, self.max_time_s, self.warmup_time_s))):
            raise ConfigError("a measurement ends: times are finite numbers of seconds")
        if not 1 <= self.min_runs <= self.max_runs or not 0 <= self.min_time_s <= self.max_time_s:
            raise ConfigError("a policy needs 1 <= min_runs <= max_runs and 0 <= min_time_s <= max_time_s")


class Clock(Protocol):
    """Time as the work sees it. All in nanoseconds. `queued` says whether work runs on a device with its own queue and marks."""

    name: str
    queued: bool

    def now(self) -> int: ...
    def sync(self) -> None:
        """Returns when everything asked for so far is done."""
        ...

    def mark(self) -> Any:
        """A point in the device's own queue. Only where `queued`."""
        ...

    def between(self, start: Any, end: Any) -> int:
        """Device time between two marks, after `sync`."""
        ...


class WallClock:
    """The CPU's monotonic clock; work is done when the call returns."""

    name = "perf_counter_ns"
    queued = False

    def now(self) -> int:
        return time.perf_counter_ns()

    def sync(self) -> None:
        return

    def mark(self) -> Any:
        raise NotImplementedError

    def between(self, start: Any, end: Any) -> int:
        raise NotImplementedError


@dataclass
class Warmup:
    """`runs` includes the first call; `steady` says whether the two last windows agreed."""

    runs: int
    steady: bool
    first_call: int


@dataclass
class Series:
    """Samples in the order they were taken, in nanoseconds."""

    samples: list[int] = field(default_factory=list)
    device: list[int] = field(default_factory=list)
    stopped: str = ""


Run = Callable[[], Any]
Told = Callable[[str, float], None]
"""Progress: what is being done and which share of its budget is used."""


def once(run: Run, clock: Clock) -> tuple[int, int | None]:
    """Wall time of one call from an idle device to an idle device, and the device's own time where it keeps one."""
    clock.sync()
    start = clock.now()
    first = clock.mark() if clock.queued else None
    run()
    last = clock.mark() if clock.queued else None
    clock.sync()
    wall = clock.now() - start
    return wall, clock.between(first, last) if clock.queued else None


def warm_up(run: Run, clock: Clock, policy: Policy) -> Warmup:
    """Runs until the medians of two successive windows agree, or the budget is spent. The first call, which may compile, is free."""
    first_call, _ = once(run, clock)
    times: list[int] = []
    spent = 0
    while True:
        if len(times) >= 2 * WINDOW:
            before, after = median(times[-2 * WINDOW : -WINDOW]), median(times[-WINDOW:])
            if abs(after - before) < policy.warmup_tolerance * before:
                return Warmup(1 + len(times), True, first_call)
        if 1 + len(times) >= policy.warmup_runs or spent >= policy.warmup_time_s * 1e9:
            return Warmup(1 + len(times), False, first_call)
        times.append(once(run, clock)[0])
        spent += times[-1]


def measure(run: Run, clock: Clock, policy: Policy, told: Told = lambda what, share: None) -> Series:
    """Samples until the median's interval is narrow enough or a bound is met.

    Returns:
        The samples; `stopped` is `interval`, `max_runs` or `max_time`.
    """
    series = Series()
    spent = 0
    with no_garbage():
        while not (reason := _stop(series.samples, spent, policy)):
            wall, device = once(run, clock)
            spent += wall
            series.samples.append(wall)
            if device is not None:
                series.device.append(device)
            told("latency", max(spent / (policy.max_time_s * 1e9 + 1), len(series.samples) / policy.max_runs))
    series.stopped = reason
    return series


def alternate(first: Run, second: Run, clock: Clock, policy: Policy, told: Told = lambda what, share: None) -> tuple[Series, Series]:
    """Two things by turns, A B B A A B B A: what changes slowly on the machine meets both alike. Sample i of one pairs with i of the other.

    Stops by the rule of `measure`, applied to the ratio of the pairs.
    """
    left, right = Series(), Series()
    ratios: list[float] = []
    spent = 0
    with no_garbage():
        while not (reason := _stop(ratios, spent, policy)):
            order = ((first, left), (second, right))
            for run, series in order if len(ratios) % 2 == 0 else order[::-1]:
                wall, _ = once(run, clock)
                series.samples.append(wall)
                spent += wall
            ratios.append(left.samples[-1] / right.samples[-1])
            told("alternating", max(spent / (policy.max_time_s * 1e9 + 1), len(ratios) / policy.max_runs))
    left.stopped = right.stopped = reason
    return left, right


class StageTimer:
    """Time inside some parts of a run, from the points where they begin and end. Nested parts of one stage count once.

    A part calls `enter(stage)` and `leave(stage)`. On a device the points are marks in its queue: nothing waits in between.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.depth: dict[str, int] = {}
        self.points: list[tuple[str, Any, Any]] = []
        self.opened: dict[str, Any] = {}

    def _point(self) -> Any:
        return self.clock.mark() if self.clock.queued else self.clock.now()

    def enter(self, stage: str) -> None:
        if not self.depth.get(stage):
            self.opened[stage] = self._point()
        self.depth[stage] = self.depth.get(stage, 0) + 1

    def leave(self, stage: str) -> None:
        self.depth[stage] -= 1
        if not self.depth[stage]:
            self.points.append((stage, self.opened.pop(stage), self._point()))

    def once(self, run: Run) -> dict[str, int]:
        """One run: the stages' nanoseconds, and of all of it as ''."""
        self.depth, self.points, self.opened = {}, [], {}
        self.clock.sync()
        start = self._point()
        run()
        end = self._point()
        self.clock.sync()
        times = {"": self._between(start, end)}
        for stage, begin, finish in self.points:
            times[stage] = times.get(stage, 0) + self._between(begin, finish)
        return times

    def _between(self, start: Any, end: Any) -> int:
        return self.clock.between(start, end) if self.clock.queued else end - start


def in_situ(run: Run, timer: StageTimer, stage: str, policy: Policy, told: Told = lambda what, share: None) -> list[dict[str, int]]:
    """Stage times of whole runs, until the ratio of the whole to one stage is known as well as `measure` knows a latency."""
    rows: list[dict[str, int]] = []
    ratios: list[float] = []
    spent = 0
    with no_garbage():
        while not _stop(ratios, spent, policy):
            rows.append(timer.once(run))
            if not rows[-1].get(stage):
                raise InputError(f"the modules of the {stage} did not run", hint="name others with --backbone")
            spent += rows[-1][""]
            ratios.append(rows[-1][""] / rows[-1][stage])
            told("head and backbone", max(spent / (policy.max_time_s * 1e9 + 1), len(rows) / policy.max_runs))
    return rows


def back_to_back(run: Run, clock: Clock, runs: int) -> int:
    """Nanoseconds of several calls in a row with one wait at the end: throughput, not latency."""
    clock.sync()
    start = clock.now()
    for _ in range(runs):
        run()
    clock.sync()
    return clock.now() - start


def _stop(samples: list[Any], spent: int, policy: Policy) -> str:
    if len(samples) >= policy.min_runs and spent >= policy.min_time_s * 1e9:
        interval = median_interval(samples, policy.confidence)
        if interval is not None and halfwidth(interval) <= policy.relative_halfwidth * median(samples):
            return "interval"
    if len(samples) >= policy.max_runs:
        return "max_runs"
    if spent < policy.max_time_s * 1e9 or not samples:
        return ""
    enough = median_interval(samples, policy.confidence) is not None
    return "max_time" if enough or spent >= PATIENCE * policy.max_time_s * 1e9 else ""


def halfwidth(interval: Interval) -> float:
    """Half the interval's width."""
    return (interval.high - interval.low) / 2


@contextmanager
def no_garbage() -> Iterator[None]:
    """No garbage collection meanwhile: it would strike some samples and not others."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
