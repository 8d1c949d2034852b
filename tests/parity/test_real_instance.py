"""Real detections against what pycocotools, lvis and boundary-iou-api gave for them, bit for bit; skipped without the data folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from segbench import protocols
from segbench.adapters.base import Request
from segbench.adapters.instance import coco, coco_json
from segbench.metrics.instance.scoring import InstanceAccumulator, evaluated, scores
from segbench.protocols.instance import RuleSet
from segbench.significance.measure import measure

DATA = Path(os.environ.get("SEGBENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
MANIFEST = DATA / "manifest.json"
RUNS = [run for entry in json.loads(MANIFEST.read_text())["sets"] for run in entry["runs"]] if MANIFEST.is_file() else []
RUNS = [run for run in RUNS if run["kind"] in ("coco", "lvis")]

pytestmark = pytest.mark.skipif(not RUNS, reason=f"no data at {DATA}; set SEGBENCH_DATA")


def evidence_of(gt_path: Path, pred_path: Path, rules: RuleSet, shards: int = 1, families=("segm", "bbox")):
    """The evidence of two files, in some shards, and their data set."""
    dataset = coco.truth_dataset(gt_path)
    gt = coco.open_truth(gt_path, Request("gt", dataset))
    pred = coco.predictions(coco_json.read_results(pred_path), Request("pred", dataset), str(pred_path), boxes_are_masks=True)
    accumulators = []
    for keys in np.array_split(np.array(gt.keys), shards):
        accumulator = InstanceAccumulator(dataset, families, rules.rules)
        truths = gt.read(keys.tolist())
        held = [index for index, key in enumerate(truths.images) if key in pred.places]
        accumulator.update(pred.read([truths.images[index] for index in held], truths.sizes[held]), truths)
        accumulators.append(accumulator)
    return accumulators[0].merge(*accumulators[1:]).evidence(), dataset


@pytest.mark.parametrize("run", RUNS, ids=lambda run: Path(run["pred"]).stem)
def test_equals_the_reference_to_the_bit(run):
    rules = protocols.load("lvis" if run["kind"] == "lvis" else "coco", "instance")
    evidence, dataset = evidence_of(DATA / run["gt"], DATA / run["pred"], rules)
    expected = json.loads((DATA / f"{run['expected']}.json").read_text())
    arrays = np.load(DATA / f"{run['expected']}.npz")
    found = scores(evidence, dataset, rules).metrics
    for family in ("segm", "bbox"):
        _, curves = evaluated(evidence, family, rules.rules)
        for name in ("precision", "recall", "scores"):
            if f"{family}_{name}" not in arrays:
                continue
            mine = getattr(curves, name)
            mine = mine[..., 0] if run["kind"] == "lvis" else mine
            np.testing.assert_array_equal(mine, arrays[f"{family}_{name}"], strict=True)
        stats = expected[family].get("stats", expected[family])
        mine = [value for metric, value in found.items() if metric.startswith(f"{family}/")]
        reference = [None if value == -1 else value for value in list(stats.values())[: len(mine)]]
        assert mine == reference
    ones = measure("instance", evidence, dataset, rules).values(np.ones((1, len(evidence.images)), np.uint8))
    assert {metric: float(values[0]) for metric, values in ones.items()} == pytest.approx(
        {metric: np.nan if value is None else value for metric, value in found.items()}, rel=0, abs=0, nan_ok=True
    )


@pytest.mark.parametrize(
    ("gt", "pred", "expected"),
    [
        (
            "coco_val2014_fakesegm100/instances_val2014_100.json",
            "coco_val2014_fakesegm100/instances_val2014_fakesegm100_results.json",
            "coco_val2014_fakesegm100/expected_boundary.json",
        ),
        (
            "coco_val2017_mini79/instances_gt.json",
            "coco_val2017_mini79/instances_pred_simA.json",
            "coco_val2017_mini79/expected_boundary_simA.json",
        ),
    ],
)
def test_boundary_ap_equals_the_reference(gt, pred, expected):
    rules = protocols.load("boundary", "instance")
    evidence, dataset = evidence_of(DATA / gt, DATA / pred, rules, families=("boundary",))
    stats = json.loads((DATA / expected).read_text())["stats"]
    assert list(scores(evidence, dataset, rules).metrics.values()) == list(stats.values())


def test_any_split_gives_the_same_evidence():
    run = next(run for run in RUNS if "simB" in run["pred"])
    rules = protocols.load("lvis" if run["kind"] == "lvis" else "coco", "instance")
    whole, _ = evidence_of(DATA / run["gt"], DATA / run["pred"], rules)
    parts, _ = evidence_of(DATA / run["gt"], DATA / run["pred"], rules, shards=7)
    one, other = whole.arrays(), parts.arrays()
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], strict=True)
