"""The steps of the GitHub action, run as scripts with a stand-in for `gh`; compiled kernels after a restore."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STREET = ROOT / "fixtures" / "street"
ACTION = (ROOT / "action.yml").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the action runs in bash")

GH = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "$GH_LOG"
case "$1 $2" in
    "run list") [ -z "$GH_DENIED" ] || exit 1; [ -d "$GH_RUN" ] && echo 17 || true ;;
    "run download") mkdir -p "$GH_TARGET" && cp "$GH_RUN"/* "$GH_TARGET"/ ;;
    "api repos/me/it/issues/5/comments") case "$*" in *--paginate*) printf '%b' "$GH_COMMENTS" ;; esac ;;
esac
"""


@pytest.fixture
def step(tmp_path):
    """Runs a script of the action; gives its exit code and what it wrote to GITHUB_OUTPUT."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "gh").write_text(GH, encoding="utf-8")
    (tools / "gh").chmod(0o755)
    (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    (tools / "python").chmod(0o755)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}

    def run(name: str, **environment: str) -> tuple[int, dict[str, str]]:
        output = tmp_path / f"{name}.output"
        output.unlink(missing_ok=True)
        output.touch()
        settings = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
            "GITHUB_ACTIONS": "true",
            "ACTION": str(ROOT),
            "FOLDER": str(tmp_path / "segbench"),
            "GH_LOG": str(tmp_path / "gh.log"),
            "GH_RUN": str(tmp_path / "artifact"),
            "GH_TARGET": str(tmp_path / "segbench" / "baseline"),
            "GH_COMMENTS": "",
            "GH_DENIED": "",
        }
        done = subprocess.run(
            ["bash", str(ROOT / "action" / f"{name}.sh")],
            env=inherited | settings | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        print(done.stdout, done.stderr)
        return done.returncode, dict(line.split("=", 1) for line in output.read_text(encoding="utf-8").splitlines())

    return run


def evaluate(step, model: str, **more: str) -> int:
    return step("evaluate", PREDICTIONS=str(STREET / "preds" / model), GROUND_TRUTH=str(STREET / "gt"), **more)[0]


def test_every_script_is_a_step_and_no_input_is_pasted_into_a_shell():
    assert set(re.findall(r'run: bash "\$ACTION/action/(\w+)\.sh"', ACTION)) == {path.stem for path in (ROOT / "action").glob("*.sh")}
    assert all("${{" not in line for line in ACTION.splitlines() if line.strip().startswith("run:"))
    for name in re.findall(r"inputs\.([\w-]+)", ACTION):
        assert re.search(rf"^  {name}:$", ACTION, re.M), name


def test_a_pull_request(step, tmp_path):
    code, outputs = step("install", SEGBENCH_INSTALLED="1")
    assert code == 0
    import llvmlite.binding
    import numba

    assert outputs["kernels"].startswith(f"{numba.__version__}-{llvmlite.binding.get_host_cpu_name()}-")

    assert evaluate(step, "model_a") == 0
    shutil.copytree(tmp_path / "segbench" / "candidate", tmp_path / "artifact")
    assert evaluate(step, "model_b", DATASET=str(STREET / "dataset.json"), ARGUMENTS="--name 'a new model' --metrics boundary_iou") == 0
    result = json.loads((tmp_path / "segbench" / "candidate" / "result.json").read_text(encoding="utf-8"))
    assert result["model"]["name"] == "a new model"

    assert step("baseline", BASE="main", WORKFLOW="segmentation")[0] == 0
    (tmp_path / "segbench.toml").write_text('[[gates]]\nmetric = "semantic/miou"\nmax_drop = "0.5pt"\n', encoding="utf-8")
    code, outputs = step("gate")
    assert code == 0
    assert (outputs["status"], outputs["exit-code"], outputs["failed"]) == ("failed", "1", "1")
    report = Path(outputs["report"])
    assert {path.name for path in report.iterdir()} == {"report.md", "report.html", "junit.xml", "rows.csv", "report.json"}
    assert json.loads(Path(outputs["json"]).read_text(encoding="utf-8"))["status"] == "failed"
    assert "semantic/miou" in (tmp_path / "summary.md").read_text(encoding="utf-8")

    target = {"REPOSITORY": "me/it", "NUMBER": "5"}
    log = tmp_path / "gh.log"
    log.unlink()
    assert step("comment", **target)[0] == 0
    assert f"api --silent repos/me/it/issues/5/comments -F body=@{report / 'report.md'}" in log.read_text(encoding="utf-8")
    assert step("comment", GH_COMMENTS="3\\tanother comment\\n4\\t<!-- segbench:compare:street -->\\n", **target)[0] == 0
    assert "-X PATCH repos/me/it/issues/comments/4" in log.read_text(encoding="utf-8")


def test_a_first_run_and_the_same_predictions(step, tmp_path):
    assert evaluate(step, "model_a") == 0
    assert step("baseline", BASE="main", WORKFLOW="segmentation")[0] == 0
    code, outputs = step("gate")
    assert (code, outputs["exit-code"]) == (0, "0")
    code, outputs = step("gate", BASELINE=str(tmp_path / "segbench" / "candidate"))
    assert (code, outputs["status"]) == (0, "passed")
    (tmp_path / "gh.log").unlink()
    assert step("comment", REPOSITORY="me/it", NUMBER="5")[0] == 0
    assert not (tmp_path / "gh.log").exists()
    assert step("comment", REPOSITORY="me/it", NUMBER="5", WHEN="always")[0] == 0
    assert (tmp_path / "gh.log").exists()


def test_a_job_that_may_not_see_the_base_branch_is_no_first_run(step):
    assert step("baseline", BASE="main", WORKFLOW="segmentation", GH_DENIED="1")[0] == 1


def test_runs_that_cannot_be_compared_stop_the_job(step, tmp_path):
    assert evaluate(step, "model_a", PROTOCOL="voc") == 0
    shutil.copytree(tmp_path / "segbench" / "candidate", tmp_path / "other")
    assert evaluate(step, "model_b") == 0
    assert step("gate", BASELINE=str(tmp_path / "other"))[0] == 4


def test_nothing_is_compiled_again_after_a_restore(tmp_path):
    """A job installs the package anew, so that its files have other times, and restores the folder of compiled kernels."""
    site, first, second = tmp_path / "site", tmp_path / "first", tmp_path / "second"

    def run(cache: Path) -> None:
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(ROOT / "segbench", site / "segbench", copy_function=shutil.copy, ignore=shutil.ignore_patterns("__pycache__"))
        environment = os.environ | {"PYTHONPATH": str(site), "NUMBA_CACHE_DIR": str(cache)}
        command = [sys.executable, "-m", "segbench", "evaluate", str(STREET / "preds" / "model_a"), str(STREET / "gt"), "-q"]
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=300)

    def contents(cache: Path) -> dict[str, tuple[bytes, int]]:
        return {str(path.relative_to(cache)): (path.read_bytes(), path.stat().st_mtime_ns) for path in cache.rglob("*.nb*")}

    run(first)
    compiled = contents(first)
    assert any("resampling" in name for name in compiled)
    shutil.copytree(first, second)
    restored = contents(second)
    run(second)
    assert contents(second) == restored
