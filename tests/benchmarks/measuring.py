"""Costs of a process, as the operating system counts them. Imports nothing heavy: a child's peak memory starts at its parent's."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Run:
    """What one process cost and said."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    output: dict[str, Any]


def measured(command: list[str], environment: dict[str, str], parse: bool = True) -> Run:
    """Runs a command to its end; CPU seconds and peak memory are those of the process and its children.

    Raises:
        SystemExit: it failed.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=os.environ | ONE_THREAD | environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        text = stdout.read().decode()
        if process.returncode == 6:
            return Run(0, 0, 0, {"missing": text})
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed with {process.returncode}:\n{text[-2000:]}{stderr.read().decode()[-2000:]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes there, in KiB elsewhere
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / unit, json.loads(text) if parse else {})


def quiet(seconds: float = 0.25) -> bool:
    """Whether two processes at once get a core each: otherwise two workers cannot be faster than one."""
    spin = f"import time; w, c = time.perf_counter(), time.process_time()\nwhile time.perf_counter() - w < {seconds}: pass\n"
    command = [sys.executable, "-c", f"{spin}print(time.process_time() - c)"]
    spinners = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return all(float(spinner.communicate()[0]) > 0.95 * seconds for spinner in spinners)


def touch_memory() -> None:
    """Writes once to half of the free memory: on a virtual machine the first use of a page costs ten times the next."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        free = next(int(line.split()[1]) for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable"))
        code = "import sys\npieces = [bytearray(2**28) for _ in range(int(sys.argv[1]))]\nfor piece in pieces: piece[::4096] = bytes(2**16)"
        subprocess.run([sys.executable, "-c", code, str(free // 2 // 2**18)], check=False)


def machine() -> dict[str, Any]:
    """CPU model, core count and Python: nothing that names the machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}
