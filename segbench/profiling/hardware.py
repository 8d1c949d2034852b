"""Which machine measured: enough to tell two apart and to explain a difference, nothing that names an owner (no host name, no serial)."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

import msgspec

ISA = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
    "sve2",
)
"""Instruction sets that decide how fast matrix products are, x86 and ARM."""


class Cpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`logical` counts hardware threads, `affinity` those this process may use; `quota` is a container's limit in CPUs."""

    model: str
    logical: int
    physical: int
    affinity: int
    flags: tuple[str, ...] = ()
    governor: str | None = None
    virtual: bool | None = None
    quota: float | None = None


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One accelerator; `memory` in bytes."""

    model: str
    memory: int
    driver: str | None = None
    capability: str | None = None
    power_limit_w: float | None = None
    mig: bool | None = None


class Hardware(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`key` names the column of a merged table: CPU, its threads and instruction set, and the accelerator in use."""

    key: str
    cpu: Cpu
    ram: int
    gpu: Gpu | None
    os: str
    python: str


def fingerprint(gpu: Gpu | None = None) -> Hardware:
    """This machine, with the accelerator that a measurement uses."""
    cpu = this_cpu()
    return Hardware(key(cpu, gpu), cpu, _ram(), gpu, f"{platform.system()} {platform.release()}", platform.python_version())


def key(cpu: Cpu, gpu: Gpu | None) -> str:
    """A short name for people and tables, the same on every machine of the kind."""
    wide = next((name for name in ("amx_tile", "avx512_bf16", "avx512f", "avx2", "sve2", "sve", "asimd") if name in cpu.flags), "")
    parts = [slug(cpu.model), f"x{cpu.affinity}", *([wide.partition("_")[0]] if wide else [])]
    return "-".join(parts) + (f"+{slug(gpu.model)}" if gpu else "")


def slug(name: str) -> str:
    """Lower case, without trade marks, clock rates and words every name has."""
    name = re.sub(r"\((r|tm)\)|@.*$|\b(cpu|processor|with radeon graphics|\d+-core)\b", " ", name.lower())
    return re.sub(r"[^a-z0-9.]+", "-", name).strip("-") or "unknown"


def this_cpu(root: Path = Path("/")) -> Cpu:
    """Model, counts and what limits them. `root` is where /proc and /sys are looked for."""
    info = _read(root / "proc/cpuinfo")
    model = _field(info, "model name") or _field(info, "Model") or _darwin_model() or platform.processor() or platform.machine()
    flags = set((_field(info, "flags") or _field(info, "Features") or "").split())
    logical = os.cpu_count() or 1
    cores = {
        (_field(block, "physical id"), _field(block, "core id")) for block in info.split("\n\n") if _field(block, "core id") is not None
    }
    return Cpu(
        model=model,
        logical=logical,
        physical=len(cores) or logical,
        affinity=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical,
        flags=tuple(name for name in ISA if name in flags),
        governor=_read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        virtual="hypervisor" in flags if flags else None,
        quota=_quota(_read(root / "sys/fs/cgroup/cpu.max")),
    )


def usable_cores() -> int:
    """Physical cores this process may keep busy: what 'all cores' means."""
    cpu = this_cpu()
    limit = cpu.quota or cpu.affinity
    return max(1, min(cpu.physical, cpu.affinity, int(limit)))


def _quota(text: str) -> float | None:
    parts = text.split()
    return int(parts[0]) / int(parts[1]) if len(parts) == 2 and parts[0].isdigit() else None


def _field(text: str, name: str) -> str | None:
    found = re.search(rf"^{re.escape(name)}\s*:\s*(.*)$", text, re.M)
    return found[1].strip() if found else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _darwin_model() -> str | None:
    if sys.platform != "darwin":
        return None
    import subprocess

    done = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _ram() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
