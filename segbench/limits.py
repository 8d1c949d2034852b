"""What this process may use of its machine: CPUs and memory, the limits of containers included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MEMBERSHIP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
"""Where Linux says in which control groups a process is, and what these allow."""


def cpus() -> int:
    """CPUs that this process may use: those it may run on, or fewer where a container has the time of fewer only."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [-(-quota // period) for quota, period in _quotas() if quota > 0 and period > 0]
    return max(1, min([mine, *shares]))


def memory_bytes() -> int | None:
    """Memory that this process may use: the machine's, or that of its container; None where the system does not say."""
    if not hasattr(os, "sysconf"):
        return None
    limits = [number for text in _texts("memory", "memory.max", "memory.limit_in_bytes") for number in _numbers(text)]
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits])


def _quotas() -> Iterator[tuple[int, int]]:
    """Microseconds of CPU time that a control group gets in so many."""
    for text in _texts("cpu", "cpu.max"):
        if len(numbers := _numbers(text)) == 2:
            yield numbers[0], numbers[1]
    for quota, period in zip(_texts("cpu", "cpu.cfs_quota_us"), _texts("cpu", "cpu.cfs_period_us"), strict=False):
        yield from zip(_numbers(quota), _numbers(period), strict=False)


def _numbers(text: str) -> list[int]:
    """The whole numbers of a limit; `max` and -1 stand for none."""
    return [int(word) for word in text.split() if word.isdecimal()]


def _texts(controller: str, *names: str) -> Iterator[str]:
    """The contents of files of this name, of the control group that this process is in and of those around it."""
    for folder in _folders(controller):
        for name in names:
            with suppress(OSError):
                yield (folder / name).read_text(encoding="ascii").strip()


def _folders(controller: str) -> Iterator[Path]:
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and controller not in controllers.split(","):
            continue
        root = GROUPS if number == "0" else GROUPS / controller
        inside = Path(path.lstrip("/"))
        yield from (root / part for part in (inside, *inside.parents))
