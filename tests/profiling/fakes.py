"""A clock whose time passes only when work says so, and a device that counts what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any


class ScriptedClock:
    """Time in nanoseconds that stands still unless `pass_time` is called."""

    name = "scripted"

    def __init__(self) -> None:
        self.time = 1_000_000

    def now(self) -> int:
        return self.time

    def sync(self) -> None:
        return

    def mark(self) -> Any:
        return None

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
