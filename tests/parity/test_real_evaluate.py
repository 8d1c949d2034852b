"""Every run of the real data through `segbench.evaluate`, against the values of the reference tools. SEGBENCH_DATA names the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import segbench

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SEGBENCH_DATA", ROOT / "../shared/data")).resolve()

COCO = {
    "AP": "ap",
    "AP50": "ap50",
    "AP75": "ap75",
    "APs": "ap_small",
    "APm": "ap_medium",
    "APl": "ap_large",
    "APr": "ap_rare",
    "APc": "ap_common",
    "APf": "ap_frequent",
    "AR1": "ar1",
    "AR10": "ar10",
    "AR100": "ar100",
    "AR@300": "ar300",
    "ARs": "ar_small",
    "ARm": "ar_medium",
    "ARl": "ar_large",
    "ARs@300": "ar_small",
    "ARm@300": "ar_medium",
    "ARl@300": "ar_large",
}
GROUPS = {"All": "", "Things": "_things", "Stuff": "_stuff"}


def runs(*kinds: str):
    """The manifest's runs of some kinds; one skipped parameter where there is no manifest."""
    manifest = DATA / "manifest.json"
    if not manifest.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {manifest}: set SEGBENCH_DATA"))]
    found = [run for data_set in json.loads(manifest.read_text())["sets"] for run in data_set["runs"] if run["kind"] in kinds]
    return [pytest.param(run, id=run["expected"]) for run in found]


def expected(run):
    return json.loads((DATA / "expected_summary.json").read_text())[run["expected"]]


@pytest.mark.parametrize("run", runs("coco", "lvis"))
def test_instances(run):
    protocol = "lvis" if run["kind"] == "lvis" else "coco"
    wanted = expected(run) if run["kind"] == "coco" else {"segm": expected(run)}
    # boxes alone are scored as boxes; pycocotools fills them and calls that masks
    families = [family for family in ("segm", "bbox") if family in wanted and (family == "bbox" or "fakebbox" not in run["pred"])]
    result = segbench.evaluate(DATA / run["pred"], DATA / run["gt"], protocol=protocol, metrics=[f"{family}/*" for family in families])
    checked = 0
    for family in families:
        for name, value in wanted[family].items():
            ours = result.value(f"{family}/{COCO[name]}")
            assert ours == (None if value == -1 else value), f"{family} {name}"
            checked += 1
    assert checked >= 6


@pytest.mark.parametrize("run", runs("panoptic"))
def test_panoptic(run):
    result = segbench.evaluate(DATA / run["pred"], DATA / run["gt"], maps=str(DATA / run["pred_dir"]), gt_maps=str(DATA / run["gt_dir"]))
    for group, values in expected(run).items():  # a sentence where panopticapi raises
        for name in ("pq", "sq", "rq"):
            ours = result.value(f"panoptic/{name}{GROUPS[group]}")
            assert ours == (values[name] if isinstance(values, dict) else None), f"{group} {name}"


@pytest.mark.parametrize("options", [{"executor": "serial"}, {"workers": 2}, {"workers": 3}], ids=str)
@pytest.mark.parametrize("run", runs("lvis", "panoptic")[:3])
def test_executors_give_the_same_bits(run, options):
    if run["kind"] == "panoptic":
        where = {"maps": str(DATA / run["pred_dir"]), "gt_maps": str(DATA / run["gt_dir"])}
    else:
        where = {"protocol": "lvis"}
    first = segbench.evaluate(DATA / run["pred"], DATA / run["gt"], executor="serial", **where)
    other = segbench.evaluate(DATA / run["pred"], DATA / run["gt"], **options, **where)
    assert first.tasks == other.tasks
    for task, evidence in first.evidences.items():
        ours, theirs = evidence.arrays(), other.evidences[task].arrays()
        assert ours.keys() == theirs.keys()
        assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


@pytest.mark.parametrize("run", runs("panoptic")[:4])
def test_every_task_of_a_panoptic_prediction(run, tmp_path):
    where = {"maps": str(DATA / run["pred_dir"]), "gt_maps": str(DATA / run["gt_dir"])}
    result = segbench.evaluate(DATA / run["pred"], DATA / run["gt"], task="all", **where)
    alone = segbench.evaluate(DATA / run["pred"], DATA / run["gt"], **where)
    assert list(result.tasks) == ["panoptic", "semantic", "instance"]
    assert result.tasks["panoptic"] == alone.tasks["panoptic"]
    loaded = segbench.Result.load(result.save(tmp_path / "run"))
    assert loaded.flat() == result.flat()
    if "identity" in run["pred"]:
        assert result.value("semantic/miou") == 1.0
