"""Real label maps with reference values. The files are not in this repository: SEGBENCH_DATA names their folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import segbench
from segbench import datasets
from segbench.metrics import confusion

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SEGBENCH_DATA", ROOT / "../shared/data")).resolve()
NAMES = {"pixel_accuracy": "pixAcc", "miou": "mIoU", "mean_accuracy": "mAcc", "fwiou": "fwIoU", "mdice": "mDice"}


def runs():
    """The semantic runs of the manifest; one skipped parameter where there is none."""
    manifest = DATA / "manifest.json"
    if not manifest.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {manifest}: set SEGBENCH_DATA"))]
    found = [run for data_set in json.loads(manifest.read_text())["sets"] for run in data_set["runs"] if run["kind"] == "semantic"]
    return [pytest.param(run, id=Path(run["expected"]).name) for run in found]


def near(value, expected):
    return value == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("options", [{"executor": "serial"}, {"executor": "threads", "workers": 2}], ids=["serial", "threads"])
@pytest.mark.parametrize("run", runs())
def test_real_label_maps(run, options):
    dataset = datasets.simple(run["num_classes"], run["ignore"], run["class_names"])
    found = segbench.evaluate(DATA / run["pred_dir"], DATA / run["gt_dir"], dataset=dataset, **options)
    evidence = found.evidences["semantic"]
    expected = json.loads((DATA / f"{run['expected']}.json").read_text())
    assert len(evidence.images) == expected["n_images"]
    assert confusion.confusion(evidence)[:-1, :-1].tolist() == expected["confusion"]
    for ours, theirs in NAMES.items():
        assert near(found.value(f"semantic/{ours}"), expected[theirs]), ours
    for ours, theirs in {"iou": "IoU", "recall": "Acc"}.items():
        for row, value in zip(found.per_class, expected[theirs], strict=True):
            assert row[ours] is None if value is None or value != value else near(row[ours], value)
    for name, accuracy, miou in zip(*(found.per_image[column] for column in ("id", "pixel_accuracy", "miou")), strict=True):
        assert near(accuracy, expected["per_image"][f"{name}.png"]["pixAcc"])
        assert near(miou, expected["per_image"][f"{name}.png"]["mIoU_present"])
    summary = json.loads((DATA / "expected_summary.json").read_text())[run["expected"]]
    assert summary["n_images"] == len(evidence.images)
    for ours, theirs in NAMES.items():
        assert theirs not in summary or near(found.value(f"semantic/{ours}"), summary[theirs])
