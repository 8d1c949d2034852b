"""CPUs and memory that a process may use: affinity, and the control groups of containers in both of their versions."""

from __future__ import annotations

import os

import pytest

from segbench import limits

GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Eight CPUs and 8 GiB; the test writes what the control groups say: `{file: text}`."""
    monkeypatch.setattr(limits, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "GROUPS", tmp_path / "fs")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**21}.__getitem__, raising=False)

    def write(membership: str, files: dict[str, str]) -> None:
        (tmp_path / "cgroup").write_text(membership)
        for name, text in files.items():
            file = tmp_path / "fs" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")

    return write


def test_without_control_groups(machine):
    assert limits.cpus() == 8
    assert limits.memory_bytes() == 8 * GIB


@pytest.mark.parametrize(
    ("membership", "files", "cpus", "memory"),
    [
        ("0::/\n", {"cpu.max": "200000 100000", "memory.max": str(GIB)}, 2, GIB),
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, 8, 8 * GIB),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1, 8 * GIB),
        ("0::/\n", {"cpu.max": "150000 100000"}, 2, 8 * GIB),
        # the tighter of a group and the one around it
        ("0::/a/b\n", {"a/b/memory.max": str(4 * GIB), "a/memory.max": str(2 * GIB), "a/b/cpu.max": "max 100000"}, 8, 2 * GIB),
        # a container that does not see its own group: only the root of what it sees
        ("0::/docker/123\n", {"memory.max": str(3 * GIB)}, 8, 3 * GIB),
        (
            "4:memory:/x\n1:cpu,cpuacct:/x\n0::/\n",
            {
                "memory/x/memory.limit_in_bytes": str(GIB),
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "cpu/x/cpu.cfs_quota_us": "300000",
                "cpu/x/cpu.cfs_period_us": "100000",
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
            },
            3,
            GIB,
        ),
        ("nonsense\n7\n", {"memory.max": "many", "cpu.max": ""}, 8, 8 * GIB),
    ],
)
def test_containers(machine, membership, files, cpus, memory):
    machine(membership, files)
    assert limits.cpus() == cpus
    assert limits.memory_bytes() == memory


def test_this_machine():
    assert 1 <= limits.cpus() <= (os.cpu_count() or 1)
