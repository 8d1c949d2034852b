"""Builds the distributions, installs the wheel in a new environment elsewhere, and runs the command from there.

python tests/check_wheel.py [FOLDER]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
STREET = ROOT / "fixtures" / "street"
DATA_FILES = ("segbench/presets/cityscapes.json", "segbench/schemas/result.schema.json", "segbench/schemas/error.schema.json")
FOREIGN = ("tests/", "fixtures/", "docs/", "leaderboards/")


def run(*command: object, cwd: Path) -> str:
    """Stdout of a command that must succeed; the checkout is not importable from it."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"exit code {done.returncode}: {' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def built(folder: Path) -> Path:
    """Builds the sdist, and the wheel from it; gives the wheel after a look into both."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    presets = {f"segbench/presets/{path.name}" for path in (ROOT / "segbench" / "presets").glob("*.json")}
    missing = sorted((presets | set(DATA_FILES)) - set(names))
    assert not missing, f"{wheel.name} lacks {missing}"
    foreign = [name for name in names if name.startswith(FOREIGN) or name.endswith((".nbi", ".nbc", ".pyc"))]
    assert not foreign, f"{wheel.name} holds {foreign}"
    assert any(name.endswith("licenses/LICENSE") for name in names), f"{wheel.name} has no license"
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("/README.md") for name in archive.getnames()), f"{sdist.name} has no README.md"
    return wheel


def main(folder: Path) -> None:
    """All of it, in a folder."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(parents=True)
    wheel = built(folder)
    venv.create(elsewhere / "venv", with_pip=True)
    programs = elsewhere / "venv" / ("Scripts" if os.name == "nt" else "bin")
    run(programs / "python", "-m", "pip", "install", "--quiet", wheel, cwd=elsewhere)
    where = run(programs / "python", "-c", "import segbench; print(segbench.__file__)", cwd=elsewhere).strip()
    assert Path(where).is_relative_to(elsewhere.resolve()), f"segbench was imported from {where}"
    expected = json.loads((STREET / "expected.json").read_text(encoding="utf-8"))["models"]
    for model, values in expected.items():
        printed = run(programs / "segbench", "evaluate", STREET / "preds" / model, STREET / "gt", "--json", "--quiet", cwd=elsewhere)
        metrics = json.loads(printed)["tasks"]["semantic"]["metrics"]
        for metric, value in values["metrics"].items():
            assert abs(metrics[metric]["value"] - value) <= 1e-12, (model, metric, metrics[metric]["value"], value)
        print(f"{model}: mIoU {metrics['semantic/miou']['value']:.6f}, as expected")
    run(programs / "segbench", "datasets", "cityscapes", cwd=elsewhere)
    print(f"{wheel.name}: installed in another place, it gives the expected values")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as temporary:
        main(Path(temporary).resolve())
