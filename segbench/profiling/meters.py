"""Counters of the operating system and of the GPU's driver: peak memory, energy, and what disturbed a measurement."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

KIB = 1024


def peak_memory(run: Callable[[], Any]) -> tuple[int, int] | None:
    """Resident bytes of this process before a call, and their maximum during it.

    Freed memory is given back first, so that the call's own need shows. On Linux the kernel's high-water mark is reset and read: no
    sampling, no peak too short to see; right to some pages, which the kernel counts in batches.

    Returns:
        None where the system has no mark that can be reset.
    """
    release_memory()
    if not _reset_mark():
        run()
        return None
    base = _status("VmRSS")
    run()
    return base, _status("VmHWM")


def release_memory() -> None:
    """Freed memory goes back to the system, where the C library can do that."""
    import gc

    gc.collect()
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


_highest = 0
"""Peak before the mark was last reset, which the system forgets then."""


def process_peak() -> int | None:
    """The largest resident size this process has had, in bytes; None where unknown."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(_highest, peak if sys.platform == "darwin" else peak * KIB)


def _libc() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def _reset_mark() -> bool:
    global _highest
    _highest = process_peak() or 0
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KIB
    raise OSError(f"/proc/self/status has no {name}")


class Disturbance(NamedTuple):
    """What else the machine did: load average, times this process was moved off its CPU, ticks that the hypervisor took (of all), and
    nanoseconds that this process's threads ran and that they were ready to run but waited."""

    load: float | None
    switches: int | None
    stolen: tuple[int, int] | None
    ran: tuple[int, int] | None = None

    @classmethod
    def now(cls) -> Disturbance:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        switches = None
        if sys.platform != "win32":
            import resource

            switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        return cls(load, switches, _steal(), _waits())


def stolen_share(before: Disturbance, after: Disturbance) -> float | None:
    """Share of all CPU time between two looks that the hypervisor gave to others."""
    if before.stolen is None or after.stolen is None:
        return None
    total = after.stolen[1] - before.stolen[1]
    return (after.stolen[0] - before.stolen[0]) / total if total > 0 else None


def waited_share(before: Disturbance, after: Disturbance) -> float | None:
    """Of the time between two looks in which this process's threads could have run, the share they waited for a CPU that others had."""
    if before.ran is None or after.ran is None:
        return None
    ran, waited = (new - old for new, old in zip(after.ran, before.ran, strict=True))
    return max(0, waited) / (ran + waited) if ran + waited > 0 else None


def _waits(tasks: Path = Path("/proc/self/task")) -> tuple[int, int] | None:
    try:
        lines = [(task / "schedstat").read_text(encoding="ascii").split() for task in tasks.iterdir()]
        return sum(int(line[0]) for line in lines), sum(int(line[1]) for line in lines)
    except (OSError, IndexError, ValueError):
        return None


def _steal() -> tuple[int, int] | None:
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    except OSError:
        return None
    ticks = [int(value) for value in first]
    return (ticks[7], sum(ticks[:8])) if len(ticks) > 7 else None


class Rapl:
    """Energy of the CPU packages, where the system lets this user read the counters (root alone since 2020; absent in virtual machines)."""

    source = "rapl"

    def __init__(self, root: Path = Path("/sys/class/powercap")) -> None:
        self.files = sorted(root.glob("intel-rapl:?/energy_uj")) if root.is_dir() else []

    def joules(self) -> float | None:
        """Joules since an unknown time; None where unreadable."""
        try:
            return sum(int(path.read_text(encoding="ascii")) for path in self.files) / 1e6 if self.files else None
        except (OSError, ValueError):
            return None


class GpuState(NamedTuple):
    """What limits a GPU's speed at one moment; None for what the driver does not tell."""

    sm_clock_mhz: int | None
    temperature_c: int | None
    power_w: float | None
    throttle: int | None


class Nvml:
    """NVIDIA's management library, which comes with the driver; called directly, no Python package is needed.

    Args:
        library: The loaded library; tests give a fake one.

    Raises:
        OSError: no driver, or no such device.
    """

    source = "nvml"

    def __init__(self, bus_id: str | None = None, index: int = 0, library: Any = None) -> None:
        self.lib = library if library is not None else ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        if self.lib.nvmlInit_v2():
            raise OSError("NVML does not start")
        self.handle = ctypes.c_void_p()
        if bus_id is not None:
            code = self.lib.nvmlDeviceGetHandleByPciBusId_v2(bus_id.encode(), ctypes.byref(self.handle))
        else:
            code = self.lib.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(self.handle))
        if code:
            raise OSError(f"NVML knows no such device (code {code})")

    def _number(self, function: str, kind: Any, *arguments: Any) -> int | None:
        value = kind()
        return None if getattr(self.lib, function)(self.handle, *arguments, ctypes.byref(value)) else int(value.value)

    def joules(self) -> float | None:
        """Joules since the driver was loaded; None before Volta."""
        millijoules = self._number("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong)
        return None if millijoules is None else millijoules / 1e3

    def state(self) -> GpuState:
        """Clock, temperature, power and reasons of throttling, now."""
        milliwatts = self._number("nvmlDeviceGetPowerUsage", ctypes.c_uint)
        return GpuState(
            self._number("nvmlDeviceGetClockInfo", ctypes.c_uint, ctypes.c_int(1)),
            self._number("nvmlDeviceGetTemperature", ctypes.c_uint, ctypes.c_int(0)),
            None if milliwatts is None else milliwatts / 1e3,
            self._number("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong),
        )

    def power_limit_w(self) -> float | None:
        """The enforced power limit in watts."""
        milliwatts = self._number("nvmlDeviceGetEnforcedPowerLimit", ctypes.c_uint)
        return None if milliwatts is None else milliwatts / 1e3

    def driver(self) -> str | None:
        """The driver's version."""
        text = ctypes.create_string_buffer(96)
        return None if self.lib.nvmlSystemGetDriverVersion(text, ctypes.c_uint(96)) else text.value.decode()

    def memory_used(self) -> int | None:
        """Bytes of the device that are in use, by everyone; None where the driver does not tell."""

        class Memory(ctypes.Structure):
            _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]

        memory = Memory()
        return None if self.lib.nvmlDeviceGetMemoryInfo(self.handle, ctypes.byref(memory)) else int(memory.used)
