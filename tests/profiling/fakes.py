"""A clock whose time passes only when work says so, and a device that counts what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any


class ScriptedClock:
    """Time in nanoseconds that stands still unless `pass_time` is called."""

    name = "scripted"
    queued = False

    def __init__(self) -> None:
        self.time = 1_000_000

    def now(self) -> int:
        return self.time

    def sync(self) -> None:
        return

    def mark(self) -> Any:
        raise AssertionError("this clock has no marks")

    def between(self, start: Any, end: Any) -> int:
        raise AssertionError("this clock has no device time")

    def pass_time(self, nanoseconds: float) -> None:
        self.time += round(nanoseconds)

    def work(self, durations: Iterable[float]) -> Callable[[], None]:
        """A call that takes the next of these durations."""
        script: Iterator[float] = iter(durations)
        return lambda: self.pass_time(next(script))


class DeviceClock(ScriptedClock):
    """A device with a queue: `submit` costs the host little, the work is done when `sync` returns."""

    name = "scripted device"
    queued = True

    def __init__(self) -> None:
        super().__init__()
        self.busy_until = self.time
        self.syncs = 0
        self.marks = 0

    def sync(self) -> None:
        self.syncs += 1
        self.time = max(self.time, self.busy_until)

    def mark(self) -> int:
        self.marks += 1
        return max(self.time, self.busy_until)

    def between(self, start: int, end: int) -> int:
        return end - start

    def submit(self, host: int, device: int) -> None:
        self.pass_time(host)
        self.busy_until = max(self.time, self.busy_until) + device


class FakeCuda:
    """`torch.cuda` as far as a clock needs it: a queue on a scripted device, and what was asked of it."""

    def __init__(self) -> None:
        self.clock = DeviceClock()
        self.asked: list[str] = []

    def synchronize(self, device: Any) -> None:
        self.asked.append("synchronize")
        self.clock.sync()

    def current_stream(self, device: Any) -> str:
        return f"stream of {device}"

    def Event(self, enable_timing: bool) -> FakeEvent:
        assert enable_timing
        return FakeEvent(self)


class FakeEvent:
    """An event of `FakeCuda`; times are in milliseconds, as there."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.at = -1

    def record(self, stream: str) -> None:
        assert stream == "stream of cuda:1"
        self.cuda.asked.append("record")
        self.at = self.cuda.clock.mark()

    def elapsed_time(self, end: FakeEvent) -> float:
        return (end.at - self.at) / 1e6
