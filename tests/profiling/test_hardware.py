"""Fingerprint and counters: on this machine, and on files and libraries made up for other machines."""

from __future__ import annotations

import ctypes
import getpass
import platform
import sys

import msgspec
import numpy as np
import pytest

from segbench.profiling import hardware, meters
from segbench.profiling.hardware import Cpu, Gpu

XEON = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8480C CPU @ 2.00GHz
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu avx2 avx512f amx_tile amx_bf16 hypervisor

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8480C CPU @ 2.00GHz
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu avx2 avx512f amx_tile amx_bf16 hypervisor
"""


def test_another_machine(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(XEON)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("250000 100000\n")
    cpu = hardware.this_cpu(tmp_path)
    assert cpu.physical == 1  # two threads of one core
    assert cpu.flags == ("avx2", "avx512f", "amx_tile", "amx_bf16")
    assert cpu.virtual is True
    assert cpu.quota == 2.5
    gpu = Gpu("NVIDIA H200", 150_000_000_000)
    assert hardware.key(cpu, gpu) == f"intel-xeon-platinum-8480c-x{cpu.affinity}-amx+nvidia-h200"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AMD Ryzen 7 5800X 8-Core Processor", "amd-ryzen-7-5800x"),
        ("Intel(R) Core(TM) i7-1185G7 @ 3.00GHz", "intel-core-i7-1185g7"),
        ("Apple M3 Max", "apple-m3-max"),
        ("", "unknown"),
    ],
)
def test_names_for_people(name, expected):
    assert hardware.slug(name) == expected


def test_no_limit_and_no_files(tmp_path):
    cpu = hardware.this_cpu(tmp_path)
    assert cpu.model
    assert cpu.physical == cpu.logical >= 1
    assert (cpu.quota, cpu.governor, cpu.virtual) == (None, None, None)


def test_this_machine_without_names():
    found = hardware.fingerprint()
    text = msgspec.json.encode(found).decode()
    assert found.gpu is None
    assert found.ram > 0
    assert 1 <= hardware.usable_cores() <= found.cpu.logical
    for secret in (platform.node(), getpass.getuser()):
        assert not secret or f'"{secret}"' not in text
    assert set(msgspec.to_builtins(found)) == {"key", "cpu", "ram", "gpu", "os", "python"}


def test_keys_tell_machines_apart():
    one = Cpu("AMD EPYC", 2, 2, 2, ("avx2",))
    assert hardware.key(one, None) == "amd-epyc-x2-avx2"
    assert hardware.key(Cpu("AMD EPYC", 4, 4, 4, ("avx2",)), None) != hardware.key(one, None)
    assert hardware.key(Cpu("AMD EPYC", 2, 2, 2), None) == "amd-epyc-x2"


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is Linux's")
def test_the_peak_of_a_call_is_exact():
    size = 64 << 20
    meters.peak_memory(lambda: np.ones(size, np.uint8).sum())  # memory that the first call keeps
    base, peak = meters.peak_memory(lambda: np.ones(size, np.uint8).sum())
    assert abs(peak - base - size) < 1 << 20  # the kernel counts pages in small batches
    base, peak = meters.peak_memory(lambda: None)
    assert abs(peak - base) < 1 << 20  # an earlier, higher peak is not seen
    assert meters.process_peak() >= size


def test_disturbance():
    before = meters.Disturbance(0.1, 5, (10, 1000))
    assert meters.stolen_share(before, meters.Disturbance(0.2, 9, (30, 2000))) == 0.02
    assert meters.stolen_share(before, meters.Disturbance(None, None, None)) is None
    assert meters.stolen_share(before, before) is None
    waits = [meters.Disturbance(None, None, None, ran) for ran in ((100, 10), (160, 30), None)]
    assert meters.waited_share(waits[0], waits[1]) == 0.25
    assert meters.waited_share(waits[0], waits[0]) is meters.waited_share(waits[0], waits[2]) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the scheduler's counters are Linux's")
def test_what_this_process_ran_and_waited():
    before = meters.Disturbance.now()
    sum(range(10**6))
    after = meters.Disturbance.now()
    assert after.ran[0] > before.ran[0]
    assert 0 <= meters.waited_share(before, after) < 1


def test_no_counters_of_the_scheduler(tmp_path):
    assert meters._waits(tmp_path / "nothing") is None
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "schedstat").write_text("7\n")
    assert meters._waits(tmp_path) is None
    (tmp_path / "1" / "schedstat").write_text("7 3 1\n")
    assert meters._waits(tmp_path) == (7, 3)


def test_energy_counters_of_the_cpu(tmp_path):
    for package, value in (("intel-rapl:0", 5_000_000), ("intel-rapl:1", 2_500_000)):
        (tmp_path / package).mkdir()
        (tmp_path / package / "energy_uj").write_text(f"{value}\n")
    assert meters.Rapl(tmp_path).joules() == 7.5
    assert meters.Rapl(tmp_path / "nothing").joules() is None
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("what")
    assert meters.Rapl(tmp_path).joules() is None


class FakeNvml:
    """The library's functions: each writes to its last argument and returns 0, or a code."""

    def __init__(self, energy_code: int = 0, init_code: int = 0) -> None:
        self.codes = {"nvmlDeviceGetTotalEnergyConsumption": energy_code, "nvmlInit_v2": init_code}
        self.values = {
            "nvmlDeviceGetTotalEnergyConsumption": 12_345,
            "nvmlDeviceGetPowerUsage": 250_500,
            "nvmlDeviceGetClockInfo": 1980,
            "nvmlDeviceGetTemperature": 41,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 4,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        }

    def __getattr__(self, name: str):
        def function(*arguments):
            if name in self.values:
                arguments[-1]._obj.value = self.values[name]
            if name == "nvmlSystemGetDriverVersion":
                arguments[0].value = b"580.1"
            if name == "nvmlDeviceGetMemoryInfo":
                ctypes.memmove(arguments[-1], (ctypes.c_ulonglong * 3)(100, 60, 40), 24)
            return self.codes.get(name, 0)

        return function


def test_the_driver_s_counters():
    nvml = meters.Nvml(library=FakeNvml())
    assert nvml.joules() == 12.345
    assert nvml.state() == (1980, 41, 250.5, 4)
    assert nvml.power_limit_w() == 700
    assert nvml.driver() == "580.1"
    assert nvml.memory_used() == 40
    assert meters.Nvml(bus_id="00000000:01:00.0", library=FakeNvml(energy_code=3)).joules() is None  # before Volta
    with pytest.raises(OSError, match="does not start"):
        meters.Nvml(library=FakeNvml(init_code=9))
