"""What `segbench doctor` looks at: versions, the kernel cache, the kernels' results, the terminal."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from segbench import __version__

REQUIRED = ("numpy", "numba", "pillow", "msgspec", "deflate", "click", "rich", "pycocotools", "pandas", "matplotlib", "jinja2")
OPTIONAL = ("distributed", "tifffile", "torch", "onnx")


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    ok: bool
    found: str
    hint: str | None = None


def checks() -> list[Check]:
    """Everything, in the order it is shown."""
    return [
        Check("segbench", True, f"{__version__}, Python {platform.python_version()}, {sys.platform} {platform.machine()}"),
        *_packages(),
        _cache(),
        _kernels(),
        Check("workers", True, f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} CPUs"),
        _terminal(),
    ]


def _packages() -> list[Check]:
    required = {name: _version(name) for name in REQUIRED}
    missing = [name for name, version in required.items() if version is None]
    optional = [f"{name} {version}" for name in OPTIONAL if (version := _version(name))]
    return [
        Check(
            "packages",
            not missing,
            ", ".join(f"{name} {version or 'MISSING'}" for name, version in required.items()),
            f"pip install {' '.join(missing)}" if missing else None,
        ),
        Check("extras", True, ", ".join(optional) or "none installed"),
    ]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def cache_folder() -> Path:
    """Where the compiled kernels are kept: `NUMBA_CACHE_DIR`, else beside the kernels, else the user's cache folder."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    beside = Path(__file__).parent / "kernels" / "__pycache__"
    if _writable(beside):
        return beside
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "numba"


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _cache() -> Check:
    folder = cache_folder()
    writable = _writable(folder)
    hint = "set NUMBA_CACHE_DIR to a folder that can be written, or every start compiles the kernels again"
    return Check("kernel cache", writable, f"{folder} ({'writable' if writable else 'cannot be written'})", hint)


def _kernels() -> Check:
    """Loads the kernels of the main path and counts a known image with them."""
    import numpy as np

    began = time.perf_counter()
    from segbench.metrics.pairs import label_pairs
    from segbench.samples import LabelMap, ValueMap

    meaning = ValueMap.of({0: 0, 1: 1}, 2)
    gt = np.repeat(np.arange(2, dtype=np.uint8), 64).reshape(8, 16)
    counted = label_pairs(LabelMap(0, 1 - gt, meaning), LabelMap(0, gt, meaning))
    right = [column.tolist() for column in counted] == [[0, 1], [1, 0], [64, 64]]
    return Check(
        "kernels",
        right,
        f"loaded in {time.perf_counter() - began:.2f} s, {'count right' if right else 'COUNT WRONG'}",
        f"delete {cache_folder()} and try again",
    )


def _terminal() -> Check:
    encoding = getattr(sys.stdout, "encoding", None) or "none"
    kind = "terminal" if sys.stdout.isatty() else "no terminal"
    return Check("output", True, f"{kind}, {encoding}, {os.get_terminal_size().columns if sys.stdout.isatty() else '-'} columns")
