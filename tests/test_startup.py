"""Start-up stays cheap: what is imported by the package, by the help page and by an evaluation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

STREET = Path(__file__).parents[1] / "fixtures" / "street"
HEAVY = {"numba", "numpy", "pandas", "matplotlib", "rich", "PIL", "pycocotools", "msgspec", "jinja2", "torch", "deflate"}
UNUSED = {"pandas", "matplotlib", "pycocotools", "jinja2", "torch", "PIL", "tifffile", "distributed", "dask"}
MACHINERY = {
    "multiprocessing.pool",
    "concurrent.futures.process",
    "segbench.inspection",
    "segbench.adapters.own",
    "segbench.kernels.boundary",
    "segbench.metrics.instance.scoring",
    "segbench.metrics.panoptic.scoring",
    "segbench.adapters.instance.coco_json",
}

PROBE = """
import importlib.metadata, json, sys
scans = []
original = importlib.metadata.entry_points
def entry_points(**wanted):
    scans.append(wanted)
    return original(**wanted)
importlib.metadata.entry_points = entry_points
before = set(sys.modules)
code = 0
{statement}
own = [scan for scan in scans if str(scan.get("group")).startswith("segbench")]
print("PROBE" + json.dumps({{"modules": sorted(set(sys.modules) - before), "scans": own, "code": code}}))
"""


def probe(statement: str) -> dict:
    """Modules that a statement imports in a new interpreter, and scans for our entry points (Numba scans for its own)."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE.format(statement=statement)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("PROBE")[2])


def run(*arguments: str) -> str:
    return f"from segbench.cli import run\ncode = run({list(arguments)!r})"


@pytest.mark.parametrize("statement", ["import segbench", run("--help"), run("--version"), run("evaluate", "--help")])
def test_looking_at_it_imports_nothing_heavy(statement):
    found = probe(statement)
    assert found["code"] == 0
    assert not HEAVY & set(found["modules"])
    assert not found["scans"]


def test_an_evaluation_imports_only_what_it_uses():
    found = probe(run("evaluate", str(STREET / "preds/model_a"), str(STREET / "gt"), "--quiet"))
    assert found["code"] == 0
    assert "numba" in found["modules"]  # the probe sees what it should
    assert not UNUSED & set(found["modules"])
    assert not MACHINERY & set(found["modules"])
    assert not found["scans"]


def test_json_needs_no_rich():
    found = probe(run("evaluate", str(STREET / "preds/model_a"), str(STREET / "gt"), "--json", "--quiet"))
    assert found["code"] == 0
    assert "rich" not in found["modules"]


def test_an_unknown_command_says_which_it_may_be():
    done = subprocess.run([sys.executable, "-m", "segbench", "evalute"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "evaluate" in done.stderr
    assert "Traceback" not in done.stderr
